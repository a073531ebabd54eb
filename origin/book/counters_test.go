package book

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"headwater/clock"
	"headwater/live"
)

// TestMetricsOfManyEvents: no number of events makes more than so many series;
// what is counted of the others is not lost, and a place that is free again is
// taken by the next.
func TestMetricsOfManyEvents(t *testing.T) {
	var events []*Event
	b := newByEvent(func() []*Event { return events }, clock.New(clock.Config{}))
	for i := range CountedEvents + 5 {
		e := known(t, live.EventID{Tenant: "t", Name: fmt.Sprint("e", i)})
		events = append(events, e)
		b.Of(e).decisions["preferred"].Inc()
	}
	if b.Of(events[CountedEvents]) != b.other || b.Of(events[CountedEvents-1]) == b.other {
		t.Error("not the first have counters of their own")
	}
	var other dto.Metric
	if err := b.other.decisions["preferred"].Write(&other); err != nil || other.GetCounter().GetValue() != 5 {
		t.Errorf("%v counted as other", other.GetCounter())
	}
	series := seriesOf(t, b)
	events = append(events[1:], events[0])[:len(events)-1]
	e := known(t, live.EventID{Tenant: "t", Name: "new"})
	events = append(events, e)
	if b.Of(e) == b.other {
		t.Error("the place of a deleted event is not free")
	}
	if got := seriesOf(t, b); got != series {
		t.Errorf("%d series, %d before", got, series)
	}
}

// seriesOf counts what a collector collects.
func seriesOf(t *testing.T, c prometheus.Collector) (n int) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += len(f.Metric)
	}
	return n
}
