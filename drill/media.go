package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"headwater/live"
)

// readAll asks an edge for every segment that there should be, as who watches all of the
// DVR window does, and returns how many were not there and how many had wrong bytes.
func (s *system) readAll(ctx context.Context, edge string) (lost, wrong int, err error) {
	tl := s.event.Timeline()
	for n := tl.First(); tl.Deadline(n).Before(time.Now()); n++ {
		for _, x := range s.event.Renditions {
			url := fmt.Sprintf("http://%s/%s/%s/%d.m4s", s.nodes[edge].control, s.id, x.Name, n)
			status, right := s.read(ctx, url)
			switch {
			case status != http.StatusOK:
				lost++
			case !right:
				wrong++
			}
			if ctx.Err() != nil {
				return lost, wrong, ctx.Err()
			}
		}
	}
	return lost, wrong, nil
}

// flip changes one bit of stored media in several places, each in another segment, and
// returns in how many: of pipeline a's, which are those that viewers get.
func flip(dir string) (n int, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "media", "*.log"))
	if err != nil {
		return 0, err
	}
	for _, name := range logs {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return n, err
		}
		k, err := flipIn(f)
		n += k
		if err = errors.Join(err, f.Close()); err != nil {
			return n, err
		}
	}
	return n, nil
}

// flipEvery is how far apart: more than two segments with all that lies beside them.
const flipEvery = 1 << 20

// keyOfA is in a log before each segment of pipeline a.
var keyOfA = regexp.MustCompile(`[0-9]{16}/a`)

func flipIn(f *os.File) (n int, err error) {
	b, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	for at := flipEvery / 2; at < len(b); at += flipEvery {
		key := keyOfA.FindIndex(b[at:])
		if key == nil {
			return n, nil
		}
		value := at + key[1]
		mdat := bytes.Index(b[value:], []byte("mdat"))
		if mdat < 0 || value+mdat+64 > len(b) {
			return n, nil
		}
		pos := value + mdat + 60 // within the first picture
		if _, err := f.WriteAt([]byte{b[pos] ^ 1}, int64(pos)); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// read gets a segment, and says whether it is what its digest says.
func (s *system) read(ctx context.Context, url string) (status int, right bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, false
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	digest, bad := live.ParseDigest(resp.Header.Values(live.HeaderContentDigest))
	return resp.StatusCode, err == nil && bad == nil && digest == live.DigestOf(b)
}
