package viewer

import "sync"

// A crew does what takes a deep stack for those who mostly wait. A goroutine's
// stack grows to what it once needed; thousands of viewers who each open
// connections and parse answers on a stack of their own would keep 16 KB each
// while they wait, where 4 KB do.
type crew struct {
	jobs chan *job
	end  chan struct{}
	wg   sync.WaitGroup
	idle chan struct{} // a slot for each worker that waits for a job
}

// A job is one thing to do. It is used again and again by one goroutine, which
// waits for it.
type job struct {
	do   func()
	done chan struct{} // has room for one
}

// maxIdle bounds the workers that stay for more.
const maxIdle = 32

func newCrew() *crew {
	return &crew{jobs: make(chan *job), end: make(chan struct{}), idle: make(chan struct{}, maxIdle)}
}

func newJob(do func()) *job { return &job{do: do, done: make(chan struct{}, 1)} }

// run does a job and returns when it is done.
func (c *crew) run(j *job) {
	select {
	case c.jobs <- j:
	default:
		c.wg.Go(func() { c.work(j) })
	}
	<-j.done
}

func (c *crew) work(j *job) {
	for {
		j.do()
		j.done <- struct{}{}
		select {
		case c.idle <- struct{}{}:
		default:
			return
		}
		select {
		case j = <-c.jobs:
			<-c.idle
		case <-c.end:
			return
		}
	}
}

// stop ends the workers. No job is running, and none comes after it.
func (c *crew) stop() {
	close(c.end)
	c.wg.Wait()
}
