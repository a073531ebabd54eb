package through

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"headwater/store"
)

// id names an item.
type id struct {
	record store.Record
	key    string
}

// names are an item's keys in memcached.
type names struct {
	gen, mark, entry string
	chunks           string // what its chunks' keys begin with, before the token
}

func (s *Store) names(i id) names {
	p, item := s.cfg.Prefix, hash(i.record.Namespace, i.record.ID, i.key)
	return names{gen: s.genKey(), mark: s.markKey(i.record), entry: p + ":e:" + item, chunks: p + ":c:" + item}
}

func (s *Store) genKey() string { return s.cfg.Prefix + ":g" }

func (s *Store) markKey(r store.Record) string { return s.cfg.Prefix + ":m:" + hash(r.Namespace, r.ID) }

// hash is 128 bits of names of any length: memcached takes 250 bytes. Names hold no NUL.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// chunk is the key of one chunk; it never holds anything else than this chunk.
func (n names) chunk(t store.Token, i int) string {
	return fmt.Sprintf("%s:%v:%d", n.chunks, t, i)
}

// generation is what a server's generation item holds.
type generation struct {
	id   uint64
	born int64 // Unix milliseconds
}

// entry is what is cached of an item beside its chunks. Without live it is a
// fence: a mutation with this token was acknowledged, and nothing older counts.
type entry struct {
	token store.Token
	live  bool

	// What follows is of live entries only.
	id        id
	gen, mark uint64 // of the server and the record, when the token was known to be the newest
	checked   int64  // when that was, in Unix milliseconds, or before
	expires   int64  // Unix milliseconds, 0 for never
	meta      []byte
	size      int
	chunk     int      // bytes of a chunk
	sums      []uint32 // CRC-32C of each chunk; none if the value is inline
	inline    []byte   // the value, where it is small
}

// inlineUpTo is the size of a value that is kept in the entry.
const inlineUpTo = 64 << 10

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errEntry   = errors.New("through: not an entry")
)

// The first byte of what is stored.
const (
	kindGeneration = 'G'
	kindMark       = 'M'
	kindFence      = 'F'
	kindLive       = 'L'
)

// seal appends the checksum that open verifies.
func seal(b []byte) []byte { return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)) }

func open(b []byte, kind byte) (*decoder, bool) {
	if len(b) < 5 || b[0] != kind {
		return nil, false
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, false
	}
	return &decoder{body[1:], true}, true
}

type decoder struct {
	b  []byte
	ok bool
}

func (d *decoder) u64() uint64 {
	if len(d.b) < 8 {
		d.ok = false
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.u64()
	if !d.ok || n > uint64(len(d.b)) {
		d.ok = false
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func appendBytes[T string | []byte](b []byte, v T) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(v))), v...)
}

func appendToken(b []byte, t store.Token) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(t.Time)), t.Nonce)
}

func (d *decoder) token() store.Token { return store.Token{Time: int64(d.u64()), Nonce: d.u64()} }

func (g generation) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{kindGeneration}, g.id)
	return seal(binary.BigEndian.AppendUint64(b, uint64(g.born)))
}

func decodeGeneration(b []byte) (g generation, ok bool) {
	d, ok := open(b, kindGeneration)
	if !ok {
		return g, false
	}
	g = generation{d.u64(), int64(d.u64())}
	return g, d.ok && len(d.b) == 0
}

// encodeToken makes a mark or a fence: nothing but a token.
func encodeToken(kind byte, t store.Token) []byte { return seal(appendToken([]byte{kind}, t)) }

func decodeToken(b []byte, kind byte) (t store.Token, ok bool) {
	d, ok := open(b, kind)
	if !ok {
		return t, false
	}
	t = d.token()
	return t, d.ok && len(d.b) == 0
}

func (e *entry) encode() []byte {
	if !e.live {
		return encodeToken(kindFence, e.token)
	}
	b := make([]byte, 0, 256+len(e.meta)+len(e.inline)+4*len(e.sums)+len(e.id.record.ID)+len(e.id.key))
	b = appendToken(append(b, kindLive), e.token)
	for _, v := range []uint64{e.gen, e.mark, uint64(e.checked), uint64(e.expires), uint64(e.size), uint64(e.chunk), uint64(len(e.sums))} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, sum := range e.sums {
		b = binary.BigEndian.AppendUint64(b, uint64(sum))
	}
	b = appendBytes(b, e.id.record.Namespace)
	b = appendBytes(b, e.id.record.ID)
	b = appendBytes(b, e.id.key)
	b = appendBytes(b, e.meta)
	return seal(appendBytes(b, e.inline))
}

// decodeEntry returns a fence or a live entry; it refuses what encode does not make.
func decodeEntry(b []byte) (*entry, error) {
	if t, ok := decodeToken(b, kindFence); ok {
		return &entry{token: t}, nil
	}
	d, ok := open(b, kindLive)
	if !ok {
		return nil, errEntry
	}
	e := &entry{live: true, token: d.token()}
	e.gen, e.mark, e.checked, e.expires = d.u64(), d.u64(), int64(d.u64()), int64(d.u64())
	size, chunk, sums := d.u64(), d.u64(), d.u64()
	if !d.ok || size > store.MaxValueBytes || chunk > 1<<20 || sums > uint64(len(d.b)/8) {
		return nil, errEntry
	}
	e.size, e.chunk = int(size), int(chunk)
	for range sums {
		e.sums = append(e.sums, uint32(d.u64()))
	}
	e.id.record.Namespace, e.id.record.ID, e.id.key = string(d.bytes()), string(d.bytes()), string(d.bytes())
	e.meta, e.inline = d.bytes(), d.bytes()
	whole := sums == 0 && e.size == len(e.inline)
	parts := len(e.inline) == 0 && e.chunk > 0 && sums == uint64((e.size+e.chunk-1)/e.chunk)
	if !d.ok || len(d.b) != 0 || !whole && !parts {
		return nil, errEntry
	}
	return e, nil
}

// newEntry describes an item; gen, mark and checked are the lease's to say.
func (s *Store) newEntry(i id, item store.Item) *entry {
	e := &entry{live: true, id: i, token: item.Token, meta: item.Meta, size: len(item.Value), chunk: s.cfg.ChunkBytes}
	if !item.Expires.IsZero() {
		e.expires = max(item.Expires.UnixMilli(), 1)
	}
	if e.size <= inlineUpTo {
		e.inline = item.Value
		return e
	}
	for n := 0; n < e.size; n += e.chunk {
		e.sums = append(e.sums, crc32.Checksum(item.Value[n:min(n+e.chunk, e.size)], castagnoli))
	}
	return e
}

// span returns where chunk i is in the value.
func (e *entry) span(i int) (from, to int) { return i * e.chunk, min((i+1)*e.chunk, e.size) }

func (e *entry) item(value []byte) store.Item {
	item := store.Item{Key: e.id.key, Token: e.token, Meta: e.meta, Value: value, Size: int64(e.size)}
	if e.expires != 0 {
		item.Expires = time.UnixMilli(e.expires).UTC()
	}
	return item
}

// maxKeep bounds how long anything stays in memcached.
const maxKeep = 24 * time.Hour

// keep is how long memcached is told to keep the item: it may throw it out before.
func (e *entry) keep(now time.Time) time.Duration {
	if e.expires == 0 {
		return maxKeep
	}
	return min(maxKeep, time.UnixMilli(e.expires).Sub(now))
}
