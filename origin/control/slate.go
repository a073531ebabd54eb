package control

import (
	"errors"
	"fmt"
	"net/http"

	"headwater/live"
	"headwater/origin/book"
)

// putSlate takes a clip that stands in for what is lost of a rendition. It is stored before
// the event names it.
func (s *server) putSlate(c *change) error {
	e, err := s.lookUp(c.id)
	if err != nil {
		return err
	}
	name := c.r.PathValue("rendition")
	r, ok := e.View().Config().Rendition(name)
	switch {
	case !ok:
		return live.ErrNotHere.For(-1).With(fmt.Sprintf("the event has no rendition %q", name))
	case r.Type == live.Text:
		return live.ErrBadRequest.With(fmt.Sprintf("rendition %q is text, of which what is lost says nothing: it takes no clip", name))
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	case <-c.r.Context().Done():
		return live.ErrIncomplete.With("it was given up")
	}
	file, err := body(c.r)
	if err != nil {
		return err
	}
	// Another node may have taken the init segment.
	if err := s.Book.FillInits(c.r.Context(), e, name); err != nil {
		return err
	}
	pieces, generation, err := e.CutSlate(e.View(), name, file, s.Clock.Now())
	if err != nil {
		return err
	}
	clip := book.Slate{Rendition: name, Generation: generation, ID: book.NewID(), Digest: live.DigestOf(file).String(), Segments: len(pieces), Uploaded: s.Clock.Now().UTC()}
	for _, b := range pieces {
		clip.Bytes += int64(len(b))
	}
	mayBe := func(rec *book.Record) error {
		if rec.Life != e.Life {
			return live.ErrInUse.With("the event was deleted while the clip was being sent: it may not fit the one that has its name now")
		}
		if err := rec.MaySlate(&clip); err != nil {
			return err
		}
		return s.roomFor(c, &clip)
	}
	if err := mayBe(&e.View().Record); err != nil {
		return err
	}
	if !c.dryRun {
		if err := s.Book.KeepSlate(c.r.Context(), e, &clip, pieces); err != nil {
			s.Book.DropSlates(c.r.Context(), e, []book.Slate{clip})
			return err
		}
	}
	err = s.slate(c, e, func(rec *book.Record) (book.Edit, error) {
		tl := rec.Config.Event.Timeline()
		return book.Edit{Slate: &clip, Oldest: tl.Oldest(s.Clock.Now())}, mayBe(rec)
	}, func() error { return writeJSON(c.w, http.StatusOK, clip) })
	// What is refused nobody names. Else the store may have taken the edit, whatever it said.
	if refused := (*live.Problem)(nil); errors.As(err, &refused) && !c.dryRun {
		s.Book.DropSlates(c.r.Context(), e, []book.Slate{clip})
	}
	return err
}

// roomFor refuses a clip for which its tenant has no room in the store.
func (s *server) roomFor(c *change, clip *book.Slate) error {
	u := s.Book.Usage(c.id.Tenant, "")
	if s.TenantBytes == 0 || u.Bytes+clip.Bytes <= s.TenantBytes {
		return nil
	}
	s.Tenants.Refused(c.id.Tenant, live.ErrTenantFull)
	return live.ErrTenantFull.With(fmt.Sprintf("tenant %s has %d bytes stored, and may have %d: the clip has %d", c.id.Tenant, u.Bytes, s.TenantBytes, clip.Bytes))
}

// removeSlate takes a rendition's clips back: what is lost is filled again.
func (s *server) removeSlate(c *change) error {
	e, err := s.lookUp(c.id)
	if err != nil {
		return err
	}
	name := c.r.PathValue("rendition")
	return s.slate(c, e, func(rec *book.Record) (book.Edit, error) {
		for _, x := range rec.Slates {
			if x.Rendition == name {
				return book.Edit{Unslate: name}, nil
			}
		}
		return book.Edit{}, live.ErrNotHere.For(-1).With(fmt.Sprintf("rendition %q has no clip", name))
	}, func() error {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// slate changes which clips there are, and takes those out of the store that are none any
// more.
func (s *server) slate(c *change, e *book.Event, f func(rec *book.Record) (book.Edit, error), answer func() error) error {
	var before book.Record
	return s.apply(c, nil, existing(c.id, func(rec *book.Record) (book.Edit, error) {
		before = *rec
		return f(rec)
	}), func(v *book.View) error {
		s.Book.DropSlates(c.r.Context(), e, v.Record.Unslated(&before))
		return answer()
	})
}
