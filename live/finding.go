package live

import (
	"slices"
	"strconv"
	"strings"
)

// A Kind names one thing that inspection can find wrong with a segment. The
// names are on the wire (Live-Defects) and in metrics.
type Kind string

// The findings. MissingMS of a Finding says what each one costs.
const (
	// Short: the segment ends more than one frame before its template boundary.
	Short Kind = "short"
	// MissingSamples: there is a hole between the segment's first and last sample.
	MissingSamples Kind = "missing-samples"
	// Gap: the segment begins more than one frame after its template boundary.
	Gap Kind = "gap"
	// Overlap: the segment begins more than one frame before its template
	// boundary, or ends more than one frame after the next one.
	Overlap Kind = "overlap"
	// NoKeyframe: a video segment does not begin with a sync sample.
	NoKeyframe Kind = "no-keyframe"
	// Unparsable: the bytes are not a well-formed CMAF segment.
	Unparsable Kind = "unparsable"
	// WrongTrack: a fragment belongs to a track that is not the rendition's.
	WrongTrack Kind = "wrong-track"
	// InitMismatch: the media cannot be decoded with the rendition's init segment.
	InitMismatch Kind = "init-mismatch"
	// DigestMismatch: the bytes are not those that were digested.
	DigestMismatch Kind = "digest-mismatch"
	// Late: published after its deadline. Costs no media.
	Late Kind = "late"
	// OpenGOP: the segment begins with a key frame that pictures shown before it
	// lean on the segment before (SAP type 3, ISO/IEC 14496-12 Annex I). A remark.
	OpenGOP Kind = "open-gop"
	// OffGrid: the segment is whole, but lies off its template boundaries, by
	// less than half a segment, as ISO/IEC 23009-1 5.3.9.2.1 allows. A remark;
	// its ms on the wire is how far off, and costs nothing.
	OffGrid Kind = "off-grid"
	// Filled: nobody published the segment. What stands in for it is made of one
	// before it, and costs all of its media.
	Filled Kind = "filled"
	// Slate: what stands in for it is of the clip that the operator has given. A remark
	// beside Filled.
	Slate Kind = "slate"
)

// Kinds lists every finding, in the order of the documentation; counters
// exist for each from the start.
var Kinds = []Kind{Short, MissingSamples, Gap, Overlap, NoKeyframe, Unparsable, WrongTrack, InitMismatch, DigestMismatch, Late, OpenGOP, OffGrid, Filled, Slate}

// Fatal reports whether a segment with this finding would break a player
// rather than show a flaw: such bytes are never served, a gap is better.
func (k Kind) Fatal() bool {
	switch k {
	case Unparsable, WrongTrack, InitMismatch, DigestMismatch:
		return true
	}
	return false
}

// Remark reports whether a finding of this kind only describes a segment that
// plays as well as any: it is no defect, costs nothing, and nobody waits for a
// candidate without it.
func (k Kind) Remark() bool { return k == OpenGOP || k == OffGrid || k == Slate }

// A Finding is one defect of a segment, or a remark on it.
type Finding struct {
	Kind Kind
	// MissingMS is the cost: milliseconds of media that a viewer will not see.
	// A fatal finding costs the whole segment, Late and remarks cost none.
	MissingMS int64
	// Samples counts the missing samples, where that is known.
	Samples int64
	// OffMS, of OffGrid only, is how far off the grid the segment lies, in
	// milliseconds. It is the ms of the wire form.
	OffMS int64
}

// Findings is what inspection found.
type Findings []Finding

// Clean reports whether there is nothing wrong: no finding but remarks.
func (f Findings) Clean() bool {
	return !slices.ContainsFunc(f, func(x Finding) bool { return !x.Kind.Remark() })
}

// MissingMS is the total cost in milliseconds of missing media.
func (f Findings) MissingMS() int64 {
	var sum int64
	for _, x := range f {
		sum += x.MissingMS
	}
	return sum
}

// Fatal reports whether any finding is fatal.
func (f Findings) Fatal() bool {
	return slices.ContainsFunc(f, func(x Finding) bool { return x.Kind.Fatal() })
}

// Has reports whether there is a finding of kind k.
func (f Findings) Has(k Kind) bool {
	return slices.ContainsFunc(f, func(x Finding) bool { return x.Kind == k })
}

// Merge returns the union of two reports on the same bytes. Where both report
// a kind the costlier one stands: nobody's good word hides a defect. Neither
// argument is changed.
func (f Findings) Merge(g Findings) Findings {
	out := slices.Clone(f)
	for _, x := range g {
		i := slices.IndexFunc(out, func(y Finding) bool { return y.Kind == x.Kind })
		switch {
		case i < 0:
			out = append(out, x)
		case x.MissingMS > out[i].MissingMS || x.OffMS > out[i].OffMS:
			out[i] = x
		}
	}
	return out
}

// String is the Live-Defects form.
func (f Findings) String() string {
	var b strings.Builder
	for i, x := range f {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(x.String())
	}
	return b.String()
}

// maxInteger is the largest integer of a structured field (RFC 9651, 3.3.1).
const maxInteger = 999_999_999_999_999

// String is the structured-field member, e.g. missing-samples;ms=400;n=12.
func (x Finding) String() string {
	s := string(x.Kind)
	if ms := x.MissingMS + x.OffMS; ms > 0 {
		s += ";ms=" + strconv.FormatInt(min(ms, maxInteger), 10)
	}
	if x.Samples > 0 {
		s += ";n=" + strconv.FormatInt(min(x.Samples, maxInteger), 10)
	}
	return s
}
