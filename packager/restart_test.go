package packager

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"headwater/live"
)

func readStreams(t *testing.T, r io.Reader) [][]byte {
	t.Helper()
	s := &streams{r: r}
	var out [][]byte
	for {
		b, err := io.ReadAll(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
		if !s.next() {
			return out
		}
	}
}

func TestStreamsEndWhereAnotherBegins(t *testing.T) {
	one, two := fixture(t, "zero.mp4"), fixture(t, "prft.mp4")
	for two[len(two)-1] == 0 { // so that joined is not misled
		two = two[:len(two)-1]
	}
	lookalike := []byte("\x00\x00\x00\x18ftypnope") // no brand
	for _, c := range []struct {
		name string
		in   [][]byte
	}{
		{"one", [][]byte{one}},
		{"two", [][]byte{one, two}},
		{"cut in a box, and three", [][]byte{one[:4001], two, one}},
		{"a beginning cut short is not one", [][]byte{append(slices.Clone(one), two[:11]...)}},
		{"a lookalike", [][]byte{slices.Concat(one, lookalike, one[40:])}},
		{"two beginnings", [][]byte{one[:24], one}},
		{"nothing", [][]byte{{}}},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "by byte": iotest.OneByteReader, "by half": iotest.HalfReader, "data with error": iotest.DataErrReader,
		} {
			got := readStreams(t, wrap(bytes.NewReader(slices.Concat(c.in...))))
			if !slices.EqualFunc(joined(got), c.in, bytes.Equal) {
				t.Errorf("%s, %s: streams of %v bytes", c.name, how, lengths(got))
			}
		}
	}
}

// joined moves the bytes of a beginning that were passed on before it was
// known to where they belong: they repeat at the start of the next stream.
func joined(streams [][]byte) [][]byte {
	for i := range len(streams) - 1 {
		for n := beginning - 1; n > 0; n-- {
			if bytes.HasSuffix(streams[i], streams[i+1][:n]) {
				streams[i] = streams[i][:len(streams[i])-n]
				break
			}
		}
	}
	return streams
}

func lengths(b [][]byte) (out []int) {
	for _, x := range b {
		out = append(out, len(x))
	}
	return out
}

// An encoder that is killed anywhere, in the middle of a box too, and started
// again into the same pipe goes on at the right numbers.
func TestKilledEncoder(t *testing.T) {
	e := eventOf("ladder.mp4")
	one, two := fixture(t, "ladder.mp4"), fixture(t, "later.mp4")
	want := mustSplit(t, e, slices.Concat(one, two))
	for cut := 3000; cut < len(one); cut += 997 {
		got := mustSplit(t, e, slices.Concat(one[:cut], two))
		for _, r := range e.Renditions {
			m := media(got, r.Name)
			if n := numbers(m); !slices.Equal(n[max(len(n)-3, 0):], []live.Number{5, 6, 7}) {
				t.Fatalf("killed after %d bytes: %s is %v", cut, r.Name, n)
			}
			sameMedia(t, m[len(m)-3:], media(want, r.Name))
		}
		if n := len(inits(got)); n != 6 {
			t.Errorf("killed after %d bytes: %d init segments", cut, n)
		}
	}
}
