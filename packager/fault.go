package packager

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"headwater/live"
)

// ErrFault is wrapped by every error about the text of a fault.
var ErrFault = errors.New("packager: fault")

// A FaultKind is one way to break a pipeline on purpose.
type FaultKind string

// The faults.
const (
	// FaultDrop: the segment is never sent.
	FaultDrop FaultKind = "drop"
	// FaultTruncate: the bytes end in the middle of the media data.
	FaultTruncate FaultKind = "truncate"
	// FaultRemoveSamples: a well-formed segment with a hole of so many samples.
	FaultRemoveSamples FaultKind = "remove-samples"
	// FaultShift: the decode time is off by so much; it may be negative.
	FaultShift FaultKind = "shift"
	// FaultDelay: the segment is sent so much later.
	FaultDelay FaultKind = "delay"
	// FaultStop: nothing is sent, init segments neither, as if the pipeline were dead.
	FaultStop FaultKind = "stop"
	// FaultBlack: the picture of the built-in clip is black. Nothing is missing.
	FaultBlack FaultKind = "black"
	// FaultFreeze: the picture stands still on the segment's key frame.
	FaultFreeze FaultKind = "freeze"
	// FaultMute: sound (AAC-LC) is silent.
	FaultMute FaultKind = "mute"
)

// FaultKinds lists every kind, in the order of the documentation.
var FaultKinds = []FaultKind{FaultDrop, FaultTruncate, FaultRemoveSamples, FaultShift, FaultDelay, FaultStop, FaultBlack, FaultFreeze, FaultMute}

// A Fault breaks the segments it selects, for drills. The bytes it makes are
// inspected and digested like any others: as a bad encoder would produce them.
type Fault struct {
	Kind    FaultKind
	Samples int           // FaultRemoveSamples: how many, at least 1
	By      time.Duration // FaultShift: not 0; FaultDelay: above 0

	// Which segments: of one rendition or, where empty, of all; with numbers
	// From to To, inclusive, To 0 meaning without end; of those each whose
	// number Every divides, 0 meaning all.
	Rendition string
	From, To  live.Number
	Every     int64

	// Dishonest leaves the findings out of Live-Defects: a packager that does
	// not inspect.
	Dishonest bool
}

// ParseFault reads a fault: its kind, with a colon and its amount where it has
// one, then any of rendition=NAME, from=N, to=N, every=N and dishonest,
// separated by spaces or commas.
//
//	drop
//	truncate rendition=v720 every=5
//	remove-samples:12 from=100 to=120
//	shift:-400ms
//	delay:1500ms,rendition=a-en
//	stop
func ParseFault(text string) (Fault, error) {
	bad := func(format string, a ...any) (Fault, error) {
		return Fault{}, fmt.Errorf("%w %q: %s", ErrFault, text, fmt.Sprintf(format, a...))
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
	if len(words) == 0 {
		return bad("is empty: give one of %s", kindList())
	}
	var f Fault
	kind, amount, has := strings.Cut(words[0], ":")
	f.Kind = FaultKind(kind)
	switch f.Kind {
	case FaultDrop, FaultTruncate, FaultStop, FaultBlack, FaultFreeze, FaultMute:
		if has {
			return bad("%s takes no amount", kind)
		}
	case FaultRemoveSamples:
		n, err := strconv.Atoi(amount)
		if err != nil {
			return bad("remove-samples wants a count, as in remove-samples:12")
		}
		f.Samples = n
	case FaultShift, FaultDelay:
		d, err := time.ParseDuration(amount)
		if err != nil {
			return bad("%s wants a duration, as in %s:400ms", kind, kind)
		}
		f.By = d
	default:
		return bad("%q is none of %s", kind, kindList())
	}
	for _, w := range words[1:] {
		key, val, _ := strings.Cut(w, "=")
		n, err := strconv.ParseInt(val, 10, 64)
		switch key {
		case "rendition":
			f.Rendition, err = val, nil
		case "from":
			f.From = live.Number(n)
		case "to":
			f.To = live.Number(n)
		case "every":
			f.Every = n
		case "dishonest":
			f.Dishonest, err = true, nil
			if w != "dishonest" {
				return bad("dishonest takes no value")
			}
		default:
			return bad("%q is none of rendition=, from=, to=, every=, dishonest", w)
		}
		if err != nil {
			return bad("%s wants a number, not %q", key, val)
		}
	}
	if err := f.Validate(); err != nil {
		return bad("%s", strings.TrimPrefix(err.Error(), ErrFault.Error()+": "))
	}
	return f, nil
}

// Validate reports the first impossible value.
func (f Fault) Validate() error {
	bad := func(format string, a ...any) error { return fmt.Errorf("%w: %s", ErrFault, fmt.Sprintf(format, a...)) }
	if !slices.Contains(FaultKinds, f.Kind) {
		return bad("%q is none of %s", f.Kind, kindList())
	}
	switch {
	case f.Kind == FaultRemoveSamples && (f.Samples < 1 || f.Samples > 1e6):
		return bad("%d samples is outside 1 to 1000000", f.Samples)
	case f.Kind == FaultShift && (f.By == 0 || f.By.Abs() > time.Hour):
		return bad("a shift of %v is 0 or more than an hour", f.By)
	case f.Kind == FaultDelay && (f.By <= 0 || f.By > time.Hour):
		return bad("a delay of %v is outside 1ns to 1h", f.By)
	case f.Rendition != "" && !live.ValidName(f.Rendition):
		return bad("rendition %q is not a name", f.Rendition)
	case f.From < 0 || f.To < 0 || f.To != 0 && f.To < f.From:
		return bad("from=%d to=%d is no range", f.From, f.To)
	case f.Every < 0:
		return bad("every=%d is negative", f.Every)
	}
	return nil
}

func kindList() string {
	s := make([]string, len(FaultKinds))
	for i, k := range FaultKinds {
		s[i] = string(k)
	}
	return strings.Join(s, ", ")
}

func (f *Fault) selects(rendition string, n live.Number) bool {
	return (f.Rendition == "" || f.Rendition == rendition) &&
		n >= f.From && (f.To == 0 || n <= f.To) &&
		(f.Every == 0 || int64(n)%f.Every == 0)
}

// Faults is the set of faults of a running packager. It is safe for
// concurrent use, and a change applies to the next segment. Nil has none.
type Faults struct {
	mu   sync.Mutex // guards the following
	list []Fault
}

// Add adds faults after those that are set. Where several select a segment
// all apply, in their order.
func (f *Faults) Add(faults ...Fault) error {
	for i := range faults {
		if err := faults[i].Validate(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, faults...)
	return nil
}

// Clear mends everything.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// List returns the faults that are set.
func (f *Faults) List() []Fault {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// of returns the faults that select a segment.
func (f *Faults) of(rendition string, n live.Number) []Fault {
	return slices.DeleteFunc(f.List(), func(x Fault) bool { return !x.selects(rendition, n) })
}
