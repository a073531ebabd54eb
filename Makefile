# make check   the quick loop: format, vet, staticcheck, short tests; sets up what they need
# make test    everything, with real ffmpeg and a real browser; sets up what it needs
# make bench   the side-by-side benchmarks (docs/benchmarks.md)
# make fuzz    each fuzz target for FUZZTIME
# make nightly each fuzz target for 20 s, for a CI at night
# make encodes inspects long real encodes, and mutations of them (long form of two tests)
# make worlds  new simulated worlds for WORLDS, each by its seed (make test: the first WORLDS_TEST)
# make kills   kill -9 of an origin over a disk store, KILLS times, and all that it acknowledged asked for
# make cluster-kills  kill -9 of one of three origins over Cassandra, CLUSTER_KILLS times in turn, under viewers
# make starts  how long an origin takes to start over 1,000 to STARTS segments
# make players-table  docs/players.md's tables, by runs of all players in all situations (25 minutes)
# make sources-table  docs/ingest.md's table, by 200 segments of each recipe (10 minutes)
# make mutate  one changed line at a time, to see whether a test fails for it

GO       ?= go
FUZZTIME ?= 30s

# For how long new worlds are played, and how many make test plays, the same each time.
WORLDS      ?= 1h
WORLDS_TEST ?= 24

# What is mutated, how many lines of it, and which.
MUTANTS  ?= 300
SEED     ?= 1
MUTATED  ?= ./live ./selection ./cmaf ./edge ./edge/object ./edge/parents ./edge/site ./edge/event ./edge/front ./origin/book ./origin/publish ./origin/deliver ./origin/control ./origin/hear ./origin/look ./origin/journal ./origin/watch ./packager ./ingest

.PHONY: players-table sources-table kills cluster-kills starts worlds test-worlds check lint test test-plays test-servers test-virtual setup bench fuzz mutate build vulnerabilities nightly

build:
	$(GO) build -o build/headwater ./cmd/headwater

check: setup lint
	$(GO) test -short ./...

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	cd bench && $(GO) vet ./...
	cd deploy/check && $(GO) vet ./...

# Tests in virtual time. In a bubble of testing/synctest the race detector of Go
# 1.26 crashes where two threads run timers of the bubble at once: the program in
# scripts/testdata/timers shows it. So these have one thread of Go.
VIRTUAL = ./edge ./edge/object ./edge/parents ./edge/site ./edge/event ./internal/hedge ./listen ./origin/... ./packager ./ingest ./scenario ./viewer ./world

# What plays in real time has the machine to itself: a processor that others take shows
# as a gap. Then what has servers beside it, and beside that what runs in virtual time and
# does not mind how long it takes. HEADWATER_LONG=1 has more random schedules tried.
test: setup lint
	$(MAKE) --no-print-directory test-plays
	@$(MAKE) --no-print-directory -j 2 --output-sync=line test-servers test-virtual
	$(MAKE) --no-print-directory test-worlds

test-virtual:
	nice -n 19 $(GO) test -race -cpu 1 -timeout 20m $(VIRTUAL)

test-servers:
	nice -n 10 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -vxF "$$($(GO) list $(VIRTUAL))" | grep -Ev 'cmd/headwater|scenario/browser')
	cd bench && nice -n 10 $(GO) test ./...

test-plays:
	$(GO) test -race -parallel 8 -timeout 5m ./cmd/headwater
	$(GO) test -timeout 15m -v ./scenario/browser
	cd deploy/check && $(GO) test ./...

# Where the database of vulnerabilities cannot be reached it says so, and passes.
vulnerabilities:
	scripts/vulnerabilities.sh

setup:
	scripts/setup.sh

bench:
	scripts/bench.sh

fuzz:
	scripts/fuzz.sh $(FUZZTIME)

nightly:
	scripts/fuzz.sh 20s

mutate:
	$(GO) run ./scripts/mutate -seed $(SEED) -sample $(MUTANTS) $(MUTATED)

worlds: build
	build/headwater simulate --world --seeds 0 --for $(WORLDS) --shrink
	build/headwater simulate --world --long --seeds 0 --for $(WORLDS) --shrink

test-worlds: build
	nice -n 19 build/headwater simulate --world --from 1 --seeds $(WORLDS_TEST) --shrink
	nice -n 19 build/headwater simulate --world --long --from 1 --seeds 2 --shrink

players-table: setup
	rm -f build/players.jsonl
	HEADWATER_PLAYERS=$(CURDIR)/build/players.jsonl $(GO) test -count=1 -timeout 60m -v -parallel 1 -run 'TestPlayers|TestBefore|TestJoiners|TestClearKey|TestKeyRotation|TestAdBreak|TestSeek|TestTools|TestEncoder' ./scenario/browser
	$(GO) run ./scripts/tables players build/players.jsonl docs/players.md

sources-table: setup
	rm -f build/sources.jsonl
	HEADWATER_SOURCES=$(CURDIR)/build/sources.jsonl $(GO) test -count=1 -timeout 30m -v -parallel 16 -run 'TestRecipes$$' ./cmd/headwater
	$(GO) run ./scripts/tables sources build/sources.jsonl docs/ingest.md

encodes:
	HEADWATER_ENCODES=1 $(GO) test -timeout 60m -v -run 'TestEncodesAreClean|TestMutationsAreFound' ./cmaf

KILLS         ?= 1000
CLUSTER_KILLS ?= 200
STARTS        ?= 1000000
kills:
	HEADWATER_KILLS=$(KILLS) $(GO) test -count=1 -timeout 120m -v -run 'TestKillOrigin$$' ./cmd/headwater

cluster-kills:
	cd bench && $(GO) run ./cluster -kills $(CLUSTER_KILLS)

starts:
	HEADWATER_STARTS=$(STARTS) $(GO) test -timeout 30m -run '^$$' -bench OriginStart -benchtime 1x ./cmd/headwater
