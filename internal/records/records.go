// Package records has tests leave what they saw, for the tables that are made of it.
package records

import (
	"encoding/json"
	"os"
	"sync"
	"testing"
)

var leaving sync.Mutex // tests leave theirs at the same time

// Leave adds v to a file as a line of JSON.
func Leave(t testing.TB, file string, v any) {
	t.Helper()
	line, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	leaving.Lock()
	defer leaving.Unlock()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
