package edge

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

func TestSiteFillsOnce(t *testing.T) {
	runSite(t, 4, func(s *siteRig) {
		s.watch(1, 12)
		s.expect(1, 12)
		if n := s.origin.asks("/t/e/event.json"); n > 4 {
			t.Errorf("event.json was asked for %d times", n)
		}
	})
}

// The next in rank takes over within a second (view checks it), and what it
// filled is not filled again when the node is back.
func TestSiteNodeIsKilledAndRestarted(t *testing.T) {
	for _, name := range []string{"a", "b", "c", "d"} {
		for _, away := range []time.Duration{5 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second} {
			t.Run(fmt.Sprint(name, away), func(t *testing.T) {
				runRow(t, name == "a", func(s *siteRig) {
					s.watch(5, 12)
					s.at(12 * time.Second)
					// What was in flight broke off: published at 12.3 s.
					s.allow(1, 0, 6, 6)
					s.kill(name)
					s.at(12*time.Second + away)
					s.start(name)
					s.expect(5, 12)
				})
			})
		}
	}
}

func TestSiteLosesAllButOne(t *testing.T) {
	runSite(t, 4, func(s *siteRig) {
		s.watch(3, 24)
		for i, name := range []string{"a", "c", "d"} {
			s.at(time.Duration(12+4*i) * time.Second)
			n := live.Number(6 + 2*i)
			s.allow(1, 0, n, n)
			s.kill(name)
		}
		for i, name := range []string{"d", "a", "c"} {
			s.at(time.Duration(26+2*i)*time.Second + 700*time.Millisecond)
			s.start(name)
		}
		s.expect(3, 24)
	})
}

// A node that hangs is out within a second, and owns nothing of what became due
// before the others heard of it again.
func TestSiteNodeHangs(t *testing.T) {
	for _, name := range []string{"a", "b", "c", "d"} {
		for _, inwards := range []bool{false, true} {
			t.Run(fmt.Sprint(name, inwards), func(t *testing.T) {
				runRow(t, name == "a", func(s *siteRig) {
					s.watch(5, 13)
					s.at(11 * time.Second)
					s.leave(name, true)
					set := func(frozen bool) {
						s.all(name, func(from, to string) {
							if to == name || !inwards {
								s.links.freeze(from, to, frozen)
							}
						})
					}
					set(true)
					// In flight then, and what becomes due before it is out. It may
					// have the origin's answer when it goes on.
					s.allow(1, 1, 6, 6)
					s.at(17800 * time.Millisecond)
					set(false)
					s.leave(name, false)
					s.expect(5, 13)
				})
			})
		}
	}
}

// A link between two nodes is cut: each still fills from the one that owns,
// through another.
func TestSiteLinkIsCut(t *testing.T) {
	for _, pair := range []string{"ab", "ac", "ad", "bc", "bd", "cd"} {
		for _, frozen := range []bool{false, true} {
			t.Run(fmt.Sprint(pair, frozen), func(t *testing.T) {
				runRow(t, pair == "ab", func(s *siteRig) {
					s.watch(5, 11)
					a, b := pair[:1], pair[1:]
					set := s.links.setCut
					if frozen {
						set = s.links.freeze
					}
					s.at(12 * time.Second)
					set(a, b, true)
					set(b, a, true)
					s.at(17 * time.Second)
					set(a, b, false)
					set(b, a, false)
					s.expect(5, 11)
				})
			})
		}
	}
}

// A node that sees no other fills for itself. When it sees them again nothing
// that they filled meanwhile is filled once more.
func TestSiteNodeIsCutOff(t *testing.T) {
	runSite(t, 4, func(s *siteRig) {
		s.watch(4, 14)
		s.at(12 * time.Second)
		s.allow(2, 1, 6, 6)
		s.allow(1, 1, 7, 9)
		set := func(cut bool) {
			s.all("a", func(from, to string) {
				if from != "origin" && to != "origin" {
					s.links.setCut(from, to, cut)
				}
			})
		}
		set(true)
		s.at(17 * time.Second)
		set(false)
		s.expect(4, 14)
	})
}

// A node whose way to the origin is cut fills from the others.
func TestSiteNodeLosesItsParent(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		runSite(t, 4, func(s *siteRig) {
			s.watch(4, 14)
			set := s.links.setCut
			if frozen {
				// That is known to nobody until the segment is late.
				set, s.within = s.links.freeze, 1700*time.Millisecond
			}
			s.at(12 * time.Second)
			s.allow(1, 0, 6, 7)
			if frozen {
				s.allow(1, 1, 6, 7) // the origin does not see it
			}
			set("a", "origin", true)
			s.at(17 * time.Second)
			set("a", "origin", false)
			s.expect(4, 14)
		})
	}
}

// A segment that is late for everybody is waited for by one node, up to when the
// origin decides; one that is lost by one more, and then perhaps another.
func TestSiteDoesNotStormTheOrigin(t *testing.T) {
	runSite(t, 4, func(s *siteRig) {
		s.late = 1100 * time.Millisecond
		s.watch(4, 7)
		s.expect(4, 7)
	})
	runSite(t, 4, func(s *siteRig) {
		s.at(10 * time.Second)
		s.origin.script(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Until(s.began.Add(published(6) + 2200*time.Millisecond))) // the deadline
			live.ErrLost.For(2*time.Second).Write(w, r)
		})
		for _, name := range s.names {
			s.viewers.Go(func() {
				s.at(10600 * time.Millisecond)
				for _, r := range siteRenditions {
					s.viewers.Go(func() {
						if w := s.get(name, "/t/e/"+r+"/6.m4s"); w.Code != http.StatusGone {
							t.Errorf("%s: %d", name, w.Code)
						}
					})
				}
			})
		}
		s.viewers.Wait()
		for _, r := range siteRenditions {
			if n := s.origin.asks("/t/e/" + r + "/6.m4s"); n > 3 {
				t.Errorf("%s: the origin was asked %d times for what is lost", r, n)
			}
		}
	})
}

// A refusal of the origin is the site's: no other node asks for the same again.
func TestSiteBelievesRefusals(t *testing.T) {
	runSite(t, 4, func(s *siteRig) {
		s.at(10 * time.Second)
		s.origin.script(func(w http.ResponseWriter, r *http.Request) {
			live.ErrShed.For(4*time.Second).Write(w, r)
		})
		for _, name := range s.names {
			for _, r := range siteRenditions {
				if w := s.get(name, "/t/e/"+r+"/4.m4s"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Cache-Control") != "max-age=4, max-age-ms=4000" {
					t.Errorf("%s: %d, %s", name, w.Code, w.Header().Get("Cache-Control"))
				}
			}
		}
		for _, r := range siteRenditions {
			if n := s.origin.asks("/t/e/" + r + "/4.m4s"); n != 1 {
				t.Errorf("%s: the origin was asked %d times", r, n)
			}
		}
	})
}

// Notifications and versions reach all nodes with the next segment, and a new
// configuration is asked for once.
func TestSiteIsNotified(t *testing.T) {
	runSite(t, 4, func(s *siteRig) {
		const set = `4, ad-break;id="b1";from=1`
		s.watch(3, 8)
		s.at(10 * time.Second)
		asked := s.origin.asks("/t/e/event.json")
		s.origin.set(live.HeaderNotifications, set)
		s.origin.configure(func(c *live.Config) { c.HoldMS = 2100 })
		s.at(12400 * time.Millisecond)
		synctest.Wait()
		for _, name := range s.names {
			for _, path := range []string{"/t/e/" + siteRenditions[0] + "/3.m4s", "/t/e/" + siteRenditions[1] + "/1000.m4s"} {
				w := s.get(name, path)
				if n, v := w.Header().Get(live.HeaderNotifications), w.Header().Get(live.HeaderVersion); n != set || v != "2" {
					t.Errorf("%s of %s: notifications %q, version %s", path, name, n, v)
				}
			}
		}
		if n := s.origin.asks("/t/e/event.json") - asked; n > 2 { // each is held: one was, and the next one is
			t.Errorf("the new configuration was asked for %d times", n)
		}
		s.expect(3, 8)
	})
}
