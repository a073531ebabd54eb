package cmaf

// descriptions reads the sample entries of stsd. Codecs and what else there is
// of the track come from the first: the others must be of a kind with it.
func (t *Track) descriptions(stsd Box) error {
	_, _, p, err := stsd.full(4)
	if err != nil {
		return err
	}
	t.Config = stsd.Data
	n := be32(p)
	for s := stsd.children(8); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		t.Descriptions++
		if t.Descriptions == 1 {
			t.Codecs = x.Type.String()
		}
	}
	if int64(t.Descriptions) != int64(n) {
		return malformed(stsd.Offset, "claims %d sample entries, has %d", n, t.Descriptions)
	}
	return nil
}
