package cassandra

import (
	"math"
	"strconv"
)

// Records are split so that no partition grows without end: the items of a
// record lie in buckets, each a partition, by the number that their keys begin
// with. A key is numbered if it begins with 16 decimal digits, as those of
// segments do; a bucket holds bucketNumbers numbers, so with up to ten
// pipelines at most 10,000 keys. Other keys lie in the bucket that their place
// in the order of keys gives them: all that begin with a letter in the last one.
// So buckets are in the order of the keys they hold, and a scan reads one
// after the other.
const (
	numberDigits  = 16
	bucketDigits  = 3
	bucketNumbers = 1000 // 10^bucketDigits
	firstBucket   = -1   // of keys before all numbers
	lastBucket    = 9_999_999_999_999
)

// bucketOf returns the bucket of a key. If a < b, bucketOf(a) <= bucketOf(b).
func bucketOf(key string) int64 {
	digits := 0
	for digits < numberDigits && digits < len(key) && key[digits] >= '0' && key[digits] <= '9' {
		digits++
	}
	if digits == numberDigits {
		n, _ := strconv.ParseInt(key[:numberDigits-bucketDigits], 10, 64)
		return n
	}
	// The last bucket whose numbers all come before the key.
	n := int64(0)
	if digits > 0 {
		n, _ = strconv.ParseInt(key[:digits], 10, 64)
	}
	scale := int64(math.Pow10(numberDigits - digits))
	first := n * scale // the least number with these digits
	if digits < len(key) && key[digits] > '9' {
		return (first + scale - 1) / bucketNumbers // after all of them
	}
	if first == 0 {
		return firstBucket
	}
	return (first - 1) / bucketNumbers
}
