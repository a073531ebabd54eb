package packager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"headwater/live"
)

// ErrNoIngest answers encoders that PUT segments to a packager: it says where
// media goes instead.
var ErrNoIngest = &live.Problem{
	Code: "no-ingest", Status: http.StatusNotImplemented, Title: "This packager does not take segments", Lifetime: -1,
}

const (
	// A body is read to its end before the answer, since encoders that stream
	// theirs read no answer before; but no further than this. It may come in real
	// time: what it may not is bring nothing for so long, or last longer than the
	// longest segment and that.
	maxIngestBody  = 256 << 20
	mostQuiet      = 30 * time.Second
	mostIngestTime = time.Minute + mostQuiet
)

// listen answers encoders on cfg.Listen until ctx ends, and returns its error.
func (p *Packager) listen(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.cfg.Listen)
	if err != nil {
		return fmt.Errorf("%w: Listen: %w", ErrConfig, err)
	}
	return p.serve(ctx, l)
}

func (p *Packager) serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: http.HandlerFunc(p.ingest), ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 60 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	p.cfg.Log.Info("listening", "address", l.Addr().String())
	select {
	case err := <-ended:
		return fmt.Errorf("packager: listen: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		srv.Close()
	}
	<-ended
	return context.Cause(ctx)
}

// An arriving body fails when nothing of it comes for mostQuiet, and at its end.
type arriving struct {
	io.Reader
	conn *http.ResponseController
	end  time.Time
}

func (a arriving) Read(p []byte) (int, error) {
	until := time.Now().Add(mostQuiet)
	if a.end.Before(until) {
		until = a.end
	}
	if err := a.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	return a.Reader.Read(p)
}

// ingest answers one request: manifests are accepted and dropped, DELETE is
// ignored, as on the publish listener; media is refused with what to do.
func (p *Packager) ingest(w http.ResponseWriter, r *http.Request) {
	body := arriving{http.MaxBytesReader(w, r.Body, maxIngestBody), http.NewResponseController(w), time.Now().Add(mostIngestTime)}
	n, err := io.Copy(io.Discard, body)
	_ = body.conn.SetReadDeadline(time.Time{})
	_ = body.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if err != nil {
		prob := live.ErrIncomplete.With(fmt.Sprintf("the body ended after %d bytes: %v", n, err))
		if big := new(http.MaxBytesError); errors.As(err, &big) {
			prob = live.ErrTooLarge.With(fmt.Sprintf("the body has more than %d bytes", big.Limit))
		}
		p.refuse(w, r, prob)
		return
	}
	switch r.Method {
	case http.MethodDelete:
		return
	case http.MethodPut, http.MethodPost:
	default:
		w.Header().Set("Allow", "PUT, POST, DELETE")
		p.refuse(w, r, live.ErrMethod.With(r.Method+" is not for a packager: it takes PUT, POST and DELETE"))
		return
	}
	path, err := live.ParsePublishPath(r.URL.Path)
	switch {
	case err != nil:
		p.refuse(w, r, live.ErrBadPath.With(live.PathReason(err)+
			" (ffmpeg: -init_seg_name init.mp4 -media_seg_name '$Number$.m4s' under the rendition's path)"))
	case path.Event != p.id:
		p.refuse(w, r, live.ErrNoEvent.With(fmt.Sprintf("this packager is of event %s, not %s", p.id, path.Event)))
	case path.File == live.FileForeign:
		// Headwater makes its own manifests.
	case path.Pipeline != p.cfg.Pipeline:
		p.refuse(w, r, live.ErrNoPipeline.With(fmt.Sprintf("this packager is pipeline %s, not %s", p.cfg.Pipeline, path.Pipeline)))
	default:
		p.refuse(w, r, ErrNoIngest.With("write fragmented MP4 to its standard input instead (ffmpeg: -f mp4 pipe:1),"+
			" or PUT segments that are numbered by the event's timeline to the origin's publish listener"))
	}
}

func (p *Packager) refuse(w http.ResponseWriter, r *http.Request, prob *live.Problem) {
	p.cfg.Log.Warn("refused", "method", r.Method, "path", r.URL.Path, "status", prob.Status, "detail", prob.Detail)
	prob.Write(w, r)
}
