package cassandra

import (
	"context"
	"fmt"
	"sync"
	"time"

	"headwater/store"
)

// space is one namespace's keyspace: its statements, and the buckets that this
// process has listed there.
type space struct {
	keyspace string

	putItem, getItem, putChunk, getChunk       string
	scanHeads, scanHeadsTo, scanAll, scanAllTo string
	deleteRange, deleteFrom, deleteBucket      string
	listBucket, buckets, putDelete, deletes    string
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
		scanHeads:    "SELECT key, head FROM " + ks + ".items" + row + " AND key >= ? LIMIT ?",
		scanHeadsTo:  "SELECT key, head FROM " + ks + ".items" + row + " AND key >= ? AND key < ? LIMIT ?",
		scanAll:      "SELECT key, head, value FROM " + ks + ".items" + row + " AND key >= ? LIMIT ?",
		scanAllTo:    "SELECT key, head, value FROM " + ks + ".items" + row + " AND key >= ? AND key < ? LIMIT ?",
		deleteRange:  "DELETE FROM " + ks + ".items USING TIMESTAMP ?" + row + " AND key >= ? AND key < ?",
		deleteFrom:   "DELETE FROM " + ks + ".items USING TIMESTAMP ?" + row + " AND key >= ?",
		deleteBucket: "DELETE FROM " + ks + ".items USING TIMESTAMP ?" + row,
		listBucket:   "INSERT INTO " + ks + ".buckets (record, bucket) VALUES (?, ?) USING TIMESTAMP ? AND TTL ?",
		buckets:      "SELECT bucket FROM " + ks + ".buckets WHERE record = ? AND bucket >= ? AND bucket <= ?",
		putDelete:    "INSERT INTO " + ks + ".deletes (record, stamp, from_key, to_key) VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
		deletes:      "SELECT stamp, from_key, to_key FROM " + ks + ".deletes WHERE record = ?",
		checkItems:   "SELECT record, key, head, value FROM " + ks + ".items WHERE token(record, bucket) >= ? AND token(record, bucket) <= ?",
		checkChunks:  "SELECT record, key, stamp, idx FROM " + ks + ".chunks WHERE token(record, key, stamp, idx) >= ? AND token(record, key, stamp, idx) <= ?",
		listed:       make(map[bucketKey]int64),
	}
}

// Times that the order of things hangs on. Tokens are at most MaxDrift old when
// they come; what shadows older ones stays many times that.
const (
	deadFor   = 10 * time.Minute // a dead version, and as much again by chance
	deleteFor = 20 * time.Minute // what a range delete leaves for those who list a bucket later
	slack     = 2 * store.MaxDrift
	listAhead = time.Hour // a bucket is listed for so much longer than its first item
)

// forever is the timestamp of a bucket that is listed for ever. Others are
// listed with the time until which they are: of two listings the longer stays.
const forever = 1 << 60

// list lists a bucket until an item in it, which expires then (or never, at 0),
// is gone, and applies the range deletes that came before it was listed.
func (s *Store) list(ctx context.Context, sp *space, record string, bucket, expires int64) error {
	now := time.Now().UnixMilli()
	need := expires
	if need == 0 {
		need = forever
	} else {
		need = max(need+slack.Milliseconds(), now+2*deleteFor.Milliseconds())
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
	marks, err := s.deletesOf(ctx, sp, record)
	if err != nil {
		return err
	}
	err = each(ctx, len(marks), parallel, func(ctx context.Context, i int) error {
		return s.deleteIn(ctx, sp, record, bucket, marks[i])
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

// rangeDelete is a delete of [from, to) of a record; "" is open.
type rangeDelete struct {
	from, to string
	token    store.Token
}

func (s *Store) deletesOf(ctx context.Context, sp *space, record string) ([]rangeDelete, error) {
	return ask(ctx, s, s.directory, func(ctx context.Context) ([]rangeDelete, error) {
		it, done := s.rows(ctx, sp.deletes, record)
		defer done()
		var all []rangeDelete
		var token string
		var d rangeDelete
		for it.Scan((*blob)(&token), &d.from, &d.to) {
			var err error
			if d.token, err = decodeToken(token); err != nil {
				it.Close()
				return nil, err
			}
			all = append(all, d)
		}
		return all, it.Close()
	})
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

// deleteIn puts the tombstone of a range delete into one bucket.
func (s *Store) deleteIn(ctx context.Context, sp *space, record string, bucket int64, d rangeDelete) error {
	first, last := bucketRange(d.from, d.to)
	if bucket < first || bucket > last {
		return nil
	}
	return s.do(ctx, s.deleteRange, func(ctx context.Context) error {
		switch {
		case d.from == "" && d.to == "":
			return s.exec(ctx, sp.deleteBucket, d.token.Time, record, bucket)
		case d.to == "":
			return s.exec(ctx, sp.deleteFrom, d.token.Time, record, bucket, d.from)
		}
		return s.exec(ctx, sp.deleteRange, d.token.Time, record, bucket, d.from, d.to)
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

// ask is do for what has an answer: of the attempt that succeeds first.
func ask[T any](ctx context.Context, s *Store, r *request, run func(ctx context.Context) (T, error)) (T, error) {
	var mu sync.Mutex
	var answer T
	answered := false
	err := s.do(ctx, r, func(ctx context.Context) error {
		a, err := run(ctx)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if !answered {
			answer, answered = a, true
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", r.name, err)
	}
	return answer, nil
}
