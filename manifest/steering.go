package manifest

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"time"

	"headwater/live"
)

// Content steering (RFC 8216bis, 4.4.6.6 and 7; ETSI TS 103 998). Origins write manifests
// with relative URLs, the same for all. An edge that is of a pathway adds what players
// need to leave it: URLs that say where they are, where else they may go, and whom to ask.

// SteeringType is the media type of steering manifests (RFC 8216bis, 7.2).
const SteeringType = "application/json"

// A Place is where a manifest is served.
type Place struct {
	Event    live.EventID
	File     live.File // FileHLS, FileMPD or FileListed
	Pathways []live.Pathway
	Self     string // of whoever serves it
	// Guarded says that viewers must show tokens.
	Guarded bool
}

// self is the pathway of whoever serves.
func (p *Place) self() (live.Pathway, bool) {
	i := slices.IndexFunc(p.Pathways, func(q live.Pathway) bool { return q.ID == p.Self })
	if i < 0 {
		return live.Pathway{}, false
	}
	return p.Pathways[i], true
}

// url is that of a file of the event at a pathway.
func (p *Place) url(of live.Pathway, file live.File) string {
	return of.URL + live.Path{Event: p.Event, File: file}.String()
}

// base is that below which renditions are.
func (p *Place) base(of live.Pathway) string { return of.URL + "/" + p.Event.String() + "/" }

var steeringTag, steeringElement = []byte("#EXT-X-CONTENT-STEERING:"), []byte("<ContentSteering ")

// Steered adds steering to a multivariant playlist or an MPD. What comes from a peer has
// it, and is left as it is, as is what is served by who is of no pathway of the event.
func Steered(list []byte, p Place) []byte {
	self, ok := p.self()
	switch {
	case !ok, bytes.Contains(list, steeringTag), bytes.Contains(list, steeringElement):
		return list
	case p.File == live.FileHLS:
		return p.steeredHLS(list, self)
	}
	return p.steeredMPD(list, self)
}

// steeredHLS lists one pathway: the others are clones of it, which the steering manifest
// has, so that the playlist is no longer for them.
func (p *Place) steeredHLS(list []byte, self live.Pathway) []byte {
	b := make([]byte, 0, len(list)+1024)
	for line := range bytes.Lines(list) {
		switch {
		case bytes.HasPrefix(line, []byte("#EXT-X-STREAM-INF:")):
			a := attributes{b: append(b, bytes.TrimSuffix(line, []byte("\n"))...), more: true}
			a.quoted("PATHWAY-ID", self.ID)
			b = append(a.b, '\n')
		case bytes.HasPrefix(line, []byte("#EXT-X-MEDIA:")):
			b = append(b, p.placed(line, self)...)
		case bytes.HasPrefix(line, []byte("#EXT-X-I-FRAME-STREAM-INF:")):
			a := attributes{b: append(b, bytes.TrimSuffix(p.placed(line, self), []byte("\n"))...), more: true}
			a.quoted("PATHWAY-ID", self.ID)
			b = append(a.b, '\n')
		case bytes.HasPrefix(line, []byte("#EXT-X-VERSION:")):
			a := attributes{b: append(append(b, line...), steeringTag...)}
			a.quoted("SERVER-URI", p.url(self, live.FileSteering))
			a.quoted("PATHWAY-ID", self.ID)
			b = append(a.b, '\n')
		case line[0] == '#' || line[0] == '\n':
			b = append(b, line...)
		default:
			b = append(append(b, p.base(self)...), line...)
		}
	}
	return b
}

// placed is a tag with its URI on a pathway.
func (p *Place) placed(tag []byte, self live.Pathway) []byte {
	return bytes.Replace(tag, []byte(`,URI="`), []byte(`,URI="`+p.base(self)), 1)
}

// steeredMPD lists all pathways: players without steering go on with the next where one
// fails, too. Where viewers show tokens the MPD is read again from where it came, since
// the token may be in the query of its URL.
func (p *Place) steeredMPD(list []byte, self live.Pathway) []byte {
	at := bytes.Index(list, []byte(">\n  <")) // the MPD's own start tag ends
	if at < 0 || !bytes.Contains(list[:at], []byte("<MPD ")) {
		return list
	}
	ordered := slices.Concat([]live.Pathway{self}, slices.DeleteFunc(slices.Clone(p.Pathways), func(q live.Pathway) bool { return q.ID == self.ID }))
	x := &xmlWriter{b: append(make([]byte, 0, len(list)+1024), list[:at+1]...), open: []string{"MPD"}}
	each := func(name string, url func(live.Pathway) string) {
		for _, q := range ordered {
			x.start(name)
			x.attr("serviceLocation", q.ID)
			x.text(url(q))
			x.end()
		}
	}
	each("BaseURL", p.base)
	if !p.Guarded {
		each("Location", func(q live.Pathway) string { return p.url(q, p.File) })
	}
	x.start("ContentSteering")
	x.attr("defaultServiceLocation", self.ID)
	x.attr("queryBeforeStart", "false")
	x.text(p.url(self, live.FileSteering) + "?dash") // who needs no clones
	x.end()
	return append(x.b, list[at+1:]...)
}

// A SteeringQuery is what a player asks for a steering manifest with: what it says of
// itself, and what it was given to say again.
type SteeringQuery struct {
	DASH bool
	// Base is the pathway of an HLS player's playlist, "" where that is who is asked.
	Base string
	// Part is which of Parts parts of all viewers it belongs to, -1 where it has none.
	Part int
	// Moved is when it was sent elsewhere last.
	Moved time.Time
}

// Parts is how many there are.
const Parts = 1000

// ParseSteering reads a query. What players say of pathway and throughput
// (_HLS_pathway, _DASH_throughput and so on) changes nothing, nor does what is
// malformed.
func ParseSteering(query string) SteeringQuery {
	v, _ := url.ParseQuery(query)
	q := SteeringQuery{DASH: v.Has("dash"), Part: -1}
	if id := v.Get("base"); live.ValidName(id) {
		q.Base = id
	}
	if n, err := strconv.ParseUint(v.Get("part"), 10, 32); err == nil && n < Parts {
		q.Part = int(n)
	}
	if n, err := strconv.ParseInt(v.Get("moved"), 10, 64); err == nil {
		q.Moved = time.Unix(n, 0)
	}
	return q
}

func (q SteeringQuery) String() string {
	var b []byte
	if q.DASH {
		b = append(b, "dash&"...)
	}
	if q.Base != "" {
		b = append(append(append(b, "base="...), q.Base...), '&')
	}
	b = appendInt(append(b, "part="...), int64(q.Part))
	if !q.Moved.IsZero() {
		b = appendInt(append(b, "&moved="...), q.Moved.Unix())
	}
	return string(b)
}

// A Steering is what a steering manifest is made of.
type Steering struct {
	Place
	Away  bool // others come before Self
	Asked SteeringQuery
	TTL   time.Duration // in seconds, at least one
	Now   time.Time
}

// steeringManifest is one of version 1.
type steeringManifest struct {
	Version  int            `json:"VERSION"`
	TTL      int64          `json:"TTL"`
	Reload   string         `json:"RELOAD-URI"`
	Priority []string       `json:"PATHWAY-PRIORITY"`
	Clones   []pathwayClone `json:"PATHWAY-CLONES,omitempty"`
}

type pathwayClone struct {
	Base string      `json:"BASE-ID"`
	ID   string      `json:"ID"`
	URI  replacement `json:"URI-REPLACEMENT"`
}

type replacement struct {
	Host   string   `json:"HOST"`
	Params struct{} `json:"PARAMS"` // video.js 8.24 looks into it unasked
}

// Manifest writes it. Who is sent elsewhere is told to ask there from then on: what sent
// him away may soon no longer answer. Whoever is of no pathway prefers them in the
// event's order.
func (s Steering) Manifest() []byte {
	ask := s.Asked
	order := slices.Clone(s.Pathways)
	if self, ok := s.self(); ok {
		order = slices.DeleteFunc(order, func(p live.Pathway) bool { return p.ID == self.ID })
		if s.Away {
			order = append(order, self)
		} else {
			order = slices.Insert(order, 0, self)
		}
		if ask.Base == "" && !ask.DASH {
			ask.Base = self.ID
		}
	}
	m := steeringManifest{Version: 1, TTL: max(int64(s.TTL/time.Second), 1), Reload: s.url(order[0], live.FileSteering)}
	for _, p := range order {
		m.Priority = append(m.Priority, p.ID)
		if p.ID != ask.Base && ask.Base != "" {
			m.Clones = append(m.Clones, pathwayClone{ask.Base, p.ID, replacement{Host: p.Hostname()}})
		}
	}
	if s.Away && order[0].ID != s.Self {
		ask.Moved = s.Now
	}
	m.Reload += "?" + ask.String()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(m) // of these types it cannot fail
	return b.Bytes()
}
