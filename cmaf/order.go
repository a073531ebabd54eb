package cmaf

// maxReordered is how many samples may decode before one that is shown before
// them: AVC and HEVC know 16 (max_num_reorder), and what is shifted by a second
// shall still be seen as that.
const maxReordered = 64

// An order brings samples from decode order into that in which they are shown,
// and looks for holes between two of them, and for two at one time. Its memory
// is constant: a sample that is more than maxReordered late counts as doubled.
type order struct {
	frame    int64 // what a sample lasts; 0 where the rate is variable
	from, to int64 // holes outside of this are not counted

	waiting [2 * maxReordered]shown // by time, from low to high
	low     int
	high    int

	begun bool
	last  int64 // begin of the last sample that left

	holes, holeTicks int64
	holeAt           int64 // where the newest begins
	doubled          bool
}

// shown is when a sample is shown, or the first and the last of many that are
// shown one after the other.
type shown struct{ first, last int64 }

// add takes in what decodes next.
func (o *order) add(x shown) {
	if o.high-o.low == maxReordered {
		o.leave(o.waiting[o.low])
		o.low++
	}
	if o.high == len(o.waiting) {
		o.high = copy(o.waiting[:], o.waiting[o.low:])
		o.low = 0
	}
	i := o.high
	for ; i > o.low && o.waiting[i-1].first > x.first; i-- {
		o.waiting[i] = o.waiting[i-1]
	}
	o.waiting[i] = x
	o.high++
}

// end lets all leave that wait.
func (o *order) end() {
	for ; o.low < o.high; o.low++ {
		o.leave(o.waiting[o.low])
	}
}

func (o *order) leave(x shown) {
	if !o.begun {
		o.begun, o.last = true, x.last
		return
	}
	step := x.first - o.last
	if step*4 < o.frame || step <= 0 {
		o.doubled = true
	}
	if o.frame > 0 && (step-o.frame)*2 > o.frame {
		if hole := min(x.first, o.to) - max(o.last+o.frame, o.from); hole > 0 {
			o.holeTicks = min(o.holeTicks+hole, maxTime)
			o.holes += max(1, rounded(hole, o.frame))
			o.holeAt = o.last + o.frame
		}
	}
	o.last = max(o.last, x.last)
}
