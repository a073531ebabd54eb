package object

import (
	"net/http"
	"strconv"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// Kept are the headers of a parent's answer that go on to viewers.
var Kept = []string{
	"Content-Type", "Etag", "Last-Modified", "Retry-After",
	live.HeaderContentDigest, live.HeaderPipeline, live.HeaderDefects, live.HeaderQuality, live.HeaderPublished, "Cmsd-Static",
}

// A Head is what an answer says beside its body.
type Head struct {
	Status   int
	Header   http.Header // of those in Kept
	Passed   []string    // Cache-Status of the caches before this one
	Source   live.Source
	Problem  string    // the code of a refusal that a parent gave
	OnDisk   bool      // the answer came from the disk
	Made     int64     // configuration version that it was made under
	Size     int64     // of the body, -1 while not known
	Received time.Time // when the head came, or the fill failed
	Age      time.Duration
	Lifetime time.Duration // from Received on
	Plain    time.Duration // the same for those who do not heed invalidations
}

// HeadOf takes what a parent answered to a request that was made under a
// configuration version.
func HeadOf(resp *http.Response, begun int64, now time.Time) Head {
	h := Head{
		Status: resp.StatusCode, Size: resp.ContentLength, Received: now, Passed: resp.Header[live.HeaderCacheStatus],
		Header: make(http.Header, len(Kept)), Made: begun,
	}
	for _, name := range Kept {
		if v, ok := resp.Header[name]; ok {
			h.Header[name] = v
		}
	}
	h.Source, _ = live.ParseSource(resp.Header.Get(live.HeaderPipeline))
	if v, err := live.ParseVersion(resp.Header.Get(live.HeaderVersion)); err == nil {
		h.Made = v
	}
	plain, lifetime, _ := live.ParseLifetimes(resp.Header[live.HeaderCacheControl])
	if age, err := strconv.ParseInt(resp.Header.Get("Age"), 10, 32); err == nil && age > 0 {
		h.Age = time.Duration(age) * time.Second
	}
	// What is left of it (RFC 9111, 4.2).
	h.Lifetime, h.Plain = max(lifetime-h.Age, 0), max(plain-h.Age, 0)
	if h.Status >= 400 {
		h.Lifetime, h.Plain = min(h.Lifetime, refusalMost), min(h.Plain, refusalMost)
	}
	return h
}

// refusalMost is how long a parent's refusal counts at most: what it says may be
// wrong. What the timeline refuses is nothing that a parent is asked for.
const refusalMost = time.Minute

// Bytes is what the head takes of the memory: as fields, and as it is sent.
func (h *Head) Bytes() (n int64) {
	for name, values := range h.Header {
		for _, v := range values {
			n += 2 * int64(len(name)+len(v))
		}
	}
	for _, v := range h.Passed {
		n += int64(len(v))
	}
	return n
}

// common is the part of heads that all who get the whole object share.
func (h *Head) common() *exchange.Shared {
	p := exchange.CORS()
	for _, name := range Kept {
		if v := h.Header[name]; len(v) > 0 && name != "Retry-After" {
			p.Put(name, v...)
		}
	}
	if h.Status == http.StatusOK {
		p.Put("Accept-Ranges", "bytes")
	}
	return p
}
