package book

import (
	"encoding/json"
	"testing"

	"headwater/store"
)

// FuzzStored: what a store gives back of an event and its edits is read, or is an error.
func FuzzStored(f *testing.F) {
	for _, s := range []string{`{"tombstone":{"version":3}}`, `{"event":{}}`, `{"kind":"mask","life":1,"mask":{}}`, `{"since":1,"until":2,"why":"x","life":3}`, `null`, `[]`} {
		f.Add("acme/final", []byte(s))
	}
	f.Add("acme/final/0000000000000001-0000000000000002", []byte(`{}`))
	f.Fuzz(func(t *testing.T, key string, b []byte) {
		var s storedEvent
		if json.Unmarshal(b, &s) == nil && s.Record == nil && s.Tombstone == nil {
			t.Errorf("%q is neither", b)
		}
		if x, err := decodeEdit(store.Item{Key: key, Value: b}, 5); err != nil && (!x.lost || x.Life != 5) {
			t.Errorf("%q is lost and does not count: %+v", b, x)
		}
		decodeGate(store.Item{Key: key, Meta: b})
		if id, isEdit, err := parseEventKey(key); err == nil && isEdit {
			if token, err := editToken(key); err == nil {
				if again, err := editToken(editKey(id, token)); err != nil || again != token {
					t.Errorf("%q is %v, and that again %v, %v", key, token, again, err)
				}
			}
		}
	})
}
