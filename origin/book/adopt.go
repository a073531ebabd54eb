package book

import (
	"context"
	"fmt"

	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
)

// leftPage bounds what is looked at of a rendition: its oldest segments tell whose they are.
const leftPage = 64 << 10

// Left returns the life of an event of this name of which media is stored, though its
// record is gone or cannot be read, and how much of that was seen; 0 where there is none.
// What a deleted event left is not that.
func (g *Book) Left(ctx context.Context, id live.EventID, renditions []live.Rendition) (life int64, segments int, err error) {
	if e, tomb, dead := g.known(id); e != nil || dead && !tomb.unreadable {
		return 0, 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	for _, r := range renditions {
		page, err := g.Store.Scan(ctx, layout.Media(id, r.Name), store.ScanOptions{MaxBytes: leftPage})
		if err != nil {
			return 0, 0, fmt.Errorf("origin: looking for what is stored of event %v: %w", id, err)
		}
		for _, item := range page.Items {
			_, of, err := layout.DecodeCandidate(item)
			switch {
			case err != nil || of < life:
			case of > life:
				life, segments = of, 1
			default:
				segments++
			}
		}
	}
	return life, segments, nil
}
