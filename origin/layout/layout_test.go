package layout

import (
	"reflect"
	"testing"
	"time"

	"headwater/live"
	"headwater/store"
)

// TestMetadata: what is known of a segment is known after a restart.
func TestMetadata(t *testing.T) {
	c := live.Candidate{Pipeline: "a", Region: "east", Number: 1042, Size: 9, Generation: 3, Key: live.KeyNone, Published: time.Unix(1, 2).UTC(),
		Findings: live.Findings{{Kind: live.Short, MissingMS: 400}}, Quality: live.Quality{Said: true, Score: 40, BlackMS: 2000},
		Digest: live.DigestOf([]byte("x")), Span: live.Span{Start: 1, End: 2, Timescale: 3}}
	meta, err := EncodeMeta(c, 7)
	if err != nil {
		t.Fatal(err)
	}
	got, life, err := DecodeCandidate(store.Item{Key: SegmentKey(c.Number, c.Pipeline), Meta: meta, Size: c.Size})
	if err != nil || life != 7 || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v of life %d, %v; want %+v", got, life, err, c)
	}
}
