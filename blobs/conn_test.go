package blobs

import (
	"bytes"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

// said is a connection on which a server has said what it says.
type said struct {
	net.Conn
	io.Reader
	sent bytes.Buffer
}

func (s *said) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s *said) Write(b []byte) (int, error) { return s.sent.Write(b) }

func hearing(answers string) (*conn, *said) {
	s := &said{Reader: strings.NewReader(answers)}
	return newConn(s), s
}

// nothing is the key of no bytes.
const nothing = "hw:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU:"

// TestWire: what goes out, and what becomes of each answer.
func TestWire(t *testing.T) {
	d, large := live.DigestOf(nil), make([]byte, chunkBytes+5)
	for _, c := range []struct {
		value   []byte // of a write
		size    int    // of a read
		sends   string // without the bytes
		answers string
		ok      bool
		bad     bool // the connection is of no more use
	}{
		{value: []byte("abc"), sends: "ms " + nothing + "0 3 T90\r\n", answers: "HD\r\n", ok: true},
		{value: large, sends: "ms " + nothing + "0 262144 T90\r\n\r\nms " + nothing + "1 5 T90\r\n", answers: "HD\r\nHD\r\n", ok: true},
		{value: large[:chunkBytes], sends: "ms " + nothing + "0 262144 T90\r\n", answers: "HD\r\n", ok: true},
		{value: large, answers: "HD\r\nSERVER_ERROR out of memory storing object\r\n"},
		{value: []byte("abc"), answers: "NS\r\n", bad: true},
		{value: []byte("abc"), answers: "CLIENT_ERROR bad data chunk\r\n", bad: true},
		{value: []byte("abc"), answers: "EN\r\n", bad: true},
		{value: []byte("abc"), answers: "", bad: true},
		{size: 3, sends: "mg " + nothing + "0 v t\r\n", answers: "VA 3 t90\r\nabc\r\n", ok: true},
		{size: 3, answers: "VA 3 t-1\r\n\r\n\x00\r\n", ok: true},
		{size: 3, answers: "VA 3\r\nabc\r\n", ok: true},
		{size: 3, answers: "EN\r\n"},
		{size: 3, answers: "VA 4 t1\r\nabcd\r\n"},
		{size: 3, answers: "SERVER_ERROR out of memory writing get response\r\n"},
		{size: len(large), answers: "EN\r\nVA 5 t1\r\nabcde\r\n"},
		{size: 3, answers: "VA 3 t1\r\nabcd\r\n", bad: true},
		{size: 3, answers: "VA 3 t1\r\nab", bad: true},
		{size: 3, answers: "VA -1 t1\r\n", bad: true},
		{size: 3, answers: "VA x t1\r\n\r\n", bad: true},
		{size: 3, answers: "VA 1048577 t1\r\n", bad: true},
		{size: 3, answers: "HD\r\n", bad: true},
		{size: 3, answers: "\r\n", bad: true},
		{size: 3, answers: "EN\n", bad: true},
		{size: 3, answers: strings.Repeat("x", 5000) + "\r\n", bad: true},
		{answers: "MN\r\n", sends: "mn\r\n", ok: true},
		{answers: "ERROR\r\n", bad: true},
	} {
		conn, s := hearing(c.answers)
		var ok bool
		var err error
		switch {
		case c.value != nil:
			ok, err = conn.set(d, c.value, 90*time.Second)
		case c.size > 0:
			_, _, ok, err = conn.get(d, c.size)
		default:
			err = conn.ping()
			ok = err == nil
		}
		if ok != c.ok || err != nil != c.bad {
			t.Errorf("%.60q: %v, %v", c.answers, ok, err)
		}
		sent := strings.ReplaceAll(strings.ReplaceAll(s.sent.String(), string(large[:chunkBytes]), ""), "\x00", "")
		sent = strings.TrimSuffix(strings.ReplaceAll(sent, "abc\r\n", ""), "\r\n")
		if c.sends != "" && strings.TrimSuffix(c.sends, "\r\n") != strings.TrimSuffix(sent, "\r\n") {
			t.Errorf("sent %.200q, want %q", sent, c.sends)
		}
	}
	// The connection goes on after a value of another length.
	conn, _ := hearing("VA 4 t1\r\nabcd\r\nVA 3 t7\r\nabc\r\n")
	if _, _, found, err := conn.get(d, 3); found || err != nil {
		t.Error(found, err)
	}
	value, left, found, err := conn.get(d, 3)
	if !found || err != nil || string(value) != "abc" || left != 7*time.Second {
		t.Errorf("%q for %v, %v, %v", value, left, found, err)
	}
}

// FuzzAnswers: whatever a server sends is bounded, and at worst an error.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{"EN\r\n", "VA 3 t17\r\nabc\r\n", "HD\r\n", "MN\r\n", "SERVER_ERROR x\r\n", "VA 99999999 t1\r\n", "VA 4 t1\r\nabcd\r\nVA 3"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, answers string, size int) {
		if size < 1 || size > maxBytes {
			return
		}
		conn, _ := hearing(answers)
		value, left, found, err := conn.get(live.Digest{}, size)
		if found && err == nil && (len(value) != size || left < 0 || left > maxKeep) {
			t.Fatalf("%d bytes of %d for %v", len(value), size, left)
		}
		conn, _ = hearing(answers)
		if _, err := conn.set(live.Digest{}, []byte("abc"), time.Second); err == nil && !strings.HasPrefix(answers, "HD\r\n") && !strings.HasPrefix(answers, "HD ") && !strings.HasPrefix(answers, "SERVER_ERROR") {
			t.Fatal("taken")
		}
	})
}

func TestParseZones(t *testing.T) {
	got, err := ParseZones("memcached://zone-a=h1:11211,h2;zone-b=[::1]:11300,[::1]")
	want := []Zone{{"zone-a", []string{"h1:11211", "h2:11211"}}, {"zone-b", []string{"[::1]:11300", "[::1]:11211"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "redis://a=b", "memcached://", "memcached://h1:11211", "memcached://a=", "memcached://a=h1;a=h2",
		"memcached://a=h1,h1", "memcached://a=h1;b=h1", "memcached://A=h1", "memcached://a=h1:0", "memcached://a=h1:x", "memcached://a=h1;",
		"memcached://a=h 1", "memcached://a=:1"} {
		if z, err := ParseZones(bad); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v, %v", bad, z, err)
		}
	}
}

func TestValidate(t *testing.T) {
	zones := []Zone{{"a", []string{"h:1"}}}
	for name, cfg := range map[string]Config{
		"no zones": {}, "local": {Zones: zones, Local: "b"}, "Timeout": {Zones: zones, Timeout: 1}, "MaxConns": {Zones: zones, MaxConns: -1},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Config{Zones: zones}).Validate(); err != nil {
		t.Error(err)
	}
}
