package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"

	"headwater/store"
)

func (s *Store) itemsOf(r store.Record) string {
	return s.root + "items/" + r.Namespace + "/" + recordName(r.ID) + "/"
}

// took notes how an operation went.
func took(m *store.Meter, began time.Time, err *error) {
	if !errors.Is(*err, context.Canceled) {
		m.Record(time.Since(began), *err != nil && !errors.Is(*err, store.ErrNotFound))
	}
}

// write puts an object. The same name always has the same bytes, so that it can
// be repeated.
func (s *Store) write(ctx context.Context, name string, data []byte) error {
	return s.retry(ctx, func() error {
		_, err := s.api.PutObject(ctx, s.opt.Bucket, name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{
			ContentType: "application/octet-stream", DisableMultipart: true, SendContentMd5: true,
		})
		return err
	})
}

func (s *Store) put(ctx context.Context, r store.Record, item store.Item) (err error) {
	defer took(&s.puts, time.Now(), &err)
	expires := expiryOf(item.Expires)
	h := header{Record: r.String(), Key: item.Key, Time: item.Token.Time, Nonce: item.Token.Nonce, Meta: item.Meta}
	if expires != never {
		h.Expires = expires
	}
	data, err := encodeObject(h, item.Value)
	if err != nil {
		return err
	}
	name := s.itemsOf(r) + versionName(item.Key, item.Token, expires)
	if err := s.write(ctx, name, data); err != nil {
		return err
	}
	s.supersede(ctx, s.itemsOf(r), item.Key, name, item.Token)
	return nil
}

func (s *Store) delete(ctx context.Context, r store.Record, t store.Token) (err error) {
	defer took(&s.deletes, time.Now(), &err)
	_, err = s.dropAll(ctx, s.itemsOf(r), func(v version, _ bool) bool { return v.token.Compare(t) <= 0 })
	return err
}

// read gets an object, or its first bytes.
func (s *Store) read(ctx context.Context, name string, first int64) (data []byte, err error) {
	err = s.retry(ctx, func() error {
		var opt minio.GetObjectOptions
		if first > 0 {
			if err := opt.SetRange(0, first-1); err != nil {
				return err
			}
		}
		body, info, _, err := s.core.GetObject(ctx, s.opt.Bucket, name, opt)
		if err != nil {
			return err
		}
		defer body.Close()
		size := info.Size
		if first > 0 {
			size = min(size, first)
		}
		b := bytes.NewBuffer(make([]byte, 0, max(size, 0)+bytes.MinRead))
		if _, err := io.Copy(b, body); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		data = b.Bytes()
		return nil
	})
	return data, err
}

// firstBytes is how much is read of an object for its header: most headers, and
// little of a value.
const firstBytes = 4 << 10

// header returns the header of an object, from memory where it was read before.
func (s *Store) header(ctx context.Context, name string, size int64) (header, error) {
	if h, ok := s.headers.get(name); ok {
		return h, nil
	}
	data, err := s.read(ctx, name, min(firstBytes, max(size, 1)))
	if err != nil {
		return header{}, err
	}
	h, n, err := decodeHeader(data)
	if errors.Is(err, errShort) {
		if data, err = s.read(ctx, name, int64(n)); err != nil {
			return header{}, err
		}
		if h, _, err = decodeHeader(data); errors.Is(err, errShort) {
			err = fmt.Errorf("%w: cut off", store.ErrCorrupt)
		}
	}
	if err != nil {
		return h, err
	}
	s.headers.put(name, h)
	return h, nil
}

func (s *Store) get(ctx context.Context, r store.Record, key string) (item store.Item, err error) {
	defer took(&s.gets, time.Now(), &err)
	// What is listed may be replaced, and tidied up, before it is read. Each
	// time somebody else got something done.
	for range overtaken {
		var again bool
		if item, again, err = s.getOnce(ctx, r, key); !again {
			return item, err
		}
	}
	return item, fmt.Errorf("%w: the item changes all the time", store.ErrUnavailable)
}

func (s *Store) getOnce(ctx context.Context, r store.Record, key string) (item store.Item, again bool, err error) {
	newest, found, err := s.newest(ctx, r, key)
	if err != nil {
		return item, false, err
	}
	if !found || newest.expired(s.opt.Now()) {
		return item, false, store.ErrNotFound
	}
	data, err := s.read(ctx, newest.object, 0)
	if errors.Is(err, store.ErrNotFound) {
		return item, true, nil
	}
	if err != nil {
		return item, false, err
	}
	h, value, err := decodeObject(data)
	if err == nil {
		err = belongs(&h, r, key, newest.token)
	}
	if err != nil {
		return item, false, err
	}
	item = h.item()
	item.Value = value
	return item, false, nil
}

// belongs reports whether an object holds what its name says.
func belongs(h *header, r store.Record, key string, t store.Token) error {
	if h.Record != r.String() || h.Key != key || h.token() != t {
		return fmt.Errorf("%w: the object is of %s, key %q", store.ErrCorrupt, h.Record, h.Key)
	}
	return nil
}

// newest lists the newest version of a key.
func (s *Store) newest(ctx context.Context, r store.Record, key string) (v version, found bool, err error) {
	prefix := s.itemsOf(r)
	name, _ := keyName(key)
	err = s.retry(ctx, func() error {
		found = false
		list, stop := context.WithCancel(ctx)
		defer stop()
		for info := range s.api.ListObjectsIter(list, s.opt.Bucket, minio.ListObjectsOptions{Prefix: prefix + name + ".", Recursive: true, MaxKeys: 1}) {
			if info.Err != nil {
				return info.Err
			}
			if v, err = s.version(prefix, info); err != nil {
				s.log.Warn("object left out", "err", err)
				continue
			}
			found = true
			return nil
		}
		return ctx.Err()
	})
	return v, found, err
}

func (s *Store) version(prefix string, info minio.ObjectInfo) (version, error) {
	v, err := parseVersion(info.Key[len(prefix):])
	v.object, v.size = info.Key, info.Size
	return v, err
}
