package announce_test

import (
	"testing"

	"headwater/announce"
	"headwater/announce/announcetest"
)

func TestLocal(t *testing.T) {
	announcetest.Run(t, func(t *testing.T, nodes int) []announce.Bus {
		bus := announce.NewLocal()
		var all []announce.Bus
		for range nodes {
			all = append(all, bus)
		}
		return all
	})
}
