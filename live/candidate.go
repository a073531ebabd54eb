package live

import "time"

// A Candidate is one pipeline's version of a segment, as it is known without
// its bytes.
type Candidate struct {
	Pipeline string
	Region   string
	Number   Number
	Findings Findings
	Quality  Quality // what it shows, as far as anybody said
	Digest   Digest
	Size     int64 // bytes
	// Generation is that of the init segment that it was published for.
	Generation int
	// Key is by what it is encrypted, where that is not what its init segment says.
	Key       SegmentKey
	Span      Span      // where its media lies; zero where that is not known
	Published time.Time // when the origin made it durable
}

// Clean reports whether inspection found nothing wrong.
func (c *Candidate) Clean() bool { return c.Findings.Clean() }

// A Span is where a segment's media lies in presentation time: from the
// earliest instant at which a sample of it is shown to the latest at which one
// ends, in ticks of 1/Timescale seconds. The zero Span is not known.
type Span struct {
	Start, End int64
	Timescale  int64
}

// Known reports whether s says anything.
func (s Span) Known() bool { return s.Timescale > 0 }
