package cassandra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"headwater/store"
)

// chunkSize is how values are cut, inlineSize what is not cut but kept in the
// item's row.
const (
	chunkSize  = 256 << 10
	inlineSize = 16 << 10
)

// head is what the row of an item says of one version of it.
type head struct {
	token   store.Token
	dead    bool  // a delete, or an item that had expired when it came
	expires int64 // milliseconds since the Unix epoch; 0 for never
	size    int64
	inline  bool
	meta    []byte
	sums    []uint32 // of each chunk, or of the inline value
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

const (
	headFormat = 1

	flagDead   = 1
	flagInline = 2
)

var errHead = fmt.Errorf("%w: the item's row does not decode", store.ErrCorrupt)

// encode returns the bytes of the head. Its own checksum covers the token too,
// which the row keeps beside it.
func (h *head) encode() []byte {
	b := make([]byte, 0, 2+4*binary.MaxVarintLen64+len(h.meta)+4*len(h.sums)+4)
	flags := byte(0)
	if h.dead {
		flags |= flagDead
	}
	if h.inline {
		flags |= flagInline
	}
	b = append(b, headFormat, flags)
	b = binary.AppendVarint(b, h.expires)
	b = binary.AppendUvarint(b, uint64(h.size))
	b = binary.AppendUvarint(b, uint64(len(h.meta)))
	b = append(b, h.meta...)
	for _, s := range h.sums {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return binary.BigEndian.AppendUint32(b, h.sum(b))
}

func (h *head) sum(b []byte) uint32 {
	return crc32.Update(checksum([]byte(encodeToken(h.token))), castagnoli, b)
}

// parts is how many checksums a value of that size has.
func parts(size int64, inline bool) int {
	if inline {
		return 1
	}
	return int((size + chunkSize - 1) / chunkSize)
}

func decodeHead(token string, b []byte) (head, error) {
	var h head
	var err error
	if h.token, err = decodeToken(token); err != nil {
		return h, err
	}
	if len(b) < 6 || h.sum(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return h, errHead
	}
	if b[0] != headFormat {
		return h, fmt.Errorf("%w: format %d", errHead, b[0])
	}
	h.dead, h.inline = b[1]&flagDead != 0, b[1]&flagInline != 0
	b = b[2 : len(b)-4]
	var n int
	if h.expires, n = binary.Varint(b); n <= 0 {
		return h, errHead
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > store.MaxValueBytes {
		return h, errHead
	}
	b = b[n:]
	h.size = int64(size)
	meta, n := binary.Uvarint(b)
	if n <= 0 || meta > uint64(len(b)-n) {
		return h, errHead
	}
	h.meta, b = b[n:n+int(meta):n+int(meta)], b[n+int(meta):]
	if len(b)%4 != 0 || !h.dead && len(b)/4 != parts(h.size, h.inline) {
		return h, errHead
	}
	for ; len(b) > 0; b = b[4:] {
		h.sums = append(h.sums, binary.BigEndian.Uint32(b))
	}
	return h, nil
}

// live reports whether readers see it.
func (h *head) live(now time.Time) bool {
	return !h.dead && (h.expires == 0 || now.UnixMilli() < h.expires)
}

func (h *head) item(key string) store.Item {
	item := store.Item{Key: key, Token: h.token, Meta: h.meta, Size: h.size}
	if h.expires != 0 {
		item.Expires = time.UnixMilli(h.expires).UTC()
	}
	return item
}

// newest returns the version that decides, of those that a row holds: nearly
// always one, several where tokens share their nanosecond.
func newest(versions map[blob][]byte) (head, string, error) {
	token := newestToken(versions)
	if token == "" {
		return head{}, "", store.ErrNotFound
	}
	h, err := decodeHead(token, versions[blob(token)])
	return h, token, err
}

// newestToken is the token of the version that decides, "" where there is none.
func newestToken(versions map[blob][]byte) (token string) {
	for t := range versions {
		token = max(token, string(t)) // encoded tokens order as tokens do
	}
	return token
}

const tokenSize = 16

// encodeToken returns 16 bytes that order as tokens do, for times after 1970.
func encodeToken(t store.Token) string {
	var b [tokenSize]byte
	binary.BigEndian.PutUint64(b[:8], uint64(t.Time))
	binary.BigEndian.PutUint64(b[8:], t.Nonce)
	return string(b[:])
}

func decodeToken(s string) (store.Token, error) {
	if len(s) != tokenSize {
		return store.Token{}, errors.Join(errHead, errors.New("no token"))
	}
	return store.Token{Time: int64(binary.BigEndian.Uint64([]byte(s[:8]))), Nonce: binary.BigEndian.Uint64([]byte(s[8:]))}, nil
}

// expiryMillis rounds down, as the contract's exactness allows.
func expiryMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	if ms := t.UnixMilli(); ms != 0 {
		return ms
	}
	return -1 // the epoch itself has passed as well
}
