package s3

import (
	"context"
	"errors"

	"github.com/minio/minio-go/v7"

	"headwater/store"
)

// A Report says what Check found.
type Report struct {
	Objects, Bytes, Problems int64
}

// Check reads every object and verifies its checksums. It tells bad of those that
// fail and, where it is not nil, progress of each.
func (s *Store) Check(ctx context.Context, bad func(object string, err error), progress func(Report)) (Report, error) {
	var report Report
	for info := range s.api.ListObjectsIter(ctx, s.opt.Bucket, minio.ListObjectsOptions{Prefix: s.root + "items/", Recursive: true}) {
		if info.Err != nil {
			return report, s.kind(ctx, info.Err)
		}
		data, err := s.read(ctx, info.Key, 0)
		if errors.Is(err, store.ErrNotFound) {
			continue // tidied up meanwhile
		}
		if err != nil {
			return report, err
		}
		report.Objects, report.Bytes = report.Objects+1, report.Bytes+int64(len(data))
		if _, _, err := decodeObject(data); err != nil {
			report.Problems++
			bad(info.Key, err)
		}
		if progress != nil {
			progress(report)
		}
	}
	return report, ctx.Err()
}
