package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"headwater/live"
)

// An upstream asks the parents. It is HTTP and nothing else, so any origin that
// speaks the protocol will do, and so will another edge.
type upstream struct {
	parents []string // base URLs without a trailing slash, preferred first
	loop    string   // our member of CDN-Loop
	client  *http.Client
}

func newUpstream(cfg *Config) *upstream {
	u := &upstream{loop: cfg.Name}
	for _, p := range cfg.Parents {
		u.parents = append(u.parents, strings.TrimSuffix(p, "/"))
	}
	u.client = &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}).DialContext,
			// Held requests each occupy a connection; they come back for the next segment.
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
			WriteBufferSize:     4 << 10,
			ReadBufferSize:      64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return u
}

// get asks each parent in turn until one answers. The answer may be a refusal:
// a parent that says 404 or 503 has answered.
func (u *upstream) get(ctx context.Context, path string) (*http.Response, error) {
	var errs []error
	for _, p := range u.parents {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p+path, nil)
		if err != nil {
			return nil, fmt.Errorf("edge: %w", err)
		}
		req.Header.Set(live.HeaderCDNLoop, u.loop)
		resp, err := u.client.Do(req)
		if err == nil && resp.StatusCode != http.StatusBadGateway && resp.StatusCode != http.StatusGatewayTimeout {
			return resp, nil
		}
		if err == nil {
			resp.Body.Close()
			err = fmt.Errorf("edge: %s: %s", p, resp.Status)
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (u *upstream) close() { u.client.CloseIdleConnections() }
