package live

import (
	"time"

	"github.com/dunglas/httpsfv"
)

// A ClockSaid is the value of Live-Clock: what a clock said when the message was sent. On
// requests it is that of the sender's system, on answers the time that is told.
type ClockSaid struct {
	Time time.Time
	// ID tells clocks apart behind one address; empty: by their address.
	ID string
	// Agree, on answers, is how many clocks agree with this one, its own among them.
	Agree int64
}

// String is the header's value.
func (c ClockSaid) String() string {
	item := httpsfv.NewItem(float64(max(c.Time.UnixMilli(), 0)) / 1000)
	if c.ID != "" {
		item.Params.Add("id", c.ID)
	}
	if c.Agree > 0 {
		item.Params.Add("agree", c.Agree)
	}
	s, err := httpsfv.Marshal(item)
	if err != nil {
		return "" // a time after the year 33658, or an id that is not printable
	}
	return s
}

// maxClockID bounds the ID of a clock.
const maxClockID = 64

// ParseClock reads Live-Clock. What is not one is none: it is only ever one word among
// several.
func ParseClock(values []string) (c ClockSaid, ok bool) {
	if len(values) != 1 || len(values[0]) > 256 {
		return c, false
	}
	item, err := httpsfv.UnmarshalItem(values)
	if err != nil {
		return c, false
	}
	seconds, ok := item.Value.(float64)
	if whole, is := item.Value.(int64); is {
		seconds, ok = float64(whole), true
	}
	if !ok || seconds < 0 || seconds > 1<<34 {
		return c, false
	}
	c.Time = time.UnixMilli(int64(seconds*1000 + 0.5)).UTC()
	if v, has := item.Params.Get("id"); has {
		c.ID, _ = v.(string)
	}
	if v, has := item.Params.Get("agree"); has {
		c.Agree, _ = v.(int64)
	}
	return c, len(c.ID) <= maxClockID
}
