package admit

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// take begins to wait for a turn, and says by whom it came.
func take(t *Turns, c Class, name string, got chan<- string, turns *sync.Map) {
	go func() {
		if x := t.Take(context.Background(), c, Taker{}); x != nil {
			turns.Store(name, x)
			got <- name
		}
	}()
	synctest.Wait()
}

func TestTurnsGoByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, got := NewTurns(1, time.Second), make(chan string, 16)
		var taken sync.Map
		take(turns, DVR, "first", got, &taken)
		for _, w := range []struct {
			c    Class
			name string
		}{{Rest, "rest"}, {DVR, "dvr 1"}, {DVR, "dvr 2"}, {Live, "live"}} {
			take(turns, w.c, w.name, got, &taken)
		}
		var order []string
		for range 5 {
			synctest.Wait()
			name := <-got
			order = append(order, name)
			x, _ := taken.Load(name)
			x.(*Turn).Give()
			x.(*Turn).Give() // twice is nothing
		}
		if want := []string{"first", "live", "dvr 1", "dvr 2", "rest"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestLowestClassHasItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, got := NewTurns(1, time.Hour), make(chan string, 64)
		var taken sync.Map
		x := turns.Take(t.Context(), Live, Taker{})
		take(turns, Rest, "rest", got, &taken)
		for range 2 * lowest {
			take(turns, Live, "live", got, &taken)
		}
		x.Give()
		before := -1
		for i := range 2*lowest + 1 {
			synctest.Wait()
			name := <-got
			if name == "rest" {
				before = i
			}
			x, _ := taken.Load(name)
			x.(*Turn).Give()
		}
		if before < 0 || before > lowest {
			t.Errorf("%d turns before one of the lowest class", before)
		}
	})
}

// Who waits for something else while it has its turn keeps nobody from working.
func TestTurnEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, 2*time.Millisecond)
		began := time.Now()
		stuck := turns.Take(t.Context(), DVR, Taker{})
		second := turns.Take(t.Context(), DVR, Taker{})
		if d := time.Since(began); d != 2*time.Millisecond {
			t.Errorf("a turn that is not given back ends after %v", d)
		}
		if w := turns.Waited(time.Now()); w != time.Millisecond { // of two, one waited for two
			t.Errorf("waited %v in the mean", w)
		}
		stuck.Give() // it has none any more
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if turns.Take(ctx, Live, Taker{}) != nil {
			t.Error("a turn that was over is given to another")
		}
		second.Give()
		if x := turns.Take(t.Context(), Rest, Taker{}); x == nil {
			t.Error("no turn though nobody has one")
		}
		if len(turns.running) != 1 || turns.waiting[Live].n != 0 {
			t.Errorf("%d have a turn, %d wait", len(turns.running), turns.waiting[Live].n)
		}
	})
}

func TestWhoWaitsIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, time.Hour)
		turns.Take(t.Context(), DVR, Taker{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go turns.Take(ctx, DVR, Taker{})
		time.Sleep(time.Second)
		if w := turns.Waited(time.Now()); w != 0 {
			t.Errorf("%v: somebody got a turn at once", w)
		}
		if w := turns.Waited(time.Now()); w != time.Second {
			t.Errorf("somebody has waited a second, and %v is seen", w)
		}
	})
}

// Who may be shed begins nothing while somebody publishes, but now and then.
func TestTurnsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, who := NewTurns(1, time.Hour), Taker{}
		turns.Take(t.Context(), DVR, who).Give() // or one would be due
		began := time.Now()
		turns.Urgent()
		turns.Take(t.Context(), Live, who).Give()
		if d := time.Since(began); d != 0 {
			t.Errorf("the live edge waits %v for who publishes", d)
		}
		turns.Take(t.Context(), DVR, who).Give()
		if d := time.Since(began); d != quiet {
			t.Errorf("DVR begins %v after who published", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var publishing sync.WaitGroup
		defer publishing.Wait()
		defer cancel()
		publishing.Go(func() { // all the time
			for ctx.Err() == nil {
				turns.Urgent()
				time.Sleep(quiet / 2)
			}
		})
		synctest.Wait()
		began = time.Now()
		for range 3 {
			turns.Take(t.Context(), DVR, who).Give()
		}
		if d := time.Since(began); d < 2*atLeast || d > 3*atLeast {
			t.Errorf("three turns of DVR took %v while somebody publishes all the time", d)
		}
	})
}

// However many connections an address has, another waits for one of them at most.
func TestAddressesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, got := NewTurns(1, time.Hour), make(chan string, 64)
		crowd, edge := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		first := turns.Take(t.Context(), Live, Taker{Address: crowd})
		begin := func(who netip.Addr, name string) {
			go func() {
				x := turns.Take(t.Context(), Live, Taker{Address: who})
				got <- name
				x.Give()
			}()
			synctest.Wait()
		}
		for range 20 {
			begin(crowd, "crowd")
		}
		begin(edge, "edge")
		begin(edge, "edge")
		first.Give()
		var order []string
		for range 22 {
			order = append(order, <-got)
		}
		if want := []string{"crowd", "edge", "crowd", "edge", "crowd"}; !slices.Equal(order[:5], want) {
			t.Errorf("order %v..., want %v...", order[:5], want)
		}
		if q := turns.waiting[Live]; q.n != 0 || len(q.by) != 0 || len(q.order) != 0 {
			t.Errorf("%d wait of %d addresses after all had their turns", q.n, len(q.by))
		}
	})
}

// crowd has so many of a tenant take turns again and again, each of which lasts for so
// long, and counts them.
func crowd(ctx context.Context, turns *Turns, c Class, who Taker, many int, lasts time.Duration, all *sync.WaitGroup) (count *int) {
	count = new(int)
	for range many {
		all.Go(func() {
			for ctx.Err() == nil {
				if x := turns.Take(ctx, c, who); x != nil {
					time.Sleep(lasts)
					*count++ // one has the turn
					x.Give()
				}
			}
		})
	}
	return count
}

// A tenant's turns that are ten times as long are a tenth of another's: it has the same
// time, whatever number of connections and addresses it has.
func TestTenantsHaveTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		long := crowd(ctx, turns, DVR, Taker{Tenant: "rival", Address: netip.MustParseAddr("192.0.2.1")}, 100, 2*time.Millisecond, &all)
		more := crowd(ctx, turns, DVR, Taker{Tenant: "rival", Address: netip.MustParseAddr("192.0.2.2")}, 100, 2*time.Millisecond, &all)
		short := crowd(ctx, turns, DVR, Taker{Tenant: "home", Address: netip.MustParseAddr("192.0.2.1")}, 8, 200*time.Microsecond, &all)
		all.Wait()
		rival, home := time.Duration(*long+*more)*2*time.Millisecond, time.Duration(*short)*200*time.Microsecond
		if rival < 400*time.Millisecond || home < 400*time.Millisecond {
			t.Errorf("of a second one tenant had %v, the other %v", rival, home)
		}
		if *long < *more*9/10 || *more < *long*9/10 {
			t.Errorf("one address had %d turns, the other %d", *long, *more)
		}
		if q := &turns.waiting[DVR]; q.n != 0 || len(q.by) != 0 || len(q.order) != 0 {
			t.Errorf("%d wait of %d tenants after all had their turns", q.n, len(q.by))
		}
	})
}

// Whoever comes with one request waits for one turn of another tenant, of however many
// connections that has.
func TestTenantWaitsForOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		defer all.Wait()
		crowd(ctx, turns, Live, Taker{Tenant: "rival"}, 500, time.Millisecond, &all)
		for range 20 {
			time.Sleep(7 * time.Millisecond)
			began := time.Now()
			turns.Take(ctx, Live, Taker{Tenant: "home"}).Give()
			if d := time.Since(began); d > 2*time.Millisecond {
				t.Errorf("a turn after %v", d)
			}
		}
	})
}

// However much is published, others have their turns, and publishing has most.
func TestPublishingIsFirstAndNotAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		publish := crowd(ctx, turns, Publish, Taker{Tenant: "rival"}, 50, time.Millisecond, &all)
		live := crowd(ctx, turns, Live, Taker{Tenant: "home"}, 50, time.Millisecond, &all)
		dvr := crowd(ctx, turns, DVR, Taker{Tenant: "home"}, 50, time.Millisecond, &all)
		all.Wait()
		if *publish < 700 || *live < 150 || *dvr < 30 {
			t.Errorf("turns: publish %d, live %d, DVR %d", *publish, *live, *dvr)
		}
	})
}

// Who does long work by pieces keeps nobody waiting for longer than a piece.
func TestSpellPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, time.Hour)
		var all sync.WaitGroup
		defer all.Wait()
		work := turns.Begin(t.Context(), DVR, Taker{})
		if len(turns.running) != 0 {
			t.Error("it has a turn before there is work")
		}
		work.Pause()
		all.Go(func() {
			for range 100 {
				time.Sleep(time.Millisecond)
				work.Pause()
			}
			work.End()
			work.Pause() // has no turn any more
		})
		time.Sleep(10*time.Millisecond + time.Microsecond)
		began := time.Now()
		x := turns.Take(t.Context(), Live, Taker{})
		if d := time.Since(began); d > time.Millisecond {
			t.Errorf("a turn after %v", d)
		}
		x.Give()
		all.Wait()
		if len(turns.running) != 0 {
			t.Errorf("%d have turns in the end", len(turns.running))
		}
	})
}

// A process that stood still while somebody had a turn does not hold that against it: it
// owes no more than a turn may last.
func TestWhoHadATurnWhileAllStoodStillOwesALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 2 * time.Millisecond
		turns, got := NewTurns(1, lease), make(chan string, 16)
		x := turns.Take(t.Context(), Live, Taker{Tenant: "a"})
		for _, tenant := range []string{"a", "b", "b"} {
			times := 1
			if tenant == "b" {
				times = 101 // again and again
			}
			go func() {
				for range times {
					x := turns.Take(context.Background(), Live, Taker{Tenant: tenant})
					got <- tenant
					time.Sleep(quantum)
					x.Give()
				}
			}()
			synctest.Wait()
		}
		turns.mu.Lock()
		x.since = x.since.Add(-time.Minute)
		turns.mu.Unlock()
		x.Give()
		others := 0
		for <-got != "a" {
			others++
		}
		if most := int(lease/quantum) + 2; others > most {
			t.Errorf("b had %d turns before a, at most %d", others, most)
		}
		for range 202 - others {
			<-got
		}
		time.Sleep(time.Second) // all are done
	})
}

// TestCalm: who publishes is disturbed by nobody while his segment is stored, either, which
// is long after its last piece.
func TestCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, time.Millisecond)
		if !turns.Calm() {
			t.Error("nobody has published")
		}
		turns.Urgent()
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			if turns.Calm() {
				t.Error("it may be stored still")
			}
		}
		if time.Sleep(calm); !turns.Calm() {
			t.Error("nobody publishes any more")
		}
	})
}

// TestHush: while a segment is stored a crowd of readers begins nothing, for a while; it
// goes on when that is stored, and has nearly all the time however much is.
func TestHush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var live atomic.Int64
		for range 50 {
			all.Go(func() {
				for ctx.Err() == nil {
					x := turns.Take(ctx, Live, Taker{Tenant: "rival"})
					time.Sleep(time.Millisecond)
					live.Add(1)
					x.Give()
				}
			})
		}
		over := func(d time.Duration) int64 {
			before := live.Load()
			time.Sleep(d)
			return live.Load() - before
		}
		over(time.Second)
		stored := turns.Storing()
		over(3 * time.Millisecond / 2) // who had a turn
		if n := over(5 * time.Millisecond); n > 0 {
			t.Errorf("%d turns while it is stored", n)
		}
		stored()
		if n := over(5 * time.Millisecond); n < 4 {
			t.Errorf("%d turns in 5 ms when it was stored", n)
		}
		stored = turns.Storing()
		if n := over(20 * time.Millisecond); n < 19 {
			t.Errorf("%d turns in 20 ms right after it", n)
		}
		if n := over(time.Second); n < 850 || n > 950 {
			t.Errorf("%d turns in a second in which something is stored all the time", n)
		}
		stored()
		over(time.Second)
		cancel()
		all.Wait()
		if h := &turns.hush; h.storing.Load() != 0 {
			t.Errorf("%d are stored in the end", h.storing.Load())
		}
		time.Sleep(time.Second)
		// Few are not kept from it.
		defer turns.Storing()()
		began := time.Now()
		turns.Take(t.Context(), Live, Taker{}).Give()
		if d := time.Since(began); d > 0 {
			t.Errorf("a turn after %v", d)
		}
	})
}
