// Package store is the key-value contract that the origin keeps its data in:
// a namespace holds records, a record holds items in key order.
//
// The contract is made so that a mutation can be repeated, hedged, delayed or
// overtaken without harm. Each one carries a [Token]; for any key the highest
// token decides, whichever order the mutations arrive in, and the same token
// again changes nothing. So the state after any replay, reordering or duplication
// of a set of Puts is the state after the set itself. To delete one item is to
// put it with an expiry that has passed ([Gone]). To delete a record leaves what is newer
// than the delete, and perhaps what arrives after it.
//
// # Outcomes
//
// A nil error is the only success. The errors are:
//
//   - [ErrNotFound]: no such item, or it has expired or was deleted.
//   - [ErrInvalid]: a name, range, page token or size that the contract rules
//     out. Trying again does not help.
//   - [ErrTooLarge]: metadata or value over the limits below.
//   - [ErrTokenDrift]: the token's time is further than [MaxDrift] from the
//     store's clock, and does not follow on what is stored. Nothing was changed.
//   - [ErrFull]: no space. Nothing was changed; reads go on. It passes by
//     itself when space returns.
//   - [ErrCorrupt]: the item is there but its bytes fail their checksum. They
//     are never returned.
//   - [ErrUnavailable]: the backend failed or did not answer. A mutation may or
//     may not have taken effect: repeat it with the same token.
//   - [ErrClosed]: the store was closed.
//   - [context.Canceled], [context.DeadlineExceeded]: the caller's context
//     ended first. As with ErrUnavailable, a mutation may have taken effect.
//
// Errors wrap these with the operation and what it was about.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"
)

// The namespaces. There are no others.
const (
	Media   = "media"   // segments: many bytes, written once, expire
	Control = "control" // events, masks, notifications: few bytes, rewritten, kept
)

// The limits of an item, in bytes. Every backend takes at least and at most this.
const (
	MaxIDBytes    = 1 << 10
	MaxKeyBytes   = 1 << 10
	MaxMetaBytes  = 64 << 10
	MaxValueBytes = 64 << 20
)

// DefaultPageBytes is the size of a page when [ScanOptions.MaxBytes] is zero.
const DefaultPageBytes = 4 << 20

var (
	ErrNotFound    = errors.New("store: not found")
	ErrInvalid     = errors.New("store: invalid request")
	ErrTooLarge    = errors.New("store: too large")
	ErrTokenDrift  = errors.New("store: token too far from now")
	ErrFull        = errors.New("store: full")
	ErrCorrupt     = errors.New("store: corrupt")
	ErrUnavailable = errors.New("store: unavailable")
	ErrClosed      = errors.New("store: closed")
)

// Record names a record: a set of items in key order that can be scanned and
// deleted together, such as {Media, "acme/final/v720"}.
type Record struct {
	Namespace string // Media or Control
	ID        string // 1 to MaxIDBytes of UTF-8 without NUL
}

func (r Record) String() string { return r.Namespace + ":" + r.ID }

// Item is one value with its metadata.
type Item struct {
	Key   string // 1 to MaxKeyBytes of UTF-8 without NUL; keys order by their bytes
	Token Token
	Meta  []byte // up to MaxMetaBytes, always returned
	Value []byte // up to MaxValueBytes; nil where a scan did not ask for it

	// Size is len(Value) in bytes. Reads set it even when the value was not
	// asked for; Put ignores it.
	Size int64

	// Expires is when the item ceases to exist, exact to a millisecond; the
	// zero time keeps it for ever. A time that has passed is allowed.
	Expires time.Time
}

// Gone is the item that takes away what is under a key: one that has expired.
func Gone(key string, t Token) Item {
	return Item{Key: key, Token: t, Expires: time.UnixMilli(1)}
}

// Store is the contract. All methods are safe for concurrent use, and take
// effect at most up to the end of ctx; see the package's outcomes.
type Store interface {
	// Put writes one item. When it returns nil the item is durable; readers
	// see all of it or nothing. Where the record already has the key with the
	// same or a newer token, Put changes nothing and returns nil. The caller must not modify Meta and
	// Value until Put returns; the store keeps no reference afterwards.
	Put(ctx context.Context, r Record, item Item) error

	// Get returns the item with its value. The bytes are the caller's to read,
	// never to modify, for as long as it likes.
	Get(ctx context.Context, r Record, key string) (Item, error)

	// Scan returns one page of the record's items in key order; an unknown
	// record is an empty one. It keeps the deadline of ctx by returning what
	// it has with a token for the rest, and fails with
	// context.DeadlineExceeded only if it has nothing. A page may be empty and
	// still not the last: only an empty Next says so.
	Scan(ctx context.Context, r Record, opt ScanOptions) (Page, error)

	// DeleteRecord deletes durably every item of the record whose token is not
	// newer than t. What is put at the same time or later may stay, whatever its
	// token: the caller knows by itself what belongs to a life that has ended.
	DeleteRecord(ctx context.Context, r Record, t Token) error

	// Close waits for operations under way, and releases what the store holds.
	// Operations after it return ErrClosed, and so does a second Close.
	Close() error
}

// Conditioner is what a store also is when something of what it had can be lost, or
// it may take nothing, and it knows: Condition returns nil, or what is to be told.
type Conditioner interface{ Condition() error }

// ConditionOf returns what a store says of its condition.
func ConditionOf(s Store) error {
	if c, ok := s.(Conditioner); ok {
		return c.Condition()
	}
	return nil
}

// Timer is what a store also is when there are clocks behind it that are not this
// process's: Time asks one of them what time it is, and says whose it was. Of several
// each is asked now and then.
type Timer interface {
	Time(ctx context.Context) (whose string, t time.Time, err error)
}

// TimerOf is who tells the time of a store: nil where it has no clock but this process's.
func TimerOf(s Store) Timer {
	if parts, ok := s.(*split); ok {
		if t := TimerOf(parts.media); t != nil {
			return t
		}
		return TimerOf(parts.control)
	}
	t, _ := s.(Timer)
	return t
}

// ScanOptions says what a scan returns.
type ScanOptions struct {
	From, To string // [From, To); "" is the start, and the end, of the record
	Values   bool   // with the values, not only metadata and sizes

	// MaxBytes bounds the page: the sum of its keys, metadata and (if asked
	// for) values. The default is DefaultPageBytes. The first item is
	// returned whatever its size.
	MaxBytes int

	// Page is the Next of the page before, with the same other options; ""
	// for the first. Items that are put or deleted between two pages may
	// appear or not, all others appear exactly once.
	Page string
}

// Page is a part of a record.
type Page struct {
	Items   []Item
	Next    string   // for ScanOptions.Page; "" when there is no more
	Corrupt []string // keys of items left out because what was to be read fails its checksum
}

// All scans the whole range page by page. An item that is corrupt comes as its
// key with ErrCorrupt, and the scan goes on after it; any other error ends it.
func All(ctx context.Context, s Store, r Record, opt ScanOptions) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for {
			page, err := s.Scan(ctx, r, opt)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			for _, key := range page.Corrupt {
				if !yield(Item{Key: key}, fmt.Errorf("%w: %v, key %q", ErrCorrupt, r, key)) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			opt.Page = page.Next
		}
	}
}

// Validate returns an error wrapping ErrInvalid unless r names a record.
func (r Record) Validate() error {
	if r.Namespace != Media && r.Namespace != Control {
		return fmt.Errorf("%w: namespace %q is neither %s nor %s", ErrInvalid, r.Namespace, Media, Control)
	}
	return validName("record id", r.ID, MaxIDBytes)
}

// ValidateKey returns an error wrapping ErrInvalid unless key can name an item.
func ValidateKey(key string) error { return validName("key", key, MaxKeyBytes) }

// Validate returns an error wrapping ErrInvalid or ErrTooLarge unless the item
// can be put. It does not judge the token: see [Token.CheckDrift].
func (i Item) Validate() error {
	if err := ValidateKey(i.Key); err != nil {
		return err
	}
	if len(i.Meta) > MaxMetaBytes {
		return fmt.Errorf("%w: metadata of %d bytes, at most %d", ErrTooLarge, len(i.Meta), MaxMetaBytes)
	}
	if len(i.Value) > MaxValueBytes {
		return fmt.Errorf("%w: value of %d bytes, at most %d", ErrTooLarge, len(i.Value), MaxValueBytes)
	}
	return nil
}

// Validate returns an error wrapping ErrInvalid unless the options can be
// used. It leaves the page token, which is the backend's own, to the backend. An
// empty or inverted range is valid and holds nothing.
func (o ScanOptions) Validate() error {
	if o.MaxBytes < 0 {
		return fmt.Errorf("%w: page size of %d bytes", ErrInvalid, o.MaxBytes)
	}
	for _, bound := range []string{o.From, o.To} {
		if bound != "" {
			if err := validName("range bound", bound, MaxKeyBytes); err != nil {
				return err
			}
		}
	}
	return nil
}

func validName(what, s string, limit int) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: empty %s", ErrInvalid, what)
	case len(s) > limit:
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrInvalid, what, len(s), limit)
	case strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s):
		return fmt.Errorf("%w: %s %q is not UTF-8 without NUL", ErrInvalid, what, s)
	}
	return nil
}
