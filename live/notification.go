package live

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// Limits of an event's notifications: the whole set rides on every response.
const (
	MaxNotifications    = 32
	MaxNotificationData = 1024 // bytes
	MaxNotificationsLen = 6144 // bytes of the header's value
)

// A Notification is something that viewers of an event are told in response
// headers: an ad break, a programme change, a language that is now there.
type Notification struct {
	Type string // an RFC 9651 token
	ID   string // at most 64 printable ASCII characters; the name by which it is replaced or withdrawn
	From Number
	To   Number // inclusive; 0: no end known (a notification of segment 0 alone cannot be said)
	Data []byte // opaque to Headwater
	// At is when exactly it begins, inside of From, to the millisecond; zero: as From does.
	At time.Time `json:",omitzero"`
	// Length is how long it lasts, to the millisecond; 0: to the end of To.
	Length time.Duration `json:",omitzero"`
}

// Notifications is the current set of an event. Sequence grows with every
// change and never goes back: the highest is the newest.
type Notifications struct {
	Sequence int64
	Set      []Notification
}

// Validate returns a *FieldError for the first impossible value.
func (n *Notification) Validate() error {
	if !validToken(n.Type) {
		return badField("type", "%q is not a token (RFC 9651, 3.3.4) of at most 64 characters", clip(n.Type))
	}
	if n.ID == "" || len(n.ID) > 64 || strings.ContainsFunc(n.ID, func(r rune) bool { return r < ' ' || r > '~' }) {
		return badField("id", "%q is not 1 to 64 printable ASCII characters", clip(n.ID))
	}
	if n.From < 0 || n.From > maxInteger {
		return badField("from", "%d is not a segment number", n.From)
	}
	if n.To != 0 && (n.To < n.From || n.To > maxInteger) {
		return badField("to", "%d is not a segment number from %d on", n.To, n.From)
	}
	if !n.At.IsZero() && (n.At.Year() < 1971 || n.At.Year() > 2200 || n.At.Nanosecond()%1e6 != 0) {
		return badField("at", "%v is no time from 1971 to 2200 in whole milliseconds", n.At)
	}
	if n.Length < 0 || n.Length > maxWindowSeconds*time.Second || n.Length%time.Millisecond != 0 {
		return badField("duration_ms", "%v is not between 0 and %d s in whole milliseconds", n.Length, maxWindowSeconds)
	}
	if len(n.Data) > MaxNotificationData {
		return badField("data", "%d bytes, at most %d", len(n.Data), MaxNotificationData)
	}
	return n.validateData()
}

func validToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alpha := c|0x20 >= 'a' && c|0x20 <= 'z'
		if i == 0 && !alpha && c != '*' {
			return false
		}
		if !alpha && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~:/", c) < 0 {
			return false
		}
	}
	return true
}

// Span is from when to when it is, as exactly as it is said; to is zero where no end is
// known.
func (n *Notification) Span(tl *Timeline) (from, to time.Time) {
	if from = n.At; from.IsZero() {
		from = tl.Start(n.From)
	}
	switch {
	case n.Length > 0:
		to = from.Add(n.Length)
	case n.To != 0 && (n.At.IsZero() || n.To > n.From): // else it is a moment
		to = tl.End(n.To)
	}
	return from, to
}

// Header is the Live-Notifications form. The set must be valid.
func (n Notifications) Header() (string, error) {
	list := httpsfv.List{httpsfv.NewItem(n.Sequence)}
	for _, x := range n.Set {
		item := httpsfv.NewItem(httpsfv.Token(x.Type))
		item.Params.Add("id", x.ID)
		item.Params.Add("from", int64(x.From))
		if x.To != 0 {
			item.Params.Add("to", int64(x.To))
		}
		if !x.At.IsZero() {
			item.Params.Add("at", float64(x.At.UnixMilli())/1000)
		}
		if x.Length > 0 {
			item.Params.Add("ms", x.Length.Milliseconds())
		}
		if len(x.Data) > 0 {
			item.Params.Add("data", x.Data)
		}
		list = append(list, item)
	}
	s, err := httpsfv.Marshal(list)
	if err != nil {
		return "", badHeader(HeaderNotifications, "%v", err)
	}
	if len(s) > MaxNotificationsLen {
		return "", badHeader(HeaderNotifications, "the set takes %d bytes, at most %d", len(s), MaxNotificationsLen)
	}
	return s, nil
}

// ParseNotifications reads Live-Notifications values.
func ParseNotifications(values []string) (Notifications, error) {
	var out Notifications
	total := 0
	for _, v := range values {
		total += len(v)
	}
	if total > MaxNotificationsLen {
		return out, badHeader(HeaderNotifications, "%d bytes, at most %d", total, MaxNotificationsLen)
	}
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		return out, badHeader(HeaderNotifications, "%v", err)
	}
	if len(list) == 0 {
		return out, badHeader(HeaderNotifications, "no sequence number")
	}
	if len(list)-1 > MaxNotifications {
		return out, badHeader(HeaderNotifications, "%d notifications, at most %d", len(list)-1, MaxNotifications)
	}
	for i, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok {
			return out, badHeader(HeaderNotifications, "an inner list is not a notification")
		}
		if i == 0 {
			seq, ok := item.Value.(int64)
			if !ok || seq < 0 {
				return out, badHeader(HeaderNotifications, "%v is not a sequence number", item.Value)
			}
			out.Sequence = seq
			continue
		}
		x, err := notification(item)
		if err != nil {
			return Notifications{}, badHeader(HeaderNotifications, "%v", err)
		}
		out.Set = append(out.Set, x)
	}
	return out, nil
}

func notification(item httpsfv.Item) (Notification, error) {
	var x Notification
	token, ok := item.Value.(httpsfv.Token)
	if !ok {
		return x, fmt.Errorf("%v is not a token", item.Value)
	}
	x.Type = string(token)
	id, _ := item.Params.Get("id")
	if x.ID, ok = id.(string); !ok {
		return x, fmt.Errorf("%s has no id", token)
	}
	if _, ok := item.Params.Get("from"); !ok {
		return x, fmt.Errorf("%s has no from", token)
	}
	from, err := intParam(item.Params, "from")
	if err != nil {
		return x, fmt.Errorf("%s: %v", token, err)
	}
	to, err := intParam(item.Params, "to")
	if err != nil {
		return x, fmt.Errorf("%s: %v", token, err)
	}
	x.From, x.To = Number(from), Number(to)
	if at, ok := item.Params.Get("at"); ok {
		switch at := at.(type) {
		case float64:
			x.At = time.UnixMilli(int64(math.Round(at * 1000))).UTC()
		case int64:
			x.At = time.Unix(at, 0).UTC()
		default:
			return x, fmt.Errorf("%s: at is not a time in seconds", token)
		}
	}
	ms, err := intParam(item.Params, "ms")
	if err != nil {
		return x, fmt.Errorf("%s: %v", token, err)
	}
	x.Length = time.Duration(min(ms, maxWindowSeconds*1000+1)) * time.Millisecond
	if data, ok := item.Params.Get("data"); ok {
		if x.Data, ok = data.([]byte); !ok {
			return x, fmt.Errorf("%s: data is not a byte sequence", token)
		}
	}
	return x, x.Validate()
}
