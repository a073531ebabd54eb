package manifest

import (
	"regexp"
	"testing"

	"headwater/live"
)

// ffmpeg is told of no more to seek in than there has been, and of more than it stays behind.
func TestFFmpegSeeksInWhatHasPassed(t *testing.T) {
	said := regexp.MustCompile(` ffmpeg:timeshiftbufferdepth="(.*?)"`)
	for _, c := range []struct {
		now    string
		dvr    int64
		listed bool
		want   string
	}{
		{now: "2026-11-23T19:59:50Z", want: "PT10S"},
		{now: "2026-11-23T20:00:03Z", want: "PT10S"},
		{now: "2026-11-23T20:00:10.999Z", want: "PT10S"},
		{now: "2026-11-23T20:00:11Z", want: "PT11S"},
		{now: "2026-11-23T23:59:39.9Z", want: "PT14379S"},
		{now: "2026-11-23T23:59:40Z"},
		{now: "2026-11-24T08:00:00Z"},
		{now: "2026-11-23T20:00:14Z", dvr: 20, want: "PT14S"},
		{now: "2026-11-23T20:00:15Z", dvr: 20},
		{now: "2026-11-23T20:01:00Z", listed: true},
	} {
		for _, media := range []live.MediaEpoch{live.MediaUnix, live.MediaStart} {
			in := Input{Now: at(c.now), Config: with(config("2026-11-23T20:00:00Z", live.Duration{Ticks: 2, Timescale: 1}, v720, aEn), func(c2 *live.Config) {
				c2.MediaTime = media
				if c.dvr > 0 {
					c2.DVRSeconds = c.dvr
				}
			})}
			b, err := in.mpd(c.listed)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if m := said.FindSubmatch(b); m != nil {
				got = string(m[1])
			}
			if got != c.want {
				t.Errorf("%s, DVR %d, listed %v: %q, not %q", c.now, c.dvr, c.listed, got, c.want)
			}
		}
	}
}
