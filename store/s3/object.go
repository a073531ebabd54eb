package s3

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
	"time"

	"headwater/store"
)

// How the store lays its data out in a bucket, below a prefix of the operator's:
//
//	items/NAMESPACE/RECORD/KEY.TOKEN.EXPIRES
//
// An object never changes once it is written: what is newer has another name.
// TOKEN is inverted, so that of a key the newest comes first in a listing; it
// decides, and all others are of no meaning and go when the store tidies up.
// KEY is hex, so that a listing is in key order. Long keys share what their
// names begin with and are put in order by what is in them.

// No part of a path is longer than 190 bytes: servers that keep objects as
// files take at most 255, and want some of them for files of their own.
const (
	keyBytes  = 64  // of a key are in the name; of a longer one a digest is, too
	nameBytes = 180 // of a record's name
)

// recordName is a record's part of a path: readable where it can be.
func recordName(id string) string {
	var b strings.Builder
	for _, c := range []byte(id) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	if b.Len() <= nameBytes {
		return b.String()
	}
	sum := sha256.Sum256([]byte(id))
	return "__" + hex.EncodeToString(sum[:16])
}

// keyName is a key's part of an object's name, and the part that is in the
// order of keys.
func keyName(key string) (name, ordered string) {
	if len(key) <= keyBytes {
		name = hex.EncodeToString([]byte(key))
		return name, name
	}
	ordered = hex.EncodeToString([]byte(key[:keyBytes]))
	sum := sha256.Sum256([]byte(key))
	return ordered + "~" + hex.EncodeToString(sum[:8]), ordered
}

func tokenName(t store.Token) string {
	return fmt.Sprintf("%016x%016x", ^uint64(t.Time), ^t.Nonce)
}

func parseToken(s string) (store.Token, error) {
	if len(s) != 32 {
		return store.Token{}, fmt.Errorf("token of %d characters", len(s))
	}
	t, err := strconv.ParseUint(s[:16], 16, 64)
	if err != nil {
		return store.Token{}, err
	}
	n, err := strconv.ParseUint(s[16:], 16, 64)
	if err != nil {
		return store.Token{}, err
	}
	return store.Token{Time: int64(^t), Nonce: ^n}, nil
}

// A version is one mutation of a key, as its object's name tells it.
type version struct {
	object  string // the whole name
	key     string // its part for the key
	ordered string // of that, what is in key order
	token   store.Token
	expires int64 // Unix ms; never: math.MaxInt64
	size    int64 // of the object
}

func (v *version) expired(now time.Time) bool { return now.UnixMilli() >= v.expires }

const never = math.MaxInt64

func expiryOf(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return min(max(t.UnixMilli(), 0), never-1)
}

// versionName is the part of an object's name after its record's.
func versionName(key string, t store.Token, expires int64) string {
	name, _ := keyName(key)
	name += "." + tokenName(t) + "."
	if expires != never {
		name += "e" + strconv.FormatInt(expires, 36)
	}
	return name
}

func parseVersion(name string) (version, error) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 {
		return version{}, fmt.Errorf("s3: object %q is none of this store's", name)
	}
	v := version{key: parts[0], expires: never}
	v.ordered, _, _ = strings.Cut(v.key, "~")
	var err error
	if v.token, err = parseToken(parts[1]); err != nil {
		return version{}, fmt.Errorf("s3: object %q: %w", name, err)
	}
	switch parts[2] {
	case "":
	default:
		ms, ok := strings.CutPrefix(parts[2], "e")
		if v.expires, err = strconv.ParseInt(ms, 36, 64); err != nil || !ok {
			return version{}, fmt.Errorf("s3: object %q: expiry: %v", name, err)
		}
	}
	return v, nil
}

// A header stands before the value in an object.
type header struct {
	Record  string `json:"record"` // as store.Record.String
	Key     string `json:"key,omitempty"`
	Time    int64  `json:"time"` // of the token
	Nonce   uint64 `json:"nonce"`
	Expires int64  `json:"expires,omitempty"` // Unix ms
	Meta    []byte `json:"meta,omitempty"`
	Size    int64  `json:"size"`
	Sum     uint32 `json:"sum"` // CRC-32C of the value
}

func (h *header) token() store.Token { return store.Token{Time: h.Time, Nonce: h.Nonce} }

func (h *header) item() store.Item {
	i := store.Item{Key: h.Key, Token: h.token(), Meta: h.Meta, Size: h.Size}
	if h.Expires != 0 {
		i.Expires = time.UnixMilli(h.Expires).UTC()
	}
	return i
}

const (
	magic     = "HWO1"
	preamble  = len(magic) + 8 // magic, the header's length and its checksum
	maxHeader = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeObject(h header, value []byte) ([]byte, error) {
	h.Size, h.Sum = int64(len(value)), crc32.Checksum(value, castagnoli)
	j, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, preamble+len(j)+len(value))
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(j)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(j, castagnoli))
	return append(append(b, j...), value...), nil
}

// errShort is what decodeHeader returns when it needs more bytes.
var errShort = errors.New("s3: the header goes on")

// decodeHeader reads the header at the beginning of b, and says how long it is
// with its preamble, where that can be said.
func decodeHeader(b []byte) (h header, length int, err error) {
	if len(b) < preamble || string(b[:len(magic)]) != magic {
		return h, 0, fmt.Errorf("%w: not an object of this store", store.ErrCorrupt)
	}
	n := binary.BigEndian.Uint32(b[len(magic):])
	if n > maxHeader {
		return h, 0, fmt.Errorf("%w: a header of %d bytes", store.ErrCorrupt, n)
	}
	length = preamble + int(n)
	if len(b) < length {
		return h, length, errShort
	}
	j := b[preamble:length]
	if crc32.Checksum(j, castagnoli) != binary.BigEndian.Uint32(b[len(magic)+4:]) {
		return h, 0, fmt.Errorf("%w: the header's checksum", store.ErrCorrupt)
	}
	if err := json.Unmarshal(j, &h); err != nil {
		return h, 0, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return h, length, nil
}

// decodeObject reads all of an object.
func decodeObject(b []byte) (header, []byte, error) {
	h, n, err := decodeHeader(b)
	if errors.Is(err, errShort) {
		err = fmt.Errorf("%w: cut off", store.ErrCorrupt)
	}
	if err != nil {
		return h, nil, err
	}
	value := b[n:]
	if int64(len(value)) != h.Size || crc32.Checksum(value, castagnoli) != h.Sum {
		return h, nil, fmt.Errorf("%w: the value's checksum", store.ErrCorrupt)
	}
	return h, value, nil
}

// A pageToken names the last key that was returned.
func pageToken(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

func parsePageToken(s string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = store.ValidateKey(string(b))
	}
	if err != nil {
		return "", fmt.Errorf("%w: page token %q", store.ErrInvalid, s)
	}
	return string(b), nil
}

// keyOf is the key of a version as far as its object's name tells it: of a
// long one only what it begins with.
func keyOf(v version) string {
	b, err := hex.DecodeString(v.ordered)
	if err != nil {
		return ""
	}
	return string(b)
}
