package viewer

import (
	"strings"
	"testing"
	"time"

	"headwater/live"
)

func TestMix(t *testing.T) {
	m, err := ParseMix("steady=70, dvr=20,seek=10")
	if err != nil {
		t.Fatal(err)
	}
	if m.String() != "steady=70,dvr=20,seek=10" {
		t.Errorf("%q", m)
	}
	count := map[Behaviour]int{}
	for i := range 1000 {
		count[m.of(i)]++
	}
	for b, want := range map[Behaviour]int{Steady: 700, DVR: 200, Seek: 100, Poll: 0} {
		if d := count[b] - want; d < -10 || d > 10 {
			t.Errorf("%d %s of 1000, want about %d", count[b], b, want)
		}
	}
	if m, err := ParseMix("leave"); err != nil || m.of(0) != Leave || m.of(12345) != Leave {
		t.Errorf("%v, %v", m, err)
	}
	for _, bad := range []string{"", "bored=1", "steady=x", "steady=-1", "steady=0", "steady=1,steady=2", "steady=NaN"} {
		if m, err := ParseMix(bad); err == nil {
			t.Errorf("%q is %v", bad, m)
		}
	}
}

func TestPollersHonourMilliseconds(t *testing.T) {
	s := &script{}
	r := play(t, s, Config{Mix: Mix{Poll: 1}, Duration: 20 * time.Second}, nil)
	clean(t, r)
	// Each asks for the next at once, is told 404 and for how long, and comes
	// back to be held: one 404 for each segment that is not there yet.
	if n := r.Statuses["404"]; n < 18 || n > 22 {
		t.Errorf("statuses %v; want a 404 for each of the ten segments to come, on each track", r.Statuses)
	}
	if r.PublishToViewer.Max != 0 {
		t.Errorf("publish to viewer %+v: a held request is answered at once", r.PublishToViewer)
	}
}

func TestPollersInFixedSteps(t *testing.T) {
	r := play(t, &script{}, Config{Mix: Mix{Poll: 1}, Poll: 300 * time.Millisecond, Duration: 20 * time.Second}, nil)
	clean(t, r)
	if n := r.Statuses["404"]; n < 15 {
		t.Errorf("statuses %v", r.Statuses)
	}
}

func TestDVRReadersKeepTheirPlace(t *testing.T) {
	s := &script{startIn: -10 * time.Minute}
	r := play(t, s, Config{Viewers: 20, Mix: Mix{DVR: 1}, Duration: 30 * time.Second}, nil)
	clean(t, r)
	// 10 s ahead at first, then in real time: 15 to 20 segments in 30 s.
	if each := float64(r.Segments) / 40; each < 15 || each > 22 {
		t.Errorf("%g segments by each track", each)
	}
	if r.Statuses["404"] != 0 || r.Statuses["410"] != 0 {
		t.Errorf("statuses %v", r.Statuses)
	}
}

func TestDVRReaderThatFallsOutOfTheWindow(t *testing.T) {
	// The window is shorter than the outage.
	s := &script{event: testEvent(), startIn: -10 * time.Minute}
	s.event.DVRSeconds = 60
	r := play(t, s, Config{Mix: Mix{DVR: 1}, Duration: 4 * time.Minute, GiveUp: 3 * time.Minute}, func(s *stage) {
		time.Sleep(10 * time.Second)
		s.pipes.kill()
		time.Sleep(100 * time.Second)
		s.pipes.revive()
	})
	wantErrors(t, r, "stalled by a network error")
	if r.Gaps == 0 || r.Gaps > 2 {
		t.Errorf("%d gaps; want the jump back into the window", r.Gaps)
	}
	if r.Segments < 2*60 {
		t.Errorf("%d segments: it did not go on", r.Segments)
	}
}

func TestSeekersLandAndGoOn(t *testing.T) {
	s := &script{startIn: -20 * time.Minute}
	r := play(t, s, Config{Viewers: 20, Mix: Mix{Seek: 1}, Duration: time.Minute}, nil)
	clean(t, r)
	if r.Startup.Count < 60 {
		t.Errorf("%d pictures begun by 20 viewers who seek every 10 s for a minute", r.Startup.Count)
	}
	if r.Sessions != 20 {
		t.Errorf("%d sessions: who seeks has not left", r.Sessions)
	}
}

func TestLeaversLeaveInMidHold(t *testing.T) {
	s := &script{}
	r := play(t, s, Config{Viewers: 20, Mix: Mix{Leave: 1}, Duration: time.Minute}, nil)
	clean(t, r)
	if r.Sessions < 80 {
		t.Errorf("%d sessions of 20 viewers in a minute", r.Sessions)
	}
	// Each sitting that is over left two held requests behind.
	if want := int(r.Sessions-20) * 2; s.left < want {
		t.Errorf("the server saw %d held requests end, want at least %d", s.left, want)
	}
}

func TestJoinersComeAndGo(t *testing.T) {
	r := play(t, &script{}, Config{Viewers: 20, Mix: Mix{Join: 1}, JoinOver: 5 * time.Second, Duration: 2 * time.Minute}, nil)
	clean(t, r)
	if r.Sessions < 60 {
		t.Errorf("%d sessions", r.Sessions)
	}
	if r.Startup.Max != 0 {
		t.Errorf("startup %+v: all is there when they come", r.Startup)
	}
}

// A run leaves nothing behind: synctest fails a bubble in which goroutines are
// left, so it is enough that this one ends, cut off in the middle of everything.
func TestRunEndsWhenTheContextDoes(t *testing.T) {
	mix := Mix{}
	for _, b := range Behaviours {
		mix[b] = 1
	}
	s := &script{startIn: -5 * time.Minute}
	r := play(t, s, Config{Viewers: 60, Mix: mix, JoinOver: 3 * time.Second, Duration: 20*time.Second + 333*time.Millisecond}, nil)
	clean(t, r)
	if r.Watching != 0 || r.Waiting != 0 {
		t.Errorf("watching %d, waiting %d after the end", r.Watching, r.Waiting)
	}
	if r.ElapsedMS != 20333 {
		t.Errorf("%d ms", r.ElapsedMS)
	}
}

func TestTwoThousandViewers(t *testing.T) {
	s := &script{}
	var seen []*Report
	r := play(t, s, Config{Viewers: 2000, Renditions: []string{"v720", "v360"}, Duration: 6 * time.Second, JoinOver: time.Second, Progress: func(r *Report) { seen = append(seen, r) }}, nil)
	clean(t, r)
	if r.Viewers != 2000 || r.Sessions != 2000 {
		t.Errorf("%d viewers, %d sessions", r.Viewers, r.Sessions)
	}
	if r.VerifiedShare < 0.2 || r.VerifiedShare > 0.3 {
		t.Errorf("%g verified, want about a quarter", r.VerifiedShare)
	}
	// Two renditions of the segments that were played: one inspection each.
	if r.Inspected == 0 || r.Inspected > 2*7 {
		t.Errorf("%d inspected", r.Inspected)
	}
	if len(seen) != 5 && len(seen) != 6 {
		t.Fatalf("%d reports of progress", len(seen))
	}
	var most int64
	for i, p := range seen {
		most = max(most, p.Waiting)
		if i > 0 && p.Segments < seen[i-1].Segments {
			t.Errorf("segments went back")
		}
	}
	if most != 2000 {
		t.Errorf("%d requests held at most, want all 2000", most)
	}
}

func TestRenditionsAreChosenInTurn(t *testing.T) {
	c := &Crowd{}
	s := newSchedule(live.Config{Event: testEvent()})
	if got := strings.Join(append(c.choose(0, s), c.choose(1, s)...), " "); got != "v720 a-en v360 a-en" {
		t.Errorf("%s", got)
	}
	c.cfg.Renditions = []string{"v360"}
	if got := strings.Join(append(c.choose(0, s), c.choose(1, s)...), " "); got != "v360 v360" {
		t.Errorf("%s", got)
	}
	if err := c.fits(s); err != nil {
		t.Error(err)
	}
	c.cfg.Renditions = []string{"v9"}
	if err := c.fits(s); err == nil || !strings.Contains(err.Error(), "v9") {
		t.Error(err)
	}
}
