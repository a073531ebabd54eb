package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const variablePrefix = "HEADWATER_"

// ofKubernetes are the variables that Kubernetes gives every container for each
// service, here for one whose name begins with headwater.
var ofKubernetes = regexp.MustCompile(`_(SERVICE_(HOST|PORT(_.*)?)|PORT(_[0-9]+_[A-Z]+(_(PROTO|PORT|ADDR))?)?)$`)

// checkEnvironment refuses variables that look like settings and are none: a
// slip in a name must not leave a default in force. What lacks a command was
// meant for the one that runs.
func checkEnvironment(env *environment, running *options) error {
	if env.environ == nil {
		return nil
	}
	var known []string
	for _, c := range commands() {
		o := newOptions(c.name)
		described[c.name](o)
		for _, name := range o.names() {
			known = append(known, o.variable(name))
		}
	}
	given := env.environ()
	slices.Sort(given)
	for _, v := range given {
		name, _, _ := strings.Cut(v, "=")
		if name != clockVariable && strings.HasPrefix(name, variablePrefix) && !slices.Contains(known, name) && !ofKubernetes.MatchString(name) {
			hint := didYouMean(name, "", known)
			if own := running.variable(strings.TrimPrefix(name, variablePrefix)); slices.Contains(known, own) {
				hint = "; did you mean " + own + "?"
			}
			return usagef("%s: no flag has this environment variable%s", name, hint)
		}
	}
	return nil
}

// didYouMean suggests the nearest of some names, where one is near.
func didYouMean(name, prefix string, known []string) string {
	best, least := "", len(name)/2+1
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, best)
}

// distance is how many letters must be put in, taken out, changed, or swapped
// with the next, to make one name the other.
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
