package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/disk"
)

// A lostRun is what was lost of one pipeline of a rendition, number after number.
type lostRun struct {
	where, pipeline string
	first, last     live.Number
	why             string
}

// sayLosses lists what a store has lost, segments as slots, and returns how many
// items it is.
func sayLosses(w io.Writer, losses []disk.Loss) (items int) {
	var runs []lostRun
	for _, x := range losses {
		items += x.Items
		if n, pipeline, err := layout.ParseSegmentKey(x.Key); err == nil && x.Record.Namespace == store.Media && !strings.HasSuffix(x.Record.ID, "/-journal") {
			runs = append(runs, lostRun{x.Record.ID, pipeline, n, n, x.File + ": " + x.Why})
			continue
		}
		fmt.Fprintf(w, "lost: %v\n", x)
	}
	slices.SortFunc(runs, func(a, b lostRun) int {
		return cmp.Or(cmp.Compare(a.where, b.where), cmp.Compare(a.pipeline, b.pipeline), cmp.Compare(a.first, b.first))
	})
	for i := 0; i < len(runs); {
		run := runs[i]
		n := 1
		for ; i+n < len(runs); n++ {
			next := runs[i+n]
			if next.where != run.where || next.pipeline != run.pipeline || next.why != run.why || next.first > run.last+1 {
				break
			}
			run.last = next.first
		}
		i += n
		event, rendition := run.where, ""
		if at := strings.LastIndex(run.where, "/"); at >= 0 {
			event, rendition = run.where[:at], run.where[at+1:]
		}
		fmt.Fprintf(w, "lost: event %s, rendition %s, pipeline %s, numbers %d to %d (%s): %s\n",
			event, rendition, run.pipeline, run.first, run.last, count(n, "segment"), run.why)
	}
	return items
}
