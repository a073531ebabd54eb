package origin

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"headwater/listen/plain"
	"headwater/live"
	"headwater/store/memory"
)

// refuse has a request refused as it is before net/http would have it; nil where that has to.
func (r *rig) refuse(head string) *http.Response {
	r.Helper()
	h, kind := plain.Begin([]byte(head))
	for kind == plain.Plain && h.Next() {
	}
	if kind != plain.Plain || h.Kind() != plain.Plain {
		return nil
	}
	b := r.o.Refuse(nil, &h)
	if len(b) == 0 {
		return nil
	}
	br := bufio.NewReader(bytes.NewReader(b))
	resp, err := http.ReadResponse(br, &http.Request{Method: h.Method})
	if err != nil {
		r.Fatalf("%q: %v: %q", head, err, b)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || br.Buffered() > 0 {
		r.Fatalf("%q: %v, %d bytes more: %q", head, err, br.Buffered(), b)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

// answered has the handler answer it, as net/http would give it the request.
func (r *rig) answered(head string) *httptest.ResponseRecorder {
	r.Helper()
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		r.Fatalf("%q: %v", head, err)
	}
	req.RemoteAddr = "192.0.2.1:1"
	return serve(r.del, req)
}

// difference says how two answers differ; "": they do not, but for when they were given.
func difference(early *http.Response, late *httptest.ResponseRecorder) string {
	body, _ := io.ReadAll(early.Body)
	a, b := early.Header.Clone(), late.Header().Clone()
	given := httptest.NewRecorder()
	maps.Copy(given.Header(), a)
	life := lifetime(given) - lifetime(late)
	for _, h := range []http.Header{a, b} {
		h.Del("Date")
		h.Del("Cache-Control")
	}
	switch {
	case early.StatusCode != late.Code:
		return fmt.Sprintf("%d, net/http %d", early.StatusCode, late.Code)
	case !maps.EqualFunc(a, b, slices.Equal[[]string]):
		return fmt.Sprintf("%v, net/http %v", a, b)
	case string(body) != late.Body.String():
		return fmt.Sprintf("%s, net/http %s", body, late.Body)
	case life.Abs().Seconds() > 30:
		return fmt.Sprintf("kept for %v longer", life)
	}
	return ""
}

// TestRefusalsBeforeNetHTTP: what memory refuses is refused before net/http has it, in the same words and
// counters, and nothing else is.
func TestRefusalsBeforeNetHTTP(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		tokens := testEvent()
		tokens.Viewers = &live.Viewers{Tokens: true}
		r.id.Name = "closed"
		r.create(tokens)
		r.id.Name = "told"
		r.create(testEvent())
		r.want(r.control("POST", "/notifications", `{"id":"x","type":"slate","from":1,"to":2}`), 200, "")
		r.id = testID
		for _, c := range []struct {
			path  string
			early bool
		}{
			{"/acme/final/v/99999999.m4s", true}, {"/acme/final/v/0.m4s", true}, {fmt.Sprintf("/acme/final/v/%d.m4s", n+5), true},
			{"/acme/final/v/" + live.SegmentName(n) + "?early=no", false}, {fmt.Sprintf("/acme/final/v/%d.m4s", r.tl.First()-1), true},
			{"/acme/told/v/99999999.m4s", true}, {"/acme/told/none/1.m4s", true},
			{"/acme/final/none/1.m4s", true}, {"/acme/final/none/init.mp4", true}, {"/acme/final/none/media.m3u8", true}, {"/acme/final/v/init.mp4", false},
			{"/acme/final/v/t1.m4s", true}, {"/acme/final/v/t99999999999999.m4s", true}, {"/acme/final/none/t1.m4s", true},
			{"/acme/other/v/1.m4s", true}, {"/acme/other/event.json", true}, {"/acme/other/main.m3u8", true}, {"/nobody/final/v/1.m4s", true}, {"/nobody/final/manifest.mpd", true},
			{"/acme/final/event.json", false}, {"/acme/final/main.m3u8", false}, {"/acme/final/v/media.m3u8", false},
			{"/acme/closed/v/99999999.m4s", false}, {"/acme/closed/none/1.m4s", false}, {"/acme/closed/event.json", false},
			{"/", true}, {"/nonsense", true}, {"//acme/final/event.json", true}, {"/acme/final/%65vent.json", true}, {"/acme/final/v/%31.m4s", true}, {"/acme%2ffinal/event.json", true},
			{"/acme/final/v/007.m4s", true}, {"/acme/final/v/1.M4S", true}, {"/acme/final/v/99999999999999999999.m4s", true}, {`/acme/final/"<&>\^{|}` + "`#a", true},
			{"/acme/x/../final/event.json", true}, {"/acme/final/" + strings.Repeat("x", 2000), true},
			{"/acme/final/event.json%zz", false}, {"/acme/final/event.json%0", false}, {"*", false}, {"http://x/acme/other/event.json", false},
			{"/time", false}, {"/time?x", false}, {"/tim%65", true}, {"/healthz", false}, {"/readyz", false}, {"/metrics", false}, {"/metrics?x=y", false}, {"/%68ealthz", true}, {"/healthz/", true},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				for _, more := range []string{"", "Live-Names: ?\r\n", "Range: bytes=0-1\r\nIf-None-Match: *\r\nUser-Agent: x\r\n"} {
					for _, query := range []string{"", "?CMCD=br%3D1"} {
						head := method + " " + c.path + query + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n"
						before := r.refusals()
						early := r.refuse(head)
						if (early != nil) != c.early {
							t.Errorf("%q: %v, want %v", head, early, c.early)
						}
						if early == nil {
							continue
						}
						counted := r.refusals()
						if d := difference(early, r.answered(head)); d != "" {
							t.Errorf("%q: %s", head, d)
						}
						if by, also := since(before, counted), since(counted, r.refusals()); by != also || by == "" {
							t.Errorf("%q: counted %s, net/http %s", head, by, also)
						}
					}
				}
			}
		}
		r.o.Drain()
		if early := r.refuse("GET /acme/final/none/1.m4s HTTP/1.1\r\nHost: x\r\n\r\n"); early != nil {
			t.Errorf("while it drains: %v", early.Status)
		}
	})
}

// refusals are the counters of what is refused.
func (r *rig) refusals() map[string]string {
	m := make(map[string]string)
	for line := range strings.SplitSeq(r.metricsText(), "\n") {
		if strings.HasPrefix(line, "headwater_origin_refusals_total") || strings.HasPrefix(line, "headwater_origin_places_total") {
			name, n, _ := strings.Cut(line, "} ")
			m[name] = n
		}
	}
	return m
}

// since is which of them have changed.
func since(before, after map[string]string) string {
	var changed []string
	for name, n := range after {
		if before[name] != n {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return strings.Join(changed, " ")
}

// TestRefusalsOfPrivateEvents: where all are private, nothing of an event is told before net/http has asked
// who wants to know.
func TestRefusalsOfPrivateEvents(t *testing.T) {
	r := newRig(t, Config{Private: true, Access: guard(t)})
	for path, early := range map[string]bool{"/acme/final/v/99999999.m4s": false, "/acme/final/none/1.m4s": false, "/acme/other/v/1.m4s": true, "/nobody/final/v/1.m4s": true} {
		head := "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"
		got := r.refuse(head)
		if (got != nil) != early {
			t.Errorf("%s: %v", path, got)
		}
		if got != nil {
			if d := difference(got, r.answered(head)); d != "" {
				t.Errorf("%s: %s", path, d)
			}
		}
	}
}

// TestRefusalsTakeNoMemory: of names never seen there may be very many.
func TestRefusalsTakeNoMemory(t *testing.T) {
	r := newRig(t, Config{})
	r.putInits("a")
	b := make([]byte, 0, 4<<10)
	for _, path := range []string{"/acme/final/v/99999999.m4s", "/acme/final/v/0.m4s", "/acme/final/none/1.m4s", "/acme/other/v/1.m4s", "/nobody/final/v/1.m4s", "/acme/final/v/%31.m4s", "/acme/final/v/007.m4s"} {
		head := []byte("GET " + path + " HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n")
		if n := testing.AllocsPerRun(100, func() {
			h, _ := plain.Begin(head)
			for h.Next() {
			}
			if b = r.o.Refuse(b[:0], &h); len(b) == 0 {
				t.Fatal(path)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

// FuzzRefuse: whatever is asked for in whatever head, who is refused before net/http has his request is told
// what its handler would tell him.
func FuzzRefuse(f *testing.F) {
	for _, s := range [][2]string{
		{"/acme/final/v/99999999.m4s", ""}, {"/acme/other/v/1.m4s", "Live-Names: ?\r\n"}, {"/nobody/x/event.json", "Live-Names:\r\n"}, {"/acme/final/none/1.m4s?a=b", "Range: bytes=0-\r\n"},
		{"/acme/final/v/%31.m4s", ""}, {`/acme/"<>/x`, ""}, {"/acme/final/v/t1.m4s", ""}, {"/healthz", ""}, {"/time", ""}, {"/acme/final/v/init.99.mp4", "Connection: close\r\n"},
	} {
		f.Add(s[0], s[1])
	}
	o, err := New(f.Context(), Config{Store: memory.New(memory.Options{})})
	if err != nil {
		f.Fatal(err)
	}
	ev := testEvent()
	config, err := ev.MarshalJSON()
	if err != nil {
		f.Fatal(err)
	}
	if w := serve(o.ControlHandler(), request("PUT", eventsPath+"/acme/final", bytes.NewReader(config))); w.Code != 201 {
		f.Fatal(w.Code, w.Body)
	}
	f.Fuzz(func(t *testing.T, target, fields string) {
		r := &rig{T: t, o: o, del: o.DeliverHandler()}
		head := "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n"
		if early := r.refuse(head); early != nil {
			if d := difference(early, r.answered(head)); d != "" {
				t.Errorf("%q: %s", head, d)
			}
		}
	})
}
