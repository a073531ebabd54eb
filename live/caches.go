package live

import (
	"strconv"
	"strings"
)

// A CacheStatus is what one cache says it did for a request: a member of
// Cache-Status (RFC 9211).
type CacheStatus struct {
	Cache     string // as an item of a structured field: a token, or quoted
	Hit       bool
	TTL       int64 // seconds, with HasTTL
	HasTTL    bool
	Fwd       string // why it was forwarded; empty: it was not
	FwdStatus int    // 0: not known
	Stored    bool
	Collapsed bool
	Detail    string
	Disk      bool
}

// Append appends the member.
func (s *CacheStatus) Append(b []byte) []byte {
	b = append(b, s.Cache...)
	if s.Hit {
		b = append(b, ";hit"...)
	}
	if s.HasTTL {
		b = strconv.AppendInt(append(b, ";ttl="...), s.TTL, 10)
	}
	if s.Fwd != "" {
		b = append(append(b, ";fwd="...), s.Fwd...)
	}
	if s.FwdStatus != 0 {
		b = strconv.AppendInt(append(b, ";fwd-status="...), int64(s.FwdStatus), 10)
	}
	if s.Stored {
		b = append(b, ";stored"...)
	}
	if s.Collapsed {
		b = append(b, ";collapsed"...)
	}
	if s.Detail != "" {
		b = append(append(b, ";detail="...), s.Detail...)
	}
	if s.Disk {
		b = append(b, ";disk"...)
	}
	return b
}

// LastCacheStatus reads what the cache that is nearest says: the last member of
// Cache-Status values. Parameters that it does not know it passes over.
func LastCacheStatus(values []string) (s CacheStatus, ok bool) {
	for i := len(values) - 1; i >= 0 && !ok; i-- {
		s, ok = parseCacheStatus(lastMember(values[i]))
	}
	return s, ok
}

// lastMember is the last member of a list, minding quotes.
func lastMember(v string) string {
	quoted, last := false, 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			last = i + 1
		}
	}
	return strings.TrimSpace(v[last:])
}

func parseCacheStatus(v string) (s CacheStatus, ok bool) {
	parts := strings.Split(v, ";")
	if s.Cache = strings.TrimSpace(parts[0]); s.Cache == "" {
		return s, false
	}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "hit":
			s.Hit = true
		case "ttl":
			n, err := strconv.ParseInt(value, 10, 64)
			s.TTL, s.HasTTL = n, err == nil
		case "fwd":
			s.Fwd = value
		case "fwd-status":
			s.FwdStatus, _ = strconv.Atoi(value)
		case "stored":
			s.Stored = true
		case "collapsed":
			s.Collapsed = true
		case "detail":
			s.Detail = strings.Trim(value, `"`)
		case "disk":
			s.Disk = true
		}
	}
	return s, true
}

// A Loop is the way that a request has come: CDN-Loop (RFC 8586), of which each
// member names a node that the request has been at. Several nodes may go by one
// name; the parameter node is a node's own.
type Loop string

// LoopOf joins CDN-Loop values.
func LoopOf(values []string) Loop {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return Loop(values[0])
	}
	return Loop(strings.Join(values, ", "))
}

const loopNode = ";node="

// LoopMember is how a node calls itself there.
func LoopMember(name, id string) string { return name + loopNode + id }

// Add is the way on from the node with this member.
func (l Loop) Add(member string) Loop {
	if l == "" {
		return Loop(member)
	}
	return l + ", " + Loop(member)
}

// Has reports whether the request has been at a node.
func (l Loop) Has(id string) bool {
	for member := range strings.SplitSeq(string(l), ",") {
		if _, node, ok := cutNode(member); ok && node == id {
			return true
		}
	}
	return false
}

// Names reports whether the request has been at a node of that name.
func (l Loop) Names(name string) bool {
	for member := range strings.SplitSeq(string(l), ",") {
		if own, _, _ := strings.Cut(strings.TrimSpace(member), ";"); own == name {
			return true
		}
	}
	return false
}

// Last is the node that the request has come from, where it says who it is.
func (l Loop) Last() (name, id string, ok bool) {
	return cutNode(string(l[strings.LastIndexByte(string(l), ',')+1:]))
}

func cutNode(member string) (name, id string, ok bool) {
	name, id, ok = strings.Cut(strings.TrimSpace(member), loopNode)
	id, _, _ = strings.Cut(id, ";")
	return name, strings.TrimSpace(id), ok
}
