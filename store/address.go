package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ErrAddress is wrapped by what ParseAddress returns.
var ErrAddress = errors.New("store: invalid address")

// Schemes of store addresses.
const (
	SchemeMemory    = "memory"
	SchemeDisk      = "disk"
	SchemeCassandra = "cassandra"
	SchemeS3        = "s3"
)

// Address says which store to open, and where.
//
//	memory:                            nothing
//	disk:DIR                           Path
//	cassandra://h1,h2:9043/keyspace?.. Hosts (as written), Path the keyspace, Query
//	s3://bucket/prefix?endpoint=..     Hosts the one bucket, Path the prefix or "", Query
//
// What the query's keys mean is the backend's to say and to check.
type Address struct {
	Scheme string
	Hosts  []string
	Path   string
	Query  url.Values // never nil
}

// ParseAddress parses a store address. Its errors wrap ErrAddress and say what
// to write instead.
func ParseAddress(s string) (Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return Address{}, fmt.Errorf("%w %q: %w", ErrAddress, s, err)
	}
	return a, nil
}

func parseAddress(s string) (Address, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		return Address{}, errors.New("no scheme: write memory:, disk:DIR, cassandra://HOST,.../KEYSPACE or s3://BUCKET")
	}
	a := Address{Scheme: scheme, Query: url.Values{}}
	switch scheme {
	case SchemeMemory:
		if rest != "" {
			return a, errors.New("memory: takes nothing after it")
		}
	case SchemeDisk:
		// A path, not a URL: it may hold any character.
		if strings.HasPrefix(rest, "//") {
			return a, fmt.Errorf("disk: takes a directory, not a URL: write disk:/%s", strings.TrimLeft(rest, "/"))
		}
		if rest == "" || strings.IndexByte(rest, 0) >= 0 {
			return a, errors.New("disk: needs a directory: write disk:DIR")
		}
		a.Path = rest
	case SchemeCassandra:
		if err := a.parseURL(rest); err != nil {
			return a, err
		}
		for _, h := range a.Hosts {
			if err := checkHost(h); err != nil {
				return a, err
			}
		}
		if !isKeyspace(a.Path) {
			return a, fmt.Errorf("keyspace %q is not 1 to 48 letters, digits and underscores: write cassandra://HOST,.../KEYSPACE", a.Path)
		}
	case SchemeS3:
		if err := a.parseURL(rest); err != nil {
			return a, err
		}
		if len(a.Hosts) != 1 || !isBucket(a.Hosts[0]) {
			return a, fmt.Errorf("bucket %q is not 3 to 63 lower-case letters, digits, dots and hyphens: write s3://BUCKET", strings.Join(a.Hosts, ","))
		}
	default:
		return a, fmt.Errorf("unknown scheme %q: there are memory, disk, cassandra and s3", scheme)
	}
	return a, nil
}

// parseURL takes "//hosts/path?query" apart. The host list is no RFC 3986
// authority, so net/url cannot.
func (a *Address) parseURL(rest string) error {
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return fmt.Errorf("write %s://", a.Scheme)
	}
	if strings.Contains(rest, "#") {
		return errors.New("a fragment has no meaning here")
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	if strings.Contains(hosts, "@") {
		return errors.New("credentials do not belong in an address, which is logged")
	}
	a.Hosts = strings.Split(hosts, ",")
	if slices.Contains(a.Hosts, "") {
		return errors.New("an empty host")
	}
	var err error
	if a.Path, err = url.PathUnescape(strings.TrimSuffix(path, "/")); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if strings.HasPrefix(a.Path, "/") || strings.HasSuffix(a.Path, "/") {
		return fmt.Errorf("path %q begins or ends with a slash of its own", a.Path)
	}
	if a.Query, err = url.ParseQuery(query); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	for key, values := range a.Query {
		if len(values) > 1 {
			return fmt.Errorf("%s is given %d times", key, len(values))
		}
	}
	return nil
}

func checkHost(h string) error {
	host, port := h, ""
	if strings.HasPrefix(h, "[") || strings.Count(h, ":") == 1 {
		if strings.HasSuffix(h, "]") {
			host = strings.Trim(h, "[]")
		} else {
			var err error
			if host, port, err = net.SplitHostPort(h); err != nil {
				return fmt.Errorf("host %q: write HOST, HOST:PORT or [IPV6]:PORT", h)
			}
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return fmt.Errorf("host %q: port %q is not 1 to 65535", h, port)
			}
		}
	}
	ipv6 := strings.Contains(host, ":")
	if ipv6 && net.ParseIP(host) == nil || host == "" || !ipv6 && strings.IndexFunc(host, notHostname) >= 0 {
		return fmt.Errorf("host %q is neither a name nor an address", h)
	}
	return nil
}

func notHostname(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
}

func isKeyspace(s string) bool {
	return len(s) >= 1 && len(s) <= 48 && strings.IndexFunc(s, func(r rune) bool {
		return notHostname(r) || r == '-' || r == '.'
	}) < 0
}

func isBucket(s string) bool {
	return len(s) >= 3 && len(s) <= 63 && strings.ToLower(s) == s && !strings.Contains(s, "_") && strings.IndexFunc(s, notHostname) < 0
}

// String returns the address as ParseAddress takes it, with its query in order.
func (a Address) String() string {
	switch a.Scheme {
	case SchemeMemory, SchemeDisk:
		return a.Scheme + ":" + a.Path
	}
	s := a.Scheme + "://" + strings.Join(a.Hosts, ",")
	if a.Path != "" {
		s += (&url.URL{Path: "/" + a.Path}).EscapedPath()
	}
	if len(a.Query) > 0 {
		s += "?" + a.Query.Encode()
	}
	return s
}
