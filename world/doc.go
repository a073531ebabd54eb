// Package world is a whole live event in one process and in virtual time:
// packagers, origins, edges, stores and announcements, as they are, over a
// network, disks and operators that are simulated. All that is random in it
// follows from one seed: how nodes stand to each other, how long each packet
// takes, what breaks when and for how long, who edits what.
//
// A [Plan] is what a seed makes: values that can be printed, cut down and played
// again. [Play] plays one in this process and tells what it saw; [Batch] plays
// many, each in a process of its own, whose runtime has its randomness from the
// seed too. What is held against the invariants stands in checks.go.
//
// Garbage is collected by the world's clock. What a seed does not decide, since Go's runtime
// does by the real one: when a goroutine that runs for more than 10 ms is made to give way
// (where its monitor cannot be kept from running), and when it makes threads;
// docs/reliability.md says how often a seed came to the same end.
package world
