// Package drill breaks a running system on purpose and by name, and holds what viewers
// and operators saw against what was expected of it, which is written down before.
//
// The system is made of processes as they are run in earnest, on one machine: origins
// over their disks, edges, and for each origin two packagers that play the built-in clip.
// Viewers are package viewer's. What stands between processes is a [link], which can be
// cut or slowed down; what happens to disks and clocks happens to those of one process.
//
// A Drill (list.go) is a list of steps with an Expectation. Run (run.go) builds the
// system (system.go), lets viewers watch, takes the steps and judges (judge.go).
package drill
