package event

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"headwater/live"
)

// What is believed of a count, by what parents say one second after the other.
func TestBelief(t *testing.T) {
	for name, c := range map[string]struct {
		said []int64
		want int64
	}{
		"nothing lower is news":              {[]int64{5, 7, 6, 7, 5}, 7},
		"a parent that lags, and others":     {[]int64{5, 9, 8, 8, 8, 8, 8, 8, 9, 8, 8, 8, 8, 8, 8}, 9},
		"what nobody says any more":          {[]int64{5, 1 << 53, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11}, 11},
		"the most of what is said since":     {[]int64{1 << 53, 6, 9, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}, 9},
		"it was said for no more than that":  {[]int64{1 << 53, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6}, 1 << 53},
		"and from then on it goes as before": {[]int64{1 << 53, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 8, 7}, 8},
	} {
		var b belief
		for i, v := range c.said {
			b = b.hear(v, time.Unix(1000+int64(i), 0))
		}
		if b.value != c.want {
			t.Errorf("%s: %d, want %d", name, b.value, c.want)
		}
	}
}

// One answer of a broken parent does not stay: neither a live edge that cannot be,
// nor one that nobody else says, nor a sequence number of notifications.
func TestWhatABrokenParentTold(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ev := live.Default()
	ev.Start = start
	ev.Pipelines, ev.Renditions = []live.Pipeline{{Name: "a"}}, []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}}
	body, err := (&live.Config{Event: ev, Version: 1}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(body, "")
	if err != nil {
		t.Fatal(err)
	}
	e := newEvent(live.EventID{Tenant: "t", Name: "e"})
	e.config.Store(c)
	now := start.Add(100 * time.Second) // segment 50 is being filmed, 51 is its number
	say := func(edge, sequence int64, id string) {
		e.Hear(http.Header{
			live.HeaderEdge:          {strconv.FormatInt(edge, 10)},
			live.HeaderNotifications: {fmt.Sprintf(`%d, ad-break;id="%s";from=1`, sequence, id)},
		}, now, now)
	}
	expect := func(edge, sequence int64, set string) {
		t.Helper()
		got, _ := e.Heard()
		if e.Newest() != edge || got != sequence || e.notifications.set != set {
			t.Errorf("edge %d, want %d; sequence %d, want %d: %s", e.Newest(), edge, got, sequence, e.notifications.set)
		}
	}
	const far = 999_999_999_999_999
	say(49, 3, "a")
	expect(49, 3, `3, ad-break;id="a";from=1`)
	say(1<<53-1, 4, "b")
	expect(49, 4, `4, ad-break;id="b";from=1`) // no such number can be
	say(60, far, "x")
	expect(60, far, `999999999999999, ad-break;id="x";from=1`) // that could
	for range 11 {
		now = now.Add(time.Second)
		say(50, 5, "c")
	}
	expect(60, far, `999999999999999, ad-break;id="x";from=1`)
	now = now.Add(time.Second)
	say(50, 4, "b") // overtaken
	expect(50, 5, `5, ad-break;id="c";from=1`)
	say(51, 6, "d")
	expect(51, 6, `6, ad-break;id="d";from=1`)
}
