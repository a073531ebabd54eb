package live

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// MaxEventSchemes bounds the kinds of event messages that are told of a rendition.
const MaxEventSchemes = 8

// An EventScheme is a kind of event messages (emsg, ISO/IEC 23009-1, 5.10.3.3).
type EventScheme struct {
	Scheme string `json:"scheme"`
	Value  string `json:"value,omitempty"`
}

// Valid reports whether manifests can say it.
func (x EventScheme) Valid() bool {
	return x.Scheme != "" && len(x.Scheme) <= 256 && !strings.ContainsFunc(x.Scheme, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>`, r) }) &&
		(x.Value == "" || readable(x.Value, 256))
}

// EventSchemes are those that a rendition's segments have, as the JSON that they are on
// the wire: so renditions can be compared.
type EventSchemes string

// NewEventSchemes has each once, in their order.
func NewEventSchemes(list ...EventScheme) EventSchemes {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b EventScheme) int {
		return strings.Compare(a.Scheme+"\x00"+a.Value, b.Scheme+"\x00"+b.Value)
	})
	if list = slices.Compact(list); len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // two strings
	}
	return EventSchemes(b)
}

// List are the schemes.
func (s EventSchemes) List() (list []EventScheme) {
	if s != "" {
		_ = json.Unmarshal([]byte(s), &list) // NewEventSchemes wrote it
	}
	return list
}

// Add has those of both, up to MaxEventSchemes.
func (s EventSchemes) Add(more ...EventScheme) EventSchemes {
	list := s.List()
	for _, x := range more {
		if len(list) < MaxEventSchemes && !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return NewEventSchemes(list...)
}

// MarshalJSON implements json.Marshaler.
func (s EventSchemes) MarshalJSON() ([]byte, error) {
	if s == "" {
		return []byte("[]"), nil
	}
	return []byte(s), nil
}

func (EventSchemes) onWire() reflect.Type { return reflect.TypeFor[[]EventScheme]() }

// UnmarshalJSON implements json.Unmarshaler.
func (s *EventSchemes) UnmarshalJSON(b []byte) error {
	var list []EventScheme
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*s = NewEventSchemes(list...)
	return nil
}

func (s EventSchemes) validate(at string) error {
	list := s.List()
	if len(list) > MaxEventSchemes {
		return badField(at+"inband_events", "%d kinds, at most %d are possible", len(list), MaxEventSchemes)
	}
	for i, x := range list {
		if !x.Valid() {
			return badField(at+"inband_events["+strconv.Itoa(i)+"]", "%q, %q: a scheme is a URI, a value up to 256 bytes of text without quotes and control characters", clip(x.Scheme), clip(x.Value))
		}
	}
	return nil
}
