package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

const (
	// A body may come in real time, and last for days. What it may not is bring
	// nothing for so long, or not complete a fragment in the longer one.
	mostQuiet    = 30 * time.Second
	mostFragment = 90 * time.Second
	// How long a file waits for what says of which stream it is.
	mostUnknown = 5 * time.Second

	maxNameLength = 512
)

// A request is one on its way through the steps.
type request struct {
	w    http.ResponseWriter
	r    *http.Request
	ctx  context.Context // ends with the client, or when the server drains
	key  pubKey
	name string // below the pipeline
	pub  *publication
	body *arriving

	outcome string
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(live.ErrDraining) })()
	q := &request{w: w, r: r, ctx: ctx}
	q.body = &arriving{r: r.Body, conn: http.NewResponseController(w), most: s.cfg.MaxFragment}
	q.body.progress()
	// A read that waits ends too.
	defer context.AfterFunc(ctx, q.body.cut)()
	err := s.serve(q)
	if q.pub != nil {
		s.leave(q.pub)
	}
	_ = q.body.conn.SetReadDeadline(time.Time{})
	_ = q.body.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if err != nil {
		s.refuse(q, err)
		return
	}
	s.count(func(st *Stats) { st.Requests[q.outcome]++ })
	if r.Method == http.MethodOptions {
		w.Header().Set("Allow", allowed)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.WriteHeader(http.StatusOK)
}

const allowed = "PUT, POST, DELETE, HEAD, OPTIONS"

// serve is the walk of a request.
func (s *Server) serve(q *request) error {
	for _, step := range [...]func(*request) error{s.parse, s.authorise, s.locate, s.probe, s.manifest, s.media} {
		if err := step(q); err != nil || q.outcome != "" {
			return err
		}
	}
	return nil
}

// parse reads /TENANT/EVENT/PIPELINE/NAME.
func (s *Server) parse(q *request) error {
	parts := strings.SplitN(strings.TrimPrefix(q.r.URL.Path, "/"), "/", 4)
	if len(parts) < 3 {
		return live.ErrBadPath.With("encoders send to /TENANT/EVENT/PIPELINE/ and below, under names of their own")
	}
	id, err := live.ParseEventID(parts[0] + "/" + parts[1])
	if err != nil {
		return live.ErrBadPath.With(live.PathReason(err))
	}
	if !live.ValidName(parts[2]) {
		return live.ErrBadPath.With(fmt.Sprintf("%.80q is not the name of a pipeline", parts[2]))
	}
	q.key = pubKey{id, parts[2]}
	if len(parts) == 4 {
		q.name = parts[3]
	}
	if len(q.name) > maxNameLength || strings.Contains("/"+q.name+"/", "/../") {
		return live.ErrBadPath.With(fmt.Sprintf("a name has at most %d characters and no ..", maxNameLength))
	}
	switch q.r.Method {
	case http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead:
	case http.MethodOptions:
		q.outcome = OutcomeProbe
	default:
		q.w.Header().Set("Allow", allowed)
		return live.ErrMethod.With(q.r.Method + " is not for ingest: it takes " + allowed)
	}
	if e := q.r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return live.ErrNotCMAF.With(fmt.Sprintf("Content-Encoding %.40q: media is sent as it is", e))
	}
	if s.cfg.Event != "" && (id.String() != s.cfg.Event || q.key.pipeline != s.cfg.Pipeline) {
		return live.ErrNoPipeline.With(fmt.Sprintf("this is for /%s/%s/ alone", s.cfg.Event, s.cfg.Pipeline))
	}
	return nil
}

func (s *Server) authorise(q *request) error {
	if s.cfg.Allow == nil {
		return nil
	}
	return s.cfg.Allow(q.w, q.r, q.key.event, q.key.pipeline)
}

// locate finds the encoder that this is, or the event of a new one.
func (s *Server) locate(q *request) (err error) {
	secret := ""
	if s.cfg.Secret != nil {
		secret = s.cfg.Secret(q.r)
	}
	q.pub, err = s.enter(q.ctx, q.key, secret)
	return err
}

// probe answers what brings nothing: HEAD, an empty POST that asks whether somebody
// is there, and DELETE, since how long media stays is the event's business.
func (s *Server) probe(q *request) error {
	if q.r.Method == http.MethodDelete {
		q.outcome = OutcomeDropped
		return nil
	}
	if q.r.Method == http.MethodHead {
		q.outcome = OutcomeProbe
		return nil
	}
	q.body.buffered = bufio.NewReaderSize(q.body, 64<<10)
	if _, err := q.body.buffered.Peek(1); err == io.EOF {
		q.outcome = OutcomeProbe
	} else if err != nil {
		return q.bodyError(err)
	}
	return nil
}

// manifest reads one that the encoder made for viewers: Headwater makes its own, but
// learns from it what the files are.
func (s *Server) manifest(q *request) error {
	mpd := isManifest(q.name)
	if !mpd && !isPlaylist(q.name) {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(q.body.buffered, maxManifest+1))
	if err != nil {
		return q.bodyError(err)
	}
	if len(b) > maxManifest {
		return live.ErrTooLarge.With(fmt.Sprintf("a manifest of more than %d bytes", maxManifest))
	}
	parse := parsePlaylist
	if mpd {
		parse = parseMPD
	}
	root := "/" + q.key.event.String() + "/" + q.key.pipeline
	m, err := parse(b, root, root[1:]+"/"+q.name)
	if err != nil {
		return live.ErrMalformedMedia.With(err.Error())
	}
	q.outcome, m.size = OutcomeManifest, len(b)
	if err := q.pub.learnManifest(q.name, m); err != nil || !m.ended {
		return err
	}
	q.pub.flush(q.pub.feeding)
	return nil
}

// media takes init segments and media segments, one or many.
func (s *Server) media(q *request) error {
	head, err := q.body.buffered.Peek(8)
	if err != nil && err != io.EOF {
		return q.bodyError(err)
	}
	if err := cmaf.Sniff(head); err != nil {
		return err
	}
	header := len(head) == 8 && (string(head[4:]) == "ftyp" || string(head[4:]) == "moov")
	var st *stream
	if header {
		st, err = q.pub.streamOf(q.name)
	} else if st, _ = q.pub.findStream(q.name); st == nil && q.headless() {
		err = live.ErrInitMissing.With("a track begins with its init segment (CMAF header): connect again and send that first")
	} else if st == nil {
		err = s.keep(q)
	}
	if err != nil || st == nil {
		return err
	}
	leave, err := st.takeTurn(q.ctx, q.body, header)
	if err != nil {
		return err
	}
	defer leave()
	q.outcome, err = st.read(q)
	return err
}

// headless reports whether no manifest can still say what a segment is that comes without an
// init segment: it is of CMAF ingest (DASH-IF Live Media Ingest, interface 1, which is
// answered 412 then), or the encoder has not sent any at all.
func (q *request) headless() bool {
	if q.r.Method != http.MethodPost {
		return false
	}
	q.pub.mu.Lock()
	defer q.pub.mu.Unlock()
	return ofStreams(q.name) || !slices.ContainsFunc(q.pub.streams, func(st *stream) bool { return st.init != nil })
}

// keep reads a segment of which nothing says yet of which stream it is, and lets the
// encoder go on: some write the manifest that says it only when this has been answered.
// Where one such was kept in vain the next are refused.
func (s *Server) keep(q *request) error {
	unknown := live.ErrInitMissing.With(fmt.Sprintf("neither an init segment nor a manifest says of which stream %.80q is", q.name))
	b, err := io.ReadAll(q.body.buffered)
	if err != nil {
		return q.bodyError(err)
	}
	p := q.pub
	p.mu.Lock()
	kept := !p.lost && p.hold(int64(len(b)))
	p.mu.Unlock()
	if !kept {
		return unknown
	}
	q.outcome = OutcomeMedia
	body := &arriving{r: bytes.NewReader(b), most: s.cfg.MaxFragment}
	body.progress()
	body.buffered = bufio.NewReader(body)
	s.tasks.Go(func() {
		later := &request{r: q.r, ctx: p.ctx, key: q.key, name: q.name, pub: p, body: body}
		err := s.release(later, unknown)
		p.mu.Lock()
		p.free(int64(len(b)))
		p.lost = err != nil
		p.mu.Unlock()
		if err != nil {
			s.count(func(st *Stats) { st.Requests[OutcomeRefused]++ })
			s.cfg.Log.Warn("a segment was kept in vain", "path", q.r.URL.Path, "error", err)
		}
	})
	return nil
}

// release reads a segment that was kept, once it is known of which stream it is.
func (s *Server) release(q *request, unknown error) error {
	over := time.NewTimer(mostUnknown)
	defer over.Stop()
	for {
		st, changed := q.pub.findStream(q.name)
		if st != nil {
			leave, err := st.takeTurn(q.ctx, q.body, false)
			if err != nil {
				return err
			}
			defer leave()
			_, err = st.read(q)
			return err
		}
		select {
		case <-changed:
		case <-over.C:
			return unknown
		case <-q.ctx.Done():
			return context.Cause(q.ctx)
		}
	}
}

// refuse is the one place that maps errors to answers.
func (s *Server) refuse(q *request, err error) {
	outcome := OutcomeRefused
	prob, ok := errors.AsType[*live.Problem](err)
	switch {
	case ok:
		if prob.Code == live.ErrTimeout.Code || prob.Code == live.ErrIncomplete.Code || prob.Code == live.ErrDraining.Code {
			outcome = OutcomeBroken
		}
	case errors.Is(err, cmaf.ErrNotCMAF):
		prob = live.ErrNotCMAF.With(err.Error() + " (ffmpeg: -f dash, or -f hls -hls_segment_type fmp4)")
	case errors.Is(err, cmaf.ErrMalformed):
		prob = live.ErrMalformedMedia.With(err.Error())
	case errors.Is(err, context.Canceled):
		prob, outcome = live.ErrIncomplete.With("the client left"), OutcomeBroken
	default:
		prob = live.ErrInternal.With(err.Error())
	}
	s.count(func(st *Stats) { st.Requests[outcome]++ })
	s.cfg.Log.Warn("refused", "method", q.r.Method, "path", q.r.URL.Path, "status", prob.Status, "code", prob.Code, "detail", prob.Detail)
	// Of a body that is not read to its end nothing follows that could be answered.
	q.w.Header().Set("Connection", "close")
	prob.Write(q.w, q.r)
}

// bodyError says what is wrong where a body could not be read.
func (q *request) bodyError(err error) error {
	switch {
	case errors.Is(err, errSuperseded):
		return live.ErrConflict.With("the encoder sends this track over another connection")
	case context.Cause(q.ctx) == live.ErrDraining:
		return live.ErrDraining
	case errors.Is(err, errFragmentSize):
		return live.ErrTooLarge.With(err.Error())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return live.ErrTimeout.With(fmt.Sprintf("nothing for %v, or no whole fragment for %v", mostQuiet, mostFragment))
	case errors.Is(err, cmaf.ErrNotCMAF), errors.Is(err, cmaf.ErrMalformed):
		return err
	}
	return live.ErrIncomplete.With(err.Error())
}

var (
	errFragmentSize = errors.New("a fragment, or what comes between two, is larger than is taken")
	errSuperseded   = errors.New("ingest: another connection brings this track")
)

// An arriving body fails where it brings nothing, or no fragment, for too long.
type arriving struct {
	r        io.Reader
	buffered *bufio.Reader
	conn     *http.ResponseController // nil: it is all there
	most     int64                    // bytes between two fragments
	left     int64
	until    time.Time // for the next fragment
	over     chan struct{}
	other    bool // superseded; set before over is closed
	end      sync.Once
}

// progress says that a fragment came.
func (a *arriving) progress() {
	if a.over == nil {
		a.over = make(chan struct{})
	}
	a.left, a.until = a.most, time.Now().Add(mostFragment)
}

func (a *arriving) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errFragmentSize
	}
	until := time.Now().Add(mostQuiet)
	if a.until.Before(until) {
		until = a.until
	}
	if a.conn != nil {
		if err := a.conn.SetReadDeadline(until); err != nil {
			return 0, err
		}
	}
	select {
	case <-a.over: // the deadline that cut set must not have been put off
		if a.other {
			return 0, errSuperseded
		}
		return 0, os.ErrDeadlineExceeded
	default:
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	if err != nil && err != io.EOF {
		select {
		case <-a.over:
			if a.other {
				err = errSuperseded
			}
		default:
		}
	}
	return n, err
}

// cut ends the reading of a body from outside.
func (a *arriving) cut() {
	a.end.Do(func() { close(a.over) })
	_ = a.conn.SetReadDeadline(time.Unix(1, 0))
}

// supersede is cut because another connection brings the same.
func (a *arriving) supersede() {
	a.end.Do(func() { a.other = true; close(a.over) })
	if a.conn != nil {
		_ = a.conn.SetReadDeadline(time.Unix(1, 0))
	}
}
