package headwater_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every test that docs/reliability.md names as a replay is there, in the package that
// is to be run.
func TestReplaysExist(t *testing.T) {
	named(t, "docs/reliability.md")
	doc, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, f := range sources(t) {
		for name := range f.ast.Scope.Objects {
			there[f.dir+" "+name] = f.test
		}
	}
	for _, m := range replay.FindAllStringSubmatch(string(doc), -1) {
		for _, name := range testName.FindAllString(m[1], -1) {
			if !there[m[2]+" "+name] {
				t.Errorf("%s is not in %s", name, m[2])
			}
		}
	}
}

// Every package is in the table of ARCHITECTURE.md, by its path or its last name.
func TestPackagesAreInTheTable(t *testing.T) {
	doc, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| package | job | may import |")
	table, _, _ = strings.Cut(table, "\n\n")
	for name := range may {
		if !strings.Contains(table, "`"+name+"`") && !strings.Contains(table, "`"+path.Base(name)+"`") {
			t.Errorf("%s is not in it", name)
		}
	}
}

// replay has names of tests, and the package that they are in.
var replay = regexp.MustCompile("([^|;]*?) in `\\./([a-z0-9/]+)`")

// Each threat in docs/security.md names tests that are there.
func TestThreatsAreTested(t *testing.T) {
	named(t, "docs/security.md")
	doc, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| threat | answer | test |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")[1:]
	if len(rows) < 20 {
		t.Errorf("only %d threats", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 3 || !testName.MatchString(cells[2]) {
			t.Errorf("no test: %s", row)
		}
	}
}

var testName = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]+`)

// named fails where a document names a test that is not there.
func named(t *testing.T, name string) {
	t.Helper()
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	// What is in a module of its own.
	text, err := os.ReadFile("deploy/check/check_test.go")
	if err != nil {
		t.Fatal(err)
	}
	there = append(there, testName.FindAllString(string(text), -1)...)
	for _, f := range sources(t) {
		if !f.test {
			continue
		}
		for name := range f.ast.Scope.Objects {
			there = append(there, name)
		}
	}
	for _, name := range testName.FindAllString(string(doc), -1) {
		if !slices.Contains(there, name) {
			t.Errorf("%s: there is no such test", name)
		}
	}
}
