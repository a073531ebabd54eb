// Package viewer is a headless viewer of a live event, or thousands of them in
// one process: they follow the timeline as players do, keep a playback clock,
// verify what they get, and measure what a person in front of the screen would
// have noticed.
//
// A viewer reads one video and one audio rendition, each over a connection of
// its own (HTTP/1.1), and asks for segment n a margin before it is expected: the
// edge holds the request until the segment is published. What is played, and
// when, is arithmetic on the times at which segments have arrived; see playback.
//
// What counts as an error is what a player could not have repaired by itself:
// wrong or incomplete bytes, a status that the protocol does not give, media
// that repeats or jumps, an edge that is away for too long. A lost segment (410)
// is a gap, not an error; a network error is a reconnect, until it makes the
// picture stop.
package viewer
