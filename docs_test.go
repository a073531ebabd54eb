package headwater_test

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// Every test that docs/reliability.md names as a replay is there.
func TestReplaysExist(t *testing.T) {
	doc, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, f := range sources(t) {
		if !f.test {
			continue
		}
		for name := range f.ast.Scope.Objects {
			there = append(there, name)
		}
	}
	for _, name := range regexp.MustCompile(`Test[A-Za-z0-9]+`).FindAllString(string(doc), -1) {
		if !slices.Contains(there, name) {
			t.Errorf("%s: there is no such test", name)
		}
	}
}
