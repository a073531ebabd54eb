package admit

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// take begins to wait for a turn, and says by whom it came.
func take(t *Turns, c Class, name string, got chan<- string, turns *sync.Map) {
	go func() {
		if x := t.Take(context.Background(), c, netip.Addr{}); x != nil {
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
		x := turns.Take(t.Context(), Live, netip.Addr{})
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
		stuck := turns.Take(t.Context(), DVR, netip.Addr{})
		second := turns.Take(t.Context(), DVR, netip.Addr{})
		if d := time.Since(began); d != 2*time.Millisecond {
			t.Errorf("a turn that is not given back ends after %v", d)
		}
		if w := turns.Waited(time.Now()); w != time.Millisecond { // of two, one waited for two
			t.Errorf("waited %v in the mean", w)
		}
		stuck.Give() // it has none any more
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if turns.Take(ctx, Live, netip.Addr{}) != nil {
			t.Error("a turn that was over is given to another")
		}
		second.Give()
		if x := turns.Take(t.Context(), Rest, netip.Addr{}); x == nil {
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
		turns.Take(t.Context(), DVR, netip.Addr{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go turns.Take(ctx, DVR, netip.Addr{})
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
		turns, who := NewTurns(1, time.Hour), netip.Addr{}
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
		first := turns.Take(t.Context(), Live, crowd)
		begin := func(who netip.Addr, name string) {
			go func() {
				x := turns.Take(t.Context(), Live, who)
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
