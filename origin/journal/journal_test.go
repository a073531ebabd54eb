package journal

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/memory"
)

func newJournal(t *testing.T, s store.Store) *Journal {
	ev := live.Default()
	ev.Start = time.Now().Add(-time.Minute)
	return New(Config{Store: s, Reader: s, Tokens: store.NewTokens(), Node: "n", Timeout: time.Minute, Log: slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry(), Timeline: func(Life) (live.Timeline, bool) { return ev.Timeline(), true }})
}

// TestVerdictsAreNoEntries: an origin of a version that knows no verdicts reads a
// batch's entries, and takes each with a digest for a choice. What is said of two
// pipelines that published the same bytes stays apart.
func TestVerdictsAreNoEntries(t *testing.T) {
	s := memory.New(memory.Options{})
	defer s.Close()
	j, of := newJournal(t, s), Life{Event: live.EventID{Tenant: "t", Name: "e"}}
	same := live.DigestOf([]byte("x")).String()
	j.Enter(of, Entry{Rendition: "v", Number: 1, Pipeline: "a", Digest: same, First: 1})
	for _, pipeline := range []string{"a", "b", "b"} {
		j.Enter(of, Entry{Rendition: "v", Number: 1, Pipeline: pipeline, Digest: same, Quality: "q" + pipeline, Turn: Verdict, First: 2})
	}
	read := func() (out []string) {
		if err := j.Read(t.Context(), of, 0, live.MaxNumber, func(x *Entry) { out = append(out, x.Pipeline+x.Quality) }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(out)
		return out
	}
	const want = "a aqa bqb"
	if got := strings.Join(read(), " "); got != want {
		t.Errorf("in memory: %q, want %q", got, want)
	}
	j.flush(context.Background())
	if got := strings.Join(read(), " "); got != want || j.held != 0 {
		t.Errorf("written: %q, want %q; %d are held", got, want, j.held)
	}
	n := 0
	for item, err := range store.All(t.Context(), s, layout.Journal(of.Event), store.ScanOptions{Values: true}) {
		var old struct{ Entries []Entry }
		if err != nil || json.Unmarshal(item.Value, &old) != nil {
			t.Fatal(err)
		}
		for _, x := range old.Entries {
			if n++; x.Turn < 0 {
				t.Errorf("%+v is an entry", x)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d entries", n)
	}
}

// TestTurnsOfLaterVersions: a turn that is not known here is no choice, nor history.
func TestTurnsOfLaterVersions(t *testing.T) {
	h := History{}
	for turn, choice := range map[int64]bool{0: true, 7: true, InPlace: false, Verdict: false, -3: false} {
		x := Entry{Rendition: "v", Number: live.Number(10 + turn), Pipeline: "a", Digest: live.DigestOf([]byte("x")).String(), Turn: turn}
		if got := x.Choice(); got != choice {
			t.Errorf("turn %d: a choice is %v", turn, got)
		}
		h.Add(&x)
	}
	if served, _ := h.Rows("v", 7); len(served) > 0 {
		t.Errorf("%+v", served)
	}
	// What two pipelines published alike was served of either.
	for _, pipeline := range []string{"a", "b"} {
		h.Add(&Entry{Rendition: "v", Number: 1, Pipeline: pipeline, Digest: "d", Turn: InPlace})
	}
	if served, _ := h.Rows("v", 1); len(served) != 2 {
		t.Errorf("%+v", served)
	}
}
