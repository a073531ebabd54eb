package blobs

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Zone is a set of memcached servers that holds everything once.
type Zone struct {
	Name    string
	Servers []string // host:port, written the same on every node: bytes are placed by the names
}

// ErrAddress is wrapped by what ParseZones returns.
var ErrAddress = errors.New("blobs: invalid cache address")

// defaultPort is memcached's.
const defaultPort = "11211"

const scheme = "memcached://"

// ParseZones parses memcached://zone-a=h1:11211,h2;zone-b=h3. Without a port a
// server has memcached's own.
func ParseZones(s string) ([]Zone, error) {
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return nil, fmt.Errorf("%w %q: it is not %sZONE=HOST:PORT,HOST:PORT;ZONE=HOST:PORT", ErrAddress, s, scheme)
	}
	var zones []Zone
	for part := range strings.SplitSeq(rest, ";") {
		name, servers, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%w %q: %q is not ZONE=HOST:PORT,HOST:PORT", ErrAddress, s, part)
		}
		z := Zone{Name: name}
		for server := range strings.SplitSeq(servers, ",") {
			if server != "" && (!strings.Contains(server, ":") || strings.HasSuffix(server, "]")) {
				server += ":" + defaultPort
			}
			z.Servers = append(z.Servers, server)
		}
		zones = append(zones, z)
	}
	if err := validZones(zones, zones[0].Name); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrAddress, s, err)
	}
	return zones, nil
}

// validZones checks names and servers, and that local is one of the zones.
func validZones(zones []Zone, local string) error {
	if len(zones) == 0 {
		return errors.New("blobs: no zones")
	}
	names, servers := make(map[string]bool), make(map[string]string)
	for _, z := range zones {
		if !isZone(z.Name) {
			return fmt.Errorf("blobs: zone %q is not 1 to 63 lower-case letters, digits and hyphens", z.Name)
		}
		if names[z.Name] {
			return fmt.Errorf("blobs: zone %s is there twice", z.Name)
		}
		names[z.Name] = true
		if len(z.Servers) == 0 {
			return fmt.Errorf("blobs: zone %s has no servers", z.Name)
		}
		for _, s := range z.Servers {
			host, port, err := net.SplitHostPort(s)
			if n, perr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || perr != nil || n == 0 || !printable(s) {
				return fmt.Errorf("blobs: server %q of zone %s is not HOST:PORT", s, z.Name)
			}
			if other, twice := servers[s]; twice {
				return fmt.Errorf("blobs: server %s is in zone %s and in zone %s", s, other, z.Name)
			}
			servers[s] = z.Name
		}
	}
	if !names[local] {
		return fmt.Errorf("blobs: the local zone %q is none of the zones", local)
	}
	return nil
}

func isZone(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	})
}

func printable(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(b byte) bool { return b <= ' ' || b > '~' })
}
