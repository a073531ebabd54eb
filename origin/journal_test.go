package origin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/journal"
	"headwater/origin/layout"

	"headwater/announce"
	"headwater/live"
	"headwater/origin/control"
	"headwater/selection"
	"headwater/store"
	"headwater/store/disk"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// history is what /segments says of one segment, in short: what was served, what
// was refused, and what would be served now.
func (r *rig) history(rendition string, n live.Number) string {
	r.Helper()
	var list control.SegmentList
	w := r.want(r.control("GET", fmt.Sprintf("/segments?from=%d&to=%[1]d", n), ""), 200, "")
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		r.Fatal(err)
	}
	for _, row := range list.Segments {
		if row.Rendition != rendition {
			continue
		}
		var s []string
		for _, x := range row.Served {
			s = append(s, strings.TrimSpace(x.Pipeline+" "+x.Reason+" "+x.Defects))
			if x.FirstServedAt.Before(x.ChosenAt) || x.Node == "" || len(x.Digest) != 16 || x.Region == "" && x.Pipeline != "" {
				r.Errorf("%+v", x)
			}
		}
		for _, x := range row.Refused {
			s = append(s, fmt.Sprintf("%d %s %d times in %v", x.Status, x.Problem, x.Count, x.LastAt.Sub(x.FirstAt)))
		}
		return strings.Join(s, "; ") + " | " + strings.TrimSpace(row.Now.Action+" "+row.Now.Serves+" "+row.Now.Reason)
	}
	r.Fatalf("no row of %s %d", rendition, n)
	return ""
}

// TestHistoryIsWhatHappened: what was served and refused is told as it was,
// whatever masks and repairs say now.
func TestHistoryIsWhatHappened(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		check := func(what, want string) {
			t.Helper()
			for range 2 { // as it is in memory, and as it is written
				if got := r.history("v", n); got != want {
					t.Errorf("%s:\n%s, want\n%s", what, got, want)
				}
				time.Sleep(gatherFor)
				synctest.Wait()
			}
		}
		check("nothing happened", " | wait  await-any")
		until(r.tl.Deadline(n))
		for range 3 {
			r.want(r.getSegment("v", n), 410, "lost")
		}
		check("refused", "410 lost 3 times in 0s | refuse  none-published")
		r.want(r.getSegment("v", n), 410, "lost")
		check("refused again", "410 lost 4 times in 800ms | refuse  none-published")
		r.putSegment("a", "v", n, take{lose: 30}, 201)
		r.getSegment("v", n)
		r.getSegment("v", n)
		first := "410 lost 4 times in 800ms"
		check("a backfill", "a least-bad-time-up short;ms=1000, late; "+first+" | serve a pinned")
		r.putSegment("b", "v", n, take{}, 201)
		check("a better one that nobody was given", "a least-bad-time-up short;ms=1000, late; "+first+" | serve b least-bad")
		r.getSegment("v", n)
		check("a better one", "a least-bad-time-up short;ms=1000, late; b least-bad late; "+first+" | serve b pinned")
		r.getSegment("v", n) // what was served before is no news
		r.want(r.control("POST", "/masks", fmt.Sprintf(`{"all": true, "from": %d, "to": %[1]d}`, n)), 200, "")
		check("a mask", "a least-bad-time-up short;ms=1000, late; b least-bad late; "+first+" | refuse  none-usable")
		if got := r.counted("journal_written_total"); got != 4 {
			t.Errorf("%v entries were written", got)
		}
		if got := r.counted("journal_dropped_total"); got != 0 {
			t.Errorf("%v were dropped", got)
		}
	})
}

// TestOnlyWhatViewersGotIsHistory: not what was only asked about, nor a playlist.
func TestOnlyWhatViewersGotIsHistory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.want(r.get("v/media.m3u8"), 200, "")
		r.want(serve(r.del, request("HEAD", "/acme/final/v/"+live.SegmentName(n), nil)), 200, "")
		r.want(r.getSegment("v", n, "If-Match", `"other"`), 412, "")
		r.want(r.getSegment("v", n+100), 404, "early")
		if got := r.history("v", n); got != " | serve a pinned" {
			t.Error(got)
		}
		r.getSegment("v", n)
		if got := r.history("v", n); got != "a preferred | serve a pinned" {
			t.Error(got)
		}
	})
}

// TestRefusalsOfTheStoreAreHistory: a 503 is told like a 410; a 404 is no refusal
// of anything that should be there.
func TestRefusalsOfTheStoreAreHistory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty, MemoryBytes: 1})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		faulty.Add(storetest.Fault{Op: storetest.Get, Namespace: store.Media, Err: store.ErrUnavailable})
		r.want(r.getSegment("v", n), 503, "store-unavailable")
		faulty.Clear()
		r.want(r.getSegment("v", n+9), 404, "early")
		if got := r.history("v", n); got != "503 store-unavailable 1 times in 0s | serve a pinned" {
			t.Error(got)
		}
		if got := r.history("v", n+9); got != " | wait  await-any" {
			t.Error(got)
		}
	})
}

// TestChoiceSurvivesRestart: b was served, a came, the node starts anew, and b it
// is. It was durable within a second.
func TestChoiceSurvivesRestart(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return memory.New(memory.Options{}) },
		"disk":   func(t *testing.T) store.Store { return openDisk(t, t.TempDir()) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				st := open(t)
				r := newRig(t, Config{Store: st})
				r.putInits("a", "b")
				n := r.next()
				r.putSegment("b", "v", n, take{}, 201)
				if w := <-r.ask(t.Context(), "v/"+live.SegmentName(n)); served(w) != "b;region=west" {
					t.Fatal(served(w))
				}
				r.putSegment("a", "v", n, take{}, 201)
				time.Sleep(time.Second)
				again := openRig(t, Config{Store: st}) // the other one was not ended
				if w := again.getSegment("v", n); served(w) != "b;region=west" {
					t.Errorf("then %s is served", served(w))
				}
				if got := again.history("v", n); got != "b preferred-missing | serve b pinned" {
					t.Error(got)
				}
			})
		})
	}
}

// TestChoiceIsCaughtUp: a node that the announcement of a choice did not reach
// reads it in the journal when it hears that some did not.
func TestChoiceIsCaughtUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		n := d.one.next()
		d.buses[0].hold()
		d.one.putSegment("b", "v", n, take{}, 201)
		<-d.one.ask(t.Context(), "v/"+live.SegmentName(n))
		d.one.putSegment("a", "v", n, take{}, 201)
		d.buses[0].queue = nil
		time.Sleep(time.Second)
		_ = d.buses[1].Local.Announce(announce.Message{Kind: announce.Missed, Event: testID, Since: time.Now().Add(-2 * time.Second)})
		synctest.Wait()
		if w := d.two.getSegment("v", n); served(w) != "b;region=west" {
			t.Errorf("%s is served", served(w))
		}
	})
}

// TestHistoriesMerge: whoever is asked tells what both nodes served and refused.
func TestHistoriesMerge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		n := d.one.next()
		d.one.putSegment("a", "v", n, take{lose: 30}, 201)
		until(d.one.tl.Decide(n))
		d.two.getSegment("v", n)
		time.Sleep(time.Millisecond)
		d.one.getSegment("v", n)
		d.two.putSegment("b", "v", n, take{}, 201)
		time.Sleep(time.Millisecond)
		d.one.getSegment("v", n)
		until(d.one.tl.Deadline(n + 1))
		d.one.getSegment("v", n+1)
		time.Sleep(time.Second)
		d.two.getSegment("v", n+1)
		time.Sleep(time.Second)
		for _, r := range []*rig{d.one, d.two} {
			if got, want := r.history("v", n), "a least-bad-time-up short;ms=1000; b preferred-defective | serve b pinned"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if got, want := r.history("v", n+1), "410 lost 2 times in 1s | refuse  none-published"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})
}

// TestJournalNeverHoldsUp: while the store takes nothing, segments are served at
// once, what happened is kept up to a limit and tried again, and what is more is
// counted.
func TestJournalNeverHoldsUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		var log strings.Builder
		r := newRig(t, Config{Store: faulty, Log: slog.New(slog.NewTextHandler(&log, nil))})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		faulty.Add(storetest.Fault{Op: storetest.Put, Err: store.ErrUnavailable})
		began := time.Now()
		r.want(r.getSegment("v", n), 200, "")
		if !time.Now().Equal(began) {
			t.Errorf("served after %v", time.Since(began))
		}
		time.Sleep(3 * time.Second)
		if got := r.counted("journal_written_total"); got != 0 {
			t.Errorf("%v entries are written", got)
		}
		e := r.o.book.Get(testID)
		for i := range maxEntries + 7 {
			r.o.journal.Enter(e.Named(), journal.Entry{Rendition: "v", Number: live.Number(i), Status: 410, Problem: "lost", Count: 1})
		}
		if got := r.counted("journal_dropped_total"); got != 8 {
			t.Errorf("%v entries are dropped", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		// Each time it tries it says so once, however much waits.
		if got, times := strings.Count(log.String(), "msg=journal "), int(4*time.Second/gatherFor); got == 0 || got > times {
			t.Errorf("%d lines", got)
		}
		faulty.Clear()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := r.counted("journal_written_total"); got != maxEntries {
			t.Errorf("%v entries are written", got)
		}
		if got := r.history("v", n); !strings.HasPrefix(got, "a preferred; 410 lost 1 times") {
			t.Error(got)
		}
		if got := r.counted("journal_pending"); got != 0 {
			t.Errorf("%v are held", got)
		}
	})
}

// TestServedInPlaceOfTheChoice: what a node served because it could not have the
// choice is history, and does not stand after a restart, whatever the clocks say.
func TestServedInPlaceOfTheChoice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("b", "v", n, take{}, 201)
		e := r.o.book.Get(testID)
		b, _ := e.Candidate("v", n, "b")
		now := time.Now().UnixNano()
		r.o.journal.Enter(e.Named(), journal.Entry{Rendition: "v", Number: n, Pipeline: "b", Region: "west", Digest: b.Digest.String(),
			Reason: string(selection.Preferred), Turn: journal.InPlace, Chosen: now, First: now, By: "here"})
		time.Sleep(time.Second)
		r.putSegment("a", "v", n, take{}, 201)
		if got := served(r.getSegment("v", n)); !strings.HasPrefix(got, "a") {
			t.Fatalf("%s was chosen", got)
		}
		time.Sleep(time.Second)
		if got, want := r.history("v", n), "b preferred; a preferred | serve a pinned"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := served(openRig(t, Config{Store: st}).getSegment("v", n)); !strings.HasPrefix(got, "a") {
			t.Errorf("after a restart %+v stands", got)
		}
	})
}

// TestJournalIsOfOneLife: an event that is created anew has no history.
func TestJournalIsOfOneLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.getSegment("v", n)
		time.Sleep(time.Second)
		r.getSegment("w", n-3) // lost, and not written yet
		r.want(r.control("DELETE", "?yes=true", ""), 204, "")
		if page, err := r.o.book.Store.Scan(t.Context(), layout.Journal(testID), store.ScanOptions{}); err != nil || len(page.Items) > 0 {
			t.Errorf("%v, %d items are left", err, len(page.Items))
		}
		r.create(testEvent())
		time.Sleep(time.Second)
		for rendition, m := range map[string]live.Number{"v": n, "w": n - 3} {
			if got := r.history(rendition, m); !strings.HasPrefix(got, " | ") {
				t.Error(got)
			}
		}
		if got := r.counted("journal_pending"); got != 0 {
			t.Errorf("%v entries are held", got)
		}
	})
}

// TestJournalIsWrittenAtTheEnd: what was served just before a node ends is there.
func TestJournalIsWrittenAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r, stop := stoppableRig(t, Config{Store: st})
		r.create(testEvent())
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.getSegment("v", n)
		stop()
		again := openRig(t, Config{Store: st})
		if got := again.history("v", n); got != "a preferred | serve a pinned" {
			t.Error(got)
		}
	})
}

// TestJournalLastsAsLongAsItsSegments: no longer, and no shorter.
func TestJournalLastsAsLongAsItsSegments(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.getSegment("v", n)
		until(r.tl.GoneAt(n))
		if got := r.history("v", n); !strings.HasPrefix(got, "a preferred | ") {
			t.Error(got)
		}
		until(r.tl.GoneAt(n + journalBlock).Add(time.Minute))
		if got := r.history("v", n); !strings.HasPrefix(got, " | ") {
			t.Error(got)
		}
	})
}

// TestChoiceSurvivesKill: a process of its own serves b, though a came since,
// says so once that is written, and is killed; the next one serves b.
func TestChoiceSurvivesKill(t *testing.T) {
	if dir := os.Getenv("HEADWATER_TEST_JOURNAL"); dir != "" {
		serveAndWait(t, dir)
		return
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestChoiceSurvivesKill$")
	child.Env = append(os.Environ(), "HEADWATER_TEST_JOURNAL="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "served ") {
	}
	said, ok := strings.CutPrefix(lines.Text(), "served ")
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it says that it was killed
	n, err := live.ParseNumber(said)
	if !ok || err != nil {
		t.Fatalf("the process says %q", lines.Text())
	}
	r := openRig(t, Config{Store: openDisk(t, dir)})
	if w := r.getSegment("v", n); served(w) != "b;region=west" {
		t.Errorf("%d, %s is served", w.Code, served(w))
	}
	if got := r.history("v", n); got != "b preferred-missing | serve b pinned" {
		t.Error(got)
	}
}

func openDisk(t *testing.T, dir string) store.Store {
	t.Helper()
	st, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// serveAndWait is the process that is killed.
func serveAndWait(t *testing.T, dir string) {
	r := newRig(t, Config{Store: openDisk(t, dir)})
	r.putInits("a", "b")
	n := r.next()
	r.putSegment("b", "v", n, take{}, 201)
	r.want(r.getSegment("v", n), 200, "")
	r.putSegment("a", "v", n, take{}, 201)
	for r.counted("journal_written_total") == 0 {
		time.Sleep(time.Millisecond)
	}
	fmt.Printf("served %d\n", n)
	<-t.Context().Done() // to be killed
}
