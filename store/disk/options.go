package disk

import (
	"fmt"
	"log/slog"
	"time"
)

// Options says how a Store behaves. The zero value of each field is its default.
type Options struct {
	// Bucket is the span of time whose media go to one file, which is dropped
	// when all in it has expired. The default is 10 minutes, the least 1 second.
	Bucket time.Duration

	// FileBytes is the size in bytes at which a file is closed and the next
	// begun; the item that reaches it still goes in. The default is 1 GiB for
	// media. Files of the control namespace are a 64th of it.
	FileBytes int64

	// MaxBytes bounds the files of the media namespace in bytes: a Put over it
	// fails with ErrFull. The default, zero, leaves it to the disk.
	MaxBytes int64

	// ReserveBytes is what is left free on the file system for deletes,
	// compaction and others: a Put that would reach into it fails with
	// ErrFull; control items may use half of it. The default is 64 MiB, and
	// anything negative is none.
	ReserveBytes int64

	// SweepInterval is how often expired items are forgotten, files dropped
	// and sparse ones compacted. The default is 1 minute.
	SweepInterval time.Duration

	// Cache makes it a store of what is to be had elsewhere too. A Put returns
	// once its item is written, not synced: after a power failure items may be
	// gone, never wrong. Where MaxBytes or the disk leaves no room the oldest
	// media file goes, whatever is in it; nothing is compacted. Files are then
	// by default 256 MiB or a 16th of MaxBytes.
	Cache bool

	// FS is the file system. The default is the operating system's.
	FS FS

	// Now says what time it is. The default is time.Now.
	Now func() time.Time

	// Logger is told what an operator should know: damage found, failed
	// writes, a full disk. The default is silence.
	Logger *slog.Logger
}

// controlShare is by how much control files are smaller than media files.
const controlShare = 64

func (o Options) withDefaults() Options {
	if o.Bucket == 0 {
		o.Bucket = 10 * time.Minute
	}
	switch {
	case o.FileBytes != 0:
	case !o.Cache:
		o.FileBytes = 1 << 30
	case o.MaxBytes > 0:
		o.FileBytes = min(256<<20, max(o.MaxBytes/16, 1<<20))
	default:
		o.FileBytes = 256 << 20
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 64 << 20
	}
	o.ReserveBytes = max(o.ReserveBytes, 0)
	if o.SweepInterval == 0 {
		o.SweepInterval = time.Minute
	}
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate returns an error that names the first impossible field.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case o.Bucket < time.Second:
		return fmt.Errorf("disk store: Bucket is %v, at least 1s", o.Bucket)
	case o.FileBytes < controlShare*fileHeaderSize:
		return fmt.Errorf("disk store: FileBytes is %d, at least %d", o.FileBytes, controlShare*fileHeaderSize)
	case o.MaxBytes < 0:
		return fmt.Errorf("disk store: MaxBytes is %d", o.MaxBytes)
	case o.SweepInterval < time.Millisecond:
		return fmt.Errorf("disk store: SweepInterval is %v, at least 1ms", o.SweepInterval)
	}
	return nil
}
