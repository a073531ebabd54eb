package live

import (
	"errors"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	e := Default()
	e.Start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	tl := e.Timeline()
	now := e.Start.Add(time.Hour) // segment 1801 begins
	for s, want := range map[string]Number{
		"0": 0, "1042": 1042, "9007199254740992": MaxNumber,
		"now": 1801, "-10m": 1501, "+30s": 1816, "-1ns": 1800, "-90m": 1, "-1h": 1,
		"2026-11-23T20:00:02Z": 2, "2026-11-23T22:00:03.999+02:00": 2, "2026-11-23T19:00:00Z": 1,
	} {
		m, err := ParseMoment("from", s)
		if got := m.Number(&tl, now); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "-5", "9007199254740993", "99999999999999999999", "1.5", "1e3", "+5", "10m", "soon", "now-1m", "2026-11-23", "2026-11-23T20:00:00", "null", "0001-01-01T00:00:00Z"} {
		var field *FieldError
		if _, err := ParseMoment("to", s); !errors.As(err, &field) || field.Field != "to" {
			t.Errorf("%q: %v", s, err)
		}
	}
}
