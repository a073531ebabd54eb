// Package timers shows a bug of Go (seen with 1.26.8): in a bubble of testing/synctest
// the race detector crashes where two threads run timers at once. It is not built with
// the rest; it ends in a tenth of a second, by ThreadSanitizer's "CHECK failed:
// tsan_rtl.cpp", a segmentation fault or a throw of the runtime:
//
//	go test -race -cpu 4 ./scripts/testdata/timers
//
// with -cpu 1, or without -race, it passes. What happens: a timer whose channel nobody
// blocks on is in no heap, and is run by whoever looks at that channel next (runtime:
// timer.maybeRunChan, and unlockAndRun). The race detector wants a context for that, of
// which a thread uses one at a time. Outside of a bubble it is the P's, of which there is
// one for each thread; a bubble has one for all (bubble.timers.raceCtx), and no lock is
// held. Here hundreds of goroutines wake at one instant, each run by the thread that it
// finds, and each looks at channels of timers that have expired.
package timers

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimersOfOneBubble(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			var tasks sync.WaitGroup
			for range 500 {
				tasks.Add(1)
				expired := make([]*time.Timer, 50)
				for i := range expired {
					expired[i] = time.NewTimer(time.Second)
				}
				time.AfterFunc(2*time.Second, func() {
					defer tasks.Done()
					for _, timer := range expired {
						select {
						case <-timer.C:
						default:
							t.Error("the timer has not expired")
						}
					}
				})
			}
			tasks.Wait()
		})
	}
}
