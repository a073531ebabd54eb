package deliver

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"headwater/origin/book"

	"headwater/live"
	"headwater/manifest"
	"headwater/selection"
	"headwater/store"
)

// initLifetime is short: it costs little to ask again whether an init segment
// is still the same, and an event of the same name may have another tomorrow:
// under another flush version, so that who heeds that keeps it for longer.
const initLifetime = time.Minute

// sendInit answers with the init segment that viewers of a rendition get, in a
// generation.
func (s *Server) sendInit(d *delivery) (step, error) {
	in, err := s.findInit(d)
	if err != nil {
		return nil, err
	}
	h := d.w.Header()
	rendition, _ := d.view.Config().Rendition(d.path.Rendition)
	h.Set("Content-Type", rendition.Type.ContentType())
	if in.Source.Pipeline != "" {
		h.Set(live.HeaderPipeline, s.answering(in.Source).String())
	}
	h.Set(live.HeaderContentDigest, in.Digest.String())
	h.Set(live.HeaderPublished, live.FormatPublished(in.Published))
	h.Set("ETag", in.Digest.ETag())
	tl := d.view.Timelines[d.path.Rendition]
	h.Set(live.HeaderCacheControl, live.FormatLifetimes(initLifetime, max(initLifetime, tl.DVR())))
	s.write(d, in.Data, in.Published)
	return nil, nil
}

// findInit is the init segment that is asked for, or that of the segment that is.
func (s *Server) findInit(d *delivery) (*book.Init, error) {
	index := d.path.Generation
	if d.path.File == live.FileSegment {
		index, _ = d.view.Config().InitAt(d.path.Rendition, d.path.Number)
	}
	in := d.event.InitOfGeneration(d.view, d.path.Rendition, index)
	if in == nil && index > 0 && !d.view.Config().HasInit(d.path.Rendition, index) {
		return nil, live.ErrNoInit.With(fmt.Sprintf("generation %d gives rendition %q no init segment", index, d.path.Rendition))
	}
	if in == nil {
		d.turn.Give()
		if err := s.Look.Inits(d.r.Context(), d.event, d.path.Rendition); err != nil {
			return nil, err
		}
		in = d.event.InitOfGeneration(d.view, d.path.Rendition, index)
	}
	if in == nil {
		return nil, live.ErrNoInit.With(fmt.Sprintf("no pipeline has published rendition %q yet", d.path.Rendition))
	}
	return in, nil
}

// Lead is how long before it begins players have to be able to read of a generation.
func Lead(rec *book.Record) time.Duration {
	return manifest.Lead(manifest.Input{Config: &rec.Config, Notifications: rec.Notifications})
}

// sendManifest answers with DASH or HLS, made from what the event is now.
func (s *Server) sendManifest(d *delivery) (step, error) {
	if d.path.File == live.FilePlaylist { // it tells of gaps
		select {
		case <-d.event.Whole():
		default:
			d.turn.Give()
			return s.find, s.Book.Await(d.r.Context(), d.event)
		}
	}
	now := s.Clock.Now()
	newest := live.Number(0) // or what is as good, for all renditions that it lists
	switch d.path.File {
	case live.FilePlaylist:
		newest, _ = d.decided(d.path.Rendition, now)
	case live.FileListed:
		for rendition := range d.view.Timelines {
			n, _ := d.decided(rendition, now)
			newest += n
		}
	}
	p := s.pages.get(pageKey{d.path, skips(d.r)})
	if !p.mu.TryLock() {
		d.turn.Give() // it waits for who makes the page
		p.mu.Lock()
	}
	if !p.serves(d.view, newest, now) {
		d.turn.Give()
		work := s.Turns.Begin(d.r.Context(), d.class, d.taker())
		p.make(store.WithPauses(context.Background(), work.Pause), d, newest, now)
		work.End()
	}
	made := p.page
	p.mu.Unlock()
	if made.err != nil {
		return nil, fmt.Errorf("deliver: %v: %w", d.path, made.err)
	}
	s.answerText(d, made.contentType, made.body, made.etag, made.lifetime-now.Sub(made.at))
	return nil, nil
}

// skips reports whether a player wants of a playlist only what is new.
func skips(r *http.Request) bool {
	if r.URL.RawQuery == "" {
		return false
	}
	v := r.URL.Query().Get("_HLS_skip")
	return v == "YES" || v == "v2"
}

func (s *Server) answerText(d *delivery, ct string, body []byte, etag string, lifetime time.Duration) {
	h := d.w.Header()
	h.Set("Content-Type", ct)
	h.Set("ETag", etag)
	h.Set(live.HeaderCacheControl, live.FormatLifetime(lifetime))
	s.write(d, body, time.Time{})
}

// decided is the newest number of a rendition up to which playlists may list:
// nothing up to it is still being waited for, or published before its time. A
// player asks at once for what it is given and takes a refusal for an error, so
// a segment that is missing is listed when it is known to be a gap, and the
// next one only then.
func (d *delivery) decided(rendition string, now time.Time) (live.Number, bool) {
	newest, ok := d.event.Newest(rendition)
	if !ok {
		return 0, false
	}
	tl := d.view.Timelines[rendition]
	n := min(newest, tl.Edge(now.Add(tl.Hold())))
	// What is past its deadline has been decided by time.
	for m := n; m >= tl.First() && tl.Place(m, now) == live.Due; m-- {
		if d.event.Choose(d.view, rendition, m, nil, now).Action == selection.Wait {
			n = m - 1
		}
	}
	return n, n >= tl.First()
}
