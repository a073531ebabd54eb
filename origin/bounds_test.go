package origin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
)

// A stuckWriter is a client who reads nothing until release closes.
type stuckWriter struct {
	*httptest.ResponseRecorder
	release chan struct{}
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	<-w.release
	return w.ResponseRecorder.Write(b)
}

// TestBytesBeingSentAreBounded: what is being sent to an address that reads slowly
// has its bound, and is given back when it is sent.
func TestBytesBeingSentAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{MaxSegmentBytes: 64 << 10, EgressBytes: 200_000})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{size: 60_000}, 201)
		slow := &stuckWriter{httptest.NewRecorder(), make(chan struct{})}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			r.del.ServeHTTP(slow, request("GET", "/"+r.id.String()+"/v/"+live.SegmentName(n), nil))
		}()
		synctest.Wait()
		r.want(r.getSegment("v", n), http.StatusServiceUnavailable, "overloaded")
		close(slow.release)
		<-sent
		r.want(r.getSegment("v", n), http.StatusOK, "")
		r.want(r.getSegment("v", n), http.StatusOK, "")
	})
}

// A stuckStore's scans of media wait until their time is up, once it is stuck.
type stuckStore struct {
	store.Store
	stuck              atomic.Bool
	scans, under, most atomic.Int64
}

func (s *stuckStore) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	if r.Namespace != store.Media || !s.stuck.Load() {
		return s.Store.Scan(ctx, r, opt)
	}
	s.scans.Add(1)
	s.most.Store(max(s.most.Load(), s.under.Add(1)))
	defer s.under.Add(-1)
	<-ctx.Done()
	return store.Page{}, context.Cause(ctx)
}

// TestGuardLooksOnceAtATime: while a look for a rendition's segments is under way
// the guard begins no other, however slow the store is; afterwards it does.
func TestGuardLooksOnceAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &stuckStore{Store: memory.New(memory.Options{})}
		r := newRig(t, Config{Store: s, GuardInterval: 100 * time.Millisecond, StoreTimeout: 450 * time.Millisecond})
		r.putInits("a")
		s.stuck.Store(true)
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		n := r.next()
		before := s.scans.Load()
		asked := r.ask(ctx, "v/"+live.SegmentName(n))
		time.Sleep(time.Until(r.tl.Deadline(n)) - 10*time.Millisecond)
		synctest.Wait()
		if most := s.most.Load(); most != 1 {
			t.Errorf("%d looks at once", most)
		}
		if looks := s.scans.Load() - before; looks < 3 || looks > 5 {
			t.Errorf("%d looks in two seconds, each of which takes 0.45 s", looks)
		}
		leave()
		<-asked
	})
}
