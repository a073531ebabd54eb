package origin

import (
	"bytes"
	"context"
	"fmt"
	"headwater/live"
	"headwater/manifest"
	"headwater/selection"
	"net/http"
	"time"
)

// initLifetime is short: it costs little to ask again whether an init segment
// is still the same, and an event of the same name may have another tomorrow.
const initLifetime = time.Minute

func (o *Origin) deliverInit(d *delivery) error {
	in, _ := d.event.initOf(d.path.Rendition, "")
	if in == nil {
		return live.ErrNoInit.With(fmt.Sprintf("no pipeline has published rendition %q yet", d.path.Rendition))
	}
	h := d.w.Header()
	o.stamp(d)
	rendition, _ := d.view.config().Rendition(d.path.Rendition)
	h.Set("Content-Type", rendition.Type.ContentType())
	h.Set(live.HeaderPipeline, o.answering(in.source).String())
	h.Set(live.HeaderContentDigest, in.digest.String())
	h.Set(live.HeaderPublished, live.FormatPublished(in.published))
	h.Set("ETag", in.digest.ETag())
	h.Set(live.HeaderCacheControl, live.FormatLifetime(initLifetime))
	http.ServeContent(d.w, d.r, "", in.published, bytes.NewReader(in.data))
	return nil
}

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// deliverConfig answers with event.json; with ?after=ETAG, once it is another.
func (o *Origin) deliverConfig(d *delivery) error {
	if after := d.r.URL.Query().Get("after"); after != "" {
		timer := time.NewTimer(configHold)
		defer timer.Stop()
	hold:
		for d.view.etag == after || d.view.etag == `"`+after+`"` {
			select {
			case <-d.view.changed:
				if err := o.find(d); err != nil {
					return err
				}
			case <-timer.C:
				break hold
			case <-d.r.Context().Done():
				return context.Cause(d.r.Context())
			case <-o.draining:
				return live.ErrDraining.With("ask another origin")
			}
		}
	}
	o.stamp(d)
	d.answerText("application/json", d.view.json, d.view.etag, time.Second)
	return nil
}

func (o *Origin) deliverManifest(d *delivery) error {
	now := time.Now()
	in := manifest.Input{Config: d.view.config(), Now: now, Lost: func(rendition string, n live.Number) bool {
		return d.view.choose(rendition, n, d.event.candidates(rendition, n), now).Action == selection.Refuse
	}, Published: d.event.newest}
	var body []byte
	var err error
	ct := manifest.HLSType
	switch d.path.File {
	case live.FileMPD:
		ct = manifest.MPDType
		body, err = manifest.MPD(in)
	case live.FileHLS:
		body, err = manifest.Multivariant(in)
	default:
		body, err = manifest.Media(in, d.path.Rendition)
	}
	if err != nil {
		return fmt.Errorf("deliver: %v: %w", d.path, err)
	}
	o.stamp(d)
	d.answerText(ct, body, live.DigestOf(body).ETag(), manifest.Lifetime(in, d.path.File, d.path.Rendition))
	return nil
}

// newest is the newest number published of a rendition.
func (e *event) newest(rendition string) (live.Number, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.tracks[rendition]; t != nil && t.newest >= 0 {
		return t.newest, true
	}
	return 0, false
}

func (d *delivery) answerText(ct string, body []byte, etag string, lifetime time.Duration) {
	h := d.w.Header()
	h.Set("Content-Type", ct)
	h.Set("ETag", etag)
	h.Set(live.HeaderCacheControl, live.FormatLifetime(lifetime))
	http.ServeContent(d.w, d.r, "", time.Time{}, bytes.NewReader(body))
}
