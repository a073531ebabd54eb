package admit

import "testing"

func TestQuota(t *testing.T) {
	q := NewQuota(100, 40)
	if !q.EnterFor("a", Live, 40) || q.EnterFor("a", Live, 1) {
		t.Error("a does not get its share, or more")
	}
	if !q.EnterFor("b", DVR, 30) || q.EnterFor("b", DVR, 1) || !q.EnterFor("b", Live, 10) {
		t.Error("b's own classes are not kept apart, or a's storm is b's")
	}
	if !q.EnterFor("c", Live, 20) || q.EnterFor("c", Live, 1) {
		t.Error("the whole is not bounded")
	}
	q.LeaveFor("a", 40)
	q.LeaveFor("b", 30)
	if !q.EnterFor("a", Live, 40) || q.Used() != 70 {
		t.Errorf("%d used", q.Used())
	}
	q.LeaveFor("a", 40)
	q.LeaveFor("b", 10)
	q.LeaveFor("c", 20)
	if q.Used() != 0 || len(q.used) != 0 {
		t.Errorf("%d used, by %d names, after all have left", q.Used(), len(q.used))
	}
	all := NewQuota(10, 0)
	if !all.EnterFor("a", Publish, 10) {
		t.Error("a quota of everything refuses")
	}
}
