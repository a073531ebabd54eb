#!/usr/bin/env bash
# The benchmarks of docs/benchmarks.md, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== timeline and inspection"
go test -run '^$' -bench 'Place|Inspect' ./live ./cmaf
echo "== stores side by side"
(cd bench && go run ./store)
echo "== memcached zones beside a store"
(cd bench && go run ./blobs -dir "${TMPDIR:-/tmp}")
echo "== hits, side by side"
(cd bench && go run ./hits -docs "$PWD/../docs")
echo "== edges at the live edge, side by side"
(cd bench && go run ./live-edge)
echo "== Cassandra: the store beside the bare driver"
(cd bench && go run ./cassandra)
echo "== an origin over each store"
(cd bench && go run ./origin)
if [ "$(id -u)" -eq 0 ]; then
	echo "== two regions, one part broken after the other"
	(cd bench && go run ./cluster)
fi
