// Package clip holds the built-in clip: eight seconds of video in three sizes
// and sound that loop without a seam, as two redundant pipelines would encode
// them. The two versions differ by a badge in the picture, A or B, alone.
// make.sh makes them.
package clip

import _ "embed"

// A and B are the versions: fragmented MP4 with all tracks, one fragment per
// track and two-second GOP. They must not be changed.
var (
	//go:embed a.mp4
	A []byte
	//go:embed b.mp4
	B []byte
)

// Black, by the height of the picture, is a key frame that fits the init segments of
// both versions and is black: for drills.
var Black = map[int][]byte{720: black720, 360: black360, 180: black180}

var (
	//go:embed black-720.h264
	black720 []byte
	//go:embed black-360.h264
	black360 []byte
	//go:embed black-180.h264
	black180 []byte
)
