package deploy_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
)

// A parent answers as its handler says, and numbers its answers.
type parent struct {
	mu sync.Mutex // guards n
	n  map[string]int
}

// answered notes an answer for a path, from now on, and returns its number.
func (p *parent) answered(w http.ResponseWriter, r *http.Request) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == nil {
		p.n = make(map[string]int)
	}
	p.n[r.URL.Path]++
	w.Header().Set("Test-Answer", fmt.Sprintf("%d %d", p.n[r.URL.Path], time.Now().UnixMicro()))
	return p.n[r.URL.Path]
}

func (p *parent) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[path]
}

// TestLifetimes: nothing is repeated for longer than it says, and what can be is
// repeated that long.
func TestLifetimes(t *testing.T) {
	need.Long(t, "needs nginx and varnish")
	t.Parallel()
	cases := []struct {
		name, control, age string
		status             int
		life               time.Duration
		kept               bool // by the coarse programs too
	}{
		{"early", "max-age=0, max-age-ms=900", "", 404, 900 * time.Millisecond, false},
		{"early-long", "max-age=2, max-age-ms=2850", "", 404, 2850 * time.Millisecond, true},
		{"early-now", "max-age=0, max-age-ms=0", "", 404, 0, false},
		{"lost", "max-age=2, max-age-ms=2000", "", 410, 2 * time.Second, true},
		{"overloaded", "max-age=5, max-age-ms=5000", "", 503, 5 * time.Second, true},
		{"store-unavailable", "max-age=1, max-age-ms=1000", "", 503, time.Second, false},
		{"draining", "no-store", "", 503, 0, false},
		{"silent", "", "", 404, 0, false},
		{"silent-found", "", "", 200, 0, false},
		{"playlist", "max-age=1, max-age-ms=1500", "", 200, 1500 * time.Millisecond, false},
		{"seconds", "max-age=3", "", 404, 3 * time.Second, true},
		{"old", "max-age=4, max-age-ms=4600", "2", 404, 2600 * time.Millisecond, false},
		{"too-old", "max-age=3, max-age-ms=3000", "3", 404, 0, false},
	}
	byPath := map[string]int{}
	for i, c := range cases {
		byPath["/t/e/v/"+c.name] = i
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			p := new(parent)
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				i, ok := byPath[r.URL.Path]
				if !ok {
					return // the probe
				}
				c := cases[i]
				if c.control != "" {
					w.Header().Set("Cache-Control", c.control)
				}
				if c.age != "" {
					w.Header().Set("Age", c.age)
				}
				if c.status == http.StatusServiceUnavailable {
					w.Header().Set("Retry-After", "5")
				}
				p.answered(w, r)
				if k.fine && c.status == http.StatusNotFound && c.life > 0 {
					<-time.After(50 * time.Millisecond) // a long way
				}
				w.WriteHeader(c.status)
			}))
			prog := k.run(t, url)
			hc := client(t)
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					seen := map[int]int{} // how often each answer was got
					from := map[int]time.Time{}
					every(t, 5*time.Millisecond, func() bool {
						a := ask(t, hc, http.MethodGet, "http://"+prog.Addr+"/t/e/v/"+c.name)
						if a.status != c.status {
							t.Fatalf("status %d", a.status)
						}
						if c.status == 503 && a.header.Get("Retry-After") != "5" {
							t.Errorf("Retry-After: %v", a.header)
						}
						var number int
						var micro int64
						if _, err := fmt.Sscan(a.header.Get("Test-Answer"), &number, &micro); err != nil {
							t.Fatalf("%v: %v", a.header, err)
						}
						// What a segment that cannot be yet has left counts from when
						// its parent said so; of other answers, from when they came.
						if seen[number]++; seen[number] == 1 {
							from[number] = a.got
							if c.status == http.StatusNotFound {
								from[number] = time.UnixMicro(micro)
							}
						}
						end := from[number].Add(c.life)
						if !a.sent.Before(end) && a.sent.After(from[number]) {
							t.Fatalf("an answer for %v was repeated after %v", c.life, a.sent.Sub(from[number]))
						}
						if a.header.Get("Cache-Control") != "" {
							if fine, coarse := a.staleBy(t); fine.After(end) || coarse.After(end) {
								t.Fatalf("passed on for %v or %v longer than there was left: %v", fine.Sub(end), coarse.Sub(end), a.header)
							}
						}
						return number < 2
					})
					if repeated := seen[1] > 1; repeated != (c.life > 0 && (k.fine || c.kept)) {
						t.Errorf("the first answer was given %d times", seen[1])
					}
				})
			}
		})
	}
}

// TestNginxArithmetic: what nginx's inner server allows its outer one is at most
// a second less than is left, and not nothing where there is plenty.
func TestNginxArithmetic(t *testing.T) {
	need.Long(t, "needs nginx")
	t.Parallel()
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		age, control, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if age != "none" {
			w.Header().Set("Age", age)
		}
		if s, err := strconv.Atoi(control); err == nil {
			control = live.FormatLifetime(time.Duration(s)*time.Second + 950*time.Millisecond)
		}
		w.Header().Set("Cache-Control", control)
	}))
	p := kinds[0].run(t, url)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", p.Inner)
	}}
	defer tr.CloseIdleConnections()
	hc := &http.Client{Transport: tr}
	allowed := func(age, control string) int {
		t.Helper()
		n, err := strconv.Atoi(ask(t, hc, http.MethodGet, "http://inner/"+age+"/"+control).header.Get("X-Accel-Expires"))
		if err != nil {
			t.Fatalf("Age %s, %s: %v", age, control, err)
		}
		return n
	}
	ages := []int{0, 1, 2, 9, 10, 11, 19, 20, 45, 59, 60, 99, 100, 101, 250, 499, 500, 599, 600}
	var lives []int
	for n := range 130 {
		lives = append(lives, n)
	}
	lives = append(lives, 199, 200, 201, 599, 600, 601, 700, 999, 1000, 1001, 1999, 2000, 3600, 9999, 10000, 20000, 86400, 100000, 3600000)
	for _, life := range lives {
		if got := allowed("none", strconv.Itoa(life)); got != max(life-1, 0) {
			t.Errorf("max-age=%d: %d", life, got)
		}
		for _, age := range ages {
			got := allowed(strconv.Itoa(age), strconv.Itoa(life))
			if got > max(life-age-1, 0) {
				t.Errorf("max-age=%d with Age %d: %d", life, age, got)
			}
			if got == 0 && life-age > 110 && life >= 2*age {
				t.Errorf("max-age=%d with Age %d is not kept at all", life, age)
			}
		}
	}
	for _, c := range []string{"no-store", "private, max-age=60", "no-cache"} {
		if got := allowed("none", c); got != 0 {
			t.Errorf("%s: %d", c, got)
		}
	}
}

// TestNoParent: without a parent the answer is honest and short-lived, one
// request finds out for all, and the parent's return is noticed.
func TestNoParent(t *testing.T) {
	need.Long(t, "needs nginx and varnish")
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			l.Close()
			prog := k.run(t, addr)
			hc := client(t)
			url := "http://" + prog.Addr + "/t/e/v/1.m4s"
			a := ask(t, hc, http.MethodGet, url)
			if p := a.problem(t); a.status != 503 || p.Code != live.ErrUpstream.Code || a.header.Get("Content-Type") != live.ProblemType ||
				a.header.Get("Retry-After") == "" || a.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
			if l, err = net.Listen("tcp", addr); err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60, max-age-ms=60000")
			})}
			go srv.Serve(l)
			defer srv.Close()
			every(t, 20*time.Millisecond, func() bool { return ask(t, hc, http.MethodGet, url).status != http.StatusOK })
		})
	}
}

// TestZeroLifetime: an answer that may not be kept does not go out to those who
// wait for it one after the other (varnish-cache 3461), and who comes later is
// collapsed again.
func TestZeroLifetime(t *testing.T) {
	need.Long(t, "needs varnish")
	t.Parallel()
	const crowd = 60
	p := new(parent)
	asked := make(chan struct{}) // closed when all have asked
	var found atomic.Bool
	var inside sync.WaitGroup
	inside.Add(1)
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/t/e/v/1.m4s" {
			return // the probe
		}
		w.Header().Set("Cache-Control", "no-store")
		if found.Load() {
			w.Header().Set("Cache-Control", "max-age=600")
		}
		if p.answered(w, r) == 1 {
			inside.Done()
			<-asked
		} else {
			// One after the other this takes a minute.
			<-time.After(time.Second)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	prog := kinds[1].run(t, url)
	hc := client(t)
	target := "http://" + prog.Addr + "/t/e/v/1.m4s"
	var all, began sync.WaitGroup
	get := func() {
		if a, err := try(t.Context(), hc, http.MethodGet, target); err != nil || a.status != http.StatusServiceUnavailable {
			t.Errorf("%d %v", a.status, err)
		}
	}
	all.Go(get)
	inside.Wait()
	began.Add(crowd)
	for range crowd {
		all.Go(func() { began.Done(); get() })
	}
	began.Wait()
	close(asked)
	all.Wait() // the client gives up after 40 seconds

	// A little later a segment is there, or held, and one request is for all.
	found.Store(true)
	wait(t, time.Now().Add(100*time.Millisecond))
	before := p.count("/t/e/v/1.m4s")
	for range crowd {
		all.Go(get)
	}
	all.Wait()
	if got := p.count("/t/e/v/1.m4s") - before; got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}
