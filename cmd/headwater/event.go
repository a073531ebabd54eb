package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"headwater/live"
)

var eventCommand = &command{
	name: "event", summary: "create and run events: a client of the control API",
	usage: "VERB [TENANT/EVENT] [flags]",
	about: `
Verbs:
  create TENANT/EVENT -f FILE   create an event, or change it; - is standard input
  get TENANT/EVENT              print its configuration, with defaults and version
  list                          list all events
  end TENANT/EVENT              end it now, or --at TIME; DVR stays
  delete TENANT/EVENT           delete it with everything published of it
  segments TENANT/EVENT         what was published and what serves: --from, --to
  notify TENANT/EVENT           tell viewers: --type, --id, --from, --to, --data; --withdraw takes --id back
  mask TENANT/EVENT             take a pipeline's segments out: --pipeline, --rendition, --from, --to
  invalidate TENANT/EVENT       make caches drop segments: --pipeline, --region, --rendition, --from, --to
  flush TENANT/EVENT            make caches drop everything of the event`,
}

func init() { eventCommand.run = runEvent }

type eventFlags struct {
	control, token, file, at    string
	kind, id, data              string
	pipeline, region, rendition string
	from, to                    string
	withdraw                    bool
}

func (f *eventFlags) register(o *options) {
	o.String(&f.control, "control", "http://127.0.0.1:7003", "base `URL` of the origin's control listener")
	o.String(&f.token, "control-token", "", "`SECRET` of the control API")
	o.String(&f.file, "f", "", "create: `FILE` of the event's JSON, - for standard input")
	o.String(&f.at, "at", "", "end: `TIME` (RFC 3339) instead of now")
	o.String(&f.kind, "type", "", "notify: `TOKEN` that says what it is, e.g. ad-break")
	o.String(&f.id, "id", "", "notify: `ID` by which it is replaced or withdrawn; mask: its name")
	o.String(&f.data, "data", "", "notify: `TEXT` for the application, at most 1024 bytes")
	o.Bool(&f.withdraw, "withdraw", "notify: take the notification of --id back")
	o.String(&f.pipeline, "pipeline", "", "mask, invalidate: only this `PIPELINE`")
	o.String(&f.region, "region", "", "mask, invalidate: only this `REGION`")
	o.String(&f.rendition, "rendition", "", "mask, invalidate: only this `RENDITION`")
	o.String(&f.from, "from", "", "first segment `NUMBER`")
	o.String(&f.to, "to", "", "last segment `NUMBER`, inclusive")
}

func runEvent(ctx context.Context, env *environment, args []string) error {
	var f eventFlags
	o := newOptions("event")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return usagef("say what to do: create, get, list, end, delete, segments, notify, mask, invalidate or flush")
	}
	c := &control{base: strings.TrimSuffix(f.control, "/"), token: f.token, out: env.stdout}
	if u, err := url.Parse(c.base); err != nil || u.Host == "" {
		return usagef("--control: %q is not a URL like http://127.0.0.1:7003", f.control)
	}
	verb := rest[0]
	if verb == "list" {
		return c.do(ctx, http.MethodGet, "/v1/events", nil)
	}
	if len(rest) != 2 {
		return usagef("%s: name one event: headwater event %s TENANT/EVENT", verb, verb)
	}
	id, err := live.ParseEventID(rest[1])
	if err != nil {
		return usageError{err}
	}
	path := "/v1/events/" + id.String()
	switch verb {
	case "create":
		return f.create(ctx, env, c, path)
	case "get":
		return c.do(ctx, http.MethodGet, path, nil)
	case "delete":
		return c.do(ctx, http.MethodDelete, path, nil)
	case "end":
		return f.end(ctx, c, path)
	case "segments":
		q := url.Values{}
		for name, v := range map[string]string{"from": f.from, "to": f.to} {
			if v != "" {
				q.Set(name, v)
			}
		}
		return c.do(ctx, http.MethodGet, path+"/segments?"+q.Encode(), nil)
	case "notify":
		return f.notify(ctx, c, path)
	case "mask", "invalidate":
		scope, err := f.scope()
		if err != nil {
			return err
		}
		if verb == "invalidate" {
			return c.do(ctx, http.MethodPost, path+"/invalidations", scope)
		}
		return c.do(ctx, http.MethodPost, path+"/masks", live.Mask{ID: f.id, Scope: scope})
	case "flush":
		return c.do(ctx, http.MethodPost, path+"/flush", nil)
	}
	return usagef("%q is not a verb of event", verb)
}

func (f *eventFlags) create(ctx context.Context, env *environment, c *control, path string) error {
	var b []byte
	var err error
	switch f.file {
	case "":
		return usagef("-f: give the file with the event's JSON, or - for standard input")
	case "-":
		b, err = io.ReadAll(env.stdin)
	default:
		b, err = os.ReadFile(f.file)
	}
	if err != nil {
		return fmt.Errorf("-f: %w", err)
	}
	// The origin judges too; here the error names the file's field at once.
	if _, err := live.ParseEvent(b); err != nil {
		return fmt.Errorf("-f %s: %w", f.file, err)
	}
	return c.do(ctx, http.MethodPut, path, json.RawMessage(b))
}

// end sets the event's end to now, or to --at.
func (f *eventFlags) end(ctx context.Context, c *control, path string) error {
	at := time.Now().UTC()
	if f.at != "" {
		var err error
		if at, err = time.Parse(time.RFC3339Nano, f.at); err != nil {
			return usagef("--at: %q is not an RFC 3339 time like 2026-11-23T22:00:00Z", f.at)
		}
	}
	b, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	var cfg live.Config
	if err := json.Unmarshal(b, &cfg); err != nil {
		return err
	}
	cfg.End = at.UTC()
	return c.do(ctx, http.MethodPut, path, cfg.Event)
}

func (f *eventFlags) numbers() (from, to live.Number, err error) {
	for _, x := range []struct {
		name, v string
		n       *live.Number
	}{{"from", f.from, &from}, {"to", f.to, &to}} {
		if x.v == "" {
			continue
		}
		n, err := strconv.ParseInt(x.v, 10, 64)
		if err != nil || n < 0 {
			return 0, 0, usagef("--%s: %q is not a segment number", x.name, x.v)
		}
		*x.n = live.Number(n)
	}
	return from, to, nil
}

func (f *eventFlags) scope() (live.Scope, error) {
	from, to, err := f.numbers()
	if err != nil {
		return live.Scope{}, err
	}
	s := live.Scope{Pipeline: f.pipeline, Region: f.region, Rendition: f.rendition, From: from, To: to}
	if err := s.Validate(); err != nil {
		return s, usagef("--%w", err)
	}
	return s, nil
}

func (f *eventFlags) notify(ctx context.Context, c *control, path string) error {
	if f.id == "" {
		return usagef("--id: name the notification")
	}
	body := map[string]any{"id": f.id}
	if f.withdraw {
		body["withdraw"] = true
		return c.do(ctx, http.MethodPost, path+"/notifications", body)
	}
	if f.kind == "" {
		return usagef("--type: say what the notification is, e.g. ad-break")
	}
	from, to, err := f.numbers()
	if err != nil {
		return err
	}
	body["type"], body["from"] = f.kind, from
	if to != 0 {
		body["to"] = to
	}
	if f.data != "" {
		body["data"] = base64.StdEncoding.EncodeToString([]byte(f.data))
	}
	return c.do(ctx, http.MethodPost, path+"/notifications", body)
}

// control is a client of the control API.
type control struct {
	base, token string
	out         io.Writer
}

// do makes a request and prints the answer.
func (c *control) do(ctx context.Context, method, path string, body any) error {
	b, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	_, err = c.out.Write(b)
	return err
}

func (c *control) request(ctx context.Context, method, path string, body any) ([]byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("--control: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		var p live.Problem
		if json.Unmarshal(b, &p) == nil && p.Title != "" {
			return nil, fmt.Errorf("%s %s: %d: %w", method, path, resp.StatusCode, &p)
		}
		return nil, errors.New(method + " " + path + ": " + resp.Status)
	}
	return b, nil
}
