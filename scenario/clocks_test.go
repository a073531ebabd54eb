package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/announce"
	"headwater/clock"
	"headwater/edge"
	"headwater/edge/front"
	"headwater/internal/memnet"
	"headwater/live"
	"headwater/origin"
	"headwater/packager"
	"headwater/store/memory"
)

var updateClocks = flag.Bool("update-clocks", false, "write the table of clocks in docs/reliability.md anew")

// A wall is the system's clock of one node: it goes wrong as a fault says, from so long
// after the start on.
type wall struct {
	fault func(since time.Duration) time.Duration
	from  time.Time
}

func (w *wall) Now() time.Time {
	now := time.Now()
	if w.fault == nil || now.Before(w.from) {
		return now
	}
	return now.Add(w.fault(now.Sub(w.from)))
}

func by(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// clockFaults are what clocks do, in the order of the table.
var clockFaults = []struct {
	name string
	off  func(since time.Duration) time.Duration
}{
	{"+1 s", by(time.Second)}, {"-1 s", by(-time.Second)},
	{"+5 s", by(5 * time.Second)}, {"-5 s", by(-5 * time.Second)},
	{"+300 s", by(300 * time.Second)}, {"-300 s", by(-300 * time.Second)},
	{"+300 s for 3 s", func(since time.Duration) time.Duration {
		if since < 3*time.Second {
			return 300 * time.Second
		}
		return 0
	}},
	{"a year", by(366 * 24 * time.Hour)},
	{"1% fast", func(since time.Duration) time.Duration { return since / 100 }},
	{"to and fro", func(since time.Duration) time.Duration {
		if int(since/time.Second)%2 == 0 {
			return 5 * time.Second
		}
		return 0
	}},
}

// clockNodes are whose clocks are wrong.
var clockNodes = []struct {
	name    string
	origins int
	wrong   []string
	single  bool // one wrong clock, where others are right
	begins  bool // it is wrong when its node starts
}{
	{"the only origin", 1, []string{"origin1"}, true, false},
	{"one of two origins", 2, []string{"origin1"}, true, false},
	{"the edge", 1, []string{"edge"}, true, false},
	{"packager a", 1, []string{"a"}, true, false},
	{"both packagers", 2, []string{"a", "b"}, false, false},
	{"all", 2, []string{"origin1", "origin2", "edge", "a", "b"}, false, false},
	{"the only origin, from its start on", 1, []string{"origin1"}, true, true},
	{"one of two origins, from its start on", 2, []string{"origin1"}, true, true},
	{"the edge, from its start on", 1, []string{"edge"}, true, true},
	{"packager a, from its start on", 1, []string{"a"}, true, true},
}

const (
	clockRun   = 70 * time.Second
	clockFault = 20 * time.Second // after the start
)

// What viewers saw of an event while a clock was wrong.
type sawOfClock struct {
	Segments, Gaps, Refused int
	Latest                  time.Duration // after a segment was expected
}

func (s sawOfClock) String() string {
	if s.Gaps == 0 && s.Refused == 0 {
		return fmt.Sprintf("none, %.1f s", max(s.Latest, 0).Seconds())
	}
	return fmt.Sprintf("%d gaps, %d refused, %.1f s", s.Gaps, s.Refused, max(s.Latest, 0).Seconds())
}

// playClocks runs an event with clocks that go wrong: at once where begins, else later.
// Where mute is set packagers do not say what theirs say.
func playClocks(t *testing.T, origins int, wrong []string, off func(time.Duration) time.Duration, begins, mute bool) (saw sawOfClock) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		net := memnet.New()
		from := time.Now().Add(clockFault)
		if begins {
			from = time.Now()
		}
		clockOf := func(name string, cfg clock.Config) *clock.Clock {
			w := &wall{from: from}
			for _, x := range wrong {
				if x == name {
					w.fault = off
				}
			}
			cfg.Wall = w.Now
			return clock.New(cfg)
		}
		clocks := map[string]*clock.Clock{}
		for i := range origins {
			name := fmt.Sprintf("origin%d", i+1)
			clocks[name] = clockOf(name, clock.Config{Confirm: 2 * time.Second})
		}
		last := fmt.Sprintf("origin%d", origins)
		st := memory.New(memory.Options{Now: clocks[last].Now})
		bus := struct{ *announce.Local }{announce.NewLocal()}
		ended := make(chan struct{}, 16)
		var publish, deliver []string
		var closers []func()
		var first *origin.Origin
		for i := range origins {
			name := fmt.Sprintf("origin%d", i+1)
			o, err := origin.New(ctx, origin.Config{Store: st, Bus: bus, Clock: clocks[name], Log: clockLog(t, name)})
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = o
			}
			go func() { o.Run(ctx); ended <- struct{}{} }()
			for port, h := range map[string]http.Handler{":7001": o.PublishHandler(), ":7002": o.DeliverHandler(), ":7003": o.ControlHandler()} {
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if mute && r.Method == http.MethodPut {
						r.Header.Del(live.HeaderClock)
					}
					h.ServeHTTP(w, r)
				})}
				l := net.Listen(name + port)
				go srv.Serve(l)
				closers = append(closers, func() { srv.Close() })
			}
			publish, deliver = append(publish, "http://"+name+":7001"), append(deliver, "http://"+name+":7002")
		}
		client := &http.Client{Transport: &http.Transport{DialContext: net.Dial}}
		get := func(ctx context.Context, url string) (int, string) {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			resp, err := client.Do(req)
			if err != nil {
				return 0, err.Error()
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				return 0, err.Error()
			}
			return resp.StatusCode, string(b)
		}
		ev := live.Default()
		ev.Start = time.Now().Add(4 * time.Second)
		ev.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
		ev.Renditions = []live.Rendition{{Name: "v180", Type: live.Video, Bandwidth: 300_000}}
		synctest.Wait() // they listen to each other
		createClockEvent(t, client, last, ev)
		time.Sleep(time.Second)
		tl := ev.Timeline()

		ed, err := edge.New(edge.Config{Parents: deliver, Dial: net.Dial, Clock: clockOf("edge", clock.OfEdge(clockLog(t, "edge"))), Log: clockLog(t, "edge"), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		viewers := &front.Server{Edge: ed}
		go viewers.Serve(net.Listen("edge:80"))
		for _, name := range []string{"a", "b"} {
			p, err := packager.New(packager.Config{Event: "t/e", Pipeline: name, To: publish, EventURL: deliver[0], Clip: true, Tracks: map[uint32]string{3: "v180"},
				Dial: net.Dial, Time: clockOf(name, clock.Config{Log: clockLog(t, name)}), Log: clockLog(t, name)})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if err := p.Run(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("packager %s: %v", name, err)
				}
				ended <- struct{}{}
			}()
		}
		time.Sleep(time.Until(ev.Start))
		// A viewer, whose clock is the edge's as players set theirs.
		end := time.Now().Add(clockRun)
		for n := tl.First(); time.Now().Before(end); n++ {
			if tl.End(n).Before(time.Now().Add(-time.Minute)) {
				continue
			}
			got := false
			for refused := 0; !got; {
				_, told := get(ctx, "http://edge:80/time")
				if at, err := time.Parse(live.TimeLayout, told); err == nil {
					time.Sleep(min(max(tl.Expected(n).Add(-200*time.Millisecond).Sub(at), 0), 10*time.Second))
				}
				asked, giveUp := context.WithDeadline(ctx, tl.Deadline(n).Add(500*time.Millisecond))
				status, body := get(asked, fmt.Sprintf("http://edge:80/t/e/v180/%d.m4s", n))
				giveUp()
				late := time.Since(tl.Expected(n))
				if status == http.StatusOK {
					got = true
					saw.Latest = max(saw.Latest, late)
					break
				}
				if refused++; refused == 1 {
					saw.Refused++
					t.Logf("%v: %v of %d, %v after it was expected: %s", time.Since(ev.Start), status, n, late, body)
				}
				if late > tl.Budget() {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			saw.Segments++
			if !got {
				saw.Gaps++
			}
		}
		viewers.Close()
		cancel()
		for range origins + 2 {
			<-ended
		}
		ed.Close()
		first.Drain()
		for _, f := range closers {
			f()
		}
		client.CloseIdleConnections()
		st.Close()
	})
	return saw
}

func clockLog(t *testing.T, name string) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})).With("node", name)
}

// TestClocks: no single wrong clock costs viewers a segment, whoever's it is and whatever
// it does. Its table is in docs/reliability.md; -update-clocks writes it anew.
func TestClocks(t *testing.T) {
	var out strings.Builder
	out.WriteString("| whose clock |")
	for _, f := range clockFaults {
		out.WriteString(" " + f.name + " |")
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(clockFaults)) + "\n")
	for _, n := range clockNodes {
		fmt.Fprintf(&out, "| %s |", n.name)
		for _, f := range clockFaults {
			if testing.Short() && (f.name != "+5 s" || !n.single) {
				continue
			}
			t.Run(n.name+" "+f.name, func(t *testing.T) {
				saw := playClocks(t, n.origins, n.wrong, f.off, n.begins, false)
				if n.single && (saw.Segments < 25 || saw.Gaps+saw.Refused > 0) {
					t.Errorf("viewers saw %+v", saw)
				}
				fmt.Fprintf(&out, " %v |", saw)
			})
		}
		out.WriteString("\n")
	}
	if *updateClocks {
		writeClockTable(t, out.String())
	}
	t.Log("\n" + out.String())
}

// TestSegmentsTellTheTime: an origin that starts with a wrong clock, an edge that knows
// better, and packagers that say nothing: when their segments come decides between the two,
// once there are three of each. Of those before viewers may miss some.
func TestSegmentsTellTheTime(t *testing.T) {
	for _, off := range []time.Duration{5 * time.Second, -5 * time.Second, 300 * time.Second, -300 * time.Second} {
		if testing.Short() && off != 5*time.Second {
			continue
		}
		t.Run(off.String(), func(t *testing.T) {
			if saw := playClocks(t, 1, []string{"origin1"}, by(off), true, true); saw.Segments < 25 || saw.Gaps > 3 || saw.Refused > 3 {
				t.Errorf("viewers saw %+v", saw)
			}
		})
	}
}

func createClockEvent(t *testing.T, client *http.Client, at string, ev live.Event) {
	body, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPut, "http://"+at+":7003/v1/events/t/e", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s", resp.Status, b)
	}
}

// The table's place in the document.
const (
	clockTableBegins = "<!-- clocks: written by go test -run TestClocks ./scenario -update-clocks -->\n"
	clockTableEnds   = "<!-- end of clocks -->\n"
)

func writeClockTable(t *testing.T, table string) {
	const name = "../docs/reliability.md"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), clockTableBegins)
	_, after, ends := strings.Cut(rest, clockTableEnds)
	if !found || !ends {
		t.Fatalf("%s has no place for the table", name)
	}
	if err := os.WriteFile(name, []byte(before+clockTableBegins+table+clockTableEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
