package deliver

import (
	"context"
	"sync"
	"time"

	"headwater/blobs"
	"headwater/live"
	"headwater/manifest"
	"headwater/origin/book"
	"headwater/selection"
	"headwater/store"
)

// pages are manifests as they were made last: to make one takes time for each segment
// that it lists, and many ask for the same.
type pages struct {
	mu sync.Mutex // guards the following
	by map[pageKey]*keptPage
}

// A pageKey names a page: of a playlist there is one that skips, too.
type pageKey struct {
	path live.Path
	skip bool
}

const (
	// maxPages are kept; then it begins anew.
	maxPages = 1024
	// pageLasts is how long a page is given again, where no newer segment has come: a
	// repair, or a gap that was filled, shows then.
	pageLasts = 500 * time.Millisecond
)

type keptPage struct {
	mu sync.Mutex // guards the following, and is held while it is made: all others wait
	page
}

type page struct {
	view        *book.View
	newest      live.Number // that it lists
	at          time.Time
	contentType string
	body        []byte
	etag        string
	lifetime    time.Duration // from at on
	err         error
}

func (p *pages) get(path pageKey) *keptPage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil || len(p.by) >= maxPages && p.by[path] == nil {
		p.by = make(map[pageKey]*keptPage)
	}
	if p.by[path] == nil {
		p.by[path] = &keptPage{}
	}
	return p.by[path]
}

// serves reports whether the page is still what would be made.
func (p *page) serves(v *book.View, newest live.Number, now time.Time) bool {
	age := now.Sub(p.at)
	return p.view == v && p.newest == newest && age >= 0 && age < min(pageLasts, p.lifetime)
}

// make makes the page, with the pauses of ctx: of a long DVR window it takes tens of
// milliseconds.
func (p *page) make(ctx context.Context, d *delivery, newest live.Number, now time.Time) {
	store.Pause(ctx)
	in := manifest.Input{Config: d.view.Config(), Now: now, Notifications: d.view.Record.Notifications}
	in.Lost = d.lostAt(ctx, now)
	in.Key = func(rendition string, n live.Number) (live.SegmentKey, bool) {
		k, ok := d.event.KeyOf(d.view, rendition, n)
		return k, ok || d.view.Slate(rendition, n) != nil // that has the init segment's
	}
	in.DeltaUpdates, in.Skip = true, skips(d.r)
	in.Published = func(rendition string) (live.Number, bool) { return d.decided(rendition, now) }
	*p = page{view: d.view, newest: newest, at: now, contentType: manifest.HLSType}
	switch d.path.File {
	case live.FileMPD:
		p.contentType = manifest.MPDType
		p.body, p.err = manifest.MPD(in)
	case live.FileListed:
		p.contentType = manifest.MPDType
		p.body, p.err = manifest.ListedMPD(in)
	case live.FileHLS:
		in.Average = d.averages()
		p.body, p.err = manifest.Multivariant(in)
	default:
		p.body, p.err = manifest.Playlist(in, d.path)
	}
	if p.err == nil {
		p.etag, p.lifetime = blobs.DigestOf(ctx, p.body).ETag(), manifest.Lifetime(in, d.path.File, d.path.Rendition)
	}
}

// segmentsAtOnce are looked at at once: some tens of microseconds.
const segmentsAtOnce = 128

// lostAt reports which of a rendition's segments, asked for in their order, are gaps.
func (d *delivery) lostAt(ctx context.Context, now time.Time) func(rendition string, n live.Number) bool {
	there, begun := live.Number(-1), false // the last that is
	asked := 0
	return func(rendition string, n live.Number) bool {
		if asked++; asked%segmentsAtOnce == 0 {
			store.Pause(ctx)
		}
		in := d.view.Input(rendition, n, d.event.Candidates(rendition, n)) // what came before decides between those that are there
		if selection.Choose(in, now).Action != selection.Refuse {
			there, begun = n, true
			return false
		}
		if d.view.Slate(rendition, n) != nil {
			return false
		}
		if !begun { // the playlist begins with it
			begun = true
			if c, _, ok := d.event.StandIn(d.view, rendition, n, nil, now); ok {
				there = c.Candidate.Number
			}
		}
		if d.view.Fills(rendition, there, n) {
			return false
		}
		if !d.view.FillsFromBehind(rendition, n) {
			return true
		}
		_, _, ok := d.event.StandIn(d.view, rendition, n, nil, now)
		return !ok
	}
}

// averaged is how many of a rendition's newest segments its average is of.
const averaged = 30

// averages are the bit rates of what was published last, of each number the largest.
func (d *delivery) averages() map[string]int64 {
	of := make(map[string]int64, len(d.view.Timelines))
	for rendition, tl := range d.view.Timelines {
		newest, _ := d.event.Newest(rendition)
		var bytes, segments int64
		for n := newest; n > newest-averaged; n-- {
			most := int64(0)
			for _, c := range d.event.Candidates(rendition, n) {
				most = max(most, c.Size)
			}
			if bytes += most; most > 0 {
				segments++
			}
		}
		if segments > 0 {
			of[rendition] = int64(float64(8*bytes) / (float64(segments) * tl.Segment().Seconds()))
		}
	}
	return of
}
