package live

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSource(t *testing.T) {
	for value, want := range map[string]Source{
		"a":                    {Pipeline: "a"},
		"a;region=us-east-1":   {"a", "us-east-1"},
		"a; region=us-east-1":  {"a", "us-east-1"},
		`a;region="us-east-1"`: {"a", "us-east-1"},
		"a;zone=2;region=us;x": {"a", "us"},
	} {
		got, err := ParseSource(value)
		if err != nil || got != want {
			t.Errorf("ParseSource(%q) = %+v, %v", value, got, err)
		}
		if again, err := ParseSource(got.String()); err != nil || again != got {
			t.Errorf("%q reads as %+v, %v", got, again, err)
		}
	}
	for _, value := range []string{"", ";region=us", "A", "a;region=US", "a b", strings.Repeat("a", 64)} {
		if got, err := ParseSource(value); !errors.Is(err, ErrHeader) {
			t.Errorf("ParseSource(%q) = %+v, %v", value, got, err)
		}
	}
}

func TestFindingsHeader(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   Findings
		form   string
	}{
		{nil, nil, ""},
		{[]string{""}, nil, ""},
		{[]string{"short;ms=400, missing-samples;n=12"}, Findings{{Kind: Short, MissingMS: 400}, {Kind: MissingSamples, Samples: 12}}, "short;ms=400, missing-samples;n=12"},
		{[]string{"short;ms=400", "late"}, Findings{{Kind: Short, MissingMS: 400}, {Kind: Late}}, "short;ms=400, late"},
		{[]string{"from-the-future;ms=1;why=4"}, Findings{{Kind: "from-the-future", MissingMS: 1}}, "from-the-future;ms=1"},
	} {
		got, err := ParseFindings(tt.values)
		if err != nil || !slices.Equal(got, tt.want) || got.String() != tt.form {
			t.Errorf("ParseFindings(%q) = %v, %v", tt.values, got, err)
		}
		if got.Clean() != (len(tt.want) == 0) {
			t.Errorf("ParseFindings(%q) is clean: %v", tt.values, got.Clean())
		}
	}
	for _, v := range []string{"400", `"short"`, "(short late)", "short;ms=-1", "short;ms=1.5", "short;n", "short;ms=1234567890123456", "short,", "späť",
		strings.Repeat("late, ", MaxFindings) + "late"} {
		if got, err := ParseFindings([]string{v}); !errors.Is(err, ErrHeader) {
			t.Errorf("ParseFindings(%q) = %v, %v", v, got, err)
		}
	}
	// What is too large for the header is cut, not refused by whoever reads it.
	huge := Findings{{Kind: Gap, MissingMS: math.MaxInt64, Samples: math.MaxInt64}}
	if got, err := ParseFindings([]string{huge.String()}); err != nil || got[0].MissingMS != 999_999_999_999_999 {
		t.Errorf("%q reads as %v, %v", huge, got, err)
	}
}

func TestCountsInHeaders(t *testing.T) {
	for v, ok := range map[string]bool{"0": true, "1042": true, "9007199254740992": true, "9007199254740993": false,
		"": false, "-1": false, "+1": false, " 1": false, "1.0": false, "0x10": false, "99999999999999999999": false} {
		n, err := ParseNumber(v)
		if (err == nil) != ok || ok && n.String() != v {
			t.Errorf("ParseNumber(%q) = %d, %v", v, n, err)
		}
		if _, err := ParseVersion(v); (err == nil) != (ok || v == "9007199254740993") {
			t.Errorf("ParseVersion(%q): %v", v, err)
		}
		if err != nil && !errors.Is(err, ErrHeader) {
			t.Errorf("ParseNumber(%q): %v is no ErrHeader", v, err)
		}
	}
}

func TestPublished(t *testing.T) {
	x := time.Unix(1795405280, 123_999_999).UTC()
	if got := FormatPublished(x); got != "1795405280.123" {
		t.Errorf("FormatPublished = %q", got)
	}
	if got := FormatPublished(time.Time{}); got != "0.000" {
		t.Errorf("FormatPublished of no time = %q", got)
	}
	for v, want := range map[string]time.Time{
		"1795405280.123":       time.Unix(1795405280, 123e6),
		"1795405280.05":        time.Unix(1795405280, 50e6),
		"1795405280":           time.Unix(1795405280, 0),
		"1795405280.000000001": time.Unix(1795405280, 1),
	} {
		if got, err := ParsePublished(v); err != nil || !got.Equal(want) {
			t.Errorf("ParsePublished(%q) = %v, %v", v, got, err)
		}
	}
	for _, v := range []string{"", ".5", "-1.5", "-0.5", "+1.5", "1.-5", "1.5.5", "1.0000000001", "99999999999999", "NaN"} {
		if got, err := ParsePublished(v); !errors.Is(err, ErrHeader) {
			t.Errorf("ParsePublished(%q) = %v, %v", v, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := time.UnixMilli(rapid.Int64Range(0, 1<<43).Draw(t, "ms")).UTC()
		if got, err := ParsePublished(FormatPublished(x)); err != nil || !got.Equal(x) {
			t.Errorf("%v reads as %v, %v", x, got, err)
		}
	})
}

func TestFormatLifetime(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                            "max-age=0, max-age-ms=0",
		-time.Second:                 "max-age=0, max-age-ms=0",
		math.MinInt64:                "max-age=0, max-age-ms=0",
		999_999:                      "max-age=0, max-age-ms=0",
		time.Millisecond:             "max-age=0, max-age-ms=1",
		1834*time.Millisecond + 9999: "max-age=1, max-age-ms=1834",
		time.Minute:                  "max-age=60, max-age-ms=60000",
		math.MaxInt64:                "max-age=31622400, max-age-ms=31622400000",
	} {
		if got := FormatLifetime(d); got != want {
			t.Errorf("FormatLifetime(%v) = %q, want %q", d, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64().Draw(t, "d"))
		got, ok := ParseLifetime([]string{FormatLifetime(d)})
		want := min(max(d, 0), MaxLifetime).Truncate(time.Millisecond)
		if !ok || got != want {
			t.Errorf("%v reads as %v, %v", d, got, ok)
		}
	})
}

func TestParseLifetime(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   time.Duration
		ok     bool
	}{
		{nil, 0, false},
		{[]string{""}, 0, false},
		{[]string{"public, must-revalidate"}, 0, false},
		{[]string{"max-age=2"}, 2 * time.Second, true},
		{[]string{"max-age=1, max-age-ms=1834"}, 1834 * time.Millisecond, true},
		{[]string{"max-age-ms=1834,max-age=1"}, 1834 * time.Millisecond, true},
		{[]string{"max-age=1", "max-age-ms=1834"}, 1834 * time.Millisecond, true},
		{[]string{`Max-Age="2"`}, 2 * time.Second, true},
		{[]string{"max-age=2, max-age=9"}, 2 * time.Second, true},
		{[]string{"max-age=60, no-store"}, 0, true},
		{[]string{"private, max-age=60"}, 0, true},
		{[]string{`no-cache="set-cookie", max-age=60`}, 0, true},
		{[]string{"max-age="}, 0, true},
		{[]string{"max-age=-1"}, 0, true},
		{[]string{"max-age=1.5"}, 0, true},
		{[]string{"max-age=99999999999"}, MaxLifetime, true},
		{[]string{"max-age=99999999999999999999999"}, MaxLifetime, true},
		{[]string{"max-age-ms=9223372036854775807"}, MaxLifetime, true},
	} {
		if got, ok := ParseLifetime(tt.values); got != tt.want || ok != tt.ok {
			t.Errorf("ParseLifetime(%q) = %v, %v, want %v, %v", tt.values, got, ok, tt.want, tt.ok)
		}
	}
}

func TestDigest(t *testing.T) {
	d := DigestOf([]byte("hello world"))
	const form = "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:"
	if d.String() != form {
		t.Errorf("String() = %q", d)
	}
	for _, values := range [][]string{{form}, {"sha-512=:AAAA:, " + form}, {"unixsum=1", form}} {
		if got, err := ParseDigest(values); err != nil || got != d {
			t.Errorf("ParseDigest(%q) = %v, %v", values, got, err)
		}
	}
	for _, values := range [][]string{nil, {""}, {"sha-512=:AAAA:"}} {
		if got, err := ParseDigest(values); err != nil || !got.IsZero() {
			t.Errorf("ParseDigest(%q) = %v, %v, want none", values, got, err)
		}
	}
	for _, v := range []string{"sha-256", "sha-256=1", "sha-256=:AAAA:", "sha-256=(:AAAA:)", "sha-256=:!:", "SHA-256=:AAAA:", "="} {
		if got, err := ParseDigest([]string{v}); !errors.Is(err, ErrHeader) {
			t.Errorf("ParseDigest(%q) = %v, %v", v, got, err)
		}
	}
	if e := d.ETag(); len(e) != 26 || e[0] != '"' || e == DigestOf(nil).ETag() {
		t.Errorf("ETag() = %s", e)
	}
}

func TestNotificationsHeader(t *testing.T) {
	set := Notifications{17, []Notification{{Type: "ad-break", ID: "b1", From: 1042, To: 1057, Data: []byte("{}")}}}
	const form = `17, ad-break;id="b1";from=1042;to=1057;data=:e30=:`
	if got, err := set.Header(); err != nil || got != form {
		t.Errorf("Header() = %q, %v", got, err)
	}
	if got, err := (Notifications{Sequence: 3}).Header(); err != nil || got != "3" {
		t.Errorf("Header() of the empty set = %q, %v", got, err)
	}
	for _, v := range []string{"", "x", "-1", "1.5", `"17"`, "17, 18", `17, "ad"`, "17, (ad)", "17, ad", "17, ad;id=b;from=1", `17, ad;id="b"`,
		`17, ad;id="b";from=x`, `17, ad;id="b";from=-1`, `17, ad;id="b";from=5;to=4`, `17, ad;id="b";from=5;data=x`, `17, ad;id="";from=5`,
		"1" + strings.Repeat(`, a;id="b";from=1`, MaxNotifications+1), strings.Repeat(" ", MaxNotificationsLen+1)} {
		if got, err := ParseNotifications([]string{v}); !errors.Is(err, ErrHeader) {
			t.Errorf("ParseNotifications(%q) = %v, %v", v, got, err)
		}
	}
	var big Notifications
	for range MaxNotifications {
		big.Set = append(big.Set, Notification{Type: "ad", ID: "b", Data: make([]byte, MaxNotificationData)})
	}
	if _, err := big.Header(); !errors.Is(err, ErrHeader) {
		t.Errorf("a set that does not fit: %v", err)
	}
}

func genNotification(t *rapid.T) Notification {
	n := Notification{
		Type: rapid.StringMatching(`[A-Za-z*][A-Za-z0-9!#$%&'*+.^_|~:/-]{0,20}`).Draw(t, "type"),
		ID:   rapid.StringMatching(`[ -~]{1,64}`).Draw(t, "id"),
		From: Number(rapid.Int64Range(0, maxInteger).Draw(t, "from")),
		Data: rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "data"),
	}
	if rapid.Bool().Draw(t, "ends") {
		n.To = max(n.From, 1)
	}
	return n
}

func TestNotificationsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := Notifications{rapid.Int64Range(0, maxInteger).Draw(t, "sequence"), rapid.SliceOfN(rapid.Custom(genNotification), 0, 8).Draw(t, "set")}
		for i := range set.Set {
			if err := set.Set[i].Validate(); err != nil {
				t.Fatalf("generated: %v", err)
			}
		}
		v, err := set.Header()
		if err != nil {
			t.Fatalf("Header: %v", err)
		}
		got, err := ParseNotifications([]string{v})
		if err != nil || got.Sequence != set.Sequence || !slices.EqualFunc(got.Set, set.Set, func(a, b Notification) bool {
			return a.Type == b.Type && a.ID == b.ID && a.From == b.From && a.To == b.To && string(a.Data) == string(b.Data)
		}) {
			t.Errorf("%q reads as %+v, %v", v, got, err)
		}
	})
}

func TestNotificationValidate(t *testing.T) {
	good := Notification{Type: "ad-break", ID: "b 1", From: 5, To: 9}
	for field, spoil := range map[string]func(*Notification){
		"type": func(n *Notification) { n.Type = "1st" },
		"id":   func(n *Notification) { n.ID = "\x00" },
		"from": func(n *Notification) { n.From = -1 },
		"to":   func(n *Notification) { n.To = 4 },
		"data": func(n *Notification) { n.Data = make([]byte, MaxNotificationData+1) },
	} {
		n := good
		spoil(&n)
		var fe *FieldError
		if err := n.Validate(); !errors.As(err, &fe) || fe.Field != field {
			t.Errorf("a bad %s: %v", field, err)
		}
	}
	for _, typ := range []string{"", strings.Repeat("a", 65), "a b", "é"} {
		n := good
		n.Type = typ
		if n.Validate() == nil {
			t.Errorf("type %q is accepted", typ)
		}
	}
}

func TestProblem(t *testing.T) {
	p := ErrEarly.With("segment 1042 is due in 1.834 s").For(1834 * time.Millisecond)
	if !errors.Is(p, ErrEarly) || errors.Is(p, ErrGone) || !strings.Contains(p.Error(), "1042") || ErrEarly.Detail != "" {
		t.Errorf("With and For made %+v of %+v", p, ErrEarly)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		w := httptest.NewRecorder()
		p.Write(w, httptest.NewRequest(method, "/", nil))
		if w.Code != 404 || w.Header().Get("Content-Type") != ProblemType || w.Header().Get("Cache-Control") != "max-age=1, max-age-ms=1834" {
			t.Errorf("%s is answered %d %v", method, w.Code, w.Header())
		}
		if method == http.MethodHead {
			if w.Body.Len() != 0 {
				t.Errorf("HEAD is answered with a body")
			}
			continue
		}
		var got Problem
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Code != "early" || got.Status != 404 || got.Detail != p.Detail {
			t.Errorf("the body %s reads as %+v, %v", w.Body, got, err)
		}
	}
	w := httptest.NewRecorder()
	ErrShed.Write(w, httptest.NewRequest("GET", "/", nil))
	if w.Header().Get("Retry-After") != "5" {
		t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
	}
	w = httptest.NewRecorder()
	ErrConflict.Write(w, httptest.NewRequest("GET", "/", nil))
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", w.Header().Get("Cache-Control"))
	}
	var other Problem
	if err := json.Unmarshal([]byte(`{"type":"about:blank","status":418,"title":"Teapot"}`), &other); err != nil || other.Code != "about:blank" {
		t.Errorf("somebody else's problem reads as %+v, %v", other, err)
	}
}

// The body of a problem is its JSON, whatever its detail says.
func TestProblemBody(t *testing.T) {
	for _, p := range Problems {
		for _, detail := range []string{"", "segment 1 is \"early\"", "a\\b", "<b>&amp;", "é\u2028\n\x00", "plain ~"} {
			p := p.With(detail)
			want, err := json.Marshal(p)
			if got := p.body(); err != nil || string(got) != string(want)+"\n" {
				t.Errorf("%s, not %s, %v", got, want, err)
			}
		}
	}
}

// Codes are on the wire: each is there once, with a status that fits.
func TestProblems(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Problems {
		if seen[p.Code] || !ValidName(p.Code) || p.Title == "" || http.StatusText(p.Status) == "" || p.Status < 400 {
			t.Errorf("problem %+v", p)
		}
		seen[p.Code] = true
	}
}

func TestFindings(t *testing.T) {
	ours := Findings{{Kind: Short, MissingMS: 400}, {Kind: NoKeyframe}}
	theirs := Findings{{Kind: Short, MissingMS: 100}, {Kind: Late}}
	if got := ours.Merge(theirs).String(); got != "short;ms=400, no-keyframe, late" {
		t.Errorf("Merge = %q", got)
	}
	if got := theirs.Merge(ours).String(); got != "short;ms=400, late, no-keyframe" {
		t.Errorf("Merge = %q", got)
	}
	if theirs[0].MissingMS != 100 || ours.MissingMS() != 400 {
		t.Error("Merge changed its arguments")
	}
	if remarks := (Findings{{Kind: OpenGOP}, {Kind: OffGrid, OffMS: 300}}); !remarks.Clean() || remarks.MissingMS() != 0 || remarks.String() != "open-gop, off-grid;ms=300" {
		t.Errorf("remarks: %v", remarks)
	}
	if ours.Clean() || (Findings{{Kind: Late}}).Clean() {
		t.Error("a defect is clean")
	}
	if ours.Fatal() || !ours.Merge(Findings{{Kind: WrongTrack, MissingMS: 2000}}).Fatal() || !ours.Has(Short) || ours.Has(Late) {
		t.Error("Fatal or Has")
	}
	for _, k := range Kinds {
		got, err := ParseFindings([]string{Findings{{Kind: k, MissingMS: 1, Samples: 2}}.String()})
		want := Finding{Kind: k, MissingMS: 1, Samples: 2}
		if k.Remark() {
			want = Finding{Kind: k, OffMS: 1, Samples: 2} // it costs nothing, whatever is said
		}
		if err != nil || got[0] != want {
			t.Errorf("%s reads as %v, %v", k, got, err)
		}
	}
	if c := (&Candidate{Findings: ours}); c.Clean() || !(&Candidate{}).Clean() {
		t.Error("Candidate.Clean")
	}
}

func TestScope(t *testing.T) {
	s := Scope{Pipeline: "a", From: 10, To: 20}
	for _, tt := range []struct {
		pipeline string
		n        Number
		want     bool
	}{{"a", 10, true}, {"a", 20, true}, {"a", 9, false}, {"a", 21, false}, {"b", 15, false}} {
		if got := s.Holds(tt.pipeline, "us", "v", tt.n); got != tt.want {
			t.Errorf("%+v holds %s %d: %v", s, tt.pipeline, tt.n, got)
		}
	}
	if (Scope{Region: "eu"}).Holds("a", "us", "v", 1) || (Scope{Rendition: "x"}).Holds("a", "us", "v", 1) || !(Scope{From: 5}).Holds("a", "", "v", 1<<40) {
		t.Error("Holds")
	}
	for field, bad := range map[string]Scope{"pipeline": {Pipeline: "A"}, "region": {Region: "-"}, "rendition": {Rendition: "a_b"}, "from": {From: -1}, "to": {From: 5, To: 4}} {
		var fe *FieldError
		if err := bad.Validate(); !errors.As(err, &fe) || fe.Field != field {
			t.Errorf("a bad %s: %v", field, err)
		}
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestLifetimesForThoseWhoHeed(t *testing.T) {
	for _, c := range []struct {
		header        string
		plain, heeded time.Duration
	}{
		{"max-age=600, max-age-ms=600000, live-max-age-ms=14400123", 10 * time.Minute, 4*time.Hour + 123*time.Millisecond},
		{"Live-Max-Age-Ms=14400123, max-age=600", 10 * time.Minute, 4*time.Hour + 123*time.Millisecond},
		{"max-age=600", 10 * time.Minute, 10 * time.Minute},
		{"max-age=600, live-max-age-ms=1", 10 * time.Minute, 10 * time.Minute},
		{"max-age=600, live-max-age-ms=x", 10 * time.Minute, 10 * time.Minute},
		{"no-store, live-max-age-ms=14400123", 0, 0},
		{"max-age=0, live-max-age-ms=14400123", 0, 0},
		{"live-max-age-ms=14400123", 0, 0},
	} {
		plain, heeded, _ := ParseLifetimes([]string{c.header})
		if plain != c.plain || heeded != c.heeded {
			t.Errorf("%q: %v, %v", c.header, plain, heeded)
		}
	}
	for _, c := range []struct {
		plain, heeded time.Duration
		want          string
	}{
		{time.Second, time.Hour, "max-age=1, max-age-ms=1000, live-max-age-ms=3600000"},
		{time.Hour, time.Second, "max-age=1, max-age-ms=1000"},
		{time.Second, time.Second, "max-age=1, max-age-ms=1000"},
	} {
		if s := FormatLifetimes(c.plain, c.heeded); s != c.want {
			t.Errorf("%v, %v: %q", c.plain, c.heeded, s)
		}
	}
}
