package origin

import "time"

// Times and limits of the parts that what is tested here depends on.
const (
	keepHouse        = 10 * time.Second
	checkVersions    = time.Second
	gatherFor        = 400 * time.Millisecond
	lookEvery        = 250 * time.Millisecond
	sumUp            = 5 * time.Second
	freshOutcome     = time.Second
	unreadyAfter     = 2 * time.Second
	young            = 30 * time.Second
	arrivalWait      = 500 * time.Millisecond
	arrivalPause     = 25 * time.Millisecond
	keepFolded       = time.Hour
	foldAt           = 100
	journalBlock     = 64
	maxEntries       = 20_000
	maxControlBody   = 1 << 20
	maxDropped       = 1 << 20
	maxSkipped       = 256 << 10
	maxMasks         = 256
	maxInvalidations = 64
	loopMember       = "headwater-origin"
)
