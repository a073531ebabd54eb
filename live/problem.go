package live

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// ProblemType is the media type of error bodies (RFC 9457).
const ProblemType = "application/problem+json"

// A Problem is an error as clients see it (RFC 9457). Its Code is the last
// part of the problem type's URI, and is in docs/protocol.md.
type Problem struct {
	Code   string
	Status int
	Title  string
	Detail string
	// RetryAfter, where set, is sent in whole seconds, at least one.
	RetryAfter time.Duration
	// Lifetime is how long a cache may repeat the refusal. Negative: not at all.
	Lifetime time.Duration
}

// typePrefix begins the type URI of every problem.
const typePrefix = "urn:headwater:problem:"

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Is reports whether target is the same problem, whatever happened this time:
// errors.Is(err, live.ErrEarly) holds for what With and For made of it.
func (p *Problem) Is(target error) bool {
	q, ok := target.(*Problem)
	return ok && q.Code == p.Code
}

// With returns a copy that says what happened this time.
func (p *Problem) With(detail string) *Problem {
	q := *p
	q.Detail = detail
	return &q
}

// For returns a copy that caches may repeat for d.
func (p *Problem) For(d time.Duration) *Problem {
	q := *p
	q.Lifetime = d
	return &q
}

// MarshalJSON is the problem+json object.
func (p *Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
	}{typePrefix + p.Code, p.Title, p.Status, p.Detail})
}

// UnmarshalJSON reads a problem+json object of ours or of somebody else's.
func (p *Problem) UnmarshalJSON(b []byte) error {
	var w struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	code := w.Type
	if len(code) > len(typePrefix) && code[:len(typePrefix)] == typePrefix {
		code = code[len(typePrefix):]
	}
	*p = Problem{Code: code, Title: w.Title, Status: w.Status, Detail: w.Detail}
	return nil
}

var problemType = []string{ProblemType} // shared by headers, and never changed

// body is what MarshalJSON writes, and a newline: it is made for each refusal, of
// which there may be very many.
func (p *Problem) body() []byte {
	b := make([]byte, 0, 128+len(p.Title)+len(p.Detail))
	b = appendJSON(append(b, `{"type":`...), typePrefix+p.Code)
	b = appendJSON(append(b, `,"title":`...), p.Title)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(p.Status), 10)
	if p.Detail != "" {
		b = appendJSON(append(b, `,"detail":`...), p.Detail)
	}
	return append(b, "}\n"...)
}

// appendJSON appends a string as json.Marshal writes it.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string: it cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Write answers with the problem. Headers already set are kept.
func (p *Problem) Write(w http.ResponseWriter, r *http.Request) {
	body := p.body()
	h := w.Header()
	h["Content-Type"] = problemType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if p.Lifetime >= 0 {
		h.Set(HeaderCacheControl, FormatLifetime(p.Lifetime))
	} else {
		h.Set(HeaderCacheControl, "no-store")
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}
