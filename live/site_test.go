package live

import (
	"strings"
	"testing"
	"time"
)

func TestSiteHeader(t *testing.T) {
	n := SiteNode{Name: "a", ID: "nx1", Up: 1500 * time.Millisecond, From: time.UnixMilli(1795405280123), Orphan: true,
		Sees: []Sight{{Name: "b", Ago: 120 * time.Millisecond}, {Name: "9c"}}}
	const want = `"a";id="nx1";up=1500;from=1795405280123;orphan, "b";ago=120, "9c";ago=0`
	if s := n.Header(); s != want {
		t.Errorf("%s", s)
	}
	got, err := ParseSiteNode([]string{want})
	if err != nil || got.Header() != want || !got.From.Equal(n.From) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "a", `"A";id="n"`, `"a"`, `"a";id=3`, `("a" "b")`, strings.Repeat(`"a";id="n",`, 70) + `"a"`, strings.Repeat("x", 10_000)} {
		if n, err := ParseSiteNode([]string{bad}); err == nil {
			t.Errorf("%q: %+v", bad, n)
		}
	}
}
