package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
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
  create TENANT/EVENT -f FILE   create an event, or change it, and say what changes; - is standard input.
                                --replace where it drops pipelines or renditions that have published
                                --adopt where its configuration was lost and its segments are stored
  get TENANT/EVENT              print its configuration, with defaults and version
  list                          list all events
  end TENANT/EVENT              end it now, or --at TIME; DVR stays. --never takes it back
  delete TENANT/EVENT           delete it with everything published of it, for good
  segments TENANT/EVENT         what viewers got, what was published, and what serves now: --from, --to,
                                --rendition, --json;
                                by default of the last ten; nothing before the first is published
  notify TENANT/EVENT           tell viewers: --type, --id, --from, --to, --data, or --ad-break, --splice, --scte35; --withdraw takes --id back.
                                --ad-break 90s [--asset URL ...] is a break from now, or from --from, on in
                                which players of HLS and DASH show what the URLs have
  mask TENANT/EVENT             take segments out, of --pipeline, --region or --all, from --from: --to, --rendition
  masks TENANT/EVENT            list the masks
  unmask TENANT/EVENT --id ID   put back what a mask took out
  invalidate TENANT/EVENT       make caches drop segments: --pipeline, --region, --rendition, --from, --to
  flush TENANT/EVENT            make caches drop everything of the event
  generation TENANT/EVENT       begin a generation with init segments that were refused, of --rendition or all,
                                of --pipeline where theirs differ, from segment --from on; without it, or with
                                --from next, from the first by which every player has heard of it;
                                or --take-back one that has not begun
  slate TENANT/EVENT            have -f CLIP.mp4 stand in for what is lost of --rendition, where on_lost is slate:
                                a fragmented MP4 of the same encoding, with a key frame where segments begin;
                                --remove takes it back
  audit [TENANT/EVENT]          what was done and tried, by whom and from where, of one event or of all:
                                --from, --to (times), --limit; by default of the last day

--from and --to are segment numbers, now, durations from now like -10m or +30s, or
times like 2026-11-23T20:00:00Z; --at is one of these, but no number.

What can hurt viewers says first what it touches; --dry-run says it and changes
nothing. end, delete, flush, mask --all, whatever leaves viewers with nothing, and
a create that takes away an end ask on a terminal and want --yes elsewhere. Standard
output has the answer of the control API, standard error what was touched and how to
take it back.

Exit status: 0 when it is done; 1 when it was refused or failed, or the answer was
not yes; 2 for wrong flags, and where --yes is wanted.`,
}

func init() { eventCommand.run = runEvent }

type eventFlags struct {
	client                      clientFlags
	control, file, cpix, at     string
	kind, id, data              string
	pipeline, region, rendition string
	from, to                    string
	adBreak, splice             time.Duration
	scte35                      string
	assets                      []string
	withdraw, all, never        bool
	dryRun, yes, replace, adopt bool
	asJSON                      bool
	limit                       int
	takeBack                    int
	remove                      bool
}

// maxBreak bounds --ad-break.
const maxBreak = 24 * time.Hour

const controlURL = "http://" + defaultControl

func (f *eventFlags) register(o *options) {
	o.String(&f.control, "control", controlURL, "base `URL` of the origin's control listener")
	f.client.register(o, "control-token")
	o.String(&f.file, "f", "", "create: `FILE` of the event's JSON, slate: of the clip, - for standard input")
	o.String(&f.cpix, "cpix", "", "create: `FILE` of CPIX, of which what it says of DRM systems is added to drm; of its keys nothing is read")
	o.String(&f.at, "at", "", "end: `TIME` instead of now: RFC 3339, or from now like +10m")
	o.Bool(&f.never, "never", "end: take the end back")
	o.String(&f.kind, "type", "", "notify: `TOKEN` that says what it is, e.g. ad-break")
	o.String(&f.id, "id", "", "notify: `ID` by which it is replaced or withdrawn; mask, unmask: its name")
	o.String(&f.data, "data", "", "notify: `TEXT` for the application, at most 1024 bytes")
	o.Duration(&f.adBreak, "ad-break", 0, "notify: an ad break that lasts as `LONG`, in whole segments")
	o.List(&f.assets, "asset", "notify: `URL` of what players show in it: a playlist for those of HLS, or where it ends in .json a list of assets; where it ends in .mpd for those of DASH")
	o.Duration(&f.splice, "splice", 0, "notify: SCTE-35: out of the programme at --from for as `LONG` (splice_insert)")
	o.String(&f.scte35, "scte35", "", "notify: a splice_info_section in base64, or hexadecimal behind 0x (`SECTION`), that begins at --from")
	o.Bool(&f.withdraw, "withdraw", "notify: take the notification of --id back")
	o.String(&f.pipeline, "pipeline", "", "mask, invalidate, generation: only this `PIPELINE`")
	o.String(&f.region, "region", "", "mask, invalidate: only this `REGION`")
	o.String(&f.rendition, "rendition", "", "mask, invalidate, segments, generation: only this `RENDITION`; slate: of this one")
	o.Bool(&f.all, "all", "mask: all pipelines, which leaves viewers with nothing")
	o.String(&f.from, "from", "", "first `SEGMENT`: a number or a time")
	o.String(&f.to, "to", "", "last `SEGMENT`, inclusive: a number or a time")
	o.Int(&f.takeBack, "take-back", 0, "generation: take back the one of this `INDEX`, before it begins")
	o.Bool(&f.remove, "remove", "slate: take the rendition's clip back")
	o.Int(&f.limit, "limit", 100, "audit: `NUMBER` of entries, the newest, at most 1000")
	o.Bool(&f.asJSON, "json", "segments: print what the control API answers")
	o.Bool(&f.dryRun, "dry-run", "say what would be touched, and change nothing")
	o.Bool(&f.yes, "yes", "do not ask")
	o.Bool(&f.adopt, "adopt", "create: with the segments that are stored of an event of this name whose configuration was lost")
	o.Bool(&f.replace, "replace", "create: drop pipelines and renditions that have published")
}

// An eventVerb does one thing to the event of a session.
type eventVerb struct {
	run   func(ctx context.Context, s *eventSession) error
	flags string // that it takes, besides those of the connection
}

// An eventSession is one run of the command on one event.
type eventSession struct {
	*eventFlags
	env  *environment
	api  *control
	id   live.EventID
	path string   // of the event in the control API
	gave []string // the flags of the command line
}

// typed reports whether the command line has a flag: 0 may be a mistake, and is not as if
// nothing had been said.
func (s *eventSession) typed(flag string) bool { return slices.Contains(s.gave, flag) }

func eventVerbs() map[string]eventVerb {
	const asking = " dry-run yes"
	return map[string]eventVerb{
		"create": {createEvent, "f cpix replace adopt" + asking},
		"get":    {func(ctx context.Context, s *eventSession) error { return s.api.do(ctx, http.MethodGet, s.path, nil) }, ""},
		"list": {func(ctx context.Context, s *eventSession) error {
			return s.api.do(ctx, http.MethodGet, "/v1/events", nil)
		}, ""},
		"end":        {endEvent, "at never" + asking},
		"delete":     {deleteEvent, asking},
		"segments":   {listSegments, "from to rendition json"},
		"notify":     {notify, "type id from to data ad-break asset splice scte35 withdraw" + asking},
		"mask":       {maskSegments, "id pipeline region all rendition from to" + asking},
		"masks":      {listMasks, ""},
		"unmask":     {unmaskSegments, "id" + asking},
		"invalidate": {invalidateSegments, "pipeline region rendition from to" + asking},
		"flush":      {flushEvent, asking},
		"generation": {beginGeneration, "rendition pipeline from take-back" + asking},
		"slate":      {giveSlate, "f rendition remove" + asking},
		"audit":      {auditEvents, "from to limit"},
	}
}

func runEvent(ctx context.Context, env *environment, args []string) error {
	var f eventFlags
	o := newOptions("event")
	f.register(o)
	verb, names, err := o.parseVerb(env, args, "create, get, list, end, delete, segments, notify, mask, masks, unmask, invalidate, flush, generation, slate or audit")
	if err != nil {
		return err
	}
	c := &control{base: strings.TrimSuffix(f.control, "/"), out: env.stdout}
	if c.token, err = f.client.secret(); err != nil {
		return err
	}
	if c.client, err = f.client.client(); err != nil {
		return err
	}
	if u, err := url.Parse(c.base); err != nil || u.Host == "" {
		return usagef("--control: %q is not a URL like %s", f.control, controlURL)
	}
	v := eventVerbs()[verb]
	// A flag that would do nothing was meant to do something.
	taken := append(strings.Fields(v.flags), append(f.client.names(), "control", "config")...)
	for _, name := range o.typed {
		if !slices.Contains(taken, name) {
			return usagef("%s: %s is not for this verb", verb, dashed(name))
		}
	}
	c.what = strings.Join(append([]string{verb}, names...), " ")
	s := &eventSession{eventFlags: &f, env: env, api: c, gave: o.typed}
	if verb == "list" {
		if len(names) > 0 {
			return usagef("list: takes no name: it lists all events")
		}
		return v.run(ctx, s)
	}
	if verb == "audit" && len(names) == 0 {
		s.path = "/v1"
		return v.run(ctx, s)
	}
	if len(names) != 1 {
		return usagef("%s: name one event: headwater event %s TENANT/EVENT", verb, verb)
	}
	if s.id, err = live.ParseEventID(names[0]); err != nil {
		return usagef("%s: %s", verb, live.PathReason(err))
	}
	s.path = "/v1/events/" + s.id.String()
	if verb == "generation" && f.from == "next" {
		f.from = ""
	}
	for name, v := range map[string]string{"--from": f.from, "--to": f.to} {
		if v != "" {
			if _, err := live.ParseMoment(name, v); err != nil {
				return usageError{err}
			}
		}
	}
	return v.run(ctx, s)
}

// config asks for the event as it is.
func (s *eventSession) config(ctx context.Context) (cfg live.Config, err error) {
	b, err := s.api.request(ctx, http.MethodGet, s.path, nil)
	if err == nil {
		err = json.Unmarshal(b, &cfg)
	}
	return cfg, err
}

// readFile reads what -f names: it is what the verb needs.
func (s *eventSession) readFile(what string) (b []byte, err error) {
	switch s.file {
	case "":
		return nil, usagef("-f: give %s, or - for standard input", what)
	case "-":
		b, err = io.ReadAll(s.env.stdin)
	default:
		b, err = os.ReadFile(s.file)
	}
	if err != nil {
		return nil, fmt.Errorf("-f: %w", err)
	}
	return b, nil
}

func createEvent(ctx context.Context, s *eventSession) error {
	b, err := s.readFile("the file with the event's JSON")
	if err != nil {
		return err
	}
	// The origin judges too; here the error names the file's field at once.
	ev, err := live.ParseEvent(b)
	if err != nil {
		return fmt.Errorf("-f %s: %w", s.file, err)
	}
	if s.cpix != "" {
		if b, err = withCPIX(ev, s.cpix); err != nil {
			return fmt.Errorf("--cpix %s: %w", s.cpix, err)
		}
	}
	q := url.Values{}
	if s.adopt {
		q.Set("adopt", "true")
	}
	if s.replace {
		q.Set("replace", "true")
	}
	return s.change(ctx, eventChange{verb: "create", method: http.MethodPut, query: q, yes: true, body: json.RawMessage(b),
		what: "the configuration of " + s.file})
}

// withCPIX is the event with what a CPIX document says of DRM systems.
func withCPIX(ev live.Event, file string) ([]byte, error) {
	doc, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	systems, err := parseCPIX(doc)
	if err != nil {
		return nil, err
	}
	ev.DRM = append(ev.DRM, systems...)
	if err := ev.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(ev)
}

// endEvent sets the event's end to now or --at, or takes it back.
func endEvent(ctx context.Context, s *eventSession) error {
	at := time.Now()
	if s.at != "" {
		if s.never {
			return usagef("--at: goes without --never")
		}
		m, err := live.ParseMoment("--at", s.at)
		t, ok := m.Time(at)
		if err != nil || !ok {
			return usagef("--at: %q is neither a time like 2026-11-23T22:00:00Z, nor now, nor a duration from now like +10m", s.at)
		}
		at = t
	}
	cfg, err := s.config(ctx)
	if err != nil {
		return err
	}
	if over := !cfg.End.IsZero() && !cfg.End.After(time.Now()); over && s.at == "" && !s.never {
		_, err := fmt.Fprintf(s.env.stderr, "%v already ended at %s; --never or --at to change it\n", s.id, cfg.End.Format(live.TimeLayout))
		return err
	}
	undo := s.again("end", "--never")
	if !cfg.End.IsZero() {
		undo = s.again("end", "--at", cfg.End.Format(time.RFC3339Nano))
	}
	c := eventChange{verb: "end", method: http.MethodPut, undo: undo, yes: true}
	if s.never {
		cfg.End, c.what = time.Time{}, "it goes on without an end"
	} else {
		cfg.End = at.UTC()
		tl := cfg.Event.Timeline()
		last, _ := tl.Last()
		c.asks, c.what = true, fmt.Sprintf("it ends at %s, after segment %d; DVR stays for its window", cfg.End.Format(live.TimeLayout), last)
		c.after = "Packagers follow an ended event for a while: if the end is taken back soon they go on."
	}
	c.body = cfg.Event
	return s.change(ctx, c)
}

func deleteEvent(ctx context.Context, s *eventSession) error {
	return s.change(ctx, eventChange{verb: "delete", method: http.MethodDelete, asks: true, yes: true,
		what: "the event and all that is published of it go for good: this cannot be taken back", after: "It is gone."})
}

func listSegments(ctx context.Context, s *eventSession) error {
	q := url.Values{}
	for name, v := range map[string]string{"from": s.from, "to": s.to, "rendition": s.rendition} {
		if v != "" {
			q.Set(name, v)
		}
	}
	path := s.path + "/segments"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return s.api.segments(ctx, path, s.asJSON)
}

// breakFor makes of --ad-break and --asset what the other flags of notify say.
func (s *eventSession) breakFor(ctx context.Context) error {
	if s.kind != "" || s.to != "" || s.data != "" || s.withdraw {
		return usagef("--ad-break: says what --type, --to and --data do")
	}
	ad := live.AdBreak{}
	for _, asset := range s.assets {
		to := &ad.AssetURI
		switch u, err := url.Parse(asset); {
		case err != nil:
			return usagef("--asset: %v", err)
		case strings.HasSuffix(u.Path, ".mpd"):
			to = &ad.AssetMPD
		case strings.HasSuffix(u.Path, ".json"):
			to = &ad.AssetList
		}
		if *to != "" {
			return usagef("--asset: %s is the second of its kind", asset)
		}
		*to = asset
	}
	m, err := live.ParseMoment("--from", cmp.Or(s.from, "now"))
	if err != nil {
		return usagef("%v", err)
	}
	cfg, err := s.config(ctx)
	if err != nil {
		return err
	}
	tl := cfg.Event.Timeline()
	from := m.Number(&tl, time.Now()) // of a time before the event its first
	if first := tl.First(); from < first {
		return usagef("--from: segment %d is before the event, which starts at %s with segment %d", from, tl.Start(first).Format(live.TimeLayout), first)
	}
	to := from
	for tl.End(to).Sub(tl.Start(from)) < s.adBreak && to < live.MaxNumber {
		to++
	}
	data, err := json.Marshal(ad)
	if err != nil {
		return err
	}
	s.kind, s.from, s.to = live.TypeAdBreak, strconv.FormatInt(int64(from), 10), strconv.FormatInt(int64(to), 10)
	if len(s.assets) > 0 {
		s.data = string(data)
	}
	s.eventFlags.id = cmp.Or(s.eventFlags.id, "ad-"+s.from)
	return nil
}

func notify(ctx context.Context, s *eventSession) error {
	switch {
	case s.adBreak > maxBreak || s.adBreak <= 0 && (s.adBreak != 0 || s.typed("ad-break")):
		return usagef("--ad-break: %v is not more than 0 and at most %v", s.adBreak, maxBreak)
	case s.adBreak > 0 && (s.splice != 0 || s.scte35 != ""):
		return usagef("--ad-break: goes without --splice and --scte35: tell of each by itself")
	case s.adBreak > 0:
		if err := s.breakFor(ctx); err != nil {
			return err
		}
	case len(s.assets) > 0:
		return usagef("--asset: what plays in an --ad-break")
	case s.splice != 0 || s.scte35 != "" || s.typed("splice"):
		return s.notifySplice(ctx)
	}
	if s.eventFlags.id == "" {
		return usagef("--id: name the notification")
	}
	body := map[string]any{"id": s.eventFlags.id}
	if s.withdraw {
		body["withdraw"] = true
		return s.change(ctx, eventChange{verb: "notify", method: http.MethodPost, sub: "/notifications", body: body, silent: true, what: "viewers are told no more"})
	}
	if s.kind == "" {
		return usagef("--type: say what the notification is, e.g. ad-break")
	}
	body["type"], body["from"] = s.kind, 0
	s.scope(body, "from", "to")
	if s.data != "" {
		body["data"] = base64.StdEncoding.EncodeToString([]byte(s.data))
	}
	return s.change(ctx, eventChange{verb: "notify", method: http.MethodPost, sub: "/notifications", body: body, silent: true, what: "viewers are told",
		undo: s.again("notify", "--withdraw", "--id", s.eventFlags.id)})
}

// listMasks prints the masks, and for a person when the segments are that they name.
func listMasks(ctx context.Context, s *eventSession) error {
	cfg, err := s.config(ctx)
	if err != nil {
		return err
	}
	if err := s.api.do(ctx, http.MethodGet, s.path+"/masks", nil); err != nil {
		return err
	}
	tl := cfg.Event.Timeline()
	for _, m := range cfg.Masks {
		text := fmt.Sprintf("from %s on", tl.Start(m.From).Format(live.TimeLayout))
		if m.To != 0 {
			text = fmt.Sprintf("%s to %s", tl.Start(m.From).Format(live.TimeLayout), tl.End(m.To).Format(live.TimeLayout))
		}
		fmt.Fprintf(s.env.stderr, "%s: %s: %s\n", m.ID, scopeText(m.Scope, m.All), text)
	}
	return nil
}

// scope adds to body what of the scope's flags is given.
func (s *eventSession) scope(body map[string]any, fields ...string) map[string]any {
	for _, field := range fields {
		v := map[string]string{"pipeline": s.pipeline, "region": s.region, "rendition": s.rendition, "from": s.from, "to": s.to}[field]
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && (field == "from" || field == "to") && v[0] != '+' {
			body[field] = n
		} else if v != "" {
			body[field] = v
		}
	}
	return body
}

func maskSegments(ctx context.Context, s *eventSession) error {
	named := s.pipeline != "" || s.region != ""
	switch {
	case !named && !s.all:
		return usagef("mask: say of which --pipeline or --region, or --all, which leaves viewers with nothing")
	case named && s.all:
		return usagef("--all: goes with neither --pipeline nor --region")
	case s.from == "":
		return usagef("--from: say where the mask begins: a segment number, now, -10m or a time")
	}
	body := s.scope(map[string]any{}, "pipeline", "region", "rendition", "from", "to")
	if s.all {
		body["all"] = true
	}
	if s.eventFlags.id != "" {
		body["id"] = s.eventFlags.id
	}
	return s.change(ctx, eventChange{verb: "mask", method: http.MethodPost, sub: "/masks", body: body, scope: true, asks: s.all, yes: true,
		what: "selection goes on without what is masked, and caches drop it",
		undone: func(answer []byte) string {
			var m live.Mask
			if json.Unmarshal(answer, &m) != nil {
				return ""
			}
			return s.again("unmask", "--id", m.ID)
		}})
}

func unmaskSegments(ctx context.Context, s *eventSession) error {
	cfg, err := s.config(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, m := range cfg.Masks {
		if ids = append(ids, m.ID); m.ID != s.eventFlags.id {
			continue
		}
		undo := []string{"--id", m.ID}
		for _, x := range []struct{ flag, v string }{{"--pipeline", m.Pipeline}, {"--region", m.Region}, {"--rendition", m.Rendition}} {
			if x.v != "" {
				undo = append(undo, x.flag, x.v)
			}
		}
		if m.Pipeline == "" && m.Region == "" {
			undo = append(undo, "--all")
		}
		undo = append(undo, "--from", m.From.String())
		if m.To != 0 {
			undo = append(undo, "--to", m.To.String())
		}
		return s.change(ctx, eventChange{verb: "unmask", method: http.MethodDelete, sub: "/masks/" + url.PathEscape(m.ID),
			what: "what the mask took out can serve again, and caches ask for it", undo: s.again("mask", undo...)})
	}
	if len(ids) == 0 {
		return fmt.Errorf("unmask: %v has no masks", s.id)
	}
	return usagef("--id: name one of the masks of %v: %s", s.id, strings.Join(ids, ", "))
}

func invalidateSegments(ctx context.Context, s *eventSession) error {
	body := s.scope(map[string]any{}, "pipeline", "region", "rendition", "from", "to")
	if len(body) == 0 {
		return usagef("invalidate: say what: --pipeline, --region, --rendition, --from, --to; flush is for everything")
	}
	return s.change(ctx, eventChange{verb: "invalidate", method: http.MethodPost, sub: "/invalidations", body: body, scope: true,
		what: "caches drop it and ask for it again"})
}

func auditEvents(ctx context.Context, s *eventSession) error {
	q := url.Values{"limit": {strconv.Itoa(s.limit)}}
	for name, v := range map[string]string{"from": s.from, "to": s.to} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return s.api.do(ctx, http.MethodGet, s.path+"/audit?"+q.Encode(), nil)
}

// beginGeneration has viewers get another init segment from a number on.
func beginGeneration(ctx context.Context, s *eventSession) error {
	if s.takeBack != 0 || s.typed("take-back") {
		if s.takeBack < 1 {
			return usagef("--take-back: %d is no generation's index: they count from 1", s.takeBack)
		}
		if s.rendition != "" || s.pipeline != "" || s.from != "" {
			return usagef("--take-back: goes without --rendition, --pipeline and --from")
		}
		return s.change(ctx, eventChange{verb: "generation", method: http.MethodDelete, sub: "/generations/" + strconv.Itoa(s.takeBack),
			what: "viewers go on with the init segment that they have; pipelines that have the other one are refused until they PUT one that fits"})
	}
	return s.change(ctx, eventChange{verb: "generation", method: http.MethodPost, sub: "/generations", yes: false, silent: true,
		body: s.scope(map[string]any{}, "pipeline", "rendition", "from"),
		what: "viewers get the new init segment; pipelines that have the old one serve no more from there on",
		undone: func(answer []byte) string {
			var g live.Generation
			if json.Unmarshal(answer, &g) != nil {
				return ""
			}
			at := ""
			if cfg, err := s.config(ctx); err == nil {
				tl := cfg.Event.Timeline()
				at = ", at " + tl.Start(g.From).Format(live.TimeLayout)
			}
			fmt.Fprintf(s.env.stderr, "Generation %d begins with segment %d%s.\n", g.Index, g.From, at)
			return s.again("generation", "--take-back", strconv.Itoa(g.Index))
		}})
}

func flushEvent(ctx context.Context, s *eventSession) error {
	return s.change(ctx, eventChange{verb: "flush", method: http.MethodPost, sub: "/flush", asks: true, yes: true,
		what: "caches drop everything of the event, and ask the origin for all of it again"})
}
