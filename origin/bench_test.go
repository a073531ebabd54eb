package origin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
)

// benchSegment is as large as two seconds of 6 Mbit/s video.
const benchSegment = 1_500_000

// benchRig is an origin with an event that has run for long, so that many
// numbers can be published.
func benchRig(b *testing.B) (*rig, live.Timeline) {
	b.Helper()
	o, err := New(b.Context(), Config{Store: forgetful{memory.New(memory.Options{})}})
	if err != nil {
		b.Fatal(err)
	}
	r := &rig{o: o, id: testID, m: testMedia(), pub: o.PublishHandler(), del: o.DeliverHandler(), ctl: o.ControlHandler()}
	ev := testEvent()
	ev.Start = ev.Start.Add(-300 * 24 * time.Hour)
	ev.DVRSeconds = 300 * 24 * 3600
	body, err := ev.MarshalJSON()
	if err != nil {
		b.Fatal(err)
	}
	for _, w := range []*httptest.ResponseRecorder{r.control("PUT", "", string(body)), r.put("a/v/init.mp4", r.m.inits["v"])} {
		if w.Code != 201 {
			b.Fatal(w.Code, w.Body)
		}
	}
	return r, ev.Timeline()
}

// forgetful keeps no segment: a benchmark would fill memory.
type forgetful struct{ store.Store }

func (s forgetful) Put(ctx context.Context, r store.Record, item store.Item) error {
	if r.Namespace == store.Media {
		item.Value = nil
	}
	return s.Store.Put(ctx, r, item)
}

// BenchmarkPublish PUTs segments of 1.5 MB over loopback: from the request to
// the 201.
func BenchmarkPublish(b *testing.B) {
	for _, chunked := range []bool{false, true} {
		b.Run(map[bool]string{false: "length", true: "chunked"}[chunked], func(b *testing.B) {
			r, tl := benchRig(b)
			srv := httptest.NewServer(r.pub)
			defer srv.Close()
			edge := tl.Edge(time.Now())
			n := edge
			body := r.m.segment(tl, "v", n, take{size: benchSegment})
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				body = r.m.segment(tl, "v", n, take{size: benchSegment})
				b.StartTimer()
				var reader io.Reader = bytes.NewReader(body)
				if chunked {
					reader = io.MultiReader(reader)
				}
				req, err := http.NewRequest("PUT", fmt.Sprintf("%s/acme/final/a/v/%d.m4s", srv.URL, n), reader)
				if err != nil {
					b.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil || resp.StatusCode != 201 {
					b.Fatal(resp, err)
				}
				resp.Body.Close()
				n--
			}
		})
	}
}

// BenchmarkDeliver GETs a segment of 1.5 MB from memory over loopback.
func BenchmarkDeliver(b *testing.B) {
	r, tl := benchRig(b)
	srv := httptest.NewServer(r.del)
	defer srv.Close()
	n := tl.Edge(time.Now())
	body := r.m.segment(tl, "v", n, take{size: benchSegment})
	if w := r.put("a/v/"+live.SegmentName(n), body); w.Code != 201 {
		b.Fatal(w.Code)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	buf := make([]byte, 256<<10)
	for b.Loop() {
		resp, err := http.Get(fmt.Sprintf("%s/acme/final/v/%d.m4s", srv.URL, n))
		if err != nil {
			b.Fatal(err)
		}
		size, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
		if err != nil || size != int64(len(body)) {
			b.Fatal(size, err)
		}
		resp.Body.Close()
	}
}

// BenchmarkHandlers is the same without the network: what the origin itself
// costs.
func BenchmarkHandlers(b *testing.B) {
	r, tl := benchRig(b)
	edge := tl.Edge(time.Now())
	b.Run("publish", func(b *testing.B) {
		n := edge
		b.SetBytes(benchSegment)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			body := r.m.segment(tl, "v", n, take{size: benchSegment})
			b.StartTimer()
			if w := r.put("a/v/"+live.SegmentName(n), body); w.Code >= 300 {
				b.Fatal(w.Code, w.Body)
			}
			n--
		}
	})
	get := func(name, path string, status int) {
		b.Run(name, func(b *testing.B) {
			req := request("GET", path, nil)
			b.ReportAllocs()
			for b.Loop() {
				w := nowhere{header: make(http.Header, 32)}
				if r.del.ServeHTTP(&w, req); w.status != status {
					b.Fatal(w.status)
				}
			}
		})
	}
	body := r.m.segment(tl, "v", edge+1, take{size: benchSegment})
	r.put("a/v/"+live.SegmentName(edge+1), body)
	get("deliver", "/acme/final/v/"+live.SegmentName(edge+1), 200)
	get("early", "/acme/final/v/"+live.SegmentName(edge+9), 404)
	get("event.json", "/acme/final/event.json", 200)
	get("manifest.mpd", "/acme/final/manifest.mpd", 200)
}

// BenchmarkPlaylist writes the playlist of a DVR window of four hours.
func BenchmarkPlaylist(b *testing.B) {
	r, tl := benchRig(b)
	e := r.o.book.Get(testID)
	edge := tl.Edge(time.Now())
	for n := edge - 7200; n <= edge; n++ {
		r.o.book.Learn(e, "v", live.Candidate{Pipeline: "a", Number: n, Published: time.Now()})
	}
	ev := e.View().Config().Event
	ev.DVRSeconds = 4 * 3600
	body, _ := ev.MarshalJSON()
	r.control("PUT", "", string(body))
	req := request("GET", "/acme/final/v/media.m3u8", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := nowhere{header: make(http.Header, 32)}
		r.del.ServeHTTP(&w, req)
		b.SetBytes(w.n)
	}
}

// nowhere is an answer that nobody reads.
type nowhere struct {
	header http.Header
	status int
	n      int64
}

func (w *nowhere) Header() http.Header    { return w.header }
func (w *nowhere) WriteHeader(status int) { w.status = status }
func (w *nowhere) Write(b []byte) (int, error) {
	w.n += int64(len(b))
	return len(b), nil
}
