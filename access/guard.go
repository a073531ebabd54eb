package access

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/internal/reread"
)

// A Guard knows the credentials of a server, of a file that is read again when
// it changes and of what was given besides. A nil Guard wants none: whoever asks
// is Anyone.
type Guard struct {
	file  string
	fixed []Credential
	files *reread.Files
	log   *slog.Logger
	keys  atomic.Pointer[Keyring]
	slow  chan struct{} // a slot for each answer that is put off

	mu       sync.Mutex // guards the following
	failures failures
	lines    int // of failures in the log, since
	since    time.Time

	failed   prometheus.Counter
	hurried  prometheus.Counter // failures that were not put off
	rereads  prometheus.Counter
	unusable prometheus.Counter
}

const (
	maxSlow = 64 // answers put off at once: those over it end their connection
	// logLines in logPeriod are at most said of failures.
	logLines  = 20
	logPeriod = time.Minute
)

// NewGuard reads the file, "" for none, and adds the credentials.
func NewGuard(file string, fixed []Credential, log *slog.Logger, reg prometheus.Registerer) (*Guard, error) {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "access", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	g := &Guard{
		file: file, fixed: fixed, log: log, slow: make(chan struct{}, maxSlow),
		failed:   counter("failures_total", "Requests with credentials that nobody has."),
		hurried:  counter("failures_cut_total", "Of these, answered at once with the end of the connection, since too many were being put off."),
		rereads:  counter("reloads_total", "Files of credentials that were read again."),
		unusable: counter("reload_failures_total", "Files of credentials that were not usable: the one before stays."),
	}
	if file == "" {
		return g, g.read()
	}
	var err error
	g.files, err = reread.Of(g.read, file)
	return g, err
}

func (g *Guard) read() error {
	list := g.fixed
	if g.file != "" {
		b, err := os.ReadFile(g.file)
		if err != nil {
			return fmt.Errorf("access: %w", err)
		}
		f, err := ParseFile(b)
		if err != nil {
			return fmt.Errorf("%s: %w", g.file, err)
		}
		list = append(f.Credentials, g.fixed...)
	}
	keys, err := NewKeyring(list...)
	if err != nil {
		return fmt.Errorf("%s: %w", g.file, err)
	}
	g.keys.Store(keys)
	if keys.size == 0 {
		g.log.Warn("there is not one credential: nobody can get in who must say who they are", "file", g.file)
	}
	return nil
}

// Run reads the file again when it changes, until ctx ends.
func (g *Guard) Run(ctx context.Context, reload <-chan os.Signal) {
	if g == nil || g.files == nil {
		return
	}
	g.files.Run(ctx, reload, func() {
		g.rereads.Inc()
		g.log.Info("credentials read", "file", g.file, "credentials", g.keys.Load().size)
	}, func(err error) {
		g.unusable.Inc()
		g.log.Error("the new credentials are not usable: the old ones stay", "err", err)
	})
}

// Identify says who sends a request: by the secret that comes with it, or else by
// the certificate of its connection; nil where that is nobody that is known. Who
// sends a secret that nobody has waits for the answer.
func (g *Guard) Identify(w http.ResponseWriter, r *http.Request) *Identity {
	if g == nil {
		return Anyone
	}
	now, keys := time.Now(), g.keys.Load()
	if secret, sent := SecretOf(r); sent {
		if id := keys.Secret(secret, now); id != nil {
			return id
		}
		g.fail(w, r, now)
		return nil
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return keys.Certificate(r.TLS.VerifiedChains[0][0], now)
	}
	return nil
}

// Known says who has the secret in an Authorization field; nil where nobody has.
// Unlike Identify it waits for nobody: it is for servers in which nothing may wait,
// and where who is not known is answered as any viewer is.
func (g *Guard) Known(authorization string, now time.Time) *Identity {
	if secret, sent := bearer(authorization); sent {
		return g.keys.Load().Secret(secret, now)
	}
	return nil
}

// Check is Identify and Decide: the problem is nil where it is allowed.
func (g *Guard) Check(w http.ResponseWriter, r *http.Request, want Want) (*Identity, error) {
	id := g.Identify(w, r)
	v := Decide(id, want)
	if v == Allowed {
		return id, nil
	}
	if v == Unknown {
		w.Header().Set("WWW-Authenticate", `Bearer realm="headwater"`)
	}
	return id, v.Problem(want)
}

// fail counts a failure, and puts its answer off.
func (g *Guard) fail(w http.ResponseWriter, r *http.Request, now time.Time) {
	g.failed.Inc()
	g.mu.Lock()
	count, delay, say := g.failures.fail(AddressOf(r.RemoteAddr), now)
	if now.Sub(g.since) > logPeriod {
		g.lines, g.since = 0, now
	}
	if say = say && g.lines < logLines; say {
		g.lines++
	}
	g.mu.Unlock()
	if say {
		g.log.Warn("wrong credentials", "from", r.RemoteAddr, "failures", count, "path", r.URL.Path)
	}
	if delay == 0 {
		return
	}
	select {
	case g.slow <- struct{}{}:
	default:
		g.hurried.Inc()
		w.Header().Set("Connection", "close")
		return
	}
	defer func() { <-g.slow }()
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

// SecretOf is the secret of a Bearer token, or of Basic's password with any user.
func SecretOf(r *http.Request) (string, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	return bearer(r.Header.Get("Authorization"))
}

func bearer(authorization string) (string, bool) {
	scheme, secret, _ := strings.Cut(authorization, " ")
	return secret, strings.EqualFold(scheme, "Bearer") && secret != "" // RFC 9110, 11.1: the scheme in any case
}
