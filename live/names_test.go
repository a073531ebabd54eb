package live

import (
	"fmt"
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	var list []string
	for i := range MaxNames {
		list = append(list, fmt.Sprint("event-", i))
	}
	n, err := ParseNames(NamesOf(list).Header())
	if err != nil || len(n) != len(list) {
		t.Fatal(len(n), err)
	}
	for _, name := range list {
		if !n.Has(name) {
			t.Errorf("%s is not there", name)
		}
	}
	for i := range 10_000 {
		if name := fmt.Sprint("other-", i); n.Has(name) {
			t.Errorf("%s is there", name)
		}
	}
	if n := NamesOf(append(list, "one-more")); n != nil {
		t.Error("too many are told of")
	}
	if n, err := ParseNames(NamesOf([]string{}).Header()); n == nil || err != nil || n.Has("x") {
		t.Errorf("none: %v %v", n, err)
	}
	if n, err := ParseNames(""); n != nil || err != nil {
		t.Errorf("not told of: %v %v", n, err)
	}
	if n := testing.AllocsPerRun(100, func() { n.Has("some-event") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzNames(f *testing.F) {
	f.Add("::")
	f.Add(NamesOf([]string{"a", "b"}).Header())
	f.Add(":AAAAAAAAAAE=:")
	f.Add(":AAA:")
	f.Fuzz(func(t *testing.T, v string) {
		n, err := ParseNames(v)
		if err != nil || n == nil {
			return
		}
		again, err := ParseNames(n.Header())
		if err != nil || !slices.Equal(n, again) {
			t.Fatalf("%q: %v, %v, %v", v, n, again, err)
		}
	})
}
