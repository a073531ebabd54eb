package through

import (
	"sync"
	"time"

	"headwater/store"
)

// doubts are what this process must not believe, from whatever zone it comes:
// what is older than a mutation of its own that some server did not answer. The
// other zones may hold it too, filled from that server by another process. An
// entry that old is too old for anybody after Config.FreshFor, so no doubt
// lasts longer.
type doubts struct {
	freshFor time.Duration

	mu    sync.Mutex
	keys  map[string]doubt // by the key of an entry or of a mark; guarded by mu, like since
	since time.Time        // nothing that was known to be the newest before is believed
}

type doubt struct {
	token store.Token
	at    time.Time // when the mutation had been acknowledged
}

// maxDoubts is how many keys are doubted one by one; beyond, everything is.
const maxDoubts = 4096

func (d *doubts) add(key string, t store.Token) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil {
		d.keys = make(map[string]doubt)
	}
	old, known := d.keys[key]
	if !known && len(d.keys) >= maxDoubts {
		for k, have := range d.keys {
			if now.Sub(have.at) > d.freshFor+2*skew {
				delete(d.keys, k)
			}
		}
		if len(d.keys) >= maxDoubts {
			d.since = now.Add(skew)
			clear(d.keys)
			return
		}
	}
	if old.token.Compare(t) > 0 {
		t = old.token
	}
	d.keys[key] = doubt{t, now}
}

// about reports whether an entry is in doubt.
func (d *doubts) about(k names, e *entry) bool {
	checked := time.UnixMilli(e.checked)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !checked.After(d.since) {
		return true
	}
	if own, ok := d.keys[k.entry]; ok && e.token.Compare(own.token) < 0 {
		return true
	}
	own, ok := d.keys[k.mark]
	return ok && e.token.Compare(own.token) <= 0 && !checked.After(own.at.Add(skew))
}
