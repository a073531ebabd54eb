package origin

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/live"
	"headwater/store/memory"
)

// FuzzControl: whatever an operator, or who passes for one, asks of control has an answer that is
// no fault of the origin's, in JSON, and the event can still be read after it.
func FuzzControl(f *testing.F) {
	ev := testEvent()
	config, err := json.Marshal(ev)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][3]string{
		{"PUT", "", string(config)}, {"PUT", "?replace=true", `{"start":"2026-11-23T20:00:00Z","pipelines":[{"name":"a"}],"renditions":[{"name":"v","type":"video","bandwidth":1}]}`},
		{"POST", "/masks?dry_run=true", `{"pipeline":"a","rendition":"v","from":1,"to":5,"reason":"x"}`}, {"POST", "/masks?yes=true", `{"pipeline":"a","from":"now","to":"now+10s"}`},
		{"DELETE", "/masks/x", ""}, {"POST", "/notifications", `{"type":"slate","from":1,"to":2}`}, {"POST", "/notifications", `{"type":"end","from":"2026-11-23T20:00:00Z"}`},
		{"DELETE", "/notifications/x", ""}, {"POST", "/invalidations", `{"rendition":"v","from":1,"to":3}`}, {"POST", "/flush?yes=true", `{}`},
		{"GET", "/segments?rendition=v&from=now-10s&to=99999999999", ""}, {"GET", "/audit?limit=-1&from=x", ""}, {"GET", "/masks", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	o, err := New(f.Context(), Config{Store: memory.New(memory.Options{})})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var house sync.WaitGroup
	house.Go(func() { o.Run(ctx) })
	f.Cleanup(func() { cancel(); house.Wait() })
	h := o.ControlHandler()
	ask := func(method, path, body string) (int, string) {
		req, err := http.NewRequest(method, "http://origin:7003"+eventsPath+"/"+testID.String()+path, strings.NewReader(body))
		if err != nil {
			return 0, "" // no request
		}
		req.Header.Set("Content-Type", "application/json")
		w := serve(h, req)
		return w.Code, w.Body.String()
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if len(body) > 64<<10 {
			return
		}
		if code, text := ask("PUT", "?replace=true&yes=true", string(config)); code >= 300 {
			t.Fatalf("creating the event: %d %s", code, text)
		}
		code, text := ask(method, path, body)
		if code >= 500 {
			t.Errorf("%s %s %q: %d %s", method, path, body, code, text)
		}
		if text != "" && method != http.MethodHead && strings.HasPrefix(text, "{") && !json.Valid([]byte(text)) {
			t.Errorf("%s %s %q: %d, no JSON: %s", method, path, body, code, text)
		}
		if e := o.book.Get(testID); e != nil {
			tl := e.View().Config().Timeline("v")
			tl.Edge(time.Now())
		}
		if code, text := ask("GET", "", ""); code != 200 && code != 404 || code == 200 && json.Unmarshal([]byte(text), new(live.Config)) != nil {
			t.Errorf("after %s %s %q: %d %s", method, path, body, code, text)
		}
	})
}
