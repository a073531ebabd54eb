package exchange

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestConditions(t *testing.T) {
	modified := time.Date(2026, 5, 4, 3, 2, 1, 500, time.UTC)
	at := modified.Format(http.TimeFormat)
	before := modified.Add(-time.Hour).Format(http.TimeFormat)
	for name, c := range map[string]struct {
		c    Conditions
		etag string
		want Part
	}{
		"nothing":                    {Conditions{}, `"x"`, Part{200, 0, 100}},
		"a range":                    {Conditions{byteRange: "bytes=10-19"}, `"x"`, Part{206, 10, 20}},
		"a range without end":        {Conditions{byteRange: "bytes=10-"}, `"x"`, Part{206, 10, 100}},
		"a range beyond the end":     {Conditions{byteRange: "bytes=10-1000"}, `"x"`, Part{206, 10, 100}},
		"the last bytes":             {Conditions{byteRange: "bytes=-10"}, `"x"`, Part{206, 90, 100}},
		"more than all last bytes":   {Conditions{byteRange: "bytes=-1000"}, `"x"`, Part{206, 0, 100}},
		"no last bytes":              {Conditions{byteRange: "bytes=-0"}, `"x"`, Part{416, 0, 0}},
		"past the end":               {Conditions{byteRange: "bytes=100-"}, `"x"`, Part{416, 0, 0}},
		"backwards":                  {Conditions{byteRange: "bytes=19-10"}, `"x"`, Part{416, 0, 0}},
		"not numbers":                {Conditions{byteRange: "bytes=a-b"}, `"x"`, Part{416, 0, 0}},
		"with a sign":                {Conditions{byteRange: "bytes=+1-2"}, `"x"`, Part{416, 0, 0}},
		"beyond any number":          {Conditions{byteRange: "bytes=0-18446744073709551616"}, `"x"`, Part{206, 0, 100}},
		"more last bytes than any":   {Conditions{byteRange: "bytes=-18446744073709551616"}, `"x"`, Part{206, 0, 100}},
		"from beyond any number":     {Conditions{byteRange: "bytes=18446744073709551616-"}, `"x"`, Part{416, 0, 0}},
		"in another unit":            {Conditions{byteRange: "lines=1-2"}, `"x"`, Part{200, 0, 100}},
		"several":                    {Conditions{byteRange: "bytes=0-1,3-4"}, `"x"`, Part{200, 0, 100}},
		"the same":                   {Conditions{noneMatch: `"x"`}, `"x"`, Part{304, 0, 0}},
		"the same, weakly":           {Conditions{noneMatch: `"a", W/"x"`}, `"x"`, Part{304, 0, 0}},
		"anything":                   {Conditions{noneMatch: "*"}, `"x"`, Part{304, 0, 0}},
		"another":                    {Conditions{noneMatch: `"y"`}, `"x"`, Part{200, 0, 100}},
		"another, but not newer":     {Conditions{noneMatch: `"y"`, modifiedSince: at}, `"x"`, Part{200, 0, 100}},
		"not newer":                  {Conditions{modifiedSince: at}, `"x"`, Part{304, 0, 0}},
		"newer":                      {Conditions{modifiedSince: before}, `"x"`, Part{200, 0, 100}},
		"newer than nonsense":        {Conditions{modifiedSince: "soon"}, `"x"`, Part{200, 0, 100}},
		"must match":                 {Conditions{match: `"x"`}, `"x"`, Part{200, 0, 100}},
		"must match weakly":          {Conditions{match: `W/"x"`}, `"x"`, Part{412, 0, 0}},
		"must match another":         {Conditions{match: `"y"`}, `"x"`, Part{412, 0, 0}},
		"must match, and a range":    {Conditions{match: `"x"`, byteRange: "bytes=0-0"}, `"x"`, Part{206, 0, 1}},
		"must be old":                {Conditions{unmodifiedSince: before}, `"x"`, Part{412, 0, 0}},
		"is old enough":              {Conditions{unmodifiedSince: at}, `"x"`, Part{200, 0, 100}},
		"a range of this":            {Conditions{byteRange: "bytes=1-", ifRange: `"x"`}, `"x"`, Part{206, 1, 100}},
		"a range of another":         {Conditions{byteRange: "bytes=1-", ifRange: `"y"`}, `"x"`, Part{200, 0, 100}},
		"a range of one of several":  {Conditions{byteRange: "bytes=1-", ifRange: `"y", "x"`}, `"x"`, Part{200, 0, 100}},
		"a range of no tag":          {Conditions{byteRange: "bytes=1-", ifRange: `"""x"`}, `"x"`, Part{200, 0, 100}},
		"a range of this, weakly":    {Conditions{byteRange: "bytes=1-", ifRange: `W/"x"`}, `W/"x"`, Part{200, 0, 100}},
		"a range of this time":       {Conditions{byteRange: "bytes=1-", ifRange: at}, `"x"`, Part{206, 1, 100}},
		"a range of an earlier time": {Conditions{byteRange: "bytes=1-", ifRange: before}, `"x"`, Part{200, 0, 100}},
	} {
		if got := c.c.Decide(Represented{c.etag, modified, 100}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

var (
	vast   = regexp.MustCompile(`[0-9]{19}`)
	none   = regexp.MustCompile(`^bytes=\s*-\s*0+\s*$`)
	signed = regexp.MustCompile(`\+|-\s*-`)
)

// Where net/http has an opinion of its own on one range or a comparison, ours
// is the same.
func FuzzConditions(f *testing.F) {
	f.Add("bytes=0-3", `"x"`, "", "", "")
	f.Add("bytes=-5", "", `"x"`, "", `"x"`)
	f.Add("bytes=-0", "0", "", "", "")
	f.Add("bytes=0-3", "", "", "", `"""x"`)
	f.Add("bytes=0-+0", "", "", "", "")
	f.Add("bytes=99-", "", "", "Mon, 04 May 2026 03:02:01 GMT", "")
	f.Fuzz(func(t *testing.T, byteRange, noneMatch, match, since, ifRange string) {
		for _, v := range []string{byteRange, noneMatch, match, since, ifRange} {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
				return
			}
		}
		if strings.Contains(byteRange, ",") || byteRange != "" && !strings.HasPrefix(byteRange, "bytes=") {
			return // ignored here
		}
		if vast.MatchString(byteRange) {
			return // net/http takes it for malformed
		}
		if none.MatchString(byteRange) {
			return // net/http sends nothing as a part, which cannot be had (RFC 9110, 14.1.2)
		}
		if signed.MatchString(byteRange) {
			return // net/http takes a number with a sign, which positions have none of
		}
		if ifRange != strings.TrimSpace(ifRange) || strings.HasPrefix(ifRange, `"x"`) && ifRange != `"x"` {
			return // fields come trimmed; and net/http reads a tag and not what is behind it
		}
		modified := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
		data := []byte("0123456789")
		r := httptest.NewRequest("GET", "/", nil)
		for name, v := range map[string]string{"Range": byteRange, "If-None-Match": noneMatch, "If-Match": match, "If-Modified-Since": since, "If-Range": ifRange} {
			if v != "" {
				r.Header.Set(name, v)
			}
		}
		w := httptest.NewRecorder()
		w.Header().Set("Etag", `"x"`)
		http.ServeContent(w, r, "", modified, bytes.NewReader(data))
		c := ConditionsOf(r.Header)
		got := c.Decide(Represented{`"x"`, modified, int64(len(data))})
		if got.Status != w.Code {
			t.Fatalf("%v: %d, net/http says %d", r.Header, got.Status, w.Code)
		}
		if got.Status/100 == 2 && string(data[got.From:got.To]) != w.Body.String() {
			t.Fatalf("%v: %s, net/http sends %s", r.Header, strconv.Quote(string(data[got.From:got.To])), w.Body)
		}
	})
}
