package cmaf

// A histogram counts sample durations. Real content has few different ones;
// what exceeds the slots is only counted.
type histogram struct {
	slots [16]durationCount
	used  int
	last  int // slot of the last add
	other int64
}

type durationCount struct {
	duration uint32
	n        int64
}

func (h *histogram) add(duration uint32, n int64) {
	if h.used > 0 && h.slots[h.last].duration == duration {
		h.slots[h.last].n += n
		return
	}
	for i := range h.used {
		if h.slots[i].duration == duration {
			h.slots[i].n += n
			h.last = i
			return
		}
	}
	if h.used == len(h.slots) {
		h.other += n
		return
	}
	h.slots[h.used] = durationCount{duration, n}
	h.last = h.used
	h.used++
}

func (h *histogram) counted() []durationCount { return h.slots[:h.used] }

// typical is the most common duration, and whether more than half of all
// samples last that long, give or take an eighth.
func (h *histogram) typical() (duration uint32, constant bool) {
	total, best := h.other, int64(0)
	for _, d := range h.counted() {
		total += d.n
		if d.n > best || d.n == best && d.duration < duration {
			best, duration = d.n, d.duration
		}
	}
	near := int64(0)
	for _, d := range h.counted() {
		if off := int64(d.duration) - int64(duration); off*8 <= int64(duration) && -off*8 <= int64(duration) {
			near += d.n
		}
	}
	return duration, near*2 > total
}
