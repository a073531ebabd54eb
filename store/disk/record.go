package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"headwater/store"
	"headwater/store/internal/index"
)

// A log file is a file header and then records. All integers are
// little-endian. Records that were written together follow each other without a
// gap; after them come zero bytes up to the next multiple of 4096.
//
//	file header, 64 bytes and zeros up to 4096
//	 0  magic "HWTRLOG\n"
//	 8  format version, 4 bytes
//	12  zero, 4 bytes
//	16  the file's id, 8 bytes, as in its name
//	24  when it was created, Unix milliseconds, 8 bytes
//	32  namespace, padded with zero bytes to 24
//	56  zero, 4 bytes
//	60  crc32c of the 60 bytes before
//
//	record: head, then value
//	 0  magic "HWR1": the version is the last character
//	 4  kind, 1 byte
//	 5  flags, 1 byte: bit 0, it expires
//	 6  length of the record id, 2 bytes
//	 8  length of the key, or of a range's first bound, 2 bytes
//	10  length of a range's second bound, 2 bytes
//	12  length of the metadata, 4 bytes
//	16  length of the value, 8 bytes
//	24  token time, 8 bytes
//	32  token nonce, 8 bytes
//	40  expiry, Unix milliseconds, 8 bytes
//	48  the file's id, 8 bytes
//	56  offset of this record in the file, 8 bytes
//	64  offset up to which the file was known to be durable when this was written, 8 bytes
//	72  crc32c of the value
//	76  crc32c of the 76 bytes before and of the names and metadata after
//	80  record id, key, second bound, metadata, value
//
// The file's id is random and no client learns it, so no value, whatever its
// bytes, holds what would be taken for a record of the file when a damaged
// stretch is searched for the next one. The durable offset tells, after a
// crash, which records were certainly acknowledged and which are a tail that
// may be torn.
const (
	fileMagic      = "HWTRLOG\n"
	fileVersion    = 1
	fileHeaderLen  = 64
	fileHeaderSize = blockSize

	recordMagic = "HWR1"
	headSize    = 80
	maxHeadSize = headSize + store.MaxIDBytes + 2*(store.MaxKeyBytes+1) + store.MaxMetaBytes
)

type kind uint8

const (
	kindPut    kind = 1 // an item
	kindDelete kind = 2 // a record; a range of one where an older version wrote it
	kindSeal   kind = 3 // the last record of a file that is whole
)

const flagExpires = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func updateSum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// record is a record's head.
type record struct {
	kind     kind
	id       string
	key      string // or from
	to       string
	meta     []byte // nil where nobody needs it
	metaLen  int
	size     int64 // of the value
	valueSum uint32
	token    store.Token
	expires  int64 // as in index.Entry

	// Where it is.
	fileID  uint64
	offset  int64
	durable int64
	twin    int64 // in the file's twin; 0: it is not there
}

func (r *record) headLen() int { return headSize + len(r.id) + len(r.key) + len(r.to) + r.metaLen }
func (r *record) len() int64   { return int64(r.headLen()) + r.size }

// appendHead appends the head. place must follow once it is known where the
// record goes.
func (r *record) appendHead(b []byte) []byte {
	le := binary.LittleEndian
	expires, flags := r.expires, byte(flagExpires)
	if expires == index.Forever {
		expires, flags = 0, 0
	}
	b = append(b, recordMagic...)
	b = append(b, byte(r.kind), flags)
	b = le.AppendUint16(b, uint16(len(r.id)))
	b = le.AppendUint16(b, uint16(len(r.key)))
	b = le.AppendUint16(b, uint16(len(r.to)))
	b = le.AppendUint32(b, uint32(r.metaLen))
	b = le.AppendUint64(b, uint64(r.size))
	b = le.AppendUint64(b, uint64(r.token.Time))
	b = le.AppendUint64(b, r.token.Nonce)
	b = le.AppendUint64(b, uint64(expires))
	b = append(b, make([]byte, 24)...)
	b = le.AppendUint32(b, r.valueSum)
	b = append(b, 0, 0, 0, 0)
	b = append(b, r.id...)
	b = append(b, r.key...)
	b = append(b, r.to...)
	return append(b, r.meta...)
}

// place completes a head with where it will be, and its checksum.
func place(head []byte, fileID uint64, offset, durable int64) {
	le := binary.LittleEndian
	le.PutUint64(head[48:], fileID)
	le.PutUint64(head[56:], uint64(offset))
	le.PutUint64(head[64:], uint64(durable))
	le.PutUint32(head[76:], headSum(head))
}

func headSum(head []byte) uint32 {
	return crc32.Update(checksum(head[:76]), castagnoli, head[headSize:])
}

var errBadRecord = errors.New("no valid record")

// shortError says how many bytes the head has, of which there were fewer.
type shortError int

func (n shortError) Error() string { return fmt.Sprintf("the record's head has %d bytes", int(n)) }

// parseHead parses a head at the start of b, which may go on after it. With
// fewer bytes than the head has, the error is a shortError; it asks for at most
// maxHeadSize. The record's names are copies, its metadata is a part of b.
func parseHead(b []byte) (record, error) {
	if len(b) < headSize {
		return record{}, shortError(headSize)
	}
	le := binary.LittleEndian
	if string(b[:4]) != recordMagic {
		return record{}, fmt.Errorf("%w: magic %q", errBadRecord, b[:4])
	}
	idLen, keyLen, toLen, metaLen := int(le.Uint16(b[6:])), int(le.Uint16(b[8:])), int(le.Uint16(b[10:])), le.Uint32(b[12:])
	size := le.Uint64(b[16:])
	if idLen > store.MaxIDBytes || keyLen > store.MaxKeyBytes || toLen > store.MaxKeyBytes+1 ||
		metaLen > store.MaxMetaBytes || size > store.MaxValueBytes {
		return record{}, fmt.Errorf("%w: impossible lengths", errBadRecord)
	}
	n := headSize + idLen + keyLen + toLen + int(metaLen)
	if len(b) < n {
		return record{}, shortError(n)
	}
	if sum := headSum(b[:n]); sum != le.Uint32(b[76:]) {
		return record{}, fmt.Errorf("%w: head checksum", errBadRecord)
	}
	names := b[headSize:n]
	r := record{
		kind: kind(b[4]),
		// Strings of their own: the index keeps the key and not the id.
		id:       string(names[:idLen]),
		key:      string(names[idLen : idLen+keyLen]),
		to:       string(names[idLen+keyLen : idLen+keyLen+toLen]),
		meta:     b[n-int(metaLen) : n : n],
		metaLen:  int(metaLen),
		size:     int64(size),
		valueSum: le.Uint32(b[72:]),
		token:    store.Token{Time: int64(le.Uint64(b[24:])), Nonce: le.Uint64(b[32:])},
		expires:  index.Forever,
		fileID:   le.Uint64(b[48:]),
		offset:   int64(le.Uint64(b[56:])),
		durable:  int64(le.Uint64(b[64:])),
	}
	if b[5]&flagExpires != 0 {
		r.expires = min(int64(le.Uint64(b[40:])), index.Forever-1)
	}
	if b[5]&^flagExpires != 0 || b[5] == 0 && le.Uint64(b[40:]) != 0 || r.offset < 0 || r.durable < 0 || r.durable > r.offset || !r.sound() {
		return record{}, fmt.Errorf("%w: impossible fields", errBadRecord)
	}
	return r, nil
}

// sound reports whether the record has what its kind has, and nothing else.
func (r *record) sound() bool {
	switch r.kind {
	case kindPut:
		return r.id != "" && r.key != "" && r.to == ""
	case kindDelete:
		return r.id != "" && r.metaLen == 0 && r.size == 0
	case kindSeal:
		return r.id == "" && r.key == "" && r.to == "" && r.metaLen%16 == 0 && r.size == 0
	}
	return false
}

// stretch is a part of a file.
type stretch struct{ from, to int64 }

func (s stretch) contains(off int64) bool { return off >= s.from && off < s.to }

// A seal's metadata names the stretches before it that a crash tore and that
// nobody was told were stored: they are no damage, and what looks like a record
// in them is none. Each is its first offset and the one after its last, 8 bytes
// each.
func (r *record) torn() (torn []stretch) {
	for b := r.meta; len(b) >= 16; b = b[16:] {
		torn = append(torn, stretch{int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))})
	}
	return torn
}

// sealRecord returns a seal, which has room for as many stretches as metadata
// may be long.
func sealRecord(torn []stretch) record {
	var meta []byte
	for _, s := range torn[:min(len(torn), store.MaxMetaBytes/16)] {
		meta = binary.LittleEndian.AppendUint64(meta, uint64(s.from))
		meta = binary.LittleEndian.AppendUint64(meta, uint64(s.to))
	}
	return record{kind: kindSeal, meta: meta, metaLen: len(meta), expires: index.Forever}
}

func fileHeader(id uint64, created int64, namespace string) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, fileHeaderSize), fileMagic...)
	b = le.AppendUint32(b, fileVersion)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint64(b, id)
	b = le.AppendUint64(b, uint64(created))
	b = append(b, namespace...)
	b = append(b, make([]byte, 60-len(b))...)
	return le.AppendUint32(b, checksum(b))
}

var errVersion = errors.New("written by a newer version")

// checkFileHeader returns errBadRecord for what is no header of this file, and
// errVersion for one whose format this program does not know.
func checkFileHeader(b []byte, id uint64, namespace string) error {
	le := binary.LittleEndian
	if len(b) < fileHeaderLen || string(b[:8]) != fileMagic || checksum(b[:60]) != le.Uint32(b[60:]) {
		return fmt.Errorf("%w: file header", errBadRecord)
	}
	if v := le.Uint32(b[8:]); v != fileVersion {
		return fmt.Errorf("%w: format %d, this is %d", errVersion, v, fileVersion)
	}
	if want := fileHeader(id, int64(le.Uint64(b[24:])), namespace); string(b[:fileHeaderLen]) != string(want) {
		return fmt.Errorf("%w: the header of another file", errBadRecord)
	}
	return nil
}

// headerID returns the id of the file whose header b is, whichever that is.
func headerID(b []byte, namespace string) (uint64, bool) {
	if len(b) < fileHeaderLen {
		return 0, false
	}
	id := binary.LittleEndian.Uint64(b[16:])
	return id, checkFileHeader(b, id, namespace) == nil
}
