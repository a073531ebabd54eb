package object

import (
	"bytes"
	"compress/gzip"
	"strings"
	"sync"
)

// A Form is another way to say what an object is: compressed, or of a playlist
// only what is new. It is made when it is first asked for, once, and kept as long
// as the object is, which counts for so much more from then on.
type Form struct {
	once sync.Once
	Body []byte
	ETag string
}

// Form returns an object in a form: compressed, and where delta is given what that
// makes of it, always the same. Its body must have ended well.
func (c *Cache) Form(o *Object, gzipped bool, delta func([]byte) []byte) *Form {
	i, tag := 0, ""
	if gzipped {
		i, tag = i+1, "-gzip"
	}
	if delta != nil {
		i, tag = i+2, tag+"-delta"
	}
	f := &o.forms[i]
	f.once.Do(func() {
		whole, _, _ := o.Body()
		if f.Body = whole; delta != nil {
			f.Body = delta(f.Body)
		}
		if gzipped {
			f.Body = compress(f.Body)
		}
		if gzipped || len(f.Body) < len(whole) { // else it is the whole
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

// compressors are used again: each has most of a megabyte, and lists are made anew
// every second.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(b []byte) []byte {
	var out bytes.Buffer
	w := compressors.Get().(*gzip.Writer)
	defer compressors.Put(w)
	w.Reset(&out)
	w.Write(b) // into memory: neither fails
	w.Close()
	return bytes.Clone(out.Bytes())
}
