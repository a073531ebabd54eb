// Package live is the vocabulary of Headwater: the event and its timeline,
// segment numbers and their places in time, candidates and what inspection
// found in them, notifications, and every URL form, header and problem type
// with its encoder and decoder. Origin, edge, packager and viewer speak these
// types; nothing else parses a path or a header.
//
// The package is pure. Nothing in it reads a clock, does I/O or logs: time is
// an argument.
package live
