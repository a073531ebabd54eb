package edge

import (
	"bytes"
	"net/http"
	"net/http/httptest"
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
		c    conditions
		etag string
		want part
	}{
		"nothing":                    {conditions{}, `"x"`, part{200, 0, 100}},
		"a range":                    {conditions{byteRange: "bytes=10-19"}, `"x"`, part{206, 10, 20}},
		"a range without end":        {conditions{byteRange: "bytes=10-"}, `"x"`, part{206, 10, 100}},
		"a range beyond the end":     {conditions{byteRange: "bytes=10-1000"}, `"x"`, part{206, 10, 100}},
		"the last bytes":             {conditions{byteRange: "bytes=-10"}, `"x"`, part{206, 90, 100}},
		"more than all last bytes":   {conditions{byteRange: "bytes=-1000"}, `"x"`, part{206, 0, 100}},
		"no last bytes":              {conditions{byteRange: "bytes=-0"}, `"x"`, part{416, 0, 0}},
		"past the end":               {conditions{byteRange: "bytes=100-"}, `"x"`, part{416, 0, 0}},
		"backwards":                  {conditions{byteRange: "bytes=19-10"}, `"x"`, part{416, 0, 0}},
		"not numbers":                {conditions{byteRange: "bytes=a-b"}, `"x"`, part{416, 0, 0}},
		"with a sign":                {conditions{byteRange: "bytes=+1-2"}, `"x"`, part{416, 0, 0}},
		"too large for a number":     {conditions{byteRange: "bytes=0-99999999999999999999"}, `"x"`, part{416, 0, 0}},
		"in another unit":            {conditions{byteRange: "lines=1-2"}, `"x"`, part{200, 0, 100}},
		"several":                    {conditions{byteRange: "bytes=0-1,3-4"}, `"x"`, part{200, 0, 100}},
		"the same":                   {conditions{noneMatch: `"x"`}, `"x"`, part{304, 0, 0}},
		"the same, weakly":           {conditions{noneMatch: `"a", W/"x"`}, `"x"`, part{304, 0, 0}},
		"anything":                   {conditions{noneMatch: "*"}, `"x"`, part{304, 0, 0}},
		"another":                    {conditions{noneMatch: `"y"`}, `"x"`, part{200, 0, 100}},
		"another, but not newer":     {conditions{noneMatch: `"y"`, modifiedSince: at}, `"x"`, part{200, 0, 100}},
		"not newer":                  {conditions{modifiedSince: at}, `"x"`, part{304, 0, 0}},
		"newer":                      {conditions{modifiedSince: before}, `"x"`, part{200, 0, 100}},
		"newer than nonsense":        {conditions{modifiedSince: "soon"}, `"x"`, part{200, 0, 100}},
		"must match":                 {conditions{match: `"x"`}, `"x"`, part{200, 0, 100}},
		"must match weakly":          {conditions{match: `W/"x"`}, `"x"`, part{412, 0, 0}},
		"must match another":         {conditions{match: `"y"`}, `"x"`, part{412, 0, 0}},
		"must match, and a range":    {conditions{match: `"x"`, byteRange: "bytes=0-0"}, `"x"`, part{206, 0, 1}},
		"must be old":                {conditions{unmodifiedSince: before}, `"x"`, part{412, 0, 0}},
		"is old enough":              {conditions{unmodifiedSince: at}, `"x"`, part{200, 0, 100}},
		"a range of this":            {conditions{byteRange: "bytes=1-", ifRange: `"x"`}, `"x"`, part{206, 1, 100}},
		"a range of another":         {conditions{byteRange: "bytes=1-", ifRange: `"y"`}, `"x"`, part{200, 0, 100}},
		"a range of this, weakly":    {conditions{byteRange: "bytes=1-", ifRange: `W/"x"`}, `W/"x"`, part{200, 0, 100}},
		"a range of this time":       {conditions{byteRange: "bytes=1-", ifRange: at}, `"x"`, part{206, 1, 100}},
		"a range of an earlier time": {conditions{byteRange: "bytes=1-", ifRange: before}, `"x"`, part{200, 0, 100}},
	} {
		if got := c.c.decide(represented{c.etag, modified, 100}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Where net/http has an opinion of its own on one range or a comparison, ours
// is the same.
func FuzzConditions(f *testing.F) {
	f.Add("bytes=0-3", `"x"`, "", "", "")
	f.Add("bytes=-5", "", `"x"`, "", `"x"`)
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
		c := conditionsOf(r.Header)
		got := c.decide(represented{`"x"`, modified, int64(len(data))})
		if got.status != w.Code {
			t.Fatalf("%v: %d, net/http says %d", r.Header, got.status, w.Code)
		}
		if got.status/100 == 2 && string(data[got.from:got.to]) != w.Body.String() {
			t.Fatalf("%v: %s, net/http sends %s", r.Header, strconv.Quote(string(data[got.from:got.to])), w.Body)
		}
	})
}
