package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A source is a record of TestRecipes: what came of an encoder's media.
type source struct {
	At         time.Time
	Name       string
	Names      string // of files
	Renditions int
	Segments   int // of each, at least
	Findings   []string
	Page       string // what was seen on the page
}

// sources writes the table of docs/ingest.md.
func sources(lines []byte) (string, error) {
	var all []source
	var last time.Time
	err := decode(lines, func(s source) {
		last = slices.MaxFunc([]time.Time{last, s.At}, time.Time.Compare)
		all = slices.DeleteFunc(all, func(o source) bool { return o.Name == s.Name })
		all = append(all, s)
	})
	if err != nil {
		return "", err
	}
	slices.SortFunc(all, func(a, b source) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	fmt.Fprintf(&b, "Seen on %s, with ffmpeg %s.\n\n| source | names | segments | findings | on our page |\n|---|---|---|---|---|\n", machine(last), version("ffmpeg", "-version"))
	for _, s := range all {
		findings := "0"
		if len(s.Findings) > 0 {
			findings = strings.Join(s.Findings, ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %d x %d | %s | %s |\n", s.Name, s.Names, s.Renditions, s.Segments, findings, s.Page)
	}
	return b.String(), nil
}
