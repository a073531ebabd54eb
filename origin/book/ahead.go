package book

import (
	"headwater/announce"
	"headwater/live"
)

// A segment that is inspected, and whose storing takes longer than it should, is
// delivered ahead of the store: its bytes lie in this node's memory, and viewers have
// until its deadline. That changes nothing of what a packager is told: only what is
// durable is acknowledged. What becomes of it:
//
//	the store takes it after all      it is as any other
//	it does not, and the packager     it is stored as if nothing of it had been published;
//	PUTs it again, or other bytes     of other bytes, those are chosen anew
//	neither                           it is served while this node has it in memory; then it
//	                                  is not to be had, and another pipeline's serves
//
// Other nodes are told of it, and of its choice, when it is stored: one that knew of it
// would answer a packager that it is published.

// LearnAhead is Learn of a candidate that the store does not have yet.
func (g *Book) LearnAhead(e *Event, rendition string, c live.Candidate) bool {
	return g.learn(e, rendition, c, true)
}

// Ahead reports whether it is not known of a pipeline's segment that the store has it.
func (e *Event) Ahead(rendition string, n live.Number, pipeline string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.peek(rendition).slots[n]
	return s != nil && s.ahead[pipeline]
}

// Chosen is the announcement of the choice that stands for a candidate's segment, where
// that is of its bytes.
func (g *Book) Chosen(e *Event, rendition string, c live.Candidate) (m announce.Message, ok bool) {
	_, p := e.known(rendition, c.Number)
	if p == nil || p.Pipeline != c.Pipeline || p.Digest != c.Digest {
		return m, false
	}
	return announce.Message{Kind: announce.Pinned, Event: e.ID, Life: e.Life, Rendition: rendition, Candidate: c,
		Stamp: p.At.UnixNano(), Turn: p.Turn, Version: p.Version}, true
}
