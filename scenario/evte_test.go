package scenario

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/cmaf"
	"headwater/ingest"
	"headwater/internal/mp4box"
	"headwater/live"
	"headwater/packager"
	"headwater/packager/clip"
)

var mp4 = mp4box.Box

// eventTrack is a track of event messages (ISO/IEC 23001-18): its init segment, and its
// sample of a second, in which a splice is said that is 5.5 s after decode time 0.
func eventTrack(section []byte) (header []byte, sample func(at int64) []byte) {
	zero := make([]byte, 100)
	header = slices.Concat(mp4("ftyp", "iso6", uint32(0), "iso6"), mp4("moov",
		mp4("mvhd", uint32(0), zero[:92], uint32(9)),
		mp4("trak", mp4("tkhd", uint32(3), zero[:8], uint32(1), zero[:68]), mp4("mdia",
			mp4("mdhd", uint32(0), zero[:8], uint32(1000), uint32(0), uint32(0x55c4_0000)),
			mp4("hdlr", uint32(0), uint32(0), "meta", zero[:13]),
			mp4("minf", mp4("stbl", mp4("stsd", uint32(0), uint32(1), mp4("evte", zero[:6], uint16(1))))))),
		mp4("mvex", mp4("trex", uint32(0), uint32(1), uint32(1), zero[:12]))))
	return header, func(at int64) []byte {
		data := mp4("emib", uint32(0), uint32(0), 5500-at, uint32(30_000), uint32(77), "urn:scte:scte35:2013:bin\x00", "1\x00", section)
		return cmaf.AppendChunk(nil, 1, &cmaf.Track{ID: 1, DefaultDescription: 1}, []cmaf.Sample{{Decode: at, Duration: 1000, Description: 1, Sync: true}}, func(int) []byte { return data })
	}
}

// TestEventTrackReachesViewers: an encoder sends picture and sound, and beside them a track
// of event messages that tells of a splice, by CMAF ingest; what viewers read anyway has it,
// at the frame that it is at.
func TestEventTrackReachesViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true)
		defer w.close()
		w.out = io.Discard
		w.event = live.Default()
		w.event.Start, w.event.DVRSeconds = time.Now().UTC(), 60
		w.event.Pipelines = []live.Pipeline{{Name: "a"}}
		w.event.Renditions = []live.Rendition{{Name: "v720", Type: live.Video, Bandwidth: 3_000_000}}
		if rec := w.control(http.MethodPut, "", string(must(w.event.MarshalJSON()))); rec.Code != http.StatusCreated {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		srv, err := ingest.New(ingest.Config{Packager: packager.Config{To: []string{"http://publish:80"}, EventURL: "http://deliver:80", EventWait: -1, Dial: w.net.Dial}})
		if err != nil {
			t.Fatal(err)
		}
		for host, h := range map[string]http.Handler{"publish:80": w.origin.Load().PublishHandler(), "deliver:80": w.origin.Load().DeliverHandler(), "ingest:80": srv} {
			s := w.serve(host, h)
			defer s.Close()
		}
		defer srv.Drain()
		post := func(name string, body io.Reader) {
			resp, err := w.client.Post("http://ingest:80/t/e/a/"+name, "video/mp4", body)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
				t.Errorf("%s: %s %s", name, resp.Status, b)
			}
		}
		time.Sleep(1234 * time.Millisecond)
		var encoder sync.WaitGroup
		encoder.Go(func() { // the clip in real time, its 720 lines alone
			r, pipe := io.Pipe()
			go func() {
				defer pipe.Close()
				parts := cmaf.NewReader(bytes.NewReader(clip.A))
				var track cmaf.Track
				for {
					p, err := parts.Next()
					if err != nil {
						return
					}
					if p.Init != nil {
						i := slices.IndexFunc(p.Init.Tracks, func(t cmaf.Track) bool { return t.Height == 720 })
						track = p.Init.Tracks[i]
						pipe.Write(must(p.Init.Single(p.Raw, track.ID)))
						continue
					}
					for _, f := range p.Fragment.Tracks {
						if f.ID == track.ID {
							time.Sleep(2 * time.Second)
							pipe.Write(cmaf.AppendChunk(nil, 1, &track, f.Samples, func(i int) []byte { return p.Data(f.Samples[i]) }))
						}
					}
				}
			}()
			post("Streams(v720.cmfv)", r)
		})
		encoder.Go(func() {
			header, sample := eventTrack(live.AppendSpliceInsert(nil, 7, true, 30*time.Second))
			post("Streams(meta.cmfm)", bytes.NewReader(header))
			for n := range int64(8) {
				time.Sleep(time.Second)
				post("Streams(meta.cmfm)", bytes.NewReader(sample(1000*n)))
			}
		})
		encoder.Wait()
		time.Sleep(3 * time.Second)
		get := func(path string) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			w.origin.Load().DeliverHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/t/e/"+path, nil))
			if rec.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
			}
			return rec
		}
		list := get("v720/media.m3u8")
		said, err := live.ParseNotifications(list.Header().Values(live.HeaderNotifications))
		if err != nil || len(said.Set) != 1 || said.Set[0].Type != live.TypeSCTE35Out || said.Set[0].Length != 30*time.Second || !strings.HasPrefix(said.Set[0].ID, "splice-7-") {
			t.Fatalf("viewers are told %+v, %v", said, err)
		}
		at := said.Set[0].At
		if off := at.Sub(w.event.Start); off%(100*time.Millisecond) != 0 && off < 5500*time.Millisecond {
			t.Errorf("%v after the start", off)
		}
		for what, want := range map[string]string{
			list.Body.String():                `#EXT-X-DATERANGE:ID="splice-7[^\n]*START-DATE="` + regexp.QuoteMeta(at.Format("2006-01-02T15:04:05.000Z")) + `"[^\n]*PLANNED-DURATION=30[^\n]*SCTE35-OUT=0xFC`,
			get("manifest.mpd").Body.String(): `(?s)<EventStream schemeIdUri="urn:scte:scte35:2014:xml\+bin".*<Event .*duration="30000"`,
		} {
			if !regexp.MustCompile(want).MatchString(what) {
				t.Errorf("%s is not in\n%s", want, what)
			}
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
