package announce

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"headwater/live"
)

// WireVersion is the version of the encoding. A node drops what has another,
// and finds what it told of in the store.
const WireVersion = 3

// MaxWireBytes bounds an encoded message. The longest that an origin can make
// (16 defects of 64 characters each) is far shorter.
const MaxWireBytes = 8 << 10

// The errors of Decode.
var (
	ErrVersion   = errors.New("announce: unknown version")
	ErrMalformed = errors.New("announce: malformed message")
)

// A Wire is what goes over a network: a message with its place in what its node
// sends of its event, or a beat, which only tells that place.
type Wire struct {
	Seq  uint64 // from 1, by node and event; of a beat, that of the last message
	Beat bool
	Message
}

// beatKind is the kind of a beat on the wire.
const beatKind = "beat"

// wireJSON is the encoding. There is one form only: what Encode makes.
type wireJSON struct {
	Version   int            `json:"v"`
	Kind      string         `json:"kind"`
	Node      string         `json:"node"`
	Seq       uint64         `json:"seq"`
	Event     string         `json:"event"`
	Life      int64          `json:"life,omitempty"`
	Rendition string         `json:"rendition,omitempty"`
	Candidate *candidateJSON `json:"candidate,omitempty"`
	Stamp     int64          `json:"stamp,omitempty"`
	Turn      int64          `json:"turn,omitempty"`
	Under     int64          `json:"under,omitempty"` // the event's version
}

type candidateJSON struct {
	Pipeline  string      `json:"pipeline"`
	Region    string      `json:"region,omitempty"`
	Number    live.Number `json:"number"`
	Defects   string      `json:"defects,omitempty"` // as Live-Defects
	Quality   string      `json:"quality,omitempty"` // as Live-Quality
	Digest    string      `json:"digest"`            // as Content-Digest
	Size      int64       `json:"size"`
	Published int64       `json:"published"` // Unix ns
	// Of which generation its init segment is.
	Generation int    `json:"generation,omitempty"`
	Key        string `json:"key,omitempty"` // as live.SegmentKey
	// Where the media lies; absent where it is not known.
	Start     int64 `json:"start,omitempty"`
	End       int64 `json:"end,omitempty"`
	Timescale int64 `json:"timescale,omitempty"`
}

// Encode returns the one encoding of w, or an error that wraps ErrInvalid.
func Encode(w Wire) ([]byte, error) {
	j := wireJSON{Version: WireVersion, Kind: w.Kind.String(), Node: w.Node, Seq: w.Seq, Event: w.Event.String(), Stamp: w.Stamp}
	switch {
	case w.Beat:
		j.Kind, j.Stamp = beatKind, 0
	case w.Kind == Published || w.Kind == Init || w.Kind == Pinned:
		c := w.Candidate
		j.Life, j.Rendition = w.Life, w.Rendition
		j.Candidate = &candidateJSON{Pipeline: c.Pipeline, Region: c.Region, Number: c.Number, Defects: c.Findings.String(), Quality: c.Quality.String(),
			Digest: c.Digest.String(), Size: c.Size, Published: c.Published.UnixNano(), Generation: c.Generation, Key: string(c.Key),
			Start: c.Span.Start, End: c.Span.End, Timescale: c.Span.Timescale}
	}
	if w.Kind == Pinned && !w.Beat {
		j.Turn, j.Under = w.Turn, w.Version
	}
	if err := j.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(b) > MaxWireBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrInvalid, len(b), MaxWireBytes)
	}
	return b, nil
}

// Decode takes what Encode makes and nothing else. Its errors wrap ErrVersion,
// where the message is of another version and may be well-formed there, or
// ErrMalformed.
func Decode(b []byte) (Wire, error) {
	w, err := decode(b)
	if err != nil && !errors.Is(err, ErrVersion) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return w, err
}

func decode(b []byte) (Wire, error) {
	if len(b) > MaxWireBytes {
		return Wire{}, fmt.Errorf("%d bytes, at most %d", len(b), MaxWireBytes)
	}
	var version struct {
		V *int `json:"v"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return Wire{}, err
	}
	if version.V == nil {
		return Wire{}, errors.New("no version")
	}
	if *version.V != WireVersion {
		return Wire{}, fmt.Errorf("%w %d: this node speaks %d", ErrVersion, *version.V, WireVersion)
	}
	var j wireJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Wire{}, err
	}
	// Unknown and repeated fields, other letters, other spacing: none is ours.
	if again, err := json.Marshal(j); err != nil || !bytes.Equal(again, b) {
		return Wire{}, errors.New("not in the one form of its version")
	}
	if err := j.check(); err != nil {
		return Wire{}, err
	}
	return j.wire()
}

func (j *wireJSON) check() error {
	if n := len(j.Node); n == 0 || n > 64 {
		return fmt.Errorf("a node's name of %d characters", n)
	}
	for _, c := range []byte(j.Node) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("node %q is not printable ASCII", j.Node)
		}
	}
	if j.Seq == 0 {
		return errors.New("no sequence number")
	}
	if _, err := live.ParseEventID(j.Event); err != nil {
		return err
	}
	pinned := j.Kind == Pinned.String()
	if j.Turn < 0 || j.Under < 0 || !pinned && (j.Turn != 0 || j.Under != 0) {
		return fmt.Errorf("%s of turn %d under version %d", j.Kind, j.Turn, j.Under)
	}
	switch j.Kind {
	case Published.String(), Init.String(), Pinned.String():
		if pinned != (j.Stamp > 0) || j.Candidate == nil || !live.ValidName(j.Rendition) {
			return fmt.Errorf("%s of rendition %q with stamp %d, or without a candidate", j.Kind, j.Rendition, j.Stamp)
		}
		return j.Candidate.check()
	case Changed.String(), beatKind:
		if j.Life != 0 || j.Rendition != "" || j.Candidate != nil || j.Kind == beatKind && j.Stamp != 0 {
			return fmt.Errorf("%s says more than it may", j.Kind)
		}
		return nil
	}
	return fmt.Errorf("kind %q", j.Kind)
}

func (c *candidateJSON) check() error {
	if !live.ValidName(c.Pipeline) || c.Region != "" && !live.ValidName(c.Region) {
		return fmt.Errorf("pipeline %q, region %q", c.Pipeline, c.Region)
	}
	if c.Number < 0 || c.Number > live.MaxNumber || c.Size < 0 || c.Published <= 0 || c.Generation < 0 {
		return fmt.Errorf("number %d, size %d, published %d", c.Number, c.Size, c.Published)
	}
	if c.Timescale < 0 || c.Timescale == 0 && (c.Start != 0 || c.End != 0) {
		return fmt.Errorf("media from %d to %d at %d ticks per second", c.Start, c.End, c.Timescale)
	}
	return nil
}

// wire needs a j that was checked.
func (j *wireJSON) wire() (Wire, error) {
	w := Wire{Seq: j.Seq, Beat: j.Kind == beatKind}
	w.Node, w.Life, w.Rendition, w.Stamp, w.Turn, w.Version = j.Node, j.Life, j.Rendition, j.Stamp, j.Turn, j.Under
	var err error
	if w.Event, err = live.ParseEventID(j.Event); err != nil {
		return Wire{}, err
	}
	for k := Published; k < kinds && !w.Beat; k++ {
		if k.String() == j.Kind {
			w.Kind = k
		}
	}
	if c := j.Candidate; c != nil {
		w.Candidate = live.Candidate{Pipeline: c.Pipeline, Region: c.Region, Number: c.Number, Size: c.Size, Generation: c.Generation, Published: time.Unix(0, c.Published).UTC(),
			Span: live.Span{Start: c.Start, End: c.End, Timescale: c.Timescale}}
		if c.Defects != "" {
			if w.Candidate.Findings, err = live.ParseFindings([]string{c.Defects}); err != nil {
				return Wire{}, err
			}
		}
		if w.Candidate.Findings.String() != c.Defects {
			return Wire{}, fmt.Errorf("defects %q are not in their one form", c.Defects)
		}
		if c.Quality != "" {
			if w.Candidate.Quality, err = live.ParseQuality([]string{c.Quality}); err != nil {
				return Wire{}, err
			}
		}
		if w.Candidate.Quality.String() != c.Quality {
			return Wire{}, fmt.Errorf("quality %q is not in its one form", c.Quality)
		}
		if w.Candidate.Key, err = live.ParseSegmentKey(c.Key); err != nil {
			return Wire{}, err
		}
		if w.Candidate.Digest, err = live.ParseDigest([]string{c.Digest}); err != nil {
			return Wire{}, err
		}
		if w.Candidate.Digest.String() != c.Digest {
			return Wire{}, fmt.Errorf("digest %q is not in its one form", c.Digest)
		}
	}
	return w, nil
}
