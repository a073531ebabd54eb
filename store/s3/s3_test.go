package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"headwater/store"
	"headwater/store/s3"
	"headwater/store/s3/s3test"
	"headwater/store/storetest"
)

var shared = storetest.Shared[*s3test.Server]{Start: s3test.Start}

func TestMain(m *testing.M) { shared.Main(m) }

var run atomic.Int64

// fresh is called by tests that look at what is in their bucket: it is another
// one each time.
func fresh(name string) string { return fmt.Sprintf("%s-%d", name, run.Add(1)) }

func options(endpoint, bucket string) s3.Options {
	return s3.Options{Bucket: bucket, Prefix: "some/prefix", Endpoint: endpoint, Region: s3test.Region, TidyEvery: -1,
		Credentials: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, "")}
}

// open returns a store in a bucket that exists.
func open(t testing.TB, bucket string) *s3.Store {
	t.Helper()
	s, err := s3.Open(options(shared.Get(t).Endpoint, bucket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Checks(t, 20)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, "contract") })
}

func TestInit(t *testing.T) {
	srv := shared.Get(t)
	s, err := s3.Open(options(srv.Endpoint, fresh("initial")))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Get(t.Context(), media("r"), "k"); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "headwater store init") {
		t.Errorf("without a bucket: %v", err)
	}
	for _, want := range []bool{true, false} {
		if created, err := s.Init(t.Context()); err != nil || created != want {
			t.Errorf("created %v, %v", created, err)
		}
	}
	if _, err := s.Get(t.Context(), media("r"), "k"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func media(id string) store.Record { return store.Record{Namespace: store.Media, ID: id} }

var tokens = store.NewTokens()

func item(key string, size int) store.Item {
	return store.Item{Key: key, Token: tokens.Next(), Meta: []byte("meta of " + key), Value: bytes.Repeat([]byte{7}, size)}
}

// TestTidy: what has no meaning any more goes, what has stays.
func TestTidy(t *testing.T) {
	bucket := fresh("tidy")
	s := open(t, bucket)
	ctx := t.Context()
	r := media("acme/final/v720")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// By several processes: each drops only what it wrote itself.
	for range 3 {
		check(open(t, bucket).Put(ctx, r, item("often", 10)))
	}
	check(s.Put(ctx, r, item("once", 10)))
	check(s.Put(ctx, r, item("gone", 10)))
	check(open(t, bucket).Put(ctx, r, store.Gone("gone", tokens.Next())))
	other := store.Record{Namespace: store.Control, ID: "events"}
	for range 2 {
		check(open(t, bucket).Put(ctx, other, item("acme/final", 10)))
	}
	// Two older ones of "often", what "gone" was, one event.
	if n, err := s.Tidy(ctx); err != nil || n != 4 {
		t.Errorf("%d removed, %v", n, err)
	}
	if n, err := s.Tidy(ctx); err != nil || n != 0 {
		t.Errorf("%d removed the second time, %v", n, err)
	}
	page, err := s.Scan(ctx, r, store.ScanOptions{})
	check(err)
	var keys []string
	for _, i := range page.Items {
		keys = append(keys, i.Key)
	}
	if fmt.Sprint(keys) != "[often once]" {
		t.Errorf("left: %q", keys)
	}
	if _, err := s.Get(ctx, other, "acme/final"); err != nil {
		t.Error(err)
	}
}

// TestRewritten: what one process rewrites all the time leaves no heap behind.
func TestRewritten(t *testing.T) {
	bucket := fresh("rewritten")
	s := open(t, bucket)
	for i := range 20 {
		if err := s.Put(t.Context(), media("r"), item("k", 10)); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := s.Put(t.Context(), media("r"), store.Gone("k", tokens.Next())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil { // what is being dropped is dropped, or left
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(shared.Get(t).Dir, "objects", bucket, "some", "prefix", "items", "media", "r", "*"))
	if err != nil || len(files) == 0 || len(files) > 10 {
		t.Errorf("%d objects, %v", len(files), err)
	}
	if _, err := open(t, bucket).Get(t.Context(), media("r"), "k"); err != nil {
		t.Error(err)
	}
}

// TestCorruptObject: what was damaged at rest is never returned.
func TestCorruptObject(t *testing.T) {
	bucket := fresh("corrupt")
	s := open(t, bucket)
	r := media("r")
	for _, k := range []string{"a", "b"} {
		if err := s.Put(t.Context(), r, item(k, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(shared.Get(t).Dir, "objects", bucket, "some", "prefix", "items", "media", "r", "61.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(files[0], data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), r, "a"); !errors.Is(err, store.ErrCorrupt) {
		t.Error(err)
	}
	page, err := s.Scan(t.Context(), r, store.ScanOptions{Values: true})
	if err != nil || len(page.Items) != 1 || len(page.Corrupt) != 1 || page.Corrupt[0] != "a" {
		t.Errorf("%d items, corrupt %q, %v", len(page.Items), page.Corrupt, err)
	}
}

// TestServerGoesAndComes: while the server is gone errors are honest and on
// time, and what was acknowledged is there when it is back.
func TestServerGoesAndComes(t *testing.T) {
	s := open(t, "goes")
	srv := shared.Get(t)
	r := media("r")
	if err := s.Put(t.Context(), r, item("before", 1000)); err != nil {
		t.Fatal(err)
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), r, item("during", 1000)); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if err := srv.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), r, "before"); err != nil {
		t.Error(err)
	}
	// One that hangs costs the caller's time and no more.
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.Get(ctx, r, "before")
	if err := srv.Continue(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestErrors: what services say becomes what the contract says.
func TestErrors(t *testing.T) {
	var status atomic.Int64
	var code atomic.Value
	var requests atomic.Int64
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(int(status.Load()))
		fmt.Fprintf(w, `<Error><Code>%s</Code><Message>m</Message></Error>`, code.Load())
	}))
	defer h.Close()
	s, err := s3.Open(options(h.URL, "any"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		status   int
		code     string
		want     error
		requests int64
	}{
		{507, "InsufficientStorage", store.ErrFull, 1},
		{403, "QuotaExceeded", store.ErrFull, 1},
		{403, "AccessDenied", store.ErrUnavailable, 1},
		{404, "NoSuchBucket", store.ErrUnavailable, 1},
		{500, "InternalError", store.ErrUnavailable, 4},
		{503, "SlowDown", store.ErrUnavailable, 4},
	} {
		status.Store(int64(c.status))
		code.Store(c.code)
		requests.Store(0)
		if err := s.Put(t.Context(), media("r"), item("k", 10)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.code, err)
		}
		if got := requests.Load(); got != c.requests {
			t.Errorf("%s: %d requests, want %d", c.code, got, c.requests)
		}
	}
}

// TestAddress: an address is read strictly, and holds no secrets.
func TestAddress(t *testing.T) {
	a, err := store.ParseAddress("s3://bucket/a/prefix?endpoint=http://127.0.0.1:7070&region=eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	o, err := s3.FromAddress(a)
	if err != nil || o.Bucket != "bucket" || o.Prefix != "a/prefix" || o.Endpoint != "http://127.0.0.1:7070" || o.Region != "eu-west-1" {
		t.Errorf("%+v, %v", o, err)
	}
	if a, err = store.ParseAddress("s3://bucket?secret=x"); err != nil {
		t.Fatal(err)
	}
	if _, err := s3.FromAddress(a); err == nil {
		t.Error("an unknown parameter is taken")
	}
	for _, endpoint := range []string{"127.0.0.1:7070", "ftp://h", "http://h/path", "http://user:secret@h"} {
		if s, err := s3.Open(s3.Options{Bucket: "b", Endpoint: endpoint}); err == nil {
			s.Close()
			t.Errorf("endpoint %q is taken", endpoint)
		}
	}
}

func TestContractInTrouble(t *testing.T) {
	shared.Get(t)
	storetest.Checks(t, 5)
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.Troubled(open(t, "trouble")) })
}
