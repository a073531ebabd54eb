//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"time"
)

// plotted are the storms of which there is a plot.
var plotted = []string{"dvr-5x", "dvr-5x-heed", "all-5x", "all-5x-heed", "store-stops", "node-stops"}

// draw shows a storm over time: above the publications, each a dot on a scale of
// logarithms; below what is shed each second, by class, and which share of DVR that is.
func draw(w io.Writer, r *result) {
	const left, wide, high, gap, low = 60, 720, 170, 40, 130
	end := r.storm().To
	for _, x := range r.Seconds {
		end = max(end, x.At)
	}
	x := func(t time.Duration) float64 { return left + float64(t)/float64(end)*wide }
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", left+wide+20, 20+high+gap+low+50)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", left+wide+20, 20+high+gap+low+50)
	for _, s := range r.Storms {
		fmt.Fprintf(w, `<rect x="%.1f" y="20" width="%.1f" height="%d" fill="#f6e8e0"/>`+"\n", x(s.From), x(s.To)-x(s.From), high+gap+low)
	}
	fmt.Fprintf(w, `<text x="%.1f" y="15" fill="#a04020">the storm</text><text x="%d" y="15" fill="#222">publication, ms</text>`+"\n", x(r.storm().From)+4, left-55)
	y := func(d time.Duration) float64 {
		return 20 + high - min(math.Log10(max(d.Seconds()*1000, 1))/4, 1)*high
	}
	for _, ms := range []int{1, 10, 100, 1000, 10000} {
		at := y(time.Duration(ms) * time.Millisecond)
		fmt.Fprintf(w, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#444">%d</text>`+"\n", left, left+wide, at, at, left-6, at+4, ms)
	}
	for _, p := range r.Publications {
		colour := "#2a6fdb"
		if p.Missed {
			colour = "#d02020"
		}
		fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="2" fill="%s"/>`+"\n", x(p.At), y(p.Took), colour)
	}
	base, most := float64(20+high+gap+low), 1.0
	classes := []struct{ name, colour string }{{"dvr", "#c4a35a"}, {"rest", "#8a8f98"}, {"live", "#d02020"}, {"publish", "#7020a0"}}
	rate := func(i int, class string) float64 {
		a, b := r.Seconds[i-1], r.Seconds[i]
		if len(b.Shed) == 0 || len(a.Shed) == 0 {
			return 0
		}
		return max(0, (b.Shed[class]-a.Shed[class])/(b.At-a.At).Seconds())
	}
	for i := 1; i < len(r.Seconds); i++ {
		for _, c := range classes {
			most = max(most, rate(i, c.name))
		}
	}
	fmt.Fprintf(w, `<text x="%d" y="%d" fill="#222">shed each second</text><text x="%d" y="%.1f" text-anchor="end" fill="#444">%.0f</text><text x="%d" y="%.1f" text-anchor="end" fill="#444">0</text>`+"\n",
		left-55, 20+high+gap-8, left-6, base-low+4, most, left-6, base+4)
	for k, c := range classes {
		fmt.Fprintf(w, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, c.colour)
		for i := 1; i < len(r.Seconds); i++ {
			fmt.Fprintf(w, "%.1f,%.1f ", x(r.Seconds[i].At), base-rate(i, c.name)/most*low)
		}
		fmt.Fprintf(w, `"/>`+"\n"+`<rect x="%d" y="%.1f" width="10" height="10" fill="%s"/><text x="%d" y="%.1f" fill="#222">%s</text>`+"\n", left+k*100, base+30, c.colour, left+k*100+14, base+39, c.name)
	}
	fmt.Fprint(w, `<polyline fill="none" stroke="#222" stroke-dasharray="4 2" points="`)
	for _, s := range r.Seconds {
		if len(s.Level) > 0 {
			fmt.Fprintf(w, "%.1f,%.1f ", x(s.At), base-s.Level["dvr"]*low)
		}
	}
	fmt.Fprintf(w, `"/>`+"\n"+`<text x="%d" y="%.1f" fill="#222">dashed: the share of DVR that is refused, from 0 to 1</text>`+"\n", left+len(classes)*100, base+39)
	for s := time.Duration(0); s <= end; s += 10 * time.Second {
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#444">%.0f s</text>`+"\n", x(s), base+16, s.Seconds())
	}
	fmt.Fprintln(w, `</svg>`)
}
