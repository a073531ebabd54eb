//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A measured is what was found in one part, as it is kept.
type measured struct {
	Part, Title, When string
	Rounds            int
	Length            time.Duration
	Caches            []string // in the order they had their turns
	Rows              []line
}

type line struct {
	Label   string
	Bytes   int
	Results map[string][]result // by cache
}

const reference = "nginx"

// median of a figure over the rounds.
func median(list []result, f func(result) float64) float64 {
	if len(list) == 0 {
		return 0
	}
	v := make([]float64, 0, len(list))
	for _, r := range list {
		v = append(v, f(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// beside is a figure over that of the reference in the same round: the median.
func beside(list, of []result, f func(result) float64) float64 {
	var v []float64
	for i := range min(len(list), len(of)) {
		v = append(v, f(list[i])/f(of[i]))
	}
	slices.Sort(v)
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

// table is what goes into the document.
func (m *measured) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s, medians of %d rounds of %v):\n\n", m.Title, m.When, m.Rounds, m.Length)
	b.WriteString("| answer | cache | answers/s | | answers per CPU s | | GB/s | CPU s per GB | p50 ms | p99 ms | MB |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	ms := func(d float64) string { return strconv.FormatFloat(d*1000, 'f', 2, 64) }
	for _, r := range m.Rows {
		of := r.Results[reference]
		for _, c := range m.Caches {
			list := r.Results[c]
			if len(list) == 0 {
				continue
			}
			perGB := "-"
			if r.Bytes > 0 {
				perGB = fmt.Sprintf("%.2f", median(list, result.cpuPerGB))
			}
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.2fx | %.0f | %.2fx | %.2f | %s | %s | %s | %.0f |\n", r.Label, c, median(list, result.rate), beside(list, of, result.rate),
				median(list, result.perCPU), beside(list, of, result.perCPU), median(list, result.gigabytes), perGB,
				ms(median(list, func(r result) float64 { return r.P50.Seconds() })), ms(median(list, func(r result) float64 { return r.P99.Seconds() })),
				median(list, func(r result) float64 { return r.Memory }))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// Marks in the document, between which the tables go.
const (
	from = "<!-- hits: written by bench/hits -->\n"
	upTo = "<!-- end of hits -->\n"
)

const preface = `
` + "`cd bench && go run ./hits -docs ../docs`" + `: caches in turn, on the same core, with the client on the other; of both
rates the second figure is beside nginx in the same round. The client has a core too:
where caches are quick it is the limit, and answers per second of the cache's CPU tell
more. Without TLS it has the kernel throw bodies away; with TLS it decrypts all, which
costs it about what to encrypt costs the cache. The bare Go loop answers from prepared
heads and looks at nothing. Cipher: TLS_AES_128_GCM_SHA256. MB is the memory of a
cache's processes, with what it has cached. ` + "`-only tls,h2`" + ` measures parts; the tables and plots
are of each part's last run.

`

// publish keeps what was measured, and writes tables and plots of all that is kept.
func publish(docs string, m *measured) error {
	plots := filepath.Join(docs, "plots")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	name := filepath.Join(plots, "hits.json")
	var all []*measured
	switch b, err := os.ReadFile(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(b, &all); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	all = slices.DeleteFunc(all, func(o *measured) bool { return o.Part == m.Part })
	all = append(all, m)
	order := map[string]int{}
	for i, p := range parts("", "") {
		order[p.name] = i
	}
	slices.SortFunc(all, func(a, b *measured) int { return order[a.Part] - order[b.Part] })
	kept, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, append(kept, '\n'), 0o644); err != nil {
		return err
	}
	text := preface
	for _, m := range all {
		text += m.table() + fmt.Sprintf("![%s: answers per second of CPU beside nginx](plots/hits-%s.svg)\n\n", m.Title, m.Part)
		f, err := os.Create(filepath.Join(plots, "hits-"+m.Part+".svg"))
		if err != nil {
			return err
		}
		m.draw(f)
		if err := f.Close(); err != nil {
			return err
		}
	}
	return insert(filepath.Join(docs, "benchmarks.md"), text)
}

func insert(name, text string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), from)
	_, after, ok2 := strings.Cut(rest, upTo)
	if !ok || !ok2 {
		return fmt.Errorf("%s: there is no %q", name, from)
	}
	return os.WriteFile(name, []byte(before+from+text+upTo+after), 0o644)
}

var colours = map[string]string{reference: "#8a8f98", "Varnish": "#c4a35a", "HAProxy": "#7aa36b", "a bare Go loop": "#d6dae0"}

// draw draws answers per second of CPU beside nginx, a group of bars for each row.
func (m *measured) draw(w io.Writer) {
	const wide, high, left, foot = 130, 240, 40, 60
	colour := func(c string) string {
		if s := colours[c]; s != "" {
			return s
		}
		return "#2a6fdb"
	}
	most := 1.0
	for _, r := range m.Rows {
		for _, c := range m.Caches {
			most = max(most, beside(r.Results[c], r.Results[reference], result.perCPU))
		}
	}
	width := max(left+wide*len(m.Rows)+20, left+150*len(m.Caches))
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, high+foot)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, high+foot)
	y := func(v float64) float64 { return high - v/most*(high-30) }
	for v := 0.0; v <= most; v++ {
		fmt.Fprintf(w, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#444">%.0fx</text>`+"\n", left, width-10, y(v), y(v), left-6, y(v)+4, v)
	}
	for i, r := range m.Rows {
		x := float64(left + i*wide + 10)
		bar := float64(wide-20) / float64(len(m.Caches))
		for j, c := range m.Caches {
			v := beside(r.Results[c], r.Results[reference], result.perCPU)
			if v == 0 {
				continue
			}
			fmt.Fprintf(w, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle" font-size="10" fill="#222">%.1f</text>`+"\n",
				x+bar*float64(j), y(v), bar-2, high-y(v), colour(c), x+bar*float64(j)+bar/2-1, y(v)-3, v)
		}
		fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle" fill="#222">%s</text>`+"\n", x+float64(wide-20)/2, high+16, r.Label)
	}
	for j, c := range m.Caches {
		fmt.Fprintf(w, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d" fill="#222">%s</text>`+"\n", left+j*140, high+32, colour(c), left+j*140+15, high+41, strings.Trim(c, "*`"))
	}
	fmt.Fprintln(w, `</svg>`)
}
