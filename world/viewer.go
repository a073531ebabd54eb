package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"headwater/live"
)

// A watcher is one viewer: it asks for each number shortly before it is expected,
// as players do, again where it is refused, and now and then for something of the
// DVR window.
type watcher struct {
	w      *world
	name   string
	edge   string
	rng    *rand.Rand
	client *http.Client
	// rewinds: after one of so many segments it asks for one of the DVR window.
	rewinds int
}

// patience is how long a request may take, whatever happens, where its edge runs
// and is reached: a segment is held from two seconds before it is expected to two
// after, and then a parent may have to be given up.
const patience = 20 * time.Second

func (w *world) newWatcher(name, edge string, rng *rand.Rand) *watcher {
	t := &http.Transport{DialContext: w.net.dialer(name), DisableCompression: true, IdleConnTimeout: 30 * time.Second}
	v := &watcher{w: w, name: name, edge: edge, rng: rng, client: &http.Client{Transport: t}, rewinds: 8}
	if w.plan.Long {
		v.rewinds = 3
	}
	return v
}

func (v *watcher) run(ctx context.Context) {
	defer v.client.CloseIdleConnections()
	tl := &v.w.tl
	for n := tl.First(); ctx.Err() == nil; n++ {
		n = max(n, tl.At(time.Now())-1)
		at := tl.Expected(n).Add(-time.Duration(v.rng.Int64N(int64(tl.Hold()))))
		if d := v.w.plan.watched(at.Sub(v.w.began)); d < 0 || !sleep(ctx, time.Until(at)+d) {
			return
		} else if d > 0 {
			continue
		}
		for {
			a := v.ask(ctx, n)
			if a.status == http.StatusOK || time.Now().After(tl.Deadline(n)) || !sleep(ctx, 200*time.Millisecond+time.Duration(v.rng.Int64N(int64(300*time.Millisecond)))) {
				break
			}
		}
		if v.rng.IntN(v.rewinds) == 0 {
			oldest, newest := tl.Oldest(time.Now())+3, n-10
			if newest > oldest {
				v.ask(ctx, oldest+live.Number(v.rng.Int64N(int64(newest-oldest))))
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// An answer is what a viewer got.
type answer struct {
	viewer, edge string
	number       live.Number
	from, to     time.Time
	status       int // 0: none
	problem      string
	digest       live.Digest
	filled       bool // made of a segment before, since nobody published this one
	size         int
	err          error
}

func (v *watcher) ask(ctx context.Context, n live.Number) (a answer) {
	a = answer{viewer: v.name, edge: v.edge, number: n, from: time.Now()}
	defer func() {
		a.to = time.Now()
		if ctx.Err() == nil {
			v.w.answered(a)
		}
	}()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, "http://"+v.edge+":8080/"+v.w.id.String()+"/"+rendition+"/"+live.SegmentName(n), nil)
	if err != nil {
		panic(err)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		a.err = err
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a.status, a.size = resp.StatusCode, len(body)
	if err != nil {
		a.err = err
		return a
	}
	if a.status != http.StatusOK {
		_, code, _ := strings.Cut(string(body), "urn:headwater:problem:")
		a.problem, _, _ = strings.Cut(code, `"`)
		return a
	}
	a.digest, a.filled = live.DigestOf(body), strings.HasPrefix(resp.Header.Get(live.HeaderDefects), string(live.Filled))
	said, err := live.ParseDigest(resp.Header.Values(live.HeaderContentDigest))
	if err != nil || said != a.digest {
		a.err = errWrongBytes
		v.w.violate(a.to, "wrong bytes", "%s was given %d bytes of %d by %s that do not have their digest", a.viewer, a.size, n, a.edge)
	}
	return a
}

var errWrongBytes = errors.New("world: the bytes do not have their digest")

func (a answer) String() string {
	s := fmt.Sprintf("%s of %s: %d is %d %s", a.viewer, a.edge, a.number, a.status, a.problem)
	if a.filled {
		s += "filled"
	}
	if a.err != nil {
		s += fmt.Sprintf(" (%v)", a.err)
	}
	return fmt.Sprintf("%s after %v", s, a.to.Sub(a.from))
}
