package live

import (
	"net/http"
	"strconv"
	"time"
)

// TimePath is the URL path of the clock.
const TimePath = "/time"

// TimeLayout is how the clock writes UTC: ISO 8601 with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// ServeTime answers with a time, that of now, for players and edges to set their clocks by
// (DASH: urn:mpeg:dash:utc:http-iso:2014).
func ServeTime(w http.ResponseWriter, r *http.Request, now time.Time) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set(HeaderCacheControl, "no-store")
	s := now.UTC().Format(TimeLayout)
	h.Set("Content-Length", strconv.Itoa(len(s)))
	if r.Method != http.MethodHead {
		w.Write([]byte(s))
	}
}

// allowedHeaders are what pages may send with a request besides what they always may.
const allowedHeaders = "CTA-Common-Access-Token, Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session"

var (
	corsOrigin = []string{"*"}
	corsExpose = []string{ExposedHeaders}
)

// AllowCORS lets any page read the answer and its Live headers and timing.
func AllowCORS(h http.Header) {
	h["Access-Control-Allow-Origin"] = corsOrigin
	h["Access-Control-Expose-Headers"] = corsExpose
	h["Timing-Allow-Origin"] = corsOrigin
}

// ServePreflight answers a CORS preflight.
func ServePreflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	// * is all but Authorization, and nothing where cookies go along (Fetch, 3.3.4).
	h.Set("Access-Control-Allow-Headers", "*, Authorization, "+allowedHeaders)
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// A Timing collects a Server-Timing header (W3C Server Timing).
type Timing struct{ value string }

// Add appends a step and how long it took.
func (t *Timing) Add(step string, d time.Duration) {
	if t.value != "" {
		t.value += ", "
	}
	t.value = string(AppendTiming([]byte(t.value), step, d))
}

// AppendTiming appends one step of Server-Timing.
func AppendTiming(b []byte, step string, d time.Duration) []byte {
	const tenth = 100 * time.Microsecond
	tenths, rest := max(d, 0)/tenth, max(d, 0)%tenth
	if rest > tenth/2 || rest == tenth/2 && tenths%2 == 1 {
		tenths++
	}
	b = strconv.AppendInt(append(append(b, step...), ";dur="...), int64(tenths/10), 10)
	return append(b, '.', '0'+byte(tenths%10))
}

// String is the header's value.
func (t *Timing) String() string { return t.value }

// ContentType is the media type of a rendition's segments (RFC 4337, RFC 8216).
func (t MediaType) ContentType() string {
	switch t {
	case Video:
		return "video/mp4"
	case Audio:
		return "audio/mp4"
	}
	return "application/mp4"
}
