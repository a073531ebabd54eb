package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// ParseJSON reads a JSON document into v, a pointer to a struct, and refuses with a
// *FieldError what checkJSON does. name is what the whole document is called.
func ParseJSON(b []byte, name string, v any) error {
	if err := checkJSON(b, name, reflect.TypeOf(v).Elem()); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil { // what reads itself, or is not base64
		return badField(name, "%v", err)
	}
	return nil
}

// checkJSON walks a JSON document beside the Go type that it is meant for, and
// returns a *FieldError for the first thing that encoding/json would take
// silently or report without its place: a field that the type does not have
// in exactly these letters, a field given twice, a value of the wrong type, a
// number that does not fit.
//
// null stands for a field that is not there. What reads itself, as json.RawMessage
// does, may hold anything, unless it says what it is on the wire.
func checkJSON(b []byte, name string, t reflect.Type) error {
	c := checker{dec: json.NewDecoder(bytes.NewReader(b)), name: name}
	c.dec.UseNumber()
	if err := c.value("", t); err != nil {
		return err
	}
	if _, err := c.dec.Token(); err != io.EOF {
		return badField(name, "there is something after the JSON object")
	}
	return nil
}

type checker struct {
	dec  *json.Decoder
	name string
}

// at is how a path is reported; the document itself has a name.
func (c *checker) at(path string) string {
	if path == "" {
		return c.name
	}
	return path
}

func (c *checker) syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badField(c.name, "the JSON is cut off")
	}
	return badField(c.name, "is not JSON: %v", err)
}

// onWire is what is another type in memory than in JSON.
type onWire interface{ onWire() reflect.Type }

func (c *checker) value(path string, t reflect.Type) error {
	if x, ok := reflect.Zero(t).Interface().(onWire); ok {
		t = x.onWire()
	}
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		var skipped json.RawMessage
		if err := c.dec.Decode(&skipped); err != nil {
			return c.syntax(err)
		}
		return nil
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	tok, err := c.dec.Token()
	if err != nil {
		return c.syntax(err)
	}
	if tok == nil && path != "" {
		return nil
	}
	got, want := describe(tok), kindName(t)
	if _, is := tok.(bool); got != want && !(is && t.Kind() == reflect.Bool) {
		return badField(c.at(path), "is %s, not %s", got, want)
	}
	switch t.Kind() {
	case reflect.Struct:
		return c.object(path, t)
	case reflect.Slice:
		if got != "a list" { // bytes, as a string
			break
		}
		for i := 0; c.dec.More(); i++ {
			if err := c.value(path+"["+strconv.Itoa(i)+"]", t.Elem()); err != nil {
				return err
			}
		}
		_, err = c.dec.Token()
	case reflect.Int, reflect.Int64:
		n := tok.(json.Number).String()
		if _, err := strconv.ParseInt(n, 10, t.Bits()); err != nil {
			return badField(c.at(path), "%s is not a whole number of %d bits", clip(n), t.Bits())
		}
	}
	if err != nil {
		return c.syntax(err)
	}
	return nil
}

func (c *checker) object(path string, t reflect.Type) error {
	seen := map[string]bool{}
	for c.dec.More() {
		tok, err := c.dec.Token()
		if err != nil {
			return c.syntax(err)
		}
		key := tok.(string) // the decoder refuses other keys
		at := fieldName(key)
		if path != "" {
			at = path + "." + at
		}
		f, ok := fieldOf(t, key)
		switch {
		case !ok:
			return badField(at, "is not a field of %s", what(c.at(path), c.name))
		case seen[key]:
			return badField(at, "is there twice")
		}
		seen[key] = true
		if err := c.value(at, f); err != nil {
			return err
		}
	}
	if _, err := c.dec.Token(); err != nil {
		return c.syntax(err)
	}
	return nil
}

// fieldName is how a field is reported: quoted where it is none that any type
// could have.
func fieldName(key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}) {
		return strconv.Quote(clip(key))
	}
	return clip(key)
}

func what(at, name string) string {
	if at == name {
		return "the " + name
	}
	return at
}

// fieldOf is the type of the field with that JSON name, embedded ones too.
func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == key && !f.Anonymous {
			return f.Type, true
		}
	}
	for f := range t.Fields() { // those of the embedded are behind its own
		if f.Anonymous {
			if ft, ok := fieldOf(f.Type, key); ok {
				return ft, true
			}
		}
	}
	return nil, false
}

func describe(tok json.Token) string {
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			return "an object"
		}
		return "a list"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return strconv.FormatBool(tok)
	}
	return "null"
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		return "an object"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a string" // base64
		}
		return "a list"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	}
	return "a number"
}
