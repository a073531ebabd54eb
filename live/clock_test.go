package live

import (
	"testing"
	"time"
)

func TestClockSaid(t *testing.T) {
	at := time.UnixMilli(1795405280123).UTC()
	for _, c := range []struct {
		value string
		want  ClockSaid
		ok    bool
	}{
		{"1795405280.123", ClockSaid{Time: at}, true},
		{`1795405280.123;id="nk3v"`, ClockSaid{Time: at, ID: "nk3v"}, true},
		{"1795405280.123;agree=4", ClockSaid{Time: at, Agree: 4}, true},
		{"1795405280", ClockSaid{Time: time.Unix(1795405280, 0).UTC()}, true},
		{"0.0", ClockSaid{Time: time.Unix(0, 0).UTC()}, true},
		{"-1.0", ClockSaid{}, false},
		{"99999999999.0", ClockSaid{}, false},
		{"soon", ClockSaid{}, false},
		{"1795405280.123, 1795405280.123", ClockSaid{}, false},
		{"", ClockSaid{}, false},
	} {
		got, ok := ParseClock([]string{c.value})
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q is %+v, %v", c.value, got, ok)
		}
		if again, _ := ParseClock([]string{got.String()}); ok && again != got {
			t.Errorf("%q again is %+v", got, again)
		}
	}
	if _, ok := ParseClock(nil); ok {
		t.Error("nothing is a clock")
	}
}

func FuzzClockSaid(f *testing.F) {
	f.Add(`1795405280.123;id="nk3v";agree=4`)
	f.Fuzz(func(t *testing.T, value string) {
		got, ok := ParseClock([]string{value})
		if !ok {
			return
		}
		if s := got.String(); s != "" {
			if again, ok := ParseClock([]string{s}); !ok || again.Time != got.Time || again.ID != got.ID {
				t.Errorf("%q is %+v, again %+v", value, got, again)
			}
		}
	})
}
