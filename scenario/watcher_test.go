package scenario

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"headwater/live"
)

// A watcher is one request of a viewer and what came of it.
type watcher struct {
	w     *world
	asked time.Time
	leave context.CancelFunc
	done  chan struct{} // closed when it is over
	read  chan struct{} // closed when the viewer begins to read the body

	mu    sync.Mutex // guards the following
	resp  *http.Response
	head  time.Time // when it came
	last  time.Time // when the last byte so far came, or the connection broke
	bytes int64
	hash  hash.Hash
	small bytes.Buffer // the beginning of the body
	err   error
	gone  bool
}

// A group is the watchers of one name.
type group []*watcher

func (g group) leave() {
	for _, v := range g {
		v.leave()
	}
}

// ask lets a viewer ask. One that is stuck reads nothing of the body for now.
func (w *world) ask(url string, header http.Header, stuck bool) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	v := &watcher{w: w, asked: time.Now(), done: make(chan struct{}), read: make(chan struct{}), hash: sha256.New()}
	v.leave = func() {
		select {
		case <-v.done:
		default:
			v.mu.Lock()
			if !v.gone {
				v.gone, v.last = true, time.Now()
			}
			v.mu.Unlock()
		}
		cancel()
	}
	if !stuck {
		close(v.read)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, val := range header {
		req.Header[name] = val
	}
	w.tasks.Go(func() {
		defer close(v.done)
		defer cancel()
		resp, err := w.client.Do(req)
		v.mu.Lock()
		v.resp, v.head, v.err = resp, time.Now(), err
		if !v.gone {
			v.last = v.head
		}
		v.mu.Unlock()
		if err != nil {
			return
		}
		defer resp.Body.Close()
		select {
		case <-v.read:
		case <-ctx.Done():
			return
		}
		buf := make([]byte, 32<<10)
		for err == nil {
			var n int
			n, err = resp.Body.Read(buf)
			v.mu.Lock()
			if !v.gone && (n > 0 || err != io.EOF) {
				v.last = time.Now()
			}
			v.bytes += int64(n)
			v.hash.Write(buf[:n])
			if v.small.Len() < 4<<10 {
				v.small.Write(buf[:n])
			}
			if err != io.EOF {
				v.err = err
			}
			v.mu.Unlock()
		}
	})
	return v
}

// over reports whether the request has ended.
func (v *watcher) over() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

// String says what came so far.
func (v *watcher) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.gone && v.resp == nil:
		return "left at " + v.w.since(v.last)
	case v.resp == nil && v.err != nil:
		return v.w.since(v.last) + " no answer: connection broken"
	case v.resp == nil:
		return "waiting since " + v.w.since(v.asked)
	}
	h := v.resp.Header
	when := v.w.since(v.head)
	over := v.over()
	switch {
	case !over && !v.gone:
		when += "-"
	case !v.last.Equal(v.head):
		when += "-" + v.w.since(v.last)
	}
	s := when + " " + strconv.Itoa(v.resp.StatusCode)
	if h.Get("Content-Type") == live.ProblemType {
		s += " " + problemOf(v.small.Bytes())
	}
	if o := outcomeOf(h); o != "" {
		s += ", " + o
	}
	d, _ := live.ParseLifetime(h.Values(live.HeaderCacheControl))
	age, _ := strconv.Atoi(h.Get("Age"))
	s += fmt.Sprintf(", fresh %.3f s", (d - time.Duration(age)*time.Second).Seconds())
	if age > 0 {
		s += fmt.Sprintf(" (age %d)", age)
	}
	if h.Get("Content-Type") == live.ProblemType {
		return s
	}
	s += ", " + group3(v.bytes)
	size := v.resp.ContentLength
	want, _ := live.ParseDigest(h.Values(live.HeaderContentDigest))
	switch {
	case v.gone:
		return s + " bytes, then left"
	case !over && size >= 0:
		return s + " of " + group3(size) + " bytes so far"
	case !over:
		return s + " bytes so far"
	case v.err != nil:
		return s + " of " + group3(size) + " bytes, CONNECTION BROKEN"
	case v.resp.StatusCode == http.StatusOK && !want.IsZero() && live.Digest(v.hash.Sum(nil)) != want:
		return s + " bytes, WRONG"
	}
	return s + " bytes"
}

// outcomeOf reads this edge's member of Cache-Status: the last.
func outcomeOf(h http.Header) string {
	all := strings.Split(strings.Join(h.Values(live.HeaderCacheStatus), ","), ",")
	mine := all[len(all)-1]
	_, detail, ok := strings.Cut(mine, "detail=")
	if !ok {
		return ""
	}
	if strings.Contains(mine, ";collapsed") {
		detail += " collapsed"
	}
	return detail
}

// group3 prints a number in groups of three digits.
func group3(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// timing is what differs between answers that are the same otherwise.
var timing = regexp.MustCompile(`^[0-9.]+(-[0-9.]+)? |, fresh [0-9.]+ s( \(age [0-9]+\))?`)

// print says what came of each of a name's requests; of many, how often each.
func (w *world) print(name string, tally bool) {
	g := w.viewers[name]
	if len(g) == 1 && !tally {
		fmt.Fprintf(w.out, "%s: %v\n", name, g[0])
		return
	}
	counts := make(map[string]int)
	for _, v := range g {
		s := v.String()
		if tally {
			s = timing.ReplaceAllString(s, "")
		}
		counts[s]++
	}
	var lines []string
	for s := range counts {
		lines = append(lines, s)
	}
	slices.Sort(lines)
	for _, s := range lines {
		fmt.Fprintf(w.out, "%s: %d x %s\n", name, counts[s], s)
	}
}
