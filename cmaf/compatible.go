package cmaf

import (
	"bytes"
	"errors"
	"fmt"
)

// Compatible says whether segments made for one of two tracks can be decoded
// with the init segment of the other. It returns nil or an error that names
// what differs. Bit rates and names in a sample entry do not matter.
func (t *Track) Compatible(b *Track) error {
	switch {
	case t.Type != b.Type:
		return fmt.Errorf("cmaf: type %q, not %q", b.Type, t.Type)
	case t.ID != b.ID:
		return fmt.Errorf("cmaf: track ID %d, not %d", b.ID, t.ID)
	case t.Timescale != b.Timescale:
		return fmt.Errorf("cmaf: timescale %d, not %d", b.Timescale, t.Timescale)
	case t.Codecs != b.Codecs:
		return fmt.Errorf("cmaf: codecs %s, not %s", b.Codecs, t.Codecs)
	case !bytes.Equal(t.Config, b.Config):
		return errors.New("cmaf: sample entries differ")
	}
	return nil
}
