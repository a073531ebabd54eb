package live

import "time"

// A Candidate is one pipeline's version of a segment, as it is known without
// its bytes.
type Candidate struct {
	Pipeline  string
	Region    string
	Number    Number
	Findings  Findings
	Digest    Digest
	Size      int64     // bytes
	Published time.Time // when the origin made it durable
}

// Clean reports whether inspection found nothing wrong.
func (c *Candidate) Clean() bool { return c.Findings.Clean() }
