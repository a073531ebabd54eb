package front

import (
	"headwater/edge/exchange"
	"headwater/listen/plain"
	"headwater/live"
)

// A head is the head of a request, as much of it as is needed to serve it.
type head struct {
	method string
	path   live.Path       // lies in the bytes that were read, and so does
	target string          // what is no path of an event's file, as it came; "": it is one
	more   *exchange.More  // what few requests say; nil: nothing
	coding exchange.Coding // how a manifest may be compressed
	skip   bool            // of a playlist only what is new
	close  bool            // the connection ends with the answer
	length int             // bytes of the whole head
}

var crlf = []byte("\r\n")

// parseHead reads a request's head from the beginning of b, in place. It is for
// the one kind of request that viewers send in crowds, the plain one, and of these not
// for who asks for another event.json than he has. The rest it leaves to net/http.
func parseHead(b []byte) (h head, kind plain.Kind) {
	r, kind := plain.Begin(b)
	h.method, h.length = r.Method, r.Length
	if kind == plain.Plain && !h.parseTarget(r.Target) {
		kind = plain.Other
	}
	if kind != plain.Plain {
		return h, kind
	}
	for r.Next() {
		name, value := r.Name, r.Value
		switch len(name) {
		case 5:
			if plain.Is(name, "range") {
				h.ask().Set(name, string(value))
			}
		case 8:
			switch {
			case plain.Is(name, "cdn-loop"):
				m := h.ask()
				m.Loop = m.Loop.Add(string(value))
			case plain.Is(name, "if-range"), plain.Is(name, "if-match"):
				h.ask().Set(name, string(value))
			}
		case 10:
			if plain.Is(name, "live-names") {
				h.ask().Names = true
			}
		case 13:
			switch {
			case plain.Is(name, "authorization"):
				h.ask().Authorization = string(value)
			case plain.Is(name, "if-none-match"):
				h.ask().Set(name, string(value))
			}
		case 15:
			if plain.Is(name, "accept-encoding") && h.path.File != live.FileSegment {
				h.coding = exchange.BestCoding(value)
			}
		default:
			if len(name) > 3 && plain.Is(name[:3], "if-") {
				h.ask().Set(name, string(value))
			}
		}
	}
	h.close = r.Close
	return h, r.Kind()
}

// parseTarget reads what is asked for.
func (h *head) parseTarget(target []byte) bool {
	target, query, ok := plain.CutQuery(target)
	h.skip = ok && exchange.TakesSkip(query)
	// The path is read where it lies; who keeps it makes it its own.
	path := text(target)
	var fault live.PathFault
	if h.path, fault = live.ReadPath(path); fault.Is() {
		h.target = path
		return plain.WellFormed(target)
	}
	if h.path.File == live.FileConfig {
		h.ask()
		return !ok // who asks for another than he has is held
	}
	return true
}

func (h *head) ask() *exchange.More {
	if h.more == nil {
		h.more = new(exchange.More)
	}
	return h.more
}
