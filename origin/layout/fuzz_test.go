package layout

import (
	"reflect"
	"testing"
	"time"

	"headwater/live"
	"headwater/store"
)

// What a store gives back for a candidate is one, which is stored the same again, or an error.
func FuzzDecodeCandidate(f *testing.F) {
	meta, err := EncodeMeta(live.Candidate{Region: "east", Published: time.Unix(0, 1), Digest: live.DigestOf([]byte("x")), Span: live.Span{Start: 1, End: 2, Timescale: 3}}, 7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(SegmentKey(1042, "a"), meta)
	f.Add("0/a", []byte(`{"defects":"gap;ms=3","digest":""}`))
	f.Add("-1/a", []byte(`{}`))
	f.Fuzz(func(t *testing.T, key string, meta []byte) {
		c, life, err := DecodeCandidate(store.Item{Key: key, Meta: meta})
		if err != nil {
			return
		}
		again, err := EncodeMeta(c, life)
		if err != nil {
			t.Fatal(err)
		}
		if same, other, err := DecodeMeta(store.Item{Meta: again}, c.Number, c.Pipeline); err != nil || other != life || !reflect.DeepEqual(same, c) {
			t.Errorf("%q %q: %+v, then %+v, %v", key, meta, c, same, err)
		}
	})
}
