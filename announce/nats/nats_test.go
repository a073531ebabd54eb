package nats

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"headwater/announce"
	"headwater/announce/announcetest"
	"headwater/announce/nats/natstest"
	"headwater/live"
)

var testEvent = live.EventID{Tenant: "acme", Name: "final"}

// open returns a bus that is connected.
func open(t *testing.T, cfg Config) *Bus {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// connect waits until a bus has a server, and the server its subscription.
func connect(t *testing.T, b *Bus) *Bus {
	t.Helper()
	waitFor(t, "a connection", func() bool { return b.Health() == nil })
	if err := b.conn.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	return b
}

// waitFor waits for something that nothing tells of.
func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestContract(t *testing.T) {
	announcetest.Run(t, func(t *testing.T, nodes int) []announce.Bus {
		s := natstest.Start(t)
		var all []announce.Bus
		for range nodes {
			all = append(all, connect(t, open(t, Config{Servers: []string{s.URL()}})))
		}
		return all
	})
}

func message(n live.Number) announce.Message {
	return announce.Message{Node: "one", Kind: announce.Published, Event: testEvent, Rendition: "v", Candidate: announcetest.Candidate(n)}
}

func numbers(all []announce.Message) (out []live.Number) {
	for _, m := range all {
		if m.Kind == announce.Published {
			out = append(out, m.Candidate.Number)
		}
	}
	return out
}

func missed(all []announce.Message) (out []announce.Message) {
	return slices.DeleteFunc(slices.Clone(all), func(m announce.Message) bool { return m.Kind != announce.Missed })
}

// TestServerGoesAndComes: announcing goes on while no server is there, what
// was queued arrives, the oldest of too many are dropped and counted, and who
// was away is told to look.
func TestServerGoesAndComes(t *testing.T) {
	s := natstest.Start(t)
	one := connect(t, open(t, Config{Servers: []string{s.URL()}, Queue: 10}))
	two := connect(t, open(t, Config{Servers: []string{s.URL()}}))
	ear := announcetest.Listen(t, two)
	if err := one.Announce(message(1)); err != nil {
		t.Fatal(err)
	}
	ear.Wait("the first", func(all []announce.Message) bool { return len(numbers(all)) == 1 })

	down := time.Now()
	s.Stop()
	waitFor(t, "loss of the connections", func() bool { return one.Health() != nil && two.Health() != nil })
	dropped := 0
	for n := live.Number(2); n <= 30; n++ {
		if err := one.Announce(message(n)); errors.Is(err, announce.ErrDropped) {
			dropped++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	// Ten wait, and one more may be in the sender's hand.
	if dropped != 19 && dropped != 18 || value(t, one, "dropped_total", "queue-full") != float64(dropped) {
		t.Errorf("%d dropped, %v counted", dropped, value(t, one, "dropped_total", "queue-full"))
	}
	s.Start()
	ear.Wait("being told to look at everything", func(all []announce.Message) bool {
		first := slices.IndexFunc(all, func(m announce.Message) bool { return m.Kind == announce.Published })
		return slices.ContainsFunc(missed(all[first:]), func(m announce.Message) bool {
			return m.Event == live.EventID{} && !m.Since.After(down)
		})
	})
	// What was sent before this node was connected again it does not get; the
	// next message, or the beat, tells of it.
	ear.Wait("word of what did not come", func(all []announce.Message) bool {
		return slices.Contains(numbers(all), 30) || slices.ContainsFunc(missed(all), func(m announce.Message) bool { return m.Event == testEvent })
	})
	if err := one.Announce(message(31)); err != nil {
		t.Fatal(err)
	}
	ear.Wait("the newest", func(all []announce.Message) bool { return slices.Contains(numbers(all), 31) })
	if value(t, two, "missed_total", "") < float64(dropped) {
		t.Errorf("%v counted as missed", value(t, two, "missed_total", ""))
	}
	if value(t, two, "reconnects_total", "") != 1 {
		t.Error("the reconnection is not counted")
	}
}

// TestBeginsWithoutServer: a node starts while there is no server, and its
// messages arrive once there is.
func TestBeginsWithoutServer(t *testing.T) {
	s := natstest.Start(t)
	url := s.URL()
	s.Stop()
	one, two := open(t, Config{Servers: []string{url}}), open(t, Config{Servers: []string{url}})
	ear := announcetest.Listen(t, two)
	if one.Health() == nil {
		t.Error("healthy without a server")
	}
	if err := one.Announce(message(1)); err != nil {
		t.Fatal(err)
	}
	s.Start()
	ear.Wait("the message or word of it", func(all []announce.Message) bool {
		return len(numbers(all)) == 1 || slices.ContainsFunc(missed(all), func(m announce.Message) bool { return m.Event == testEvent })
	})
}

// TestTailIsFound: where the last message is lost, a beat tells of it.
func TestTailIsFound(t *testing.T) {
	s := natstest.Start(t)
	one := connect(t, open(t, Config{Servers: []string{s.URL()}}))
	two := connect(t, open(t, Config{Servers: []string{s.URL()}}))
	ear := announcetest.Listen(t, two)
	one.Announce(message(1))
	ear.Wait("the first", func(all []announce.Message) bool { return len(numbers(all)) == 1 })
	// As if the network had swallowed one.
	_ = one.sent.next(message(2), func(announce.Wire) error { return nil })
	ear.Wait("a gap", func(all []announce.Message) bool {
		return slices.ContainsFunc(missed(all), func(m announce.Message) bool { return m.Event == testEvent })
	})
	if n := value(t, two, "missed_total", ""); n != 1 {
		t.Errorf("%v missed", n)
	}
	if n := value(t, two, "misses_total", "gap"); n != 1 {
		t.Errorf("%v gaps", n)
	}
}

// TestRefusals: what is not ours is counted by reason and told to nobody.
func TestRefusals(t *testing.T) {
	s := natstest.Start(t)
	b := connect(t, open(t, Config{Servers: []string{s.URL()}}))
	ear := announcetest.Listen(t, b)
	good, err := announce.Encode(announce.Wire{Seq: 1, Message: message(1)})
	if err != nil {
		t.Fatal(err)
	}
	subject := b.subject(testEvent)
	s.Publish(subject, []byte(`{"v":9,"kind":"of another time"}`))
	s.Publish(subject, []byte("nonsense"))
	s.Publish(b.subject(live.EventID{Tenant: "acme", Name: "semi-final"}), good)
	s.Publish(subject, good)
	ear.Wait("the good one", func(all []announce.Message) bool { return len(numbers(all)) == 1 })
	for _, reason := range []string{"version", "malformed", "subject"} {
		if n := value(t, b, "refused_total", reason); n != 1 {
			t.Errorf("%v refused as %s", n, reason)
		}
	}
	if n := len(ear.Heard()); n != 1 {
		t.Errorf("%d heard", n)
	}
}

func TestInvalidIsNotSent(t *testing.T) {
	b := open(t, Config{Servers: []string{"nats://127.0.0.1:1"}})
	m := message(1)
	m.Rendition = ""
	if err := b.Announce(m); !errors.Is(err, announce.ErrInvalid) {
		t.Error(err)
	}
	if n := value(t, b, "dropped_total", "invalid"); n != 1 {
		t.Errorf("%v counted", n)
	}
}

func TestClose(t *testing.T) {
	s := natstest.Start(t)
	one := open(t, Config{Servers: []string{s.URL()}})
	two := connect(t, open(t, Config{Servers: []string{s.URL()}}))
	ear := announcetest.Listen(t, two)
	connect(t, one)
	for n := range live.Number(100) {
		one.Announce(message(n))
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	ear.Wait("all that waited when it was closed", func(all []announce.Message) bool { return len(numbers(all)) == 100 })
	if err := one.Announce(message(1)); !errors.Is(err, announce.ErrClosed) {
		t.Error(err)
	}
	if err := one.Close(); !errors.Is(err, announce.ErrClosed) {
		t.Error(err)
	}
	// Without a server it ends all the same, and counts what it could not send.
	gone := open(t, Config{Servers: []string{"nats://127.0.0.1:1"}})
	for n := range live.Number(5) {
		gone.Announce(message(n))
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if n := value(t, gone, "dropped_total", "closed"); n != 5 {
		t.Errorf("%v counted as dropped", n)
	}
}

func TestSeenLog(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newSeenLog()
	step := func(name string, seq uint64, beat bool, missing uint64, known bool) {
		t.Helper()
		w := announce.Wire{Seq: seq, Beat: beat, Message: message(1)}
		if m, k, _ := l.note(&w, now); m != missing || k != known {
			t.Errorf("%s: %d missing, known %v", name, m, k)
		}
	}
	step("first", 1, false, 0, true)
	step("next", 2, false, 0, true)
	step("again", 2, false, 0, true)
	step("gap", 5, false, 2, true)
	step("late", 4, false, 0, true)
	step("beat", 5, true, 0, true)
	step("beat after a loss", 7, true, 2, true)
	step("beat again", 7, true, 0, true)
	step("after the beat", 8, false, 0, true)
	step("anew", 1, false, 0, false)
	step("goes on", 2, false, 0, true)

	now = now.Add(silentAfter - 1)
	if s := l.silent(now); len(s) != 0 {
		t.Errorf("silent: %v", s)
	}
	now = now.Add(1)
	if s := l.silent(now); len(s) != 1 || !s[testEvent].Equal(time.Unix(1000, 0)) {
		t.Errorf("silent: %v", s)
	}
	if s := l.silent(now); len(s) != 0 {
		t.Errorf("said twice: %v", s)
	}
	// One that beat to the end of its time has nothing more to say.
	step("speaks", 3, false, 0, true)
	now = now.Add(beatFor - time.Second)
	step("last beat", 3, true, 0, true)
	now = now.Add(time.Hour)
	if s := l.silent(now); len(s) != 0 {
		t.Errorf("silent after its time: %v", s)
	}
	l = newSeenLog()
	step("heard of late", 40, false, 0, false)
	l = newSeenLog()
	step("heard of by a beat", 1, true, 0, false)
}

// TestSeenLogIsBounded: strangers cost bounded memory.
func TestSeenLogIsBounded(t *testing.T) {
	l := newSeenLog()
	for i := range maxPlaces + 10 {
		w := announce.Wire{Seq: 1, Message: announce.Message{Node: fmt.Sprint(i), Event: testEvent}}
		l.note(&w, time.Now())
	}
	if len(l.places) > maxPlaces {
		t.Errorf("%d places", len(l.places))
	}
}

func TestBeatsAreDue(t *testing.T) {
	l := newSentLog()
	if l.next(message(1), func(announce.Wire) error { return nil }) != nil {
		t.Fatal("refused")
	}
	start := time.Now()
	beats := 0
	for now := start; now.Before(start.Add(time.Minute)); now = now.Add(beatEvery / 4) {
		beats += len(l.due(now))
	}
	if beats < 8 || beats > 10 {
		t.Errorf("%d beats", beats)
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no servers":  {},
		"no scheme":   {Servers: []string{"h1:4222"}},
		"http":        {Servers: []string{"http://h1:4222"}},
		"credentials": {Servers: []string{"nats://user:secret@h1:4222"}},
		"a path":      {Servers: []string{"nats://h1:4222/x"}},
		"prefix":      {Servers: []string{"nats://h1"}, Prefix: "a.>"},
		"queue":       {Servers: []string{"nats://h1"}, Queue: -1},
	} {
		if b, err := New(cfg); err == nil {
			b.Close()
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v tells the secret", name, err)
		}
	}
}

// value reads a counter of the bus.
func value(t *testing.T, b *Bus, name, reason string) float64 {
	t.Helper()
	families, err := b.cfg.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "headwater_announce_"+name && (reason == "" || slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetValue() == reason })) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, reason)
	return 0
}
