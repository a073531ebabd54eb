package live

import (
	"slices"
	"strconv"
)

// Viewers play all segments of a rendition with one init segment. Where an encoder
// comes back that makes them for another one (a new size, codec or timescale), a new
// generation of the event begins at a number:
//
//	number        1040      1041      1042      1043
//	generation                        1
//	v720          init.mp4  init.mp4  init.1.mp4 ...
//	a-en          init.mp4  init.mp4  init.mp4       the same as before
//
// What is before the first is of generation 0. Renditions change together, so that a
// generation is one discontinuity of HLS and one Period of DASH.

// What event.json carries of generations: so many, and so much in all.
const (
	MaxGenerations     = 64
	MaxGenerationBytes = 1 << 20
)

// A Generation is from one number on, up to that of the next.
type Generation struct {
	// Index counts the event's generations, from 1.
	Index int `json:"index"`
	// From is its first segment.
	From Number `json:"from"`
	// Skipped is how many indices before it are of generations that were taken back
	// before they began: no viewer came to them.
	Skipped int `json:"skipped,omitempty"`
	// Renditions are those that have an init segment of their own in it. The
	// others go on with the one that they have.
	Renditions []Renewed `json:"renditions"`
}

// A Renewed is a rendition that has another init segment: what that tells, and its digest.
type Renewed struct {
	Rendition
	Digest string `json:"digest"` // as Content-Digest
}

// A NewInitPolicy says what is done about an init segment that cannot stand in for
// the one that viewers have.
type NewInitPolicy string

// The policies.
const (
	NewInitRefuse     NewInitPolicy = "refuse"     // until an operator begins a generation with it
	NewInitGeneration NewInitPolicy = "generation" // it begins one, once no pipeline publishes with the old
)

// InitFile is the name of a generation's init segment in URLs.
func InitFile(generation int) string {
	if generation == 0 {
		return InitName
	}
	return initBase + strconv.Itoa(generation) + initExt
}

const (
	initBase = "init."
	initExt  = ".mp4"
)

// parseInitFile reads it.
func parseInitFile(file string) (generation int, ok bool) {
	const most = 9 // digits
	if len(file) <= len(initBase)+len(initExt) || file[:len(initBase)] != initBase {
		return 0, file == InitName
	}
	digits, ext := file[len(initBase):len(file)-len(initExt)], file[len(file)-len(initExt):]
	if ext != initExt || len(digits) > most || digits[0] == '0' {
		return 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		generation = generation*10 + int(digits[i]-'0')
	}
	return generation, true
}

// GenerationAt is the index of the generation that a segment is of.
func (c *Config) GenerationAt(n Number) (index int) {
	for i := range c.Generations {
		if c.Generations[i].From > n {
			break
		}
		index = c.Generations[i].Index
	}
	return index
}

// DiscontinuityAt is how many generations have begun before or with a segment, since the
// event did.
func (c *Config) DiscontinuityAt(n Number) int {
	index := c.GenerationAt(n)
	if g := c.Generation(index); g != nil {
		return index - g.Skipped
	}
	return index
}

// NeededGenerations is what is left of generations without what no segment from oldest on
// is of.
func NeededGenerations(all []Generation, oldest Number) []Generation {
	var out []Generation
	for i, g := range all {
		if i+1 < len(all) && all[i+1].From <= oldest { // it tells of renditions that none after it renews
			g.Renditions = slices.DeleteFunc(slices.Clone(g.Renditions), func(r Renewed) bool {
				return slices.ContainsFunc(all[i+1:], func(x Generation) bool { return x.From <= oldest && x.Renewed(r.Name) != nil })
			})
			if len(g.Renditions) == 0 {
				continue
			}
		}
		out = append(out, g)
	}
	return out
}

// Renewal is what was the last at a segment to give a rendition another init
// segment; nil where none has.
func (c *Config) Renewal(rendition string, n Number) (g *Generation, r *Renewed) {
	for i := range c.Generations {
		if c.Generations[i].From > n {
			break
		}
		if x := c.Generations[i].Renewed(rendition); x != nil {
			g, r = &c.Generations[i], x
		}
	}
	return g, r
}

// InitAt is the generation of a segment's init segment, and the first segment that
// has that one.
func (c *Config) InitAt(rendition string, n Number) (index int, from Number) {
	if g, _ := c.Renewal(rendition, n); g != nil {
		return g.Index, g.From
	}
	return 0, 0
}

// Renewed is a rendition as it is renewed in a generation; nil where it is not.
func (g *Generation) Renewed(rendition string) *Renewed {
	for i := range g.Renditions {
		if g.Renditions[i].Name == rendition {
			return &g.Renditions[i]
		}
	}
	return nil
}

// Generation returns one by its index; nil where there is none.
func (c *Config) Generation(index int) *Generation {
	for i := range c.Generations {
		if c.Generations[i].Index == index {
			return &c.Generations[i]
		}
	}
	return nil
}

// HasInit reports whether a generation has an init segment of its own for a rendition.
func (c *Config) HasInit(rendition string, index int) bool {
	g := c.Generation(index)
	return index == 0 || g != nil && g.Renewed(rendition) != nil
}

// RenditionsAt are the renditions as they are in a segment.
func (c *Config) RenditionsAt(n Number) []Rendition {
	if len(c.Generations) == 0 || n < c.Generations[0].From {
		return c.Renditions
	}
	out := slices.Clone(c.Renditions)
	for i := range out {
		if _, r := c.Renewal(out[i].Name, n); r != nil {
			out[i] = out[i].as(&r.Rendition)
		}
	}
	return out
}

// RenditionAt is a rendition as it is in a segment.
func (c *Config) RenditionAt(name string, n Number) (Rendition, bool) {
	r, ok := c.Rendition(name)
	if _, x := c.Renewal(name, n); x != nil && ok {
		r = r.as(&x.Rendition)
	}
	return r, ok
}

// as is r with what media told in place of what they told before.
func (r Rendition) as(told *Rendition) Rendition {
	r.Codecs, r.Width, r.Height, r.FrameRate = told.Codecs, told.Width, told.Height, told.FrameRate
	r.Timescale, r.SampleRate, r.Channels, r.ChannelConfig = told.Timescale, told.SampleRate, told.Channels, told.ChannelConfig
	r.JOC, r.SAR, r.Color = told.JOC, told.SAR, told.Color
	r.Scheme, r.KID, r.PSSH = told.Scheme, told.KID, told.PSSH
	return r
}

// ValidateGenerations says what is wrong with them: nobody takes a configuration of which
// they are.
func (c *Config) ValidateGenerations() error {
	index, from := 0, Number(-1)
	for i, g := range c.Generations {
		at := "generations[" + strconv.Itoa(i) + "]."
		if g.Skipped < 0 || g.Skipped >= g.Index {
			return badField(at+"skipped", "%d of the %d before generation %d", g.Skipped, g.Index-1, g.Index)
		}
		if g.Index <= index || g.From <= from || g.From > MaxNumber {
			return badField(at+"from", "generation %d from %d does not follow generation %d from %d", g.Index, g.From, index, from)
		}
		index, from = g.Index, g.From
		told := Event{}
		for _, r := range g.Renditions {
			told.Renditions = append(told.Renditions, r.Rendition)
		}
		if err := told.validateRenditions(); err != nil {
			return badField(at+"renditions", "%v", err)
		}
	}
	return nil
}
