package origin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/live"
	"headwater/store/memory"
)

// A rig is an origin with one event, asked without a network.
type rig struct {
	*testing.T
	o   *Origin
	id  live.EventID
	tl  live.Timeline
	m   *media
	pub http.Handler
	del http.Handler
	ctl http.Handler
}

// testEvent is what rigs begin with: it has started a minute ago, and has two
// pipelines, video v and w and audio a.
func testEvent() live.Event {
	ev := live.Default()
	ev.Start = time.Now().UTC().Truncate(2 * time.Second).Add(-time.Minute)
	ev.DVRSeconds = 600
	ev.OnLost = live.LostGap // what is lost shows as such
	ev.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	ev.Renditions = []live.Rendition{
		{Name: "v", Type: live.Video, Bandwidth: 3_000_000}, {Name: "w", Type: live.Video, Bandwidth: 1_000_000},
		{Name: "a", Type: live.Audio, Bandwidth: 128_000, Language: "en"}}
	return ev
}

var testID = live.EventID{Tenant: "acme", Name: "final"}

// newRig builds an origin with its event.
func newRig(t *testing.T, cfg Config, edit ...func(*live.Event)) *rig {
	t.Helper()
	r := openRig(t, cfg)
	ev := testEvent()
	for _, f := range edit {
		f(&ev)
	}
	r.create(ev)
	return r
}

// openRig builds an origin over cfg.Store, by default an empty one.
func openRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r, _ := stoppableRig(t, cfg)
	return r
}

// stoppableRig is openRig, with what ends the origin before the test does.
func stoppableRig(t *testing.T, cfg Config) (r *rig, stop func()) {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = memory.New(memory.Options{})
	}
	o, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var house sync.WaitGroup
	house.Go(func() { o.Run(ctx) })
	stop = func() { cancel(); house.Wait() }
	t.Cleanup(stop)
	r = &rig{T: t, o: o, id: testID, m: testMedia(), pub: o.PublishHandler(), del: o.DeliverHandler(), ctl: o.ControlHandler()}
	if e := o.book.Get(testID); e != nil {
		r.tl = e.View().Config().Event.Timeline()
	}
	return r, stop
}

func (r *rig) create(ev live.Event) {
	r.Helper()
	b, err := json.Marshal(ev)
	if err != nil {
		r.Fatal(err)
	}
	if w := r.control("PUT", "", string(b), "Authorization", "Bearer root"); w.Code >= 300 {
		r.Fatalf("creating the event: %d %s", w.Code, w.Body)
	}
	r.tl = ev.Timeline()
}

// next is the segment whose last frame has just been filmed: not yet due, or
// due and not yet late.
func (r *rig) next() live.Number { return r.tl.At(time.Now()) - 1 }

func serve(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// request makes one for a handler, with headers as pairs of name and value.
func request(method, url string, body io.Reader, headers ...string) *http.Request {
	req := httptest.NewRequest(method, url, body)
	req.Host = "origin:7003"
	if strings.HasPrefix(url, eventsPath) {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Content-Type" {
			req.Header.Del(headers[i])
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

// put publishes under /{tenant}/{event}/ and path.
func (r *rig) put(path string, body []byte, headers ...string) *httptest.ResponseRecorder {
	return serve(r.pub, request("PUT", "/"+r.id.String()+"/"+path, bytes.NewReader(body), headers...))
}

// putSegment publishes a take of a segment and wants a status.
func (r *rig) putSegment(pipeline, rendition string, n live.Number, k take, status int) *httptest.ResponseRecorder {
	r.Helper()
	if k.mark == "" {
		k.mark = pipeline
	}
	return r.want(r.put(pipeline+"/"+rendition+"/"+live.SegmentName(n), r.m.segment(r.tl, rendition, n, k)), status, "")
}

// putInits publishes the init segments of all renditions.
func (r *rig) putInits(pipelines ...string) {
	r.Helper()
	for _, p := range pipelines {
		for _, name := range []string{"v", "w", "a"} {
			r.want(r.put(p+"/"+name+"/init.mp4", r.m.inits[name]), 201, "")
		}
	}
}

// get asks the delivery side.
func (r *rig) get(path string, headers ...string) *httptest.ResponseRecorder {
	return serve(r.del, request("GET", "/"+r.id.String()+"/"+path, nil, headers...))
}

func (r *rig) getSegment(rendition string, n live.Number, headers ...string) *httptest.ResponseRecorder {
	return r.get(rendition+"/"+live.SegmentName(n), headers...)
}

// control asks the control API of the event.
func (r *rig) control(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return serve(r.ctl, request(method, "/v1/events/"+r.id.String()+path, strings.NewReader(body), headers...))
}

// want checks a status, and of a refusal its problem's code.
func (r *rig) want(w *httptest.ResponseRecorder, status int, code string) *httptest.ResponseRecorder {
	r.Helper()
	if got := problemOf(w); w.Code != status || code != "" && got.Code != code {
		r.Fatalf("%d %q (%s %s), want %d %q", w.Code, got.Code, got.Title, got.Detail, status, code)
	}
	return w
}

func problemOf(w *httptest.ResponseRecorder) *live.Problem {
	p := new(live.Problem)
	if w.Header().Get("Content-Type") == live.ProblemType {
		if err := json.Unmarshal(w.Body.Bytes(), p); err != nil {
			p.Code = err.Error()
		}
	}
	return p
}

// ask begins a GET that may be held. Its answer comes on the channel.
func (r *rig) ask(ctx context.Context, path string) <-chan *httptest.ResponseRecorder {
	ch := make(chan *httptest.ResponseRecorder, 1)
	go func() { ch <- serve(r.del, request("GET", "/"+r.id.String()+"/"+path, nil).WithContext(ctx)) }()
	return ch
}

// answered is what came on ch by now; nil if nothing did.
func answered(ch <-chan *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	synctest.Wait()
	select {
	case w := <-ch:
		return w
	default:
		return nil
	}
}

// lifetime is how long an answer says that it may be kept.
func lifetime(w *httptest.ResponseRecorder) time.Duration {
	d, ok := live.ParseLifetime(w.Header().Values("Cache-Control"))
	if !ok {
		return -1
	}
	return d
}

// until sleeps up to a moment.
func until(t time.Time) { time.Sleep(time.Until(t)) }

// counted is what a counter or gauge says, by its name and labels.
func (r *rig) counted(name string) float64 {
	r.Helper()
	return r.metric("headwater_origin_" + name)
}

func (r *rig) metric(name string) float64 {
	r.Helper()
	for line := range strings.SplitSeq(r.metricsText(), "\n") {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				r.Fatal(err)
			}
			return f
		}
	}
	r.Fatalf("there is no metric %s", name)
	return 0
}

// waiting is how many requests are held, and slots how many segments anything is
// known of.
func (r *rig) waiting() (waiting, slots int) {
	r.Helper()
	return int(r.counted("holding")), int(r.counted("slots"))
}

// guard knows secrets, each with a grant that is its name: "s3=publish:acme"; and
// "root", with which rigs create their events.
func guard(t *testing.T, secrets ...string) *access.Guard {
	t.Helper()
	var list []access.Credential
	for _, s := range append(secrets, "root=admin") {
		secret, grant, _ := strings.Cut(s, "=")
		list = append(list, access.Credential{Name: grant, Secrets: []string{access.Hash(secret)}, Grants: []string{grant}})
	}
	g, err := access.NewGuard("", list, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// eventsPath is where the control API begins.
const eventsPath = "/v1/events"

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
