package origin

import (
	"testing"
	"time"

	"headwater/origin/layout"

	"headwater/blobs"
	"headwater/blobs/memcachedtest"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// TestSegmentsComeFromTheCache: what one node publishes another delivers without
// a read of the store, from real servers; what they have lost is read once, and a
// repair is delivered in place of what they have.
func TestSegmentsComeFromTheCache(t *testing.T) {
	m := memcachedtest.New(t)
	bubble(t, func(t *testing.T) {
		st := storetest.NewFaulty(memory.New(memory.Options{}))
		cache, err := blobs.New(blobs.Config{Zones: []blobs.Zone{{Name: "a", Servers: []string{m.Addr}}}, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		cfg := Config{Store: st, Cache: cache, DeliverCache: cache, MemoryBytes: 1}
		one := newRig(t, cfg)
		one.putInits("a")
		n := one.next()
		one.putSegment("a", "v", n, take{lose: 30}, 201)
		two := openRig(t, cfg)
		reads := func() int {
			t.Helper()
			before := st.Count(storetest.Get)
			two.want(two.getSegment("v", n), 200, "")
			return st.Count(storetest.Get) - before
		}
		until(two.tl.Deadline(n)) // b never comes
		if got := reads(); got != 0 {
			t.Errorf("%d reads of what was just written", got)
		}
		m.Empty()
		if got := reads(); got != 1 {
			t.Errorf("%d reads of what was lost", got)
		}
		// The servers have what was before the repair, and nobody asks for it.
		two.putSegment("a", "v", n, take{mark: "repair"}, 200)
		w := two.want(two.getSegment("v", n), 200, "")
		if w.Header().Get("Live-Defects") != "" {
			t.Errorf("defects %q", w.Header().Get("Live-Defects"))
		}
		page, err := st.Scan(t.Context(), layout.Media(testID, "v"), store.ScanOptions{})
		if err != nil || len(page.Items) != 1 {
			t.Errorf("%d items, %v", len(page.Items), err)
		}
	})
}
