package live

import (
	"testing"
	"time"
)

func TestQualityOnTheWire(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string // its one form; "!" an error
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"score=85"}, "score=85"},
		{[]string{"score=85.9"}, "score=85"},
		{[]string{"black;ms=2000"}, "black;ms=2000"},
		{[]string{"score=100, black;ms=2000, frozen;ms=40", "silent;ms=1"}, "black;ms=2000, frozen;ms=40, silent;ms=1"},
		{[]string{"black;ms=0, frozen;ms=0"}, "score=100"},
		{[]string{"score=0, black;ms=5"}, "black;ms=5, score=0"},
		{[]string{"vmaf=93, score=7"}, "score=7"},
		{[]string{"vmaf=93"}, ""},
		{[]string{"score=101"}, "!"},
		{[]string{"score=-1"}, "!"},
		{[]string{"score"}, "!"},
		{[]string{`score="7"`}, "!"},
		{[]string{"black"}, "!"},
		{[]string{"black=2000"}, "!"},
		{[]string{"black=?0;ms=4"}, "!"},
		{[]string{"black;ms=-4"}, "!"},
		{[]string{"black;ms=1.5"}, "!"},
		{[]string{"silent;n=4"}, "!"},
		{[]string{"black;ms=4,"}, "!"},
	} {
		q, err := ParseQuality(c.in)
		if (err != nil) != (c.want == "!") || err == nil && q.String() != c.want {
			t.Errorf("%q is %q (%v), want %q", c.in, q, err, c.want)
		}
	}
}

func TestScoreOfCMSD(t *testing.T) {
	for in, want := range map[string]string{
		"br=3000,d=2000,com.example-mqcs=41,st=l": "score=41",
		"mqcs=99.5":                "score=99",
		"com.example-mqcs=400":     "",
		"com.example-other=4":      "",
		"br=3000,com.example-mqcs": "",
		"=":                        "",
	} {
		if q := ParseCMSDQuality([]string{in}); q.String() != want {
			t.Errorf("%q is %q, want %q", in, q, want)
		}
	}
}

func TestVerdictsMerge(t *testing.T) {
	black, scored, fine := Quality{Said: true, Score: 100, BlackMS: 1500}, Quality{Said: true, Score: 30, FrozenMS: 10}, Quality{Said: true, Score: 100}
	all := Quality{Said: true, Score: 30, BlackMS: 1500, FrozenMS: 10}
	for _, some := range [][]Quality{{black, scored}, {scored, black}, {fine, black, scored}, {{}, black, black, scored, {}, fine}} {
		var q Quality
		for _, x := range some {
			q = q.Merge(x)
		}
		if q != all {
			t.Errorf("%v make %v", some, q)
		}
	}
	if got := (Quality{}).Merge(fine); got != fine {
		t.Error("nothing and a good word make", got)
	}
	for q, want := range map[Quality]int64{{}: 0, fine: 0, black: 1500, scored: 1400, {Said: true, Score: 100, SilentMS: 9000}: 2000} {
		if got := q.CostMS(2 * time.Second); got != want {
			t.Errorf("%v costs %d ms, want %d", q, got, want)
		}
	}
}

func FuzzQuality(f *testing.F) {
	for _, s := range []string{"score=85", "black;ms=2000, frozen;ms=1", "score=1.5;x, silent;ms=0", "score=(1 2)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseQuality([]string{s})
		_ = ParseCMSDQuality([]string{s})
		if err != nil || !q.Said {
			if q != (Quality{}) {
				t.Fatalf("%q says %v and is nothing (%v)", s, q, err)
			}
			return
		}
		again, err := ParseQuality([]string{q.String()})
		if err != nil || again.Wants() == nil != (q.Wants() == nil) || again.String() != q.String() {
			t.Fatalf("%q is %q, and that %q (%v)", s, q, again, err)
		}
	})
}
