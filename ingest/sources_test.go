package ingest

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// A form is how an encoder sends: what it calls its files, and what it sends beside
// them. before is sent first, after with each segment once it is there.
type form struct {
	name      string
	init      string // %s is the track
	media     string // %s is the track, and a number of its own follows
	first     int    // number
	manifest  func(w *world, k int)
	manifests string // when: "first", "last" (after the segments), ""
	long      bool   // one request for each track
}

const segmentsOfASource = 200

var forms = []form{
	{name: "CMAF ingest, Streams() and one long POST", init: "Streams(%s.cmfv)", long: true},
	{name: "CMAF ingest, plain names and one long POST", init: "%s.cmfv", long: true},
	{name: "CMAF ingest, a POST for each segment under one name", init: "Streams(%s.cmfv)", media: "Streams(%s.cmfv)"},
	{name: "directories: init.cmfv, NUMBER.cmfv", init: "%s/init.cmfv", media: "%s/%d.cmfv"},
	{name: "ffmpeg's DASH names", init: "init-stream-%s.m4s", media: "chunk-stream-%s-%05d.m4s", first: 1, manifest: pushMPD, manifests: "last"},
	{name: "names that only the manifest explains", init: "%s/h.bin", media: "x/%s_%d.dat", first: 7, manifest: pushOddMPD, manifests: "last"},
	{name: "HLS, names of a numbered width", init: "%s_init.mp4", media: "%s_%09d.mp4", first: 1, manifest: pushHLS, manifests: "last"},
}

func (f *form) initName(track string) string { return fmt.Sprintf(f.init, track) }

func (f *form) mediaName(track string, k int) string {
	switch {
	case f.media == "Streams(%s.cmfv)":
		return fmt.Sprintf(f.media, track)
	}
	return fmt.Sprintf(f.media, track, k+f.first)
}

// play sends n segments of tracks in real time, as an encoder whose decode times
// begin at 0.
func (f *form) play(w *world, tracks map[string]*source, n int) {
	began := time.Now()
	var encoder sync.WaitGroup
	for name, s := range tracks {
		if f.long {
			encoder.Go(func() {
				r, pipe := io.Pipe()
				go func() {
					pipe.Write(s.init)
					for k := range n {
						time.Sleep(time.Until(began.Add(time.Duration(k+1) * 2 * time.Second)))
						pipe.Write(s.segment(k))
					}
					pipe.Close()
				}()
				if status, code := w.sendBody("POST", f.initName(name), r); status != 200 {
					w.t.Errorf("%s: %d %s", name, status, code)
				}
			})
			continue
		}
		w.must("PUT", f.initName(name), s.init)
	}
	if f.long {
		encoder.Wait()
		return
	}
	for k := range n {
		time.Sleep(time.Until(began.Add(time.Duration(k+1) * 2 * time.Second)))
		if f.manifests == "last" {
			// While the first segments wait for what says whose they are.
			encoder.Go(func() {
				time.Sleep(10 * time.Millisecond)
				f.manifest(w, k)
			})
		}
		for name, s := range tracks {
			encoder.Go(func() { w.must("PUT", f.mediaName(name, k), s.segment(k)) })
		}
		encoder.Wait()
	}
}

func pushMPD(w *world, k int) {
	w.must("PUT", "manifest.mpd", fmt.Appendf(nil, `<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" availabilityStartTime="%s"><Period id="0" start="PT0S">
<AdaptationSet contentType="video"><Representation id="v720" bandwidth="900000" width="64" height="36"><SegmentTemplate timescale="1000" duration="2000" startNumber="1" initialization="init-stream-$RepresentationID$.m4s" media="chunk-stream-$RepresentationID$-$Number%%05d$.m4s"/></Representation></AdaptationSet>
<AdaptationSet contentType="audio" lang="en"><Representation id="a-en" bandwidth="64000"><SegmentTemplate timescale="1000" duration="2000" startNumber="1" initialization="init-stream-$RepresentationID$.m4s" media="chunk-stream-$RepresentationID$-$Number%%05d$.m4s"/></Representation></AdaptationSet>
</Period></MPD>`, time.Now().Add(-time.Duration(k+1)*2*time.Second).UTC().Format("2006-01-02T15:04:05.000Z")))
}

func pushOddMPD(w *world, k int) {
	w.must("POST", "odd.mpd", []byte(`<?xml version="1.0"?><MPD type="dynamic"><Period><AdaptationSet><SegmentTemplate timescale="1" duration="2" initialization="$RepresentationID$/h.bin" media="x/$RepresentationID$_$Number$.dat"/>
<Representation id="v720" bandwidth="900000"/><Representation id="a-en" bandwidth="64000"/></AdaptationSet></Period></MPD>`))
}

func pushHLS(w *world, k int) {
	for _, track := range []string{"v720", "a-en"} {
		w.must("PUT", track+".m3u8", fmt.Appendf(nil, "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-MAP:URI=\"%s_init.mp4\"\n#EXTINF:2.0,\n%s_%09d.mp4\n", k+1, track, track, k+1))
	}
	w.must("PUT", "main.m3u8", []byte("#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English\",LANGUAGE=\"en\",URI=\"a-en.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=900000,AUDIO=\"a\"\nv720.m3u8\n"))
}

// TestSources sends 200 segments in each form, of an encoder that begins in the
// middle of the event's segments: all are there, each without a finding.
func TestSources(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(1234 * time.Millisecond) // not on a boundary
				w := newWorld(t, testEvent(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), "v720", "a-en"), nil)
				all := sources(t)
				f.play(w, map[string]*source{"v720": all["v720"], "a-en": all["a-en"]}, segmentsOfASource)
				w.stop()
				for _, name := range []string{"v720", "a-en"} {
					clean(t, w.origin, name, segmentsOfASource-1) // the last may be cut off
				}
				w.said("encoder placed in time", "boundaries")
			})
		})
	}
}

// TestCreate: an event is made of what comes, and begins where that does.
func TestCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234 * time.Millisecond)
		var w *world
		w = newWorld(t, nil, func(cfg *Config) {
			cfg.Create = func(_ context.Context, _ string, id live.EventID, ev *live.Event) error {
				w.origin.mu.Lock()
				defer w.origin.mu.Unlock()
				w.origin.event = ev
				return nil
			}
		})
		all := sources(t)
		f := forms[4]
		f.play(w, map[string]*source{"v720": all["v720"], "a-en": all["a-en"]}, 10)
		w.stop()
		ev := w.origin.event
		if ev == nil || len(ev.Renditions) != 2 || ev.Renditions[0].Name != "v720" || ev.Renditions[1].Name != "a-en" || ev.Renditions[1].Language != "en" ||
			ev.Renditions[0].Bandwidth != 900000 || ev.Segment != (live.Duration{Ticks: 2, Timescale: 1}) || ev.Pipelines[0].Name != "a" {
			t.Fatalf("%+v", ev)
		}
		if at := ev.Start.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); at != 1244*time.Millisecond { // by the manifest, which was written 10 ms later
			t.Errorf("it starts at %v", at)
		}
		clean(t, w.origin, "v720", 9)
		clean(t, w.origin, "a-en", 9)
	})
}

// TestCreateMeasures: where no manifest says how many bits a second a track has, it is
// what came.
func TestCreateMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		w = newWorld(t, nil, func(cfg *Config) {
			cfg.Create = func(_ context.Context, _ string, id live.EventID, ev *live.Event) error {
				w.origin.mu.Lock()
				defer w.origin.mu.Unlock()
				w.origin.event = ev
				return nil
			}
		})
		all := sources(t)
		forms[0].play(w, map[string]*source{"v720": all["v720"], "a-en": all["a-en"]}, 10)
		w.stop()
		ev := w.origin.event
		if ev == nil || len(ev.Renditions) != 2 {
			t.Fatalf("%+v", ev)
		}
		for _, r := range ev.Renditions {
			of := float64(len(all[r.Name].segment(1))*8) / 2
			if got := float64(r.Bandwidth); got < of/2 || got > 1.5*of+10_000 { // as its init segment says, or as it is
				t.Errorf("%s: %v bit/s, of segments of %v", r.Name, got, of)
			}
		}
	})
}
