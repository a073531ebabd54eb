package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"headwater/store"
	"headwater/store/disk"
)

// awaitStore opens a store that may not be there yet: a disk that is mounted later, a
// cluster that is starting. It says so every second, until ctx ends.
func awaitStore[S any](ctx context.Context, log *slog.Logger, address string, open func() (S, error)) (S, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	begun, waited := time.Now(), false
	for {
		s, err := open()
		if err == nil && waited {
			log.Info("the store is there", "store", shown(address), "waited", time.Since(begun).Round(time.Second))
		}
		if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, disk.ErrNotStore) || ctx.Err() != nil || log == nil {
			return s, err
		}
		waited = true
		log.Warn("waiting for the store", "store", shown(address), "waited", time.Since(begun).Round(time.Second), "err", err)
		select {
		case <-ctx.Done():
			return s, err
		case <-tick.C:
		}
	}
}

// openDisk opens the store in a directory. It is made where there is none, but not what
// it is in: that is to be mounted. With existing it has to be there itself.
func openDisk(ctx context.Context, a store.Address, o opening) (*disk.Store, error) {
	return awaitStore(ctx, o.log, a.String(), func() (*disk.Store, error) {
		if o.existing {
			if err := disk.Exists(a.Path); err != nil {
				return nil, err
			}
		}
		path, err := filepath.Abs(a.Path)
		if err == nil {
			_, err = os.Stat(filepath.Dir(path))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", disk.ErrNotStore, err)
		}
		return disk.Open(a.Path, o.disk)
	})
}
