package exchange

import (
	"bytes"

	"headwater/listen/plain"
)

// A Coding is how a manifest is compressed.
type Coding uint8

// The codings (RFC 9110, 8.4.1, and RFC 7932), the better ones behind.
const (
	Identity Coding = iota
	Gzip
	Brotli
)

// Codings are the names of those, as they stand in fields.
var Codings = [...]string{Identity: "identity", Gzip: "gzip", Brotli: "br"}

// BestCoding reads a field of Accept-Encoding (RFC 9110, 12.5.3): of what it takes the
// best that there is.
func BestCoding[T string | []byte](v T) Coding {
	best := Identity
	for rest := []byte(v); len(rest) > 0; {
		var member []byte
		member, rest, _ = bytes.Cut(rest, []byte(","))
		name, weight, _ := bytes.Cut(member, []byte(";"))
		name = bytes.TrimSpace(name)
		for c := Gzip; c <= Brotli; c++ {
			if !plain.Is(name, Codings[c]) {
				continue
			}
			if q, ok := bytes.CutPrefix(bytes.TrimSpace(weight), []byte("q=")); !ok || len(bytes.Trim(q, "0.")) > 0 {
				best = max(best, c)
			}
		}
	}
	return best
}

// TakesSkip reads a query (RFC 8216bis, 6.2.5.1).
func TakesSkip[T string | []byte](query T) bool {
	for rest := []byte(query); len(rest) > 0; {
		var member []byte
		member, rest, _ = bytes.Cut(rest, []byte("&"))
		if name, v, _ := bytes.Cut(member, []byte("=")); string(name) == "_HLS_skip" && (string(v) == "YES" || string(v) == "v2") {
			return true
		}
	}
	return false
}
