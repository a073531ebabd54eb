package live

import (
	"time"

	"github.com/dunglas/httpsfv"
)

// MaxSite bounds the nodes of a site, and so a Live-Site header.
const MaxSite = 64

// A SiteNode is what a node of a site says of itself to the others: Live-Site
// on a request for /time that has the header too, and on the answer.
type SiteNode struct {
	Name string
	ID   string        // another one each time the node starts
	Up   time.Duration // since it started
	// From, where not zero, is the instant from which on the node takes on what
	// becomes due, in milliseconds of the origin's clock.
	From time.Time
	// Orphan says that no parent of its own answers it.
	Orphan bool
	// Sees are the other nodes that answer it.
	Sees []Sight
}

// A Sight is how long ago a node of the site was last there.
type Sight struct {
	Name string
	Ago  time.Duration
}

// Header is the Live-Site form: a list of strings (RFC 9651), the node itself first.
func (n SiteNode) Header() string {
	self := httpsfv.NewItem(n.Name)
	self.Params.Add("id", n.ID)
	self.Params.Add("up", n.Up.Milliseconds())
	if !n.From.IsZero() {
		self.Params.Add("from", n.From.UnixMilli())
	}
	if n.Orphan {
		self.Params.Add("orphan", true)
	}
	list := httpsfv.List{self}
	for _, s := range n.Sees {
		item := httpsfv.NewItem(s.Name)
		item.Params.Add("ago", s.Ago.Milliseconds())
		list = append(list, item)
	}
	s, err := httpsfv.Marshal(list)
	if err != nil { // names and numbers: cannot happen
		return ""
	}
	return s
}

// ParseSiteNode reads Live-Site values.
func ParseSiteNode(values []string) (SiteNode, error) {
	var n SiteNode
	total := 0
	for _, v := range values {
		total += len(v)
	}
	if total > (MaxSite+1)*128 {
		return n, badHeader(HeaderSite, "%d bytes", total)
	}
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		return n, badHeader(HeaderSite, "%v", err)
	}
	if len(list) == 0 || len(list) > MaxSite {
		return n, badHeader(HeaderSite, "%d nodes", len(list))
	}
	for i, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok {
			return n, badHeader(HeaderSite, "an inner list is not a node")
		}
		name, ok := item.Value.(string)
		if !ok || !ValidName(name) {
			return n, badHeader(HeaderSite, "%v is not a node", item.Value)
		}
		if i > 0 {
			n.Sees = append(n.Sees, Sight{name, millis(item.Params, "ago")})
			continue
		}
		n.Name = name
		if v, ok := item.Params.Get("id"); ok {
			n.ID, _ = v.(string)
		}
		if !ValidName(n.ID) {
			return n, badHeader(HeaderSite, "%q has no id", name)
		}
		n.Up = millis(item.Params, "up")
		if from := millis(item.Params, "from"); from > 0 {
			n.From = time.UnixMilli(from.Milliseconds())
		}
		if v, ok := item.Params.Get("orphan"); ok {
			n.Orphan, _ = v.(bool)
		}
	}
	return n, nil
}

// millis is a parameter that counts milliseconds, 0 where it is none.
func millis(p *httpsfv.Params, name string) time.Duration {
	v, _ := p.Get(name)
	n, _ := v.(int64)
	return time.Duration(min(max(n, 0), 1<<42)) * time.Millisecond
}
