package event

import (
	"encoding/json"
	"fmt"

	"headwater/live"
)

// A Configuration is one state of an event's event.json. It is immutable.
type Configuration struct {
	live.Config
	Renditions map[string]*Rendition
	JSON       []byte
	ETag       string
}

// A Rendition is one of an event's, on its timeline.
type Rendition struct {
	Name     string
	Timeline live.Timeline
}

func parse(body []byte, etag string) (*Configuration, error) {
	c := &Configuration{JSON: body, ETag: etag, Renditions: make(map[string]*Rendition)}
	if err := json.Unmarshal(body, &c.Config); err != nil {
		return nil, fmt.Errorf("edge: event configuration: %w", err)
	}
	for _, r := range c.Config.Renditions {
		c.Renditions[r.Name] = &Rendition{r.Name, c.Config.Timeline(r.Name)}
	}
	if c.ETag == "" {
		// There must be a name for it to ask for what comes after.
		c.ETag = live.DigestOf(body).ETag()
	}
	return c, nil
}
