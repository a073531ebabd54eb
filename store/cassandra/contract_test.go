package cassandra_test

import (
	"testing"

	"headwater/store"
	"headwater/store/storetest"
)

func TestContract(t *testing.T) {
	o := optionsFor(t, "contract")
	initialise(t, o)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, o) })
}
