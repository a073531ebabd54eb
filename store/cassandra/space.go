package cassandra

import (
	"context"
	"sync"
	"time"

	"headwater/store"
)

// space is one namespace's keyspace: its statements, and the buckets that this
// process has listed there.
type space struct {
	keyspace string

	putItem, getItem                           string
	putChunk, getChunk, dropChunk              string
	scanHeads, scanHeadsTo, scanAll, scanAllTo string
	deleteBucket, listBucket, buckets          string
	checkItems, checkChunks                    string

	mu     sync.Mutex
	listed map[bucketKey]int64 // guarded by mu: until when, in milliseconds
}

type bucketKey struct {
	record string
	bucket int64
}

// maxListed bounds the memory of what is listed; to forget costs a round trip.
const maxListed = 100_000

func newSpace(ks string) *space {
	const row = " WHERE record = ? AND bucket = ?"
	return &space{
		keyspace:     ks,
		putItem:      "UPDATE " + ks + ".items USING TIMESTAMP ? AND TTL ? SET head = ?, value = ?" + row + " AND key = ?",
		getItem:      "SELECT head, value FROM " + ks + ".items" + row + " AND key = ?",
		putChunk:     "INSERT INTO " + ks + ".chunks (record, key, stamp, idx, data) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
		getChunk:     "SELECT data FROM " + ks + ".chunks WHERE record = ? AND key = ? AND stamp = ? AND idx = ?",
		dropChunk:    "DELETE FROM " + ks + ".chunks USING TIMESTAMP ? WHERE record = ? AND key = ? AND stamp = ? AND idx = ?",
		scanHeads:    "SELECT key, head FROM " + ks + ".items" + row + " AND key >= ? LIMIT ?",
		scanHeadsTo:  "SELECT key, head FROM " + ks + ".items" + row + " AND key >= ? AND key < ? LIMIT ?",
		scanAll:      "SELECT key, head, value FROM " + ks + ".items" + row + " AND key >= ? LIMIT ?",
		scanAllTo:    "SELECT key, head, value FROM " + ks + ".items" + row + " AND key >= ? AND key < ? LIMIT ?",
		deleteBucket: "DELETE FROM " + ks + ".items USING TIMESTAMP ?" + row,
		listBucket:   "INSERT INTO " + ks + ".buckets (record, bucket) VALUES (?, ?) USING TIMESTAMP ? AND TTL ?",
		buckets:      "SELECT bucket FROM " + ks + ".buckets WHERE record = ? AND bucket >= ? AND bucket <= ?",
		checkItems:   "SELECT record, key, head, value FROM " + ks + ".items WHERE token(record, bucket) >= ? AND token(record, bucket) <= ?",
		checkChunks:  "SELECT record, key, stamp, idx FROM " + ks + ".chunks WHERE token(record, key, stamp, idx) >= ? AND token(record, key, stamp, idx) <= ?",
		listed:       make(map[bucketKey]int64),
	}
}

// Times that the order of things hangs on. Tokens are at most MaxDrift old when
// they come; what shadows older ones stays many times that.
const (
	deadFor   = 10 * time.Minute // a dead version, and as much again by chance
	slack     = 2 * store.MaxDrift
	listAhead = time.Hour // a bucket is listed for so much longer than its first item
)

// forever is the timestamp of a bucket that is listed for ever. Others are
// listed with the time until which they are: of two listings the longer stays.
const forever = 1 << 60

// list lists a bucket until an item in it, which expires then (or never, at 0),
// is gone.
func (s *Store) list(ctx context.Context, sp *space, record string, bucket, expires int64) error {
	now := s.opt.Now().UnixMilli()
	need := expires
	if need == 0 {
		need = forever
	} else {
		need += slack.Milliseconds()
	}
	k := bucketKey{record, bucket}
	sp.mu.Lock()
	until := sp.listed[k]
	sp.mu.Unlock()
	if until >= need {
		return nil
	}
	until, ttl := int64(forever), 0
	if need != forever {
		until = need + listAhead.Milliseconds()
		if ttl = seconds(until - now); ttl == 0 {
			until = forever
		}
	}
	err := s.do(ctx, s.directory, func(ctx context.Context) error {
		return s.exec(ctx, sp.listBucket, record, bucket, until, ttl)
	})
	if err != nil {
		return err
	}
	sp.mu.Lock()
	if len(sp.listed) >= maxListed {
		clear(sp.listed)
	}
	sp.listed[k] = max(sp.listed[k], until)
	sp.mu.Unlock()
	return nil
}

// longest is how far ahead Cassandra can count; beyond it things are kept.
const longest = 8 * 365 * 24 * time.Hour

// seconds returns a time to live for milliseconds, rounded up; 0 is for ever.
func seconds(ms int64) int {
	if ms >= longest.Milliseconds() {
		return 0
	}
	return int(max(ms+999, 1000) / 1000)
}

func (s *Store) bucketsOf(ctx context.Context, sp *space, record string, first, last int64) ([]int64, error) {
	return ask(ctx, s, s.directory, func(ctx context.Context) ([]int64, error) {
		it, done := s.rows(ctx, sp.buckets, record, first, last)
		defer done()
		var all []int64
		var b int64
		for it.Scan(&b) {
			all = append(all, b)
		}
		return all, it.Close()
	})
}

// bucketRange is where the keys in [from, to) lie.
func bucketRange(from, to string) (first, last int64) {
	first, last = firstBucket, lastBucket
	if from != "" {
		first = bucketOf(from)
	}
	if to != "" {
		last = bucketOf(to)
	}
	return first, last
}
