package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
)

// TestDamage: bytes that change at rest are found and never returned.
func TestDamage(t *testing.T) {
	o := optionsFor(t, "damage")
	initialise(t, o)
	st := open(t, o)
	defer st.Close()
	r := store.Record{Namespace: store.Media, ID: "r"}
	tokens := store.NewTokens()
	items := make(map[string]store.Item)
	for _, c := range []struct {
		key  string
		size int
	}{{"chunk", 700_000}, {"lost", 700_000}, {"row", 50}, {"head", 50}, {"whole", 700_000}} {
		token := tokens.Next()
		if c.key == "lost" {
			token.Time -= int64(50 * time.Second) // soon old enough not to be on its way
		}
		items[c.key] = store.Item{Key: c.key, Token: token, Value: valueOf(c.key)[:min(c.size, 600_000)], Expires: time.Now().Add(time.Hour)}
		if err := st.Put(t.Context(), r, items[c.key]); err != nil {
			t.Fatal(err)
		}
	}
	db := raw(t)
	do := func(statement string, args ...any) {
		t.Helper()
		if err := db.Query(statement, args...).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	stamp := func(key string) []byte {
		s := strings.ReplaceAll(items[key].Token.String(), "-", "")
		var b []byte
		fmt.Sscanf(s, "%x", &b)
		return b
	}
	bad := valueOf("chunk")[:256<<10]
	bad[1000] ^= 4
	later := time.Now().Add(time.Hour).UnixNano()
	do("INSERT INTO damage_media.chunks (record, key, stamp, idx, data) VALUES ('r', 'chunk', ?, 0, ?) USING TIMESTAMP ?", stamp("chunk"), bad, later)
	do("DELETE FROM damage_media.chunks USING TIMESTAMP ? WHERE record = 'r' AND key = 'lost' AND stamp = ? AND idx = 1", later, stamp("lost"))
	const bucket = 9_999_999_999_999
	do("UPDATE damage_media.items USING TIMESTAMP ? SET value[?] = ? WHERE record = 'r' AND bucket = ? AND key = 'row'", later, stamp("row"), []byte("other"), int64(bucket))
	do("UPDATE damage_media.items USING TIMESTAMP ? SET head[?] = ? WHERE record = 'r' AND bucket = ? AND key = 'head'", later, stamp("head"), []byte("other"), int64(bucket))

	for key, want := range map[string]error{"chunk": store.ErrCorrupt, "row": store.ErrCorrupt, "head": store.ErrCorrupt, "lost": store.ErrUnavailable} {
		if item, err := st.Get(t.Context(), r, key); !errors.Is(err, want) || item.Value != nil {
			t.Errorf("%s: %d bytes, %v", key, len(item.Value), err)
		}
	}
	if item, err := st.Get(t.Context(), r, "whole"); err != nil || len(item.Value) != len(items["whole"].Value) {
		t.Errorf("whole: %v", err)
	}
	// Later it is not on its way any more, but lost.
	age := time.NewTimer(time.Until(time.Unix(0, items["lost"].Token.Time).Add(time.Minute + time.Second)))
	<-age.C
	if _, err := st.Get(t.Context(), r, "lost"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("lost: %v", err)
	}
	page, err := st.Scan(t.Context(), r, store.ScanOptions{Values: true})
	if err != nil || len(page.Items) != 1 || strings.Join(page.Corrupt, " ") != "chunk head lost row" {
		t.Errorf("scan: %d items, corrupt %q, %v", len(page.Items), page.Corrupt, err)
	}
	var found []string
	report, err := st.Check(t.Context(), func(p cassandra.Problem) { found = append(found, p.Key) }, nil)
	if err != nil || report.Problems != 4 || len(found) != 4 || report.Items != 4 {
		t.Errorf("check: %+v, %q, %v", report, found, err)
	}
}

// TestScanIsOnTime: a scan without time for all returns what it has, and where
// to go on.
func TestScanIsOnTime(t *testing.T) {
	o := inCommon(t)
	st := open(t, o)
	defer st.Close()
	r := store.Record{Namespace: store.Media, ID: "r"}
	tokens := store.NewTokens()
	// In 40 buckets, each a request of its own.
	const n = 40
	for i := range n {
		item := store.Item{Key: fmt.Sprintf("%016d/a", i*1000), Token: tokens.Next(), Value: []byte("v"), Expires: time.Now().Add(time.Hour)}
		if err := st.Put(t.Context(), r, item); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	pages, short := 0, 0
	opt := store.ScanOptions{}
	for limit := 4 * time.Millisecond; ; limit = min(limit*5/4, 10*time.Second) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		page, err := st.Scan(ctx, r, opt)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue // nothing in so little time
		}
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if page.Next != "" {
			short++
		}
		for _, item := range page.Items {
			got = append(got, item.Key)
		}
		if opt.Page = page.Next; opt.Page == "" {
			break
		}
	}
	t.Logf("%d pages, %d of them ended by their time", pages, short)
	if len(got) != n {
		t.Errorf("%d items of %d: %q", len(got), n, got)
	}
}
