package live

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
)

// MaxNames bounds the names that an answer tells of.
const MaxNames = 4096

// Names are the names there are of a kind, as hashes: they say which name there is
// not, and do not say which there are. They are in order.
type Names []uint64

// NamesOf returns those of a list, nil where it is too long.
func NamesOf(list []string) Names {
	if len(list) > MaxNames {
		return nil
	}
	n := make(Names, len(list))
	for i, name := range list {
		n[i] = hashOf(name)
	}
	slices.Sort(n)
	return n
}

func hashOf(name string) uint64 {
	var b [64]byte
	sum := sha256.Sum256(append(b[:0], name...))
	return binary.BigEndian.Uint64(sum[:])
}

// Has reports whether a name may be one of them; one that is always is.
func (n Names) Has(name string) bool {
	_, ok := slices.BinarySearch(n, hashOf(name))
	return ok
}

// Header is Live-Names: a byte sequence (RFC 9651) of eight bytes for each.
func (n Names) Header() string {
	b := make([]byte, 0, 8*len(n))
	for _, h := range n {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return ":" + base64.StdEncoding.EncodeToString(b) + ":"
}

// ParseNames reads Live-Names. There are none where it is not there.
func ParseNames(v string) (n Names, err error) {
	if v == "" {
		return nil, nil
	}
	text, ok := strings.CutPrefix(v, ":")
	text, ended := strings.CutSuffix(text, ":")
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || !ended || err != nil || len(b)%8 > 0 || len(b)/8 > MaxNames {
		return nil, badHeader(HeaderNames, "%q is not a sequence of hashes", clip(v))
	}
	n = make(Names, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		n = append(n, binary.BigEndian.Uint64(b))
	}
	if !slices.IsSorted(n) {
		return nil, badHeader(HeaderNames, "they are not in order")
	}
	return n, nil
}
