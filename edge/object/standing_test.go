package object

import "testing"

// Where an object is kept, and what it counts for.
func TestStanding(t *testing.T) {
	for name, c := range map[string]struct {
		s     standing
		shelf shelf
		want  sums
	}{
		"of the live window":               {standing{listed: true, inWindow: true}, window, sums{10, 10, 0}},
		"of the live window, and in use":   {standing{listed: true, inWindow: true, users: 1}, window, sums{10, 10, 0}},
		"of the live window, being filled": {standing{listed: true, inWindow: true, filling: true}, window, sums{10, 10, 0}},
		"idle":                             {standing{listed: true}, idle, sums{10, 0, 0}},
		"in use":                           {standing{listed: true, users: 2}, nowhere, sums{10, 0, 10}},
		"being filled":                     {standing{listed: true, filling: true}, nowhere, sums{10, 0, 10}},
		"dropped":                          {standing{inWindow: true}, nowhere, sums{}},
		"dropped, and in use":              {standing{inWindow: true, users: 1}, nowhere, sums{10, 0, 10}},
	} {
		c.s.charged = 10
		var u sums
		if u.add(&c.s); c.s.shelf() != c.shelf || u != c.want {
			t.Errorf("%s: shelf %v, %+v", name, c.s.shelf(), u)
		}
		if u.sub(&c.s); u != (sums{}) {
			t.Errorf("%s: %+v is left", name, u)
		}
	}
}

// Who leaves next, and what there is room for.
func TestRoom(t *testing.T) {
	for name, c := range map[string]struct {
		u              sums
		isIdle, isLive bool
		want           shelf
	}{
		"it fits":                          {sums{100, 100, 0}, true, true, nowhere},
		"too much, some idle":              {sums{101, 90, 0}, true, true, idle},
		"too much, of the live window":     {sums{101, 76, 25}, false, true, window},
		"too much, and that is not why":    {sums{101, 75, 26}, false, true, nowhere},
		"too much, and all of it in use":   {sums{101, 90, 11}, false, false, nowhere},
		"too much, all live and in use":    {sums{200, 200, 0}, false, false, nowhere},
		"too much, and some of it is idle": {sums{200, 0, 100}, true, false, idle},
	} {
		if got := c.u.leaves(100, c.isIdle, c.isLive); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		u    sums
		more int64
		want bool
	}{
		"nothing is there":                           {sums{}, 50, true},
		"half of it at most":                         {sums{}, 51, false},
		"the live window has its room":               {sums{live: 70}, 30, true},
		"and no more than that is left":              {sums{live: 70}, 31, false},
		"but a quarter":                              {sums{live: 100}, 25, true},
		"what is in use counts":                      {sums{live: 70, busy: 20}, 11, false},
		"what is in use and of the live window fits": {sums{live: 70, busy: 20}, 10, true},
	} {
		if got := c.u.admits(100, c.more); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
