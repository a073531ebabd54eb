package cassandra

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestBuckets(t *testing.T) {
	for key, want := range map[string]int64{
		"0000000000000000/a": 0,
		"0000000000000999/b": 0,
		"0000000000001000/a": 1,
		"0000000000001000":   1,
		"9999999999999999/a": lastBucket,
		"00000000000010005":  1, // longer numbers too
		"a":                  lastBucket,
		"":                   firstBucket,
		"!":                  firstBucket,
		"000000000000000/":   firstBucket,
		"000000000000100":    0,
		"000000000000100a":   1,
		"1":                  999_999_999_999,
		"1/":                 999_999_999_999,
		"1a":                 1_999_999_999_999,
		"\U0010FFFF":         lastBucket,
	} {
		if got := bucketOf(key); got != want {
			t.Errorf("%q: bucket %d, want %d", key, got, want)
		}
	}
}

func TestBucketsAreInOrder(t *testing.T) {
	key := rapid.OneOf(
		rapid.StringMatching(`[0-9]{0,18}[/a!]?[0-9]{0,2}`),
		rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%016d/%s", rapid.Int64Range(0, 5000).Draw(t, "number"), rapid.StringMatching(`[a-c]?`).Draw(t, "pipeline"))
		}),
		rapid.String(),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		if bucketOf(a) > bucketOf(b) {
			t.Fatalf("%q comes before %q, but bucket %d after %d", a, b, bucketOf(a), bucketOf(b))
		}
	})
}
