package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"headwater/live"
)

// An eventChange is a request that changes an event.
type eventChange struct {
	verb, method string
	sub          string // of the event's path
	query        url.Values
	body         any
	scope        bool                       // body is a scope: a map with from and to
	what         string                     // it does, in words
	asks         bool                       // in any case, not only where viewers are left with nothing
	yes          bool                       // the request takes yes=true
	silent       bool                       // it touches no segments: there is nothing to say
	after        string                     // to say when it is done
	undo         string                     // the command that takes it back
	undone       func(answer []byte) string // makes undo of the answer
}

// An eventEffect is what the origin says that a change would do.
type eventEffect struct {
	Scope      live.Scope
	Renditions []struct {
		Rendition  string
		Segments   int
		From, To   live.Number
		Serves     map[string]int
		ThenServes map[string]int `json:"then_serves"`
		Next       []string
		ThenNext   []string `json:"then_next"`
	}
	NothingLeft bool `json:"nothing_left"`
	Result      string
	Changes     []string
	Warnings    []string
}

// change says what will be touched, asks where it must, makes the change, and
// says how it is taken back.
func (s *eventSession) change(ctx context.Context, c eventChange) error {
	path := func(extra string) string {
		q := maps.Clone(c.query)
		if q == nil {
			q = url.Values{}
		}
		if extra != "" {
			q.Set(extra, "true")
		}
		if len(q) == 0 {
			return s.path + c.sub
		}
		return s.path + c.sub + "?" + q.Encode()
	}
	yes := ""
	if !c.silent || s.dryRun {
		b, err := s.api.request(ctx, c.method, path("dry_run"), c.body)
		if err != nil {
			return hint(err)
		}
		var e eventEffect
		if err := json.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("what the origin says of --dry-run: %w", err)
		}
		if body, ok := c.body.(map[string]any); ok && c.scope {
			// What is done is what was said, also if the answer takes a while.
			if body["from"] != nil {
				body["from"] = e.Scope.From
			}
			if body["to"] != nil {
				body["to"] = e.Scope.To
			}
			c.what += ": " + scopeText(e.Scope, body["all"] == true)
		}
		if c.verb == "generation" && len(e.Changes) > 0 {
			c.what = strings.Join(e.Changes, "; ") + "; " + c.what
		}
		if s.dryRun {
			e.print(s.env.stdout, s.id, &c, true)
			fmt.Fprintln(s.env.stdout, "Nothing was changed.")
			return nil
		}
		if c.verb == "create" && len(e.Changes) > 0 {
			c.what += ": " + strings.Join(e.Changes, "; ")
		}
		e.print(s.env.stderr, s.id, &c, false)
		asks := c.asks || e.NothingLeft || c.verb == "create" && len(e.Warnings) > 0
		if asks {
			if err := s.env.confirm(ctx, c.verb, s.yes); err != nil {
				return err
			}
		}
		// Who says --yes, or end --never, means it.
		if c.yes && (asks || s.yes || len(e.Warnings) > 0) {
			yes = "yes"
		}
		if c.verb == "create" {
			c.after = e.result(s.id)
		}
	}
	answer, err := s.api.request(ctx, c.method, path(yes), c.body)
	if err != nil {
		return hint(err)
	}
	if _, err := s.env.stdout.Write(answer); err != nil {
		return err
	}
	if c.undone != nil {
		c.undo = c.undone(answer)
	}
	if c.undo != "" {
		fmt.Fprintf(s.env.stderr, "To take it back: %s\n", c.undo)
	}
	if c.after != "" {
		fmt.Fprintln(s.env.stderr, c.after)
	}
	return nil
}

// hint adds to a refusal the flag that goes with what the API says.
func hint(err error) error {
	if errors.Is(err, live.ErrInUse) {
		return fmt.Errorf("%w (here: --replace, --adopt)", err)
	}
	return err
}

// again is a command line for the same event.
func (s *eventSession) again(verb string, flags ...string) string {
	words := append([]string{"headwater", "event", verb, s.id.String()}, flags...)
	if s.control != controlURL {
		words = append(words, "--control", s.control)
	}
	// Secrets are in files: where they are may be said.
	for _, f := range []struct{ flag, value string }{
		{s.client.flag + "-file", s.client.tokenFile}, {"tls-ca", s.client.ca}, {"tls-cert", s.client.cert}, {"tls-key", s.client.key},
	} {
		if f.value != "" {
			words = append(words, "--"+f.flag, f.value)
		}
	}
	for i, w := range words {
		words[i] = quoted(w)
	}
	return strings.Join(words, " ")
}

// quoted is a word as shells take it: names of notifications and files may have any sign.
func quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:+,@%=", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// result says what becomes of an event's configuration; "" where the origin does not.
func (e *eventEffect) result(id live.EventID) string {
	switch {
	case e.Result == "":
		return ""
	case len(e.Changes) > 0:
		return fmt.Sprintf("%v: %s: %s", id, e.Result, strings.Join(e.Changes, "; "))
	}
	return fmt.Sprintf("%v: %s", id, e.Result)
}

// print says in words what a change does, or where it is rehearsed would do.
func (e *eventEffect) print(w io.Writer, id live.EventID, c *eventChange, rehearsed bool) {
	switch {
	case c.verb == "create" && rehearsed && e.Result != "":
		fmt.Fprintf(w, "create %s\n", strings.Replace(e.result(id), ": ", ": would be ", 1))
	case c.verb == "create" && len(e.Renditions) == 0 && len(e.Warnings) == 0:
		return // nothing to fear
	default:
		fmt.Fprintf(w, "%s %v: %s\n", c.verb, id, c.what)
	}
	for _, x := range e.Warnings {
		fmt.Fprintf(w, "  %s\n", x)
	}
	if c.verb == "create" && len(e.Renditions) == 0 {
		return
	}
	// Renditions to which the same happens share a line.
	var lines []string
	names := make(map[string][]string)
	var dark []string
	for _, r := range e.Renditions {
		line := "no published segment"
		if r.Segments > 0 {
			line = fmt.Sprintf("%s, %d to %d: ", count(r.Segments, "published segment"), r.From, r.To)
			if was, then := shares(r.Serves, r.Segments), shares(r.ThenServes, r.Segments); was == then {
				line += "served by " + was + ", as before"
			} else {
				line += "served by " + was + ", then by " + then
			}
		}
		if was, then := list(r.Next), list(r.ThenNext); was != then {
			line += "; what comes: by " + was + ", then by " + then
		}
		if names[line] == nil {
			lines = append(lines, line)
		}
		names[line] = append(names[line], r.Rendition)
		if len(r.ThenNext) == 0 && len(r.Next) > 0 {
			dark = append(dark, r.Rendition)
		}
	}
	for _, line := range lines {
		fmt.Fprintf(w, "  %s: %s\n", strings.Join(names[line], ", "), line)
	}
	switch {
	case len(lines) == 0:
		fmt.Fprintln(w, "  no published segment is touched")
	case len(dark) > 0:
		fmt.Fprintf(w, "  VIEWERS of %s get nothing of what comes\n", strings.Join(dark, ", "))
	case e.NothingLeft:
		fmt.Fprintln(w, "  VIEWERS get nothing of some segments that they get now, or that are to come")
	}
}

// scopeText says in words what a scope names.
func scopeText(s live.Scope, all bool) string {
	var parts []string
	if all {
		parts = append(parts, "all pipelines")
	}
	for _, x := range []struct{ word, v string }{{"pipeline", s.Pipeline}, {"region", s.Region}, {"rendition", s.Rendition}} {
		if x.v != "" {
			parts = append(parts, x.word+" "+x.v)
		}
	}
	text := fmt.Sprintf("from segment %d on, without an end", s.From)
	if s.To != 0 {
		text = fmt.Sprintf("segments %d to %d", s.From, s.To)
	}
	return strings.Join(append(parts, text), ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// shares is like "a 58, b 1, nothing 1".
func shares(by map[string]int, all int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, by[name]))
		all -= by[name]
	}
	if all > 0 {
		parts = append(parts, fmt.Sprintf("nothing %d", all))
	}
	return strings.Join(parts, ", ")
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, " or ")
}

// control is a client of the control API.
type control struct {
	base, token string
	client      *http.Client
	what        string // is done, for errors
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
	contentType, timeout := "application/json", 15*time.Second
	switch body := body.(type) {
	case nil:
	case clipFile:
		r, contentType, timeout = bytes.NewReader(body), "video/mp4", 3*time.Minute
	default:
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, fmt.Errorf("--control: %w (--tls-ca says whom to trust)", err)
		}
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
			return nil, fmt.Errorf("%s: %d: %w", c.what, resp.StatusCode, &p)
		}
		if resp.StatusCode == http.StatusBadRequest && resp.TLS == nil && bytes.Contains(b, []byte("HTTPS server")) {
			return nil, fmt.Errorf("--control: %s speaks TLS: its URL begins with https://", c.base)
		}
		return nil, errors.New(c.what + ": " + resp.Status)
	}
	return b, nil
}
