//go:build darwin || freebsd

package disk

func (f osFile) writeAt(off int64, bufs [][]byte) error {
	for _, b := range bufs {
		n, err := f.WriteAt(b, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

func (f osFile) sync() error { return f.Sync() }
