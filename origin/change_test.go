package origin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/origin/control"
)

// effectOf is what a dry run says, and it holds that nothing changed.
func (r *rig) effectOf(method, path, body string) control.Effect {
	r.Helper()
	before := r.control("GET", "", "").Body.String() + r.control("GET", "/notifications", "").Body.String()
	var got control.Effect
	if err := json.Unmarshal(r.want(r.control(method, path, body), 200, "").Body.Bytes(), &got); err != nil || !got.DryRun {
		r.Fatalf("%s %s: %v, %+v", method, path, err, got)
	}
	if after := r.control("GET", "", "").Body.String() + r.control("GET", "/notifications", "").Body.String(); after != before {
		r.Errorf("%s %s changed the event: %s", method, path, after)
	}
	return got
}

// TestMaskSaysWhatItTakesOut: what would black out by accident is refused, with
// what there is to name.
func TestMaskSaysWhatItTakesOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for _, c := range []struct {
			path, body string
			status     int
			code       string
			detail     []string
		}{
			{"/masks", `{"from": 5}`, 400, "bad-request", []string{"pipeline:", `"all": true`}},
			{"/masks", `{"rendition": "v", "from": 5}`, 400, "bad-request", []string{"pipeline:"}},
			{"/masks", `{"all": false, "from": 5}`, 400, "bad-request", []string{"pipeline:"}},
			{"/masks", `{"all": true, "pipeline": "a", "from": 5}`, 400, "bad-request", []string{"all:"}},
			{"/masks", `{"all": true, "region": "east", "from": 5}`, 400, "bad-request", []string{"all:"}},
			{"/masks", `{"pipeline": "a"}`, 400, "bad-request", []string{"from:", "now"}},
			{"/masks", `{"all": true}`, 400, "bad-request", []string{"from:"}},
			{"/masks", `{"pipeline": "c", "from": 5}`, 400, "bad-request", []string{"pipeline:", `"c"`, "a, b"}},
			{"/masks", `{"region": "north", "from": 5}`, 400, "bad-request", []string{"region:", `"north"`, "east, west"}},
			{"/masks", `{"pipeline": "a", "rendition": "v9", "from": 5}`, 400, "bad-request", []string{"rendition:", `"v9"`, "v, w, a"}},
			{"/masks", `{"pipeline": "a", "from": "soon"}`, 400, "bad-request", []string{"from:", "-10m", "2026-"}},
			{"/masks", `{"pipeline": "a", "from": 1.5}`, 400, "bad-request", []string{"from:"}},
			{"/masks", `{"pipeline": "a", "from": true}`, 400, "bad-request", []string{"from:"}},
			{"/masks", `{"pipeline": "a", "from": "now", "to": "-10s"}`, 400, "bad-request", []string{"to:"}},
			{"/masks?dryrun=true", `{"pipeline": "a", "from": 5}`, 400, "bad-request", []string{`"dryrun"`, "dry_run", "yes"}},
			{"/masks?dry_run=maybe", `{"pipeline": "a", "from": 5}`, 400, "bad-request", []string{"dry_run:"}},
			{"/masks?replace=true", `{"pipeline": "a", "from": 5}`, 400, "bad-request", []string{`"replace"`}},
			{"/invalidations", `{"pipeline": "c", "from": 5}`, 400, "bad-request", []string{"pipeline:", "a, b"}},
			{"/invalidations", `{"rendition": "x", "from": 5}`, 400, "bad-request", []string{"rendition:", "v, w, a"}},
			{"/flush?dry-run=true", ``, 400, "bad-request", []string{`"dry-run"`, "dry_run"}},
		} {
			p := problemOf(r.want(r.control("POST", c.path, c.body), c.status, c.code))
			for _, s := range c.detail {
				if !strings.Contains(p.Detail, s) {
					t.Errorf("%s %s: %q does not say %q", c.path, c.body, p.Detail, s)
				}
			}
		}
		if v := r.o.book.Get(testID).View().Config(); v.Version != 1 {
			t.Errorf("refusals made it version %d", v.Version)
		}
	})
}

// TestMasksThatLeaveNothing: those that together leave no pipeline need a word more.
func TestMasksThatLeaveNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.want(r.control("POST", "/masks", `{"id": "1", "pipeline": "a", "from": 100, "to": 200}`), 200, "")
		r.want(r.control("POST", "/masks", `{"id": "2", "region": "west", "from": 50, "to": 99}`), 200, "")
		r.want(r.control("POST", "/masks", `{"id": "3", "pipeline": "b", "from": 201}`), 200, "")
		p := problemOf(r.want(r.control("POST", "/masks", `{"pipeline": "b", "rendition": "w", "from": 150, "to": 150}`), 409, "blackout"))
		for _, s := range []string{"150", "of w", "?yes=true"} {
			if !strings.Contains(p.Detail, s) {
				t.Errorf("%q does not say %q", p.Detail, s)
			}
		}
		if p = problemOf(r.want(r.control("POST", "/masks", `{"pipeline": "a", "from": 150}`), 409, "blackout")); !strings.Contains(p.Detail, "segment 201 of v") {
			t.Error(p.Detail)
		}
		// One in place of another counts as what is left then.
		r.want(r.control("POST", "/masks", `{"id": "1", "pipeline": "b", "from": 300}`), 200, "")
		r.want(r.control("POST", "/masks", `{"id": "2", "pipeline": "a", "from": 1}`), 409, "blackout")
		r.want(r.control("POST", "/masks?yes=true", `{"id": "4", "pipeline": "a", "from": 1}`), 200, "")
		r.want(r.control("POST", "/masks", `{"id": "5", "all": true, "from": 1, "to": 2}`), 200, "")

		var list struct{ Masks []live.Mask }
		if err := json.Unmarshal(r.want(r.control("GET", "/masks", ""), 200, "").Body.Bytes(), &list); err != nil || len(list.Masks) != 5 || !list.Masks[4].All {
			t.Errorf("%v, %+v", err, list)
		}
		r.want(r.control("DELETE", "/masks/5", ""), 200, "")
		r.want(r.control("DELETE", "/masks/5", ""), 404, "not-found")
	})
}

// TestMoments: from and to may be times wherever they are asked for.
func TestMoments(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		now := r.tl.At(time.Now())
		var m live.Mask
		ask := func(path, body string, v any) {
			t.Helper()
			if err := json.Unmarshal(r.want(r.control("POST", path, body), 200, "").Body.Bytes(), v); err != nil {
				t.Fatal(err)
			}
		}
		if ask("/masks", `{"pipeline": "a", "from": "now"}`, &m); m.From != now || m.To != 0 {
			t.Errorf("%+v, now is %d", m, now)
		}
		if ask("/masks", fmt.Sprintf(`{"pipeline": "a", "from": "-10s", "to": %q}`, r.tl.Start(now+3).Format(time.RFC3339)), &m); m.From != now-5 || m.To != now+3 {
			t.Errorf("%+v, now is %d", m, now)
		}
		var in live.Invalidation
		if ask("/invalidations", `{"from": "-1h", "to": "now"}`, &in); in.From != 1 || in.To != now {
			t.Errorf("%+v, now is %d", in, now)
		}
		var set struct{ Notifications []live.Notification }
		if ask("/notifications", `{"type": "ad-break", "id": "b", "from": "+30s", "to": "+60s"}`, &set); set.Notifications[0].From != now+15 || set.Notifications[0].To != now+30 {
			t.Errorf("%+v, now is %d", set, now)
		}
		r.want(r.control("POST", "/notifications", `{"type": "ad-break", "id": "b", "from": "later"}`), 400, "bad-request")
		r.want(r.control("GET", "/segments?from=-4s&to=now", ""), 200, "")
		if w := r.control("GET", "/segments?from=-4s&to=now", ""); strings.Count(w.Body.String(), `"number"`) != 9 {
			t.Errorf("%s", w.Body)
		}
		if w := r.control("GET", "/segments?to=2", ""); strings.Count(w.Body.String(), `"number"`) != 6 {
			t.Errorf("up to 2: %s", w.Body)
		}
		if w := r.control("GET", "/segments?from=-4s&to=now&rendition=w", ""); strings.Count(w.Body.String(), `"number"`) != 3 {
			t.Errorf("%s", w.Body)
		}
		r.want(r.control("GET", "/segments?from=yesterday", ""), 400, "bad-request")
		r.want(r.control("GET", "/segments?rendition=x", ""), 400, "bad-request")
		if p := problemOf(r.want(r.control("GET", "/segments?from=-10s&to=-40s", ""), 400, "bad-request")); !strings.HasPrefix(p.Detail, "to: ") {
			t.Errorf("%+v", p)
		}
	})
}

// TestRangesOutsideTheEvent: of a range in which no segment lies none is touched,
// and it is said why.
func TestRangesOutsideTheEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var end time.Time
		r := newRig(t, Config{}, func(ev *live.Event) { ev.End = ev.Start.Add(40 * time.Minute); end = ev.End })
		before := r.tl.Start(1).Add(-time.Second).Format(time.RFC3339)
		after := end.Add(time.Second).Format(time.RFC3339)
		for _, c := range []struct{ bounds, want string }{
			{`"from": "1999-01-01T00:00:00Z", "to": "1999-01-02T00:00:00Z"`, "to: 1999-01-02T00:00:00.000Z is before the event, which starts at"},
			{`"from": 0, "to": "` + before + `"`, "to: "},
			{`"from": "` + after + `"`, "from: "},
			{`"from": 1201`, "from: segment 1201 is after the event, which ends at"},
			{`"from": "` + before + `", "to": "` + after + `"`, ""},
			{`"from": 1, "to": 1`, ""},
			{`"from": 1200`, ""},
		} {
			for path, rest := range map[string]string{"/masks?dry_run=true": `"pipeline": "a"`, "/invalidations?dry_run=true": `"pipeline": "a"`, "/notifications?dry_run=true": `"type": "x", "id": "y"`} {
				w := r.control("POST", path, "{"+rest+", "+c.bounds+"}")
				if p := problemOf(w); (c.want == "") != (w.Code == 200) || w.Code != 200 && (w.Code != 400 || !strings.HasPrefix(p.Detail, c.want)) {
					t.Errorf("%s %s: %d %s, want %q", path, c.bounds, w.Code, w.Body, c.want)
				}
			}
		}
		for _, q := range []string{"?to=" + before, "?from=" + after, ""} {
			var list control.SegmentList
			if err := json.Unmarshal(r.want(r.control("GET", "/segments"+q, ""), 200, "").Body.Bytes(), &list); err != nil || len(list.Segments) != 0 || !strings.Contains(list.Reason, "event") {
				t.Errorf("%s: %v, %+v", q, err, list)
			}
		}
	})
}

// TestPutKeepsWhatIsInUse: pipelines and renditions that have published are
// dropped only by who says so.
func TestPutKeepsWhatIsInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		put := func(query string, status int, code string, edit func(ev *live.Event)) *live.Problem {
			t.Helper()
			ev := r.o.book.Get(testID).View().Config().Event
			ev.Pipelines, ev.Renditions = slices.Clone(ev.Pipelines), slices.Clone(ev.Renditions)
			edit(&ev)
			b, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			return problemOf(r.want(r.control("PUT", query, string(b)), status, code))
		}
		withoutB := func(ev *live.Event) { ev.Pipelines = ev.Pipelines[:1] }
		withoutW := func(ev *live.Event) { ev.Renditions = slices.Delete(ev.Renditions, 1, 2) }
		withB := func(ev *live.Event) { ev.Pipelines = append(ev.Pipelines, live.Pipeline{Name: "b", Region: "west"}) }
		put("", 200, "", withoutB) // nothing is published yet
		put("", 200, "", withB)
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n-1, take{}, 201)
		put("", 200, "", withoutB) // still nothing by b
		put("", 200, "", withB)
		put("", 200, "", withoutW)
		put("", 200, "", func(ev *live.Event) {
			ev.Renditions = append(ev.Renditions, live.Rendition{Name: "w", Type: live.Video, Bandwidth: 1})
		})
		r.putSegment("b", "w", n-1, take{}, 201)
		r.putSegment("b", "v", n, take{}, 201)
		p := put("", 409, "in-use", withoutB)
		for _, s := range []string{`pipeline "b"`, "2 segments", fmt.Sprintf("from %d to %d", n-1, n), "?replace=true"} {
			if !strings.Contains(p.Detail, s) {
				t.Errorf("%q does not say %q", p.Detail, s)
			}
		}
		if p := put("", 409, "in-use", withoutW0); !strings.Contains(p.Detail, `rendition "w" has published 1 segments`) {
			t.Error(p.Detail)
		}
		put("?replace=false", 409, "in-use", withoutB)
		put("", 200, "", func(ev *live.Event) { slices.Reverse(ev.Pipelines) }) // an order is no loss
		put("?replace=true", 200, "", func(ev *live.Event) { ev.Pipelines = ev.Pipelines[1:] })
		// What caches hold of the dropped one can still be named.
		r.want(r.control("POST", "/invalidations", `{"pipeline": "b"}`), 200, "")
		r.want(r.control("POST", "/invalidations", `{"pipeline": "c"}`), 400, "bad-request")
	})
}

func withoutW0(ev *live.Event) {
	ev.Renditions = slices.DeleteFunc(ev.Renditions, func(r live.Rendition) bool { return r.Name == "w" })
}

// TestDryRun: each verb says what it would touch, and touches nothing.
func TestDryRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		for i := range live.Number(4) {
			r.putSegment("a", "v", n-i, take{}, 201)
		}
		r.putSegment("b", "v", n, take{}, 201)
		r.putSegment("b", "v", n-1, take{}, 201)
		time.Sleep(5 * time.Second) // all are past
		check := func(what string, e control.Effect, want string, nothing bool) {
			t.Helper()
			got := ""
			for _, x := range e.Renditions {
				got += fmt.Sprintf("%s: %d (%d to %d) %v -> %v, %v -> %v\n", x.Rendition, x.Segments, x.From-n, x.To-n, x.Serves, x.ThenServes, x.Next, x.ThenNext)
			}
			if got != want || e.NothingLeft != nothing {
				t.Errorf("%s: nothing left %v:\n%swant\n%s", what, e.NothingLeft, got, want)
			}
		}
		gone := fmt.Sprintf("v: 4 (-3 to 0) map[a:4] -> map[], [a b] -> []\nw: 0 (%d to %d) map[] -> map[], [a b] -> []\na: 0 (%d to %d) map[] -> map[], [a b] -> []\n", -n, -n, -n, -n)
		check("mask a", r.effectOf("POST", "/masks?dry_run=true", fmt.Sprintf(`{"pipeline": "a", "rendition": "v", "from": %d}`, n-2)),
			"v: 3 (-2 to 0) map[a:3] -> map[b:2], [a b] -> [b]\n", true)
		check("mask a where b is", r.effectOf("POST", "/masks?dry_run=true", fmt.Sprintf(`{"pipeline": "a", "rendition": "v", "from": %d}`, n-1)),
			"v: 2 (-1 to 0) map[a:2] -> map[b:2], [a b] -> [b]\n", false)
		check("mask b", r.effectOf("POST", "/masks?dry_run=true", fmt.Sprintf(`{"pipeline": "b", "rendition": "v", "from": %d, "to": %d}`, n, n)),
			"v: 1 (0 to 0) map[a:1] -> map[a:1], [a b] -> [a b]\n", false)
		check("mask all", r.effectOf("POST", "/masks?dry_run=true", fmt.Sprintf(`{"all": true, "from": %d}`, n)),
			fmt.Sprintf("v: 1 (0 to 0) map[a:1] -> map[], [a b] -> []\nw: 0 (%d to %d) map[] -> map[], [a b] -> []\na: 0 (%d to %d) map[] -> map[], [a b] -> []\n", -n, -n, -n, -n), true)
		check("mask all of what is filmed now", r.effectOf("POST", "/masks?dry_run=true", `{"all": true, "from": "now", "to": "now"}`), strings.Replace(gone, "v: 4 (-3 to 0) map[a:4]", fmt.Sprintf("v: 0 (%d to %d) map[]", -n, -n), 1), true)
		r.want(r.control("POST", "/masks", `{"id": "later", "pipeline": "b", "from": "+1h"}`), 200, "")
		check("mask what is left, later", r.effectOf("POST", "/masks?dry_run=true", `{"pipeline": "a", "rendition": "a", "from": "+2h", "to": "+2h"}`), fmt.Sprintf("a: 0 (%d to %d) map[] -> map[], [a] -> []\n", -n, -n), true)
		r.want(r.control("DELETE", "/masks/later", ""), 200, "")
		check("flush", r.effectOf("POST", "/flush?dry_run=true", ""), "v: 4 (-3 to 0) map[a:4] -> map[a:4], [a b] -> [a b]\n", false)
		check("invalidate", r.effectOf("POST", "/invalidations?dry_run=true", fmt.Sprintf(`{"pipeline": "b", "from": %d}`, n)), "v: 1 (0 to 0) map[a:1] -> map[a:1], [a b] -> [a b]\n", false)
		check("delete", r.effectOf("DELETE", "?dry_run=true", ""), gone, true)
		put := func(edit func(ev *live.Event)) control.Effect {
			t.Helper()
			ev := r.o.book.Get(testID).View().Config().Event
			edit(&ev)
			b, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			return r.effectOf("PUT", "?dry_run=true&replace=true", string(b))
		}
		check("end", put(func(ev *live.Event) { ev.End = time.Now() }), strings.Replace(gone, "v: 4 (-3 to 0) map[a:4] -> map[]", fmt.Sprintf("v: 0 (%d to %d) map[] -> map[]", -n, -n), 1), true)
		check("end before", put(func(ev *live.Event) { ev.End = r.tl.Start(n) }), strings.Replace(gone, "v: 4 (-3 to 0) map[a:4] -> map[]", "v: 1 (0 to 0) map[a:1] -> map[]", 1), true)
		check("order", put(func(ev *live.Event) { ev.Pipelines = []live.Pipeline{ev.Pipelines[1], ev.Pipelines[0]} }),
			fmt.Sprintf("v: 2 (-1 to 0) map[a:2] -> map[b:2], [a b] -> [b a]\nw: 0 (%d to %d) map[] -> map[], [a b] -> [b a]\na: 0 (%d to %d) map[] -> map[], [a b] -> [b a]\n", -n, -n, -n, -n), false)

		r.want(r.control("POST", "/masks", fmt.Sprintf(`{"id": "m", "pipeline": "a", "from": %d, "to": %d}`, n-1, n)), 200, "")
		check("unmask", r.effectOf("DELETE", "/masks/m?dry_run=true", ""), "v: 2 (-1 to 0) map[b:2] -> map[a:2], [a b] -> [a b]\n", false)
		check("notify", r.effectOf("POST", "/notifications?dry_run=true", `{"type": "x", "id": "1", "from": 1}`), "", false)
		r.want(r.control("DELETE", "/masks/none?dry_run=true", ""), 404, "not-found")
		r.want(serve(r.ctl, request("DELETE", "/v1/events/acme/none?dry_run=true", nil)), 404, "no-such-event")
		r.want(serve(r.ctl, request("POST", "/v1/events/acme/none/flush?dry_run=true", nil)), 404, "no-such-event")
		b, _ := json.Marshal(testEvent())
		r.want(serve(r.ctl, request("PUT", "/v1/events/acme/none?dry_run=true", strings.NewReader(string(b)))), 200, "")
		if r.o.book.Get(live.EventID{Tenant: "acme", Name: "none"}) != nil {
			t.Error("a dry run created an event")
		}
	})
}

// TestPutSaysWhatChanges: what a file that is older than the event would take
// away is named, and an end that has passed is not taken back by accident.
func TestPutSaysWhatChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		file := r.o.book.Get(testID).View().Config().Event
		with := func(edit func(ev *live.Event)) string {
			ev := file
			ev.Pipelines, ev.Renditions = slices.Clone(ev.Pipelines), slices.Clone(ev.Renditions)
			edit(&ev)
			b, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		same := with(func(*live.Event) {})
		ends := func(at time.Time) string { return with(func(ev *live.Event) { ev.End = at.UTC() }) }
		check := func(body, result, changes, warnings string) {
			t.Helper()
			e := r.effectOf("PUT", "?dry_run=true", body)
			if e.Result != result || !strings.HasPrefix(strings.Join(e.Changes, "; "), changes) || changes == "" && e.Changes != nil || !strings.Contains(strings.Join(e.Warnings, "; "), warnings) || warnings == "" && e.Warnings != nil {
				t.Errorf("%s %q, warns %q; want %s %q, %q", e.Result, e.Changes, e.Warnings, result, changes, warnings)
			}
		}
		check(same, "unchanged", "", "")
		check(with(func(ev *live.Event) { slices.Reverse(ev.Pipelines) }), "changed", "pipelines: their order a, b becomes b, a", "")
		check(with(func(ev *live.Event) { ev.Pipelines[1].Name = "c" }), "changed", "pipelines: c is added; pipelines: b is dropped", "")
		check(with(func(ev *live.Event) { ev.Renditions[0].Bandwidth = 7 }), "changed", "renditions: {", "")
		check(with(func(ev *live.Event) { ev.DVRSeconds = 77 }), "changed", "dvr_seconds 600 becomes 77", "")
		end := time.Now().Add(time.Hour)
		check(ends(end), "changed", "end is set to ", "")
		r.want(r.control("PUT", "", ends(end)), 200, "")
		check(same, "changed", "end "+end.UTC().Format(live.TimeLayout)+" is taken away", "takes the end away")
		r.want(r.control("PUT", "", same), 200, "") // no viewer has seen it
		r.want(r.control("PUT", "", ends(end)), 200, "")
		time.Sleep(time.Hour)
		for _, body := range []string{same, ends(end.Add(time.Second))} {
			check(body, "changed", "end ", "do not come back")
			if p := problemOf(r.want(r.control("PUT", "", body), 409, "blackout")); !strings.Contains(p.Detail, "?yes=true") {
				t.Error(p.Detail)
			}
		}
		check(ends(end.Add(-time.Minute)), "changed", "end ", "")
		check(ends(end), "unchanged", "", "")
		r.want(r.control("PUT", "", ends(end)), 200, "")
		r.want(r.control("PUT", "?yes=true", same), 200, "")
		r.want(r.control("DELETE", "", ""), 204, "")
		var e control.Effect
		if err := json.Unmarshal(r.want(r.control("PUT", "?dry_run=true", same), 200, "").Body.Bytes(), &e); err != nil || e.Result != "created" {
			t.Errorf("%v, %+v", err, e)
		}
	})
}

// TestOnAir: what is on air is not hurt without saying so; before it begins,
// once it is over, and where nothing came for long, nobody is watching.
func TestOnAir(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		ending := func(at time.Time) string {
			ev := r.o.book.Get(testID).View().Config().Event
			ev.End = at.UTC()
			b, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		r.want(r.control("POST", "/flush", ""), 200, "") // nothing is published yet
		r.putInits("a")
		r.putSegment("a", "v", r.next(), take{}, 201)
		for _, c := range []struct{ method, path, body string }{
			{"DELETE", "", ""}, {"POST", "/flush", ""}, {"PUT", "", ending(time.Now())}, {"DELETE", "?yes=false", ""},
		} {
			p := problemOf(r.want(r.control(c.method, c.path, c.body), 409, "blackout"))
			if !strings.Contains(p.Detail, "on air") || !strings.Contains(p.Detail, "?yes=true") {
				t.Errorf("%s %s: %s", c.method, c.path, p.Detail)
			}
			query := "?dry_run=true"
			if strings.Contains(c.path, "?") {
				query = "&dry_run=true"
			}
			r.want(r.control(c.method, c.path+query, c.body), 200, "")
		}
		r.want(r.control("POST", "/flush?yes=true", ""), 200, "")
		r.want(r.control("PUT", "", ending(time.Now().Add(10*time.Minute))), 200, "") // there is time to take it back
		r.want(r.control("PUT", "?yes=true", ending(time.Now())), 200, "")
		r.want(r.control("PUT", "", ending(time.Now().Add(-time.Second))), 409, "blackout") // its last segments are still on their way
		time.Sleep(time.Minute)
		r.want(r.control("POST", "/flush", ""), 200, "")
		r.want(r.control("DELETE", "", ""), 204, "")
	})
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		r.putSegment("a", "v", r.next(), take{}, 201)
		time.Sleep(20 * time.Second)
		r.want(r.control("DELETE", "", ""), 409, "blackout") // still of the live window
		time.Sleep(20 * time.Second)
		r.want(r.control("DELETE", "", ""), 204, "")
	})
}
