package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"

	"headwater/live"
)

// An ack is a segment that an origin said to be stored.
type ack struct {
	pipeline, rendition string
	number              int64
	digest              live.Digest // of what was sent
	after               time.Duration
}

// known is an ack without what an origin does not list.
func (a ack) known() ack { return ack{pipeline: a.pipeline, rendition: a.rendition, number: a.number} }

var ackLine = regexp.MustCompile(`time=(\S+) .*msg="segment (?:published|backfilled|missed its deadline, but moved and is there)" .*rendition=(\S+) number=(\d+) digest="([^"]+)"(?:.* after=(\S+))?`)

// acks reads what the packagers were told in a time.
func (s *system) acks(from, to time.Time) ([]ack, error) {
	var all []ack
	for _, p := range s.packagers() {
		f, err := os.Open(p.Log)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			m := ackLine.FindStringSubmatch(lines.Text())
			if m == nil {
				continue
			}
			at, err := time.Parse(time.RFC3339Nano, m[1])
			if err != nil || at.Before(from) || at.After(to) {
				continue
			}
			n, _ := strconv.ParseInt(m[3], 10, 64)
			digest, err := live.ParseDigest([]string{m[4]})
			if err != nil || digest.IsZero() {
				f.Close()
				return nil, fmt.Errorf("%s: no digest in %q", p.Log, lines.Text())
			}
			after, _ := time.ParseDuration(m[5])
			all = append(all, ack{p.pipeline, m[2], n, digest, after})
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lost asks every origin for what was acknowledged, and returns how many segments none
// of them has, and how many more one of them has not learnt of when it had time to.
func (s *system) lost(ctx context.Context, acks []ack) (lost, late int, err error) {
	if len(acks) == 0 {
		return 0, 0, nil
	}
	least, most := acks[0].number, acks[0].number
	for _, a := range acks {
		least, most = min(least, a.number), max(most, a.number)
	}
	missedBy := map[ack]int{} // by how many origins
	origins := 0
	for _, p := range s.regions {
		for o := range p.origins {
			missing, err := s.missing(ctx, p.origin(o, 7003), acks, least, most)
			if err != nil {
				return 0, 0, err
			}
			if len(missing) > 0 {
				fmt.Fprintf(os.Stderr, "   %s %d misses %d of %d\n", p.name, o, len(missing), len(acks))
			}
			origins++
			for _, a := range missing {
				missedBy[a]++
			}
		}
	}
	for _, n := range missedBy {
		if n == origins {
			lost++
		} else {
			late++
		}
	}
	return lost, late, nil
}

// missing is what of acks an origin does not list, when it had 20 s to learn of it.
func (s *system) missing(ctx context.Context, control string, acks []ack, least, most int64) (missing []ack, err error) {
	for deadline := time.Now().Add(20 * time.Second); ; {
		var have map[ack]bool
		if have, err = s.published(ctx, control, least, most); err == nil {
			missing = nil
			for _, a := range acks {
				if !have[a.known()] {
					missing = append(missing, a)
				}
			}
			if len(missing) == 0 {
				return nil, nil
			}
		}
		if time.Now().After(deadline) {
			return missing, err
		}
		time.Sleep(time.Second)
	}
}

func (s *system) published(ctx context.Context, control string, from, to int64) (map[ack]bool, error) {
	have := map[ack]bool{}
	for ; from <= to; from += 50 {
		var list struct {
			Segments []struct {
				Rendition  string
				Number     int64
				Candidates []struct{ Pipeline string }
			}
		}
		url := fmt.Sprintf("%s/v1/events/%s/segments?from=%d&to=%d", control, eventID, from, min(from+49, to))
		if err := call(ctx, http.MethodGet, url, nil, &list); err != nil {
			return nil, err
		}
		for _, seg := range list.Segments {
			for _, c := range seg.Candidates {
				have[ack{pipeline: c.Pipeline, rendition: seg.Rendition, number: seg.Number}] = true
			}
		}
	}
	return have, nil
}

// readers is how many bodies are read at once.
const readers = 8

// readAll asks every origin for each segment that was acknowledged, by its entity tag, so
// that the candidate of that pipeline answers and not the one that viewers get, and holds the
// bytes against what was sent.
func (s *system) readAll(ctx context.Context, acks []ack) (read, wrong, unread int) {
	type want struct {
		ack
		deliver string
	}
	all := make(chan want)
	var mu sync.Mutex // guards the results
	var tasks sync.WaitGroup
	for range readers {
		tasks.Go(func() {
			for w := range all {
				same, err := readOne(ctx, w.deliver, w.ack)
				mu.Lock()
				switch {
				case err != nil:
					unread++
					fmt.Fprintf(os.Stderr, "   %s: %s %s %d: %v\n", w.deliver, w.pipeline, w.rendition, w.number, err)
				case !same:
					wrong++
					fmt.Fprintf(os.Stderr, "   %s: %s %s %d: OTHER BYTES\n", w.deliver, w.pipeline, w.rendition, w.number)
				default:
					read++
				}
				mu.Unlock()
			}
		})
	}
	for _, p := range s.regions {
		for o := range p.origins {
			for _, a := range acks {
				all <- want{a, p.origin(o, 7002)}
			}
		}
	}
	close(all)
	tasks.Wait()
	return read, wrong, unread
}

// patience is for an origin that has only just started on a busy machine.
const patience = 30 * time.Second

// readOne reads one segment, and reports whether its bytes are those that were sent.
func readOne(ctx context.Context, deliver string, a ack) (same bool, err error) {
	url := fmt.Sprintf("%s/%s/%s/%d.m4s", deliver, eventID, a.rendition, a.number)
	for deadline := time.Now().Add(patience); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		req.Header.Set("If-Match", a.digest.ETag())
		resp, err := http.DefaultClient.Do(req)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return live.DigestOf(body) == a.digest, nil
			}
		}
		if err == nil {
			err = fmt.Errorf("%s: %.200s", resp.Status, body)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return false, err
		}
		time.Sleep(200 * time.Millisecond)
	}
}
