package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"headwater/live"
)

// notifySplice tells viewers of what a splice_info_section (SCTE-35) says, of --scte35
// or made of --splice, from the very moment of --from on.
func (s *eventSession) notifySplice(ctx context.Context) error {
	switch {
	case s.withdraw:
		return usagef("--withdraw: takes back what has the --id, without --splice and --scte35")
	case s.scte35 != "" && s.splice != 0:
		return usagef("--splice: makes a section itself, and goes without --scte35")
	case s.kind != "" || s.to != "" || s.data != "":
		return usagef("--splice, --scte35: either says what --type, --to and --data do, and goes without them")
	case s.splice < 0 || s.splice > maxBreak || s.splice == 0 && s.scte35 == "":
		return usagef("--splice: %v is not more than 0 and at most %v", s.splice, maxBreak)
	}
	m, err := live.ParseMoment("--from", cmp.Or(s.from, "now"))
	if err != nil {
		return usagef("%v", err)
	}
	cfg, err := s.config(ctx)
	if err != nil {
		return err
	}
	now, tl := time.Now(), cfg.Event.Timeline()
	at, timed := m.Time(now)
	from := m.Number(&tl, now)
	if first := tl.First(); from < first || timed && at.Before(tl.Start(first)) {
		return usagef("--from: segment %d is before the event, which starts at %s with segment %d", from, tl.Start(first).Format(live.TimeLayout), first)
	}
	if !timed {
		at = tl.Start(from)
	}
	at = at.UTC().Truncate(time.Millisecond)
	section := live.AppendSpliceInsert(nil, uint32(at.Unix()), true, s.splice)
	if s.scte35 != "" {
		if section, err = decodeSplice(s.scte35); err != nil {
			return usagef("--scte35: %v", err)
		}
	}
	splices, err := live.ParseSplice(section)
	switch {
	case err != nil:
		return usagef("--scte35: is no splice_info_section (ANSI/SCTE 35, 9.6): %v", err)
	case len(splices) == 0:
		return usagef("--scte35: it says nothing to players")
	case s.eventFlags.id != "" && len(splices) > 1:
		return usagef("--id: the section says %d things, each has an id of its own", len(splices))
	}
	for _, x := range splices {
		if x.Cancel {
			return usagef("--scte35: it takes back %s: withdraw that by its --id", x.Name)
		}
		id := cmp.Or(s.eventFlags.id, x.Name+"-"+from.String())
		body := map[string]any{"id": id, "type": x.Type, "from": from, "at": at, "data": base64.StdEncoding.EncodeToString(section)}
		if x.Length > 0 {
			body["duration_ms"] = x.Length.Milliseconds()
		} else if x.Type != live.TypeSCTE35Out {
			body["to"] = from
		}
		if err := s.change(ctx, eventChange{verb: "notify", method: http.MethodPost, sub: "/notifications", body: body, silent: true, what: "viewers are told",
			undo: s.again("notify", "--withdraw", "--id", id)}); err != nil {
			return err
		}
	}
	return nil
}

func decodeSplice(text string) ([]byte, error) {
	if digits, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		return hex.DecodeString(digits)
	}
	return base64.StdEncoding.DecodeString(text)
}
