package book

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headwater/live"
	"headwater/store"
)

// someEvent is one with two pipelines, video v and w and audio a.
func someEvent(start time.Time) live.Event {
	ev := live.Default()
	ev.Start = start.UTC()
	ev.DVRSeconds = 600
	ev.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	ev.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 3_000_000}, {Name: "w", Type: live.Video, Bandwidth: 1_000_000},
		{Name: "a", Type: live.Audio, Bandwidth: 128_000, Language: "en"}}
	return ev
}

var someID = live.EventID{Tenant: "acme", Name: "final"}

// known is an event as a node knows it of which nothing is published.
func known(t *testing.T, id live.EventID) *Event {
	t.Helper()
	e, err := newEvent(id, ledger{base: Record{Config: live.Config{Event: someEvent(time.Now().Add(-time.Minute).Truncate(2 * time.Second))}}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestLedgersAgree: nodes that edit at once, hear of each other in any order, and
// write records anew, agree in the end. No version goes back at any of them, nor
// stays where there is an edit more; and what was filled at any node under what it
// gave out before it knew of an invalidation is dropped.
func TestLedgersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := int64(1e18)
		base := Record{Config: live.Config{Event: someEvent(time.Unix(1e9, 0)), Version: 5, FlushVersion: 1}, Life: 1}
		type node struct {
			ledger
			given int64 // the highest version that was given out
		}
		var stored []Edit
		record, token := base, store.Token{Time: at}
		nodes := make([]*node, 3)
		type filled struct {
			rendition string
			version   int64
		}
		var stale []filled
		given := func(n *node) {
			v := n.state().Config.Version
			if v < n.given {
				t.Fatalf("version %d after %d", v, n.given)
			}
			n.given = v
		}
		write := func(n *node, x Edit) {
			at++
			x.Life, x.Token = 1, store.Token{Time: max(at+int64(rapid.IntRange(-3, 3).Draw(t, "clock")), n.newest()+1), Nonce: uint64(len(stored) + 1)}
			stored = append(stored, x)
			n.ledger = n.with(x)
			given(n)
		}
		read := func(n *node, all bool) {
			old := n.state()
			l, before := n.ledger, len(n.edits)+len(n.base.Folded)
			if all || rapid.Bool().Draw(t, "record") {
				if token.Compare(l.token) > 0 {
					l = l.on(record, token)
				}
			}
			for _, x := range stored {
				if all || n.has(x.Token) || rapid.Bool().Draw(t, "edit") { // what was there is there
					l = l.with(x)
				}
			}
			n.ledger = l
			is := n.state()
			if given(n); len(n.edits)+len(n.base.Folded) > before && is.Config.Version == old.Config.Version && is.Notifications.Sequence == old.Notifications.Sequence {
				t.Fatalf("still version %d, with more edits", is.Config.Version)
			}
			for _, in := range is.Config.Invalidations {
				if !slices.ContainsFunc(old.Config.Invalidations, func(x live.Invalidation) bool { return x.ID == in.ID }) {
					stale = append(stale, filled{in.Rendition, old.Config.Version})
				}
			}
			if x, any := again(&old, &is); any {
				write(n, x)
			}
		}
		for i := range nodes {
			nodes[i] = &node{ledger{base: base, token: token}, 0}
			given(nodes[i])
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			n := nodes[rapid.IntRange(0, 2).Draw(t, "node")]
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				var x Edit
				x.Drop(live.Scope{Rendition: fmt.Sprint("r", len(stored))})
				write(n, x)
			case 1:
				write(n, Edit{Mask: &live.Mask{ID: fmt.Sprint("m", rapid.IntRange(0, 3).Draw(t, "mask"))}})
			case 2:
				write(n, Edit{Notify: []live.Notification{{Type: "x", ID: fmt.Sprint(len(stored)), From: 1}}})
			case 3:
				rec, _ := n.fold(time.Unix(0, at).Add(settled)) // not knowing all: as after a cut between regions
				at++
				t := store.Token{Time: max(at, n.newest()+1), Nonce: uint64(at)}
				n.ledger = n.on(rec, t)
				if t.Compare(token) > 0 {
					record, token = rec, t
				}
				given(n)
			default:
				read(n, false)
			}
		}
		for quiet := 0; quiet < 2; quiet++ {
			before := len(stored)
			for _, n := range nodes {
				read(n, true)
			}
			if len(stored) > before {
				quiet = 0
			}
			if len(stored) > 1000 {
				t.Fatal("there is no end of it")
			}
		}
		for _, n := range nodes {
			a, b := nodes[0].state(), n.state()
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			if string(x) != string(y) {
				t.Fatalf("%s\nand %s", x, y)
			}
			for _, f := range stale {
				if !drops(&b.Config, f.rendition, f.version) {
					t.Fatalf("%+v stays, with %+v", f, b.Config)
				}
			}
		}
	})
}

func drops(c *live.Config, rendition string, version int64) bool {
	return c.FlushVersion > version || slices.ContainsFunc(c.Invalidations, func(i live.Invalidation) bool {
		return i.Rendition == rendition && i.Version > version
	})
}

// TestTokenOfAnEdit: what a corrupt item has left.
func TestTokenOfAnEdit(t *testing.T) {
	want := store.NewTokens().Next()
	if got, err := editToken(editKey(someID, want)); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
}

// What an event is follows from its record and its edits, and changes neither: others read
// them at the same time.
func TestStateLeavesItsEditsAlone(t *testing.T) {
	ev := someEvent(time.Now())
	other := ev
	other.Renditions = slices.Clone(ev.Renditions)
	l := ledger{base: Record{Config: live.Config{Event: ev}}, edits: []Edit{
		{Token: store.Token{Time: 1}, Learn: &live.Rendition{Name: "v", Codecs: "avc1.64001f"}},
		{Token: store.Token{Time: 2}, Learn: &live.Rendition{Name: "w", Codecs: "avc1.640015"}},
		{Token: store.Token{Time: 3}, Configure: &other},
		{Token: store.Token{Time: 4}, Learn: &live.Rendition{Name: "v", FrameRate: "30"}},
	}}
	rec := l.state()
	for i, want := range []string{"avc1.64001f 30", "avc1.640015 "} {
		if r := rec.Config.Renditions[i]; r.Codecs+" "+r.FrameRate != want {
			t.Errorf("%s: %q %q", r.Name, r.Codecs, r.FrameRate)
		}
		if ev.Renditions[i].Codecs != "" || other.Renditions[i].Codecs+other.Renditions[i].FrameRate != "" {
			t.Errorf("what was given has changed: %+v, %+v", ev.Renditions[i], other.Renditions[i])
		}
	}
	if again := l.state(); !reflect.DeepEqual(again, rec) {
		t.Errorf("%+v is another time %+v", rec, again)
	}
}
