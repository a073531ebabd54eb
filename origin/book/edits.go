package book

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"headwater/live"
	"headwater/store"
)

// Two nodes may edit an event at once, in two regions too, where there is no lock
// that both could ask for. So an edit is an item of its own under a key that no
// other has: edits never meet in the store, and none can overwrite another. What
// an event is follows from its record and the edits since, in the order of their
// tokens, by a pure function: nodes that have read the same agree, whatever they
// heard first.
//
//	node 1                     store          node 2
//	reads v5                                  reads v5
//	stores a mask, is at v6    mask           stores a notification, and so on
//	                           notification
//	hears, reads: v6, both                    hears, reads: v6, both
//
// The version is that of the record and one more for each edit, so who knows an
// edit more has a higher one. But a node may learn of an invalidation under a
// version that it has given out already, for something else, and a cache may have
// filled under that what is to be dropped. Such a node says the invalidation again:
//
//	node 1                     node 2                   cache of node 2
//	invalidates x: is at v6    masks y: is at v6        fills x, under v6
//	reads: x v6, y v7          reads: x v6, y v7        keeps x: v6 is not below v6
//	                           invalidates x again: v8  drops x
//
// When there are many, a node writes the record anew with all that it has read of
// them, and names them in it, so that nobody counts them twice. They stay in the
// store for keepFolded: where another region, cut off until then, writes a record
// that knows nothing of this one, they are edits again.

// An Edit is one change of an event.
type Edit struct {
	Life      int64           `json:"life,omitempty"`
	Configure *live.Event     `json:"configure,omitempty"`
	Learn     *live.Rendition `json:"learn,omitempty"` // what media told of the one of that name
	Of        int             `json:"of,omitempty"`    // in which generation
	// Generation is begun, or goes into the one that begins with the same segment.
	Generation *live.Generation `json:"generation,omitempty"`
	// Oldest is the first segment that was not gone when it was: generations of which no
	// segment is needed any more are left out.
	Oldest live.Number `json:"oldest,omitempty"`
	// TakeBack is the index of a generation that has not begun.
	TakeBack int `json:"take_back,omitempty"`
	// Slate is given for its rendition and generation, Unslate the rendition of which all
	// that were are taken back.
	Slate   *Slate     `json:"slate,omitempty"`
	Unslate string     `json:"unslate,omitempty"`
	Mask    *live.Mask `json:"mask,omitempty"`
	Unmask  string     `json:"unmask,omitempty"`
	// Invalidate has no versions: they follow from the edits before.
	Invalidate []live.Invalidation `json:"invalidate,omitempty"`
	Flush      bool                `json:"flush,omitempty"`
	// Notify is added to the set, in place of those of the same id; a member of
	// the type "withdraw" takes out.
	Notify []live.Notification `json:"notify,omitempty"`
	// Heard is by pipeline what it said, where it was a packager that notified.
	Heard map[string]Heard `json:"heard,omitempty"`
	// Bound says that it may not touch what another pipeline said,
	Bound bool `json:"bound,omitempty"`
	// and Free that it may touch what operators said: nobody says who they are.
	Free bool `json:"free,omitempty"`

	// Adopt is the life that an event being created takes on, with the media that is
	// stored of that: see Left.
	Adopt int64 `json:"-"`
	// Above is one that it must not be taken for.
	Above int64 `json:"-"`

	Token store.Token // the item's
	lost  bool        // cannot be read: all that is known is that it was one
}

// configures reports whether the edit changes event.json.
func (x *Edit) configures() bool {
	return x.Configure != nil || x.Learn != nil || x.Generation != nil || x.TakeBack > 0 || x.Mask != nil || x.Unmask != "" || len(x.Invalidate) > 0 || x.Flush || x.lost
}

// May is what of an edit's notifications may be done: packagers take nothing back
// that operators said, and who may speak for one pipeline only nothing that another
// said. Neither do they replace it.
func (rec *Record) May(x *Edit) []live.Notification {
	if x.Heard == nil {
		return x.Notify
	}
	return slices.DeleteFunc(slices.Clone(x.Notify), func(n live.Notification) bool {
		there := slices.ContainsFunc(rec.Notifications.Set, func(y live.Notification) bool { return y.ID == n.ID })
		_, own := x.Heard[rec.Speakers[n.ID]]
		return !x.Free && slices.Contains(rec.Operators, n.ID) || x.Bound && there && !own
	})
}

// saidBy is which of a set operators said after an edit, and which pipeline the others.
func (rec *Record) saidBy(x *Edit, set []live.Notification) (operators []string, speakers map[string]string) {
	said := rec.May(x)
	speakers = make(map[string]string)
	for _, n := range set {
		operator, pipeline := slices.Contains(rec.Operators, n.ID), rec.Speakers[n.ID]
		if slices.ContainsFunc(said, func(y live.Notification) bool { return y.ID == n.ID }) {
			operator, pipeline = x.Heard == nil, ""
			for pipeline = range x.Heard { // there is one
			}
		}
		if operator {
			operators = append(operators, n.ID)
		} else if pipeline != "" {
			speakers[n.ID] = pipeline
		}
	}
	return operators, speakers
}

// Drop adds a scope that caches drop.
func (x *Edit) Drop(s live.Scope) {
	x.Invalidate = append(x.Invalidate, live.Invalidation{ID: NewID(), Scope: s})
}

// Apply makes an edit on the record. It replaces what it changes, so that copies
// of the record from before stay as they are.
func (rec *Record) Apply(x *Edit) {
	rec.apply(x, new(bool))
}

// apply is Apply for who makes many: the list of renditions is copied before the first that
// changes one, and is rec's own then.
func (rec *Record) apply(x *Edit, own *bool) {
	c := &rec.Config
	if x.configures() {
		c.Version++
	}
	if x.Configure != nil {
		c.Event, *own = KeepLearnt(*x.Configure, c.Event), false
	}
	if x.Generation != nil {
		c.Generations = begin(live.NeededGenerations(c.Generations, x.Oldest), x.Generation, c.TakenBack)
	}
	if n := len(c.Generations); x.TakeBack > 0 && n > 0 && c.Generations[n-1].Index == x.TakeBack {
		c.Generations, c.TakenBack = c.Generations[:n-1:n-1], x.TakeBack
	}
	if x.Learn != nil && x.Of > 0 {
		c.Generations = learnIn(c.Generations, x.Of, x.Learn)
	} else if x.Learn != nil {
		if !*own {
			c.Renditions, *own = slices.Clone(c.Renditions), true
		}
		for i := range c.Renditions {
			if c.Renditions[i].Name == x.Learn.Name {
				LearnFrom(&c.Renditions[i], x.Learn)
			}
		}
	}
	if x.Slate != nil {
		rec.Slates = rec.slated(x.Slate, x.Oldest)
	}
	if x.Unslate != "" {
		rec.Slates = slices.DeleteFunc(slices.Clone(rec.Slates), func(s Slate) bool { return s.Rendition == x.Unslate })
	}
	if x.Mask != nil {
		c.Masks = slices.Clone(c.Masks)
		if i := slices.IndexFunc(c.Masks, func(m live.Mask) bool { return m.ID == x.Mask.ID }); i >= 0 {
			c.Masks[i] = *x.Mask
		} else {
			c.Masks = append(c.Masks, *x.Mask)
		}
	}
	if x.Unmask != "" {
		c.Masks = slices.DeleteFunc(slices.Clone(c.Masks), func(m live.Mask) bool { return m.ID == x.Unmask })
	}
	if x.Flush {
		c.FlushVersion, c.Invalidations, rec.Flushed = c.Version, nil, x.Token
	}
	for _, in := range x.Invalidate {
		in.Version = c.Version
		rec.invalidate(in)
	}
	if len(x.Notify) > 0 || x.lost {
		rec.Notifications.Sequence++
		set := live.Notifications{Sequence: rec.Notifications.Sequence, Set: rec.current(Notified(rec.Notifications.Set, rec.May(x)), time.Unix(0, x.Token.Time))}
		if fits(set) == nil { // or another node has filled it
			rec.Operators, rec.Speakers = rec.saidBy(x, set.Set)
			rec.Notifications = set
		}
	}
	for pipeline, h := range x.Heard {
		if h.Newer(rec.Heard[pipeline]) {
			all := make(map[string]Heard, len(rec.Heard)+1)
			for _, p := range c.Pipelines { // bounded: only of those there are
				if h, ok := rec.Heard[p.Name]; ok {
					all[p.Name] = h
				}
			}
			all[pipeline] = h
			rec.Heard = all
		}
	}
}

// invalidate tells caches to drop what they hold of a scope. The list is
// bounded: when it is full the oldest half turns into a flush, which covers
// more, never less.
func (rec *Record) invalidate(in live.Invalidation) {
	c := &rec.Config
	list := slices.Clone(c.Invalidations)
	if len(list) >= maxInvalidations {
		c.FlushVersion = max(c.FlushVersion, list[maxInvalidations/2-1].Version)
		list = list[maxInvalidations/2:]
	}
	c.Invalidations = append(list, in)
}

// current leaves out the notifications that end before the DVR window: no viewer
// can be there.
func (rec *Record) current(set []live.Notification, now time.Time) []live.Notification {
	tl := rec.Config.Event.Timeline()
	oldest := tl.Oldest(now)
	return slices.DeleteFunc(slices.Clone(set), func(n live.Notification) bool { return n.To != 0 && n.To < oldest })
}

// fits says why a set of notifications is too large, if it is.
func fits(n live.Notifications) error {
	if len(n.Set) > live.MaxNotifications {
		return live.ErrBadRequest.With(fmt.Sprintf("%d notifications, at most %d", len(n.Set), live.MaxNotifications))
	}
	if _, err := n.Header(); err != nil {
		return live.ErrBadRequest.With(err.Error())
	}
	return nil
}

// A ledger is what is stored of an event: its record, and the edits that are not
// in it. It is never changed: what adds to it makes another.
type ledger struct {
	base  Record
	token store.Token // of base
	edits []Edit      // in the order of their tokens
}

// state is the event that it makes.
func (l *ledger) state() Record {
	rec, own := l.base, false
	for i := range l.edits {
		rec.apply(&l.edits[i], &own)
	}
	rec.Folded, rec.Swept = nil, nil
	return rec
}

// with is the ledger with edits that it may have already.
func (l *ledger) with(edits ...Edit) ledger {
	out := *l
	out.edits = slices.Clone(l.edits)
	for _, x := range edits {
		if x.Life == l.base.Life && !out.has(x.Token) {
			out.edits = append(out.edits, x)
		}
	}
	slices.SortFunc(out.edits, func(a, b Edit) int { return a.Token.Compare(b.Token) })
	return out
}

// on is the ledger on another record of the same event.
func (l *ledger) on(base Record, token store.Token) ledger {
	out := ledger{base: base, token: token}
	return out.with(l.edits...)
}

// has reports whether an edit is in it.
func (l *ledger) has(t store.Token) bool {
	return slices.ContainsFunc(l.edits, func(x Edit) bool { return x.Token == t }) || slices.Contains(l.base.Folded, t) || slices.Contains(l.base.Swept, t)
}

// newest is the time of the newest token in it.
func (l *ledger) newest() int64 {
	at := l.token.Time
	if n := len(l.edits); n > 0 {
		at = max(at, l.edits[n-1].Token.Time)
	}
	return at
}

// reaches reports whether what was stored at that time is in it.
func (l *ledger) reaches(at int64) bool {
	return at <= l.token.Time || slices.ContainsFunc(l.edits, func(x Edit) bool { return x.Token.Time == at })
}

// maxInvalidations bounds what event.json carries: half of them become a flush.
const maxInvalidations = 64

const (
	foldAt     = 100                // edits, from where on they go into the record
	settled    = 2 * store.MaxDrift // old enough to go: none comes before them any more
	keepFolded = time.Hour          // how long those in the record stay in the store
	maxFolded  = 1_000              // that stay, at most
)

// fold is the record with the edits in it that are old enough, and which of those
// before may leave the store. They are named once more after that: a node may
// still see them.
func (l *ledger) fold(now time.Time) (rec Record, sweep []store.Token) {
	young := func(t store.Token, d time.Duration) bool { return now.UnixNano()-t.Time < int64(d) }
	n := slices.IndexFunc(l.edits, func(x Edit) bool { return young(x.Token, settled) })
	if n < 0 {
		n = len(l.edits)
	}
	rec = (&ledger{base: l.base, edits: l.edits[:n]}).state()
	for i, t := range l.base.Folded {
		if young(t, keepFolded) && i >= len(l.base.Folded)-maxFolded {
			rec.Folded = append(rec.Folded, t)
		} else {
			sweep = append(sweep, t)
		}
	}
	for _, x := range l.edits[:n] {
		rec.Folded = append(rec.Folded, x.Token)
	}
	rec.Swept = slices.Clone(sweep)
	for _, t := range l.base.Swept {
		if young(t, 2*keepFolded) {
			rec.Swept = append(rec.Swept, t)
		}
	}
	return rec, sweep
}

// again is what must be said again of an event that was old and is another: an
// invalidation that is under a version which was given out without it.
func again(old, is *Record) (x Edit, any bool) {
	given := old.Config.Version
	if v := is.Config.FlushVersion; v < old.Config.FlushVersion || is.Flushed != old.Flushed && v <= given {
		return Edit{Flush: true}, true
	}
	for _, in := range is.Config.Invalidations {
		least := given + 1 // its version must at least be
		if i := slices.IndexFunc(old.Config.Invalidations, func(y live.Invalidation) bool { return y.ID == in.ID }); i >= 0 {
			least = old.Config.Invalidations[i].Version
		}
		if !slices.ContainsFunc(is.Config.Invalidations, func(y live.Invalidation) bool { return y.Scope == in.Scope && y.Version >= least }) {
			x.Drop(in.Scope)
		}
	}
	return x, len(x.Invalidate) > 0
}

// editKey is the key of an edit: below that of its event.
func editKey(id live.EventID, t store.Token) string { return id.String() + "/" + t.String() }

// parseEventKey reads the key of an event's record, or of one of its edits.
func parseEventKey(key string) (id live.EventID, isEdit bool, err error) {
	parts := strings.SplitN(key, "/", 3)
	isEdit = len(parts) == 3
	id, err = live.ParseEventID(strings.Join(parts[:min(2, len(parts))], "/"))
	return id, isEdit, err
}

// editToken reads the token in the key of an edit.
func editToken(key string) (t store.Token, err error) {
	_, err = fmt.Sscanf(key[strings.LastIndexByte(key, '/')+1:], "%016x-%016x", &t.Time, &t.Nonce)
	return t, err
}

// decodeEdit reads a stored edit. One that cannot be read counts all the same: a
// version must not go back.
func decodeEdit(item store.Item, life int64) (Edit, error) {
	var x Edit
	err := json.Unmarshal(item.Value, &x)
	if err != nil {
		x, err = Edit{Life: life, lost: true}, fmt.Errorf("origin: edit %s: %w", item.Key, err)
	}
	x.Token = item.Token
	return x, err
}

// LearnFrom fills in what r does not say.
func LearnFrom(r, from *live.Rendition) {
	setIfEmpty(&r.Codecs, from.Codecs)
	setIfEmpty(&r.Width, from.Width)
	setIfEmpty(&r.Height, from.Height)
	setIfEmpty(&r.FrameRate, from.FrameRate)
	setIfEmpty(&r.Timescale, from.Timescale)
	setIfEmpty(&r.SampleRate, from.SampleRate)
	setIfEmpty(&r.ChannelConfig, from.ChannelConfig)
	setIfEmpty(&r.JOC, from.JOC)
	setIfEmpty(&r.SAR, from.SAR)
	setIfEmpty(&r.Scheme, from.Scheme)
	setIfEmpty(&r.KID, from.KID)
	setIfEmpty(&r.PSSH, from.PSSH)
	setIfEmpty(&r.Color, from.Color)
	setIfEmpty(&r.Channels, from.Channels)
	r.InbandEvents = r.InbandEvents.Add(from.InbandEvents.List()...)
}

// KeepLearnt keeps what media told, where the operator leaves it out.
func KeepLearnt(ev, old live.Event) live.Event {
	ev.Renditions = slices.Clone(ev.Renditions)
	for i := range ev.Renditions {
		r := &ev.Renditions[i]
		if was, ok := old.Rendition(r.Name); ok && was.Type == r.Type {
			LearnFrom(r, &was)
		}
	}
	return ev
}

func setIfEmpty[T comparable](dst *T, v T) {
	var zero T
	if *dst == zero {
		*dst = v
	}
}

// NewID names a mask or an invalidation.
func NewID() string { return rand.Text()[:12] }
