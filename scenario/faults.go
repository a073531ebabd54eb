package scenario

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"headwater/live"
	"headwater/packager"
)

// A Fault is something a person can break while the system runs, and mend.
type Fault struct {
	ID    string // in URLs
	Label string
	Key   string // on a keyboard

	pipelines []string
	kill      bool
}

// Faults are what can be broken.
var Faults = []Fault{
	{ID: "kill-a", Label: "Kill pipeline a", Key: "1", pipelines: []string{"a"}, kill: true},
	{ID: "corrupt-a", Label: "Corrupt pipeline a", Key: "2", pipelines: []string{"a"}},
	{ID: "kill-b", Label: "Kill pipeline b", Key: "3", pipelines: []string{"b"}, kill: true},
	{ID: "corrupt-both", Label: "Corrupt both pipelines", Key: "4", pipelines: []string{"a", "b"}},
	{ID: "kill-both", Label: "Kill both pipelines", Key: "5", pipelines: []string{"a", "b"}, kill: true},
}

// corruption is what a corrupt pipeline does to its segments: frames go
// missing, and the packager says so. b loses fewer, so that there is a least bad.
func corruption(pipeline string) packager.Fault {
	f := packager.Fault{Kind: packager.FaultRemoveSamples, Samples: 12}
	if pipeline != "a" {
		f.Samples = 3
	}
	return f
}

// FindFault returns the fault of that ID or key.
func FindFault(name string) (Fault, bool) {
	i := slices.IndexFunc(Faults, func(f Fault) bool { return f.ID == name || f.Key == name })
	if i < 0 {
		return Fault{}, false
	}
	return Faults[i], true
}

// Active reports whether all that the fault breaks is broken.
func (s *System) Active(f Fault) bool {
	for _, name := range f.pipelines {
		p := s.Pipeline(name)
		if p == nil || f.kill && p.Alive() || !f.kill && !p.Broken() {
			return false
		}
	}
	return true
}

// Set breaks or mends.
func (s *System) Set(f Fault, active bool) error {
	for _, name := range f.pipelines {
		p := s.Pipeline(name)
		var err error
		switch {
		case p == nil:
			err = fmt.Errorf("scenario: there is no pipeline %q", name)
		case f.kill && active:
			p.Kill()
		case f.kill:
			p.Revive()
		case active:
			err = p.Break(corruption(name))
		default:
			err = p.Break()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// FaultHandler serves what the player's page breaks things by: GET state, and
// POST faults/ID with {"active": true}. summary is shown with the state.
func (s *System) FaultHandler(summary func() any) http.Handler {
	type row struct {
		ID     string `json:"id"`
		Label  string `json:"label"`
		Key    string `json:"key"`
		Active bool   `json:"active"`
	}
	state := func(w http.ResponseWriter, _ *http.Request) {
		rows := []row{}
		for _, f := range Faults {
			rows = append(rows, row{f.ID, f.Label, f.Key, s.Active(f)})
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set(live.HeaderCacheControl, "no-store")
		json.NewEncoder(w).Encode(map[string]any{"event": s.Event.String(), "faults": rows, "summary": summary()})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", state)
	mux.HandleFunc("POST /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		f, ok := FindFault(r.PathValue("id"))
		if !ok {
			live.ErrNotHere.For(-1).With("there is no fault "+r.PathValue("id")).Write(w, r)
			return
		}
		var in struct {
			Active bool `json:"active"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024)).Decode(&in); err != nil {
			live.ErrBadRequest.With(err.Error()).Write(w, r)
			return
		}
		if err := s.Set(f, in.Active); err != nil {
			live.ErrInternal.With(err.Error()).Write(w, r)
			return
		}
		state(w, r)
	})
	return mux
}
