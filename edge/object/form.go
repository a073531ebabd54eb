package object

import (
	"bytes"
	"compress/gzip"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"

	"headwater/edge/exchange"
)

// A Form is another way to say what an object is: compressed, or of a playlist
// only what is new. It is made when it is first asked for, once, and kept as long
// as the object is, which counts for so much more from then on.
type Form struct {
	once sync.Once
	Body []byte
	ETag string
}

// As is what a form makes of an object, beside how it is coded.
type As uint8

// What forms make of objects.
const (
	Whole  As = iota
	Delta     // of a playlist what is new
	Behind    // lists by which players begin behind the live edge: the first of so many
	// Steered is added to each of these where it has steering, too.
	Steered = Behind + Behinds
	kinds   = 2 * Steered

	Behinds = 3
	codings = len(exchange.Codings)
)

// Form returns an object in a form: compressed, and as something else, which is what
// the function makes of it, always the same. Its body must have ended well.
func (c *Cache) Form(o *Object, coding exchange.Coding, as As, make func([]byte) []byte) *Form {
	i, tag := codings*int(as)+int(coding), ""
	if coding != exchange.Identity {
		tag = "-" + exchange.Codings[coding]
	}
	switch of := as % Steered; {
	case of >= Behind:
		tag += "-behind" + string('1'+rune(of-Behind))
	case of == Delta:
		tag += "-delta"
	}
	if o.forms.Load() == nil {
		o.forms.CompareAndSwap(nil, new([int(kinds) * codings]Form))
	}
	f := &o.forms.Load()[i]
	f.once.Do(func() {
		whole, _, _ := o.Body()
		if f.Body = whole; make != nil {
			f.Body = make(f.Body)
		}
		if as >= Steered { // the same at no two pathways
			tag += "-" + strconv.FormatUint(uint64(crc32.ChecksumIEEE(f.Body)), 36)
		}
		if coding != exchange.Identity {
			f.Body = compress(f.Body, coding)
		}
		if coding != exchange.Identity || len(f.Body) != len(whole) { // else it is the whole
			c.grow(o, int64(len(f.Body)))
		}
		if v := o.Header["Etag"]; len(v) > 0 {
			f.ETag = v[0]
			if own, ok := strings.CutSuffix(v[0], `"`); ok {
				f.ETag = own + tag + `"`
			}
		}
	})
	return f
}

// A compressor writes what is written to it to another writer.
type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

// brotliLevel takes up to twice as long as gzip does. Of it media playlists are less than
// two thirds as long as of that, those of hours a third, and other lists hardly shorter.
const brotliLevel = 4

// compressors are used again: each has most of a megabyte, and lists are made anew
// every second.
var compressors = [...]sync.Pool{
	exchange.Gzip:   {New: func() any { return gzip.NewWriter(nil) }},
	exchange.Brotli: {New: func() any { return brotli.NewWriterLevel(nil, brotliLevel) }},
}

func compress(b []byte, coding exchange.Coding) []byte {
	var out bytes.Buffer
	w := compressors[coding].Get().(compressor)
	defer compressors[coding].Put(w)
	w.Reset(&out)
	w.Write(b) // into memory: neither fails
	w.Close()
	return bytes.Clone(out.Bytes())
}
