package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
)

// A segmentHistory is what the control API tells of one segment.
type segmentHistory struct {
	Rendition string    `json:"rendition"`
	Number    int64     `json:"number"`
	Start     time.Time `json:"start"`
	Place     string    `json:"place"`
	Now       struct {
		Action string `json:"action"`
		Reason string `json:"reason"`
		Serves string `json:"serves"`
	} `json:"now"`
	Served []struct {
		Pipeline      string    `json:"pipeline"`
		Digest        string    `json:"digest"`
		Reason        string    `json:"reason"`
		Defects       string    `json:"defects"`
		Quality       string    `json:"quality"`
		ChosenAt      time.Time `json:"chosen_at"`
		FirstServedAt time.Time `json:"first_served_at"`
		Node          string    `json:"node"`
	} `json:"served"`
	Refused []struct {
		Status  int       `json:"status"`
		Problem string    `json:"problem"`
		Count   int64     `json:"count"`
		FirstAt time.Time `json:"first_at"`
		LastAt  time.Time `json:"last_at"`
	} `json:"refused"`
	Candidates []struct {
		Pipeline  string    `json:"pipeline"`
		Digest    string    `json:"digest"`
		Defects   string    `json:"defects"`
		Quality   string    `json:"quality"`
		Size      int64     `json:"size"`
		Published time.Time `json:"published"`
		Masked    bool      `json:"masked"`
	} `json:"candidates"`
}

// segments prints what viewers got of each segment, beside what there is and
// what would be served now.
func (c *control) segments(ctx context.Context, path string, asJSON bool) error {
	b, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = c.out.Write(b)
		return err
	}
	var list struct {
		Segments []segmentHistory `json:"segments"`
		Reason   string           `json:"reason"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("--control: %w", err)
	}
	if len(list.Segments) == 0 {
		_, err := fmt.Fprintln(c.out, cmp.Or(list.Reason, "there is no segment to show"))
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, s := range list.Segments {
		s.print(w)
	}
	return w.Flush()
}

const timeOfDay = "15:04:05.000"

// shape says what is wrong with the media, and what is wanting in what it shows.
func shape(defects, quality string) string {
	if quality == "" {
		return cmp.Or(defects, "clean")
	}
	return cmp.Or(defects, "clean") + ", quality " + quality
}

func (s *segmentHistory) print(w io.Writer) {
	fmt.Fprintf(w, "%s %d, %s, %s\n", s.Rendition, s.Number, s.Start.Format("2006-01-02 "+timeOfDay), s.Place)
	for _, x := range s.Candidates {
		what := []string{shape(x.Defects, x.Quality), fmt.Sprintf("%d bytes", x.Size)}
		if x.Masked {
			what = append(what, "masked")
		}
		fmt.Fprintf(w, "  published\t%s\t%s\t%s\t%s\n", x.Published.Format(timeOfDay), x.Pipeline, x.Digest, strings.Join(what, ", "))
	}
	for _, x := range s.Served {
		fmt.Fprintf(w, "  served\t%s\t%s\t%s\t%s: %s, chosen %s by %s\n", x.FirstServedAt.Format(timeOfDay), x.Pipeline, x.Digest, shape(x.Defects, x.Quality), x.Reason, x.ChosenAt.Format(timeOfDay), x.Node)
	}
	for _, x := range s.Refused {
		fmt.Fprintf(w, "  refused\t%s\t%d\t%s\t%s, last %s\n", x.FirstAt.Format(timeOfDay), x.Status, x.Problem, count(int(x.Count), "time"), x.LastAt.Format(timeOfDay))
	}
	fmt.Fprintf(w, "  now\t\t%s\t\t%s: %s\n", cmp.Or(s.Now.Serves, "-"), s.Now.Action, s.Now.Reason)
}
