package main

import (
	"fmt"
	"io"
	"time"
)

// draw shows the connections that viewers open in each step of time, of each wave.
func draw(w io.Writer, o options, all []*wave) {
	const left, wide, high, step = 60, 720, 240, time.Second / 5
	end := o.before + o.out + o.rest
	x := func(t time.Duration) float64 { return left + float64(t)/float64(end)*wide }
	most := 1
	for _, v := range all {
		for _, n := range counts(v.opened, step, end) {
			most = max(most, n)
		}
	}
	y := func(n int) float64 { return 20 + high - float64(n)/float64(most)*high }
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", left+wide+20, 20+high+50)
	fmt.Fprintf(w, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", left+wide+20, 20+high+50)
	fmt.Fprintf(w, `<rect x="%.1f" y="20" width="%.1f" height="%d" fill="#f6e8e0"/>`+"\n", x(o.before), x(all[0].back)-x(o.before), high)
	fmt.Fprintf(w, `<text x="%.1f" y="15" fill="#a04020">no edge</text><text x="5" y="15" fill="#222">connections opened in %d ms</text>`+"\n", x(o.before)+4, step.Milliseconds())
	for i := range 5 {
		n := most * i / 4
		fmt.Fprintf(w, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#444">%d</text>`+"\n", left, left+wide, y(n), y(n), left-6, y(n)+4, n)
	}
	colours := []string{"#d02020", "#2a6fdb"}
	for k, v := range all {
		fmt.Fprintf(w, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, colours[k])
		for i, n := range counts(v.opened, step, end) {
			fmt.Fprintf(w, "%.1f,%.1f ", x(time.Duration(i)*step), y(n))
		}
		fmt.Fprintf(w, `"/>`+"\n"+`<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d" fill="#222">%s</text>`+"\n", left+k*110, 20+high+30, colours[k], left+k*110+14, 20+high+39, v.label())
	}
	for s := time.Duration(0); s <= end; s += 5 * time.Second {
		fmt.Fprintf(w, `<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%.0f s</text>`+"\n", x(s), 20+high+16, s.Seconds())
	}
	fmt.Fprintln(w, `</svg>`)
}
