package s3

import "sync"

// headers remembers the headers of objects, which never change, so that a scan
// asks only for those it has not seen.
type headers struct {
	mu         sync.Mutex // guards the following
	young, old map[string]header
}

// maxHeaders bounds each half.
const maxHeaders = 32 << 10

func newHeaders() *headers { return &headers{young: make(map[string]header)} }

func (c *headers) get(name string) (header, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.young[name]
	if !ok {
		if h, ok = c.old[name]; ok {
			c.add(name, h)
		}
	}
	return h, ok
}

func (c *headers) put(name string, h header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(name, h)
}

// add needs mu. Half of what is remembered goes when there is too much of it:
// what was not asked for since the last time.
func (c *headers) add(name string, h header) {
	if len(c.young) >= maxHeaders {
		c.old, c.young = c.young, make(map[string]header)
	}
	c.young[name] = h
}
