package exchange

import "bytes"

// TakesGzip reads a field of Accept-Encoding (RFC 9110, 12.5.3).
func TakesGzip[T string | []byte](v T) bool {
	for rest := []byte(v); len(rest) > 0; {
		var member []byte
		member, rest, _ = bytes.Cut(rest, []byte(","))
		name, weight, _ := bytes.Cut(member, []byte(";"))
		if !Is(bytes.TrimSpace(name), "gzip") {
			continue
		}
		q, ok := bytes.CutPrefix(bytes.TrimSpace(weight), []byte("q="))
		return !ok || len(bytes.Trim(q, "0.")) > 0
	}
	return false
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
