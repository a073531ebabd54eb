package object

// A liveHeap has the object that leaves the live window next at its top.
type liveHeap []*Object

func (h liveHeap) Len() int { return len(h) }
func (h liveHeap) Less(i, j int) bool {
	if h[i].stays != h[j].stays {
		return h[j].stays
	}
	return h[i].liveUntil.Before(h[j].liveUntil)
}
func (h liveHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}
func (h *liveHeap) Push(x any) {
	o := x.(*Object)
	*h = append(*h, o)
	o.place = len(*h)
}
func (h *liveHeap) Pop() any {
	last := len(*h) - 1
	o := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	o.place = 0
	return o
}

// neighbours are an object's neighbours in an objectList.
type neighbours struct{ prev, next *Object }

// An objectList is a ring, so that to put an object in takes no memory.
type objectList struct{ root Object }

func (l *objectList) init() { l.root.prev, l.root.next = &l.root, &l.root }

func (l *objectList) pushFront(o *Object) {
	o.prev, o.next = &l.root, l.root.next
	o.prev.next, o.next.prev = o, o
}

func (l *objectList) remove(o *Object) {
	o.prev.next, o.next.prev = o.next, o.prev
	o.prev, o.next = nil, nil
}

func (l *objectList) back() *Object {
	if l.root.prev == &l.root {
		return nil
	}
	return l.root.prev
}
