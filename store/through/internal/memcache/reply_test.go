package memcache

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		op   Op
		want string
	}{
		{Op{Kind: Get, Key: "k"}, "mg k v c\r\n"},
		{Op{Kind: Get, Key: "k", Vivify: true, TTL: 1500 * time.Millisecond}, "mg k v c N2\r\n"},
		{Op{Kind: Set, Key: "k", Value: []byte("abc")}, "ms k 3\r\n"},
		{Op{Kind: Set, Key: "k", TTL: 90 * 24 * time.Hour, CAS: 7}, "ms k 0 T2592000 C7\r\n"},
		{Op{Kind: Set, Key: "k", TTL: time.Minute, Add: true}, "ms k 0 T60 ME\r\n"},
		{Op{Kind: Touch}, "mn\r\n"},
	} {
		if got := string(c.op.appendHead(nil)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	for _, key := range []string{"", "a b", "a\n", "é", strings.Repeat("k", 251)} {
		if validKey(key) == nil {
			t.Errorf("key %q is taken", key)
		}
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		in     string
		status Status // None for an error
		cas    uint64
		got    string
	}{
		{Get, "EN\r\n", Miss, 0, ""},
		{Get, "VA 3 c17\r\nabc\r\n", Hit, 17, "abc"},
		{Get, "VA 5 c18446744073709551615\r\n\r\n\x00\r\n\r\n", Hit, 1<<64 - 1, "\r\n\x00\r\n"},
		{Get, "VA 0 W c2\r\n\r\n", Hit, 2, ""},
		{Get, "VA 0\r\n\r\n", Hit, 0, ""},
		{Set, "HD\r\n", Stored, 0, ""},
		{Set, "NS\r\n", NotStored, 0, ""},
		{Set, "EX\r\n", Exists, 0, ""},
		{Set, "NF\r\n", NotFound, 0, ""},
		{Touch, "MN\r\n", Done, 0, ""},
		{Set, "SERVER_ERROR object too large for cache\r\n", Refused, 0, ""},
		{Get, "SERVER_ERROR out of memory writing get response\r\n", Refused, 0, ""},
		{Get, "CLIENT_ERROR bad data chunk\r\n", None, 0, ""},
		{Get, "ERROR\r\n", None, 0, ""},
		{Get, "HD\r\n", None, 0, ""}, // not what was asked
		{Set, "EN\r\n", None, 0, ""},
		{Touch, "HD\r\n", None, 0, ""},
		{Get, "VA 3 c1\r\nabcd\r\n", None, 0, ""},
		{Get, "VA 3 c1\r\nab", None, 0, ""},
		{Get, "VA -1 c1\r\n", None, 0, ""},
		{Get, "VA 1048577 c1\r\n", None, 0, ""},
		{Get, "VA 1 cx\r\na\r\n", None, 0, ""},
		{Get, "\r\n", None, 0, ""},
		{Get, "EN\n", None, 0, ""},
		{Get, strings.Repeat("x", 5000) + "\r\n", None, 0, ""},
		{Get, "", None, 0, ""},
	} {
		op := Op{Kind: c.kind}
		err := op.readReply(bufio.NewReaderSize(strings.NewReader(c.in), 4<<10))
		if err == nil != (c.status != None) {
			t.Errorf("%.40q: error %v", c.in, err)
		}
		if err == nil && (op.Status != c.status || op.GotCAS != c.cas || string(op.Got) != c.got) {
			t.Errorf("%.40q: %+v", c.in, op)
		}
	}
	op := Op{Kind: Get, Dst: make([]byte, 3)}
	r := bufio.NewReader(strings.NewReader("VA 4 c1\r\nabcd\r\nVA 3 c1\r\nabc\r\n"))
	if err := op.readReply(r); err != nil || op.Status != Miss {
		t.Errorf("a value of another length: %+v, %v", op, err)
	}
	if err := op.readReply(r); err != nil || op.Status != Hit || string(op.Dst) != "abc" {
		t.Errorf("after it: %+v, %v", op, err)
	}
}

// FuzzReply: whatever a server sends, no more is kept than a value may have.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"EN\r\n", "VA 3 W c17\r\nabc\r\n", "HD\r\n", "MN\r\n", "SERVER_ERROR x\r\n", "VA 99999999 c1\r\n"} {
		f.Add(s, uint8(Get))
	}
	f.Fuzz(func(t *testing.T, in string, kind uint8) {
		op := Op{Kind: Kind(kind % 3)}
		err := op.readReply(bufio.NewReader(bytes.NewReader([]byte(in))))
		if len(op.Got) > MaxValueBytes || err == nil && op.Status == None {
			t.Fatalf("%d bytes, status %d, %v", len(op.Got), op.Status, err)
		}
	})
}
