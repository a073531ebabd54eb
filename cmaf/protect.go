package cmaf

import "encoding/binary"

// sencSubsamples is the flag of senc that says that entries have subsamples.
const sencSubsamples = 0x000002

// protection gives the samples of an encrypted fragment their entries of senc
// (ISO/IEC 23001-7, 7.2), and sees whether they can be regrouped.
func (t *TrackFragment) protection() error {
	var senc, saiz, saio Box
	for s := t.Box.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch c.Type {
		case boxSenc:
			senc = c
		case boxSaiz:
			saiz = c
		case boxSaio:
			saio = c
		case boxSbgp:
			// Key rotation (seig): the samples do not say which key is theirs.
			_, _, p, err := c.full(4)
			if err != nil {
				return err
			}
			t.Whole = t.Whole || FourCC(be32(p)).Is("seig")
		}
	}
	if senc.Data == nil {
		t.Whole = t.Whole || saio.Data != nil // the entries lie elsewhere
		return nil
	}
	_, flags, p, err := senc.full(4)
	if err != nil {
		return err
	}
	n := be32(p)
	p = p[4:]
	if int64(n) != int64(len(t.Samples)) {
		return malformed(senc.Offset, "%d entries for %d samples", n, len(t.Samples)).in(boxSenc)
	}
	if t.Whole {
		return nil
	}
	sizes, err := auxSizes(saiz)
	if err != nil {
		return err
	}
	for i := range t.Samples {
		size := sizes.of(i)
		if saiz.Data == nil {
			size = t.Track.ivSize
			if flags&sencSubsamples != 0 {
				if len(p) < size+2 {
					return malformed(senc.Offset, "entry %d does not fit", i).in(boxSenc)
				}
				size += 2 + 6*int(be16(p[size:]))
			}
		}
		if len(p) < size {
			return malformed(senc.Offset, "entry %d of %d bytes does not fit", i, size).in(boxSenc)
		}
		if size > 0 {
			t.Samples[i].Aux, p = p[:size:size], p[size:]
		}
	}
	return nil
}

// auxInfo is what saiz says (ISO/IEC 14496-12, 8.7.8).
type auxInfo struct {
	same  int
	table []byte
}

func auxSizes(saiz Box) (auxInfo, error) {
	if saiz.Data == nil {
		return auxInfo{}, nil
	}
	_, flags, p, err := saiz.full(5)
	if err != nil {
		return auxInfo{}, err
	}
	if flags&1 != 0 {
		if len(p) < 13 {
			return auxInfo{}, malformed(saiz.Offset, "needs 13 bytes, has %d", len(p)).in(boxSaiz)
		}
		p = p[8:]
	}
	if p[0] != 0 {
		return auxInfo{same: int(p[0])}, nil
	}
	return auxInfo{table: p[5:]}, nil
}

// of is the size of entry i; 0 past the end of the table.
func (a auxInfo) of(i int) int {
	if a.same > 0 {
		return a.same
	}
	if i < len(a.table) {
		return int(a.table[i])
	}
	return 0
}

// subsampled reports whether a sample's entry of senc has subsamples.
func (t *Track) subsampled(s Sample) bool { return len(s.Aux) > t.ivSize }

// appendProtection writes senc for samples, with saiz and saio to find its
// entries by. start is where the moof begins in dst.
func appendProtection(dst []byte, t *Track, samples []Sample, start int) []byte {
	be := binary.BigEndian
	same, fits, any := len(samples[0].Aux), true, false
	for i := range samples {
		n := len(samples[i].Aux)
		any = any || n > 0
		fits = fits && n < 256
		if n != same {
			same = 0
		}
	}
	if !any {
		return dst
	}
	flags := uint32(0)
	if t.subsampled(samples[0]) {
		flags = sencSubsamples
	}
	dst, end := openBox(dst, boxSenc)
	dst = be.AppendUint32(be.AppendUint32(dst, flags), uint32(len(samples)))
	entries := len(dst) - start
	for i := range samples {
		dst = append(dst, samples[i].Aux...)
	}
	dst = end(dst)
	if !fits {
		return dst // a size in saiz is one byte; senc can be read without it
	}
	dst, end = openBox(dst, boxSaiz)
	dst = append(be.AppendUint32(dst, 0), byte(same))
	dst = be.AppendUint32(dst, uint32(len(samples)))
	if same == 0 {
		for i := range samples {
			dst = append(dst, byte(len(samples[i].Aux)))
		}
	}
	dst = end(dst)
	dst, end = openBox(dst, boxSaio)
	dst = be.AppendUint32(be.AppendUint32(dst, 0), 1)
	return end(be.AppendUint32(dst, uint32(entries)))
}
