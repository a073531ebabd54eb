// Package s3 keeps a store in a bucket of any S3-compatible service. It is for
// events of little traffic: a read is a listing and a request, a write is one
// request, and a scan asks for each item's metadata that it has not seen yet.
//
// The service needs no conditional writes and no transactions, only that what
// was written is listed from then on, and that an object is written whole.
package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"headwater/store"
)

// Options are what a store is opened with. Zero values take the defaults.
type Options struct {
	// Bucket is where everything is. Required.
	Bucket string
	// Prefix is a path in the bucket. Default: none.
	Prefix string
	// Endpoint is the service's URL. Default: https://s3.REGION.amazonaws.com.
	Endpoint string
	// Region is the service's. Default: us-east-1.
	Region string
	// Credentials default to those of the environment: AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
	Credentials *credentials.Credentials
	// TidyEvery is how often what is superseded, deleted and expired is looked
	// for. Default 10 minutes; negative is never.
	TidyEvery time.Duration
	// Now says what time it is. Default time.Now.
	Now func() time.Time
	// Log is told what an operator should know. Default: silence.
	Log *slog.Logger
}

// FromAddress reads the options of an address: s3://bucket/prefix?endpoint=..&region=..
func FromAddress(a store.Address) (Options, error) {
	o := Options{Bucket: a.Hosts[0], Prefix: a.Path}
	for key, values := range a.Query {
		switch key {
		case "endpoint":
			o.Endpoint = values[0]
		case "region":
			o.Region = values[0]
		default:
			return o, fmt.Errorf("s3: %q is not a parameter: there are endpoint and region", key)
		}
	}
	return o, nil
}

func (o *Options) setDefaults() {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Endpoint == "" {
		o.Endpoint = "https://s3." + o.Region + ".amazonaws.com"
	}
	if o.Credentials == nil {
		o.Credentials = credentials.NewEnvAWS()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TidyEvery == 0 {
		o.TidyEvery = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Store implements store.Store and store.Signaller.
type Store struct {
	*store.Front
	opt       Options
	log       *slog.Logger
	api       *minio.Client
	core      minio.Core
	transport *http.Transport
	root      string // before the names of all objects
	headers   *headers
	written   *written

	puts, gets, scans, deletes store.Meter

	ending context.Context // ends when the store is closed
	end    context.CancelFunc
	tasks  sync.WaitGroup // what is done on the side
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Signaller = (*Store)(nil)
)

// Open returns a store. It asks the service for nothing yet.
func Open(o Options) (*Store, error) {
	o.setDefaults()
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, fmt.Errorf("s3: endpoint %q is not http://HOST:PORT or https://HOST", o.Endpoint)
	}
	s := &Store{opt: o, log: o.Log, headers: newHeaders(), written: newWritten()}
	s.Front = store.NewFront(store.Backend{Name: "s3", Now: o.Now, Put: s.put, Get: s.get, Scan: s.scan, Delete: s.delete, Close: s.close})
	if o.Prefix != "" {
		s.root = strings.Trim(o.Prefix, "/") + "/"
	}
	s.transport = http.DefaultTransport.(*http.Transport).Clone()
	s.transport.MaxIdleConnsPerHost, s.transport.MaxIdleConns = 64, 64
	s.transport.DisableCompression = true
	lookup := minio.BucketLookupPath
	if strings.HasSuffix(u.Hostname(), ".amazonaws.com") {
		lookup = minio.BucketLookupDNS
	}
	s.api, err = minio.New(u.Host, &minio.Options{
		Creds: o.Credentials, Secure: u.Scheme == "https", Region: o.Region, Transport: s.transport, BucketLookup: lookup,
		MaxRetries: 1, // we have our own, within the caller's time
	})
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	s.core = minio.Core{Client: s.api}
	s.ending, s.end = context.WithCancel(context.Background())
	if o.TidyEvery > 0 {
		s.tasks.Go(s.tidy)
	}
	return s, nil
}

// Init creates the bucket where there is none.
func (s *Store) Init(ctx context.Context) (created bool, err error) {
	ok, err := s.api.BucketExists(ctx, s.opt.Bucket)
	if err == nil && !ok {
		created, err = true, s.api.MakeBucket(ctx, s.opt.Bucket, minio.MakeBucketOptions{Region: s.opt.Region})
	}
	if err != nil {
		return false, fmt.Errorf("s3: bucket %s: %w", s.opt.Bucket, s.kind(ctx, err))
	}
	return created, nil
}

// Close implements store.Store. Operations under way repeat nothing any more.
func (s *Store) Close() error {
	s.end()
	return s.Front.Close()
}

func (s *Store) close() error {
	s.tasks.Wait()
	s.transport.CloseIdleConnections()
	return nil
}

// The goals that the store tells of: public figures of such services.
const (
	writeGoal = 300 * time.Millisecond
	readGoal  = 300 * time.Millisecond
)

// Signals implements store.Signaller.
func (s *Store) Signals() []store.Signal {
	return []store.Signal{
		s.puts.Signal("put", writeGoal), s.gets.Signal("get", readGoal),
		s.scans.Signal("scan", readGoal), s.deletes.Signal("delete", writeGoal),
	}
}

// kind maps what a request returned to the contract's errors.
func (s *Store) kind(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, known := range []error{store.ErrNotFound, store.ErrCorrupt, store.ErrFull, store.ErrUnavailable, store.ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	var res minio.ErrorResponse
	if errors.As(err, &res) {
		switch {
		case res.Code == minio.NoSuchKey:
			return fmt.Errorf("%w: %w", store.ErrNotFound, err)
		case res.StatusCode == http.StatusInsufficientStorage, res.Code == "XMinioStorageFull", res.Code == "QuotaExceeded",
			res.Code == "XAmzQuotaExceeded", res.Code == "EntityQuotaExceeded":
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		case res.Code == minio.NoSuchBucket:
			return fmt.Errorf("%w: bucket %s: run headwater store init: %w", store.ErrUnavailable, s.opt.Bucket, err)
		}
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// passing reports whether an error may be gone when the request is repeated.
func passing(err error) bool {
	if !errors.Is(err, store.ErrUnavailable) {
		return false
	}
	var res minio.ErrorResponse
	// What fails of many that are deleted at once has no status of its own.
	return !errors.As(err, &res) || res.StatusCode == 0 || res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout
}

const (
	attempts   = 4
	overtaken  = 64 // how often writes may overtake a read before it gives up
	firstPause = 20 * time.Millisecond
)

// retry repeats a request that can be repeated, within the caller's time.
func (s *Store) retry(ctx context.Context, f func() error) error {
	for i := 0; ; i++ {
		err := f()
		if err == nil {
			return nil
		}
		if err = s.kind(ctx, err); i+1 == attempts || !passing(err) {
			return err
		}
		pause := firstPause << (2 * i)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-s.ending.Done():
			timer.Stop()
			return err
		}
	}
}
