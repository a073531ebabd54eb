package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"headwater/live"
)

// A clipFile is a body that is sent as it is.
type clipFile []byte

// giveSlate has a clip stand in for what is lost of a rendition, or takes it back.
func giveSlate(ctx context.Context, s *eventSession) error {
	sub := "/slates/" + url.PathEscape(s.rendition)
	switch {
	case s.rendition == "":
		return usagef("--rendition: say which rendition the clip is for")
	case s.remove && s.file != "":
		return usagef("--remove: goes without -f")
	case s.remove:
		return s.change(ctx, eventChange{verb: "slate", method: http.MethodDelete, sub: sub, silent: true, what: "what is lost is filled with what was before it"})
	}
	b, err := s.readFile("the clip, a fragmented MP4")
	if err != nil {
		return err
	}
	cfg, err := s.config(ctx)
	if err != nil {
		return err
	}
	after := ""
	if cfg.OnLost != live.LostSlate {
		after = fmt.Sprintf("on_lost of the event is %q: nobody sees the clip until that is %q.", cfg.OnLost, live.LostSlate)
	}
	return s.change(ctx, eventChange{verb: "slate", method: http.MethodPut, sub: sub, body: clipFile(b), silent: true, after: after,
		what: "the clip stands in for what is lost of " + s.rendition, undo: s.again("slate", "--rendition", s.rendition, "--remove")})
}
