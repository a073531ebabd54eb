package manifest

import (
	"strings"
	"testing"
	"time"

	"headwater/live"
)

// An ad break with a presentation for players of DASH is an alternative one in the
// MPD, with a list or a playlist an interstitial of HLS, and each is nothing but an ad
// break to the other's.
func TestAdBreaksOfEachKind(t *testing.T) {
	in := dvr()
	n, _ := in.Published("v720")
	told := func(data string) (mpd, playlist string) {
		in.Notifications = live.Notifications{Sequence: 1, Set: []live.Notification{{Type: live.TypeAdBreak, ID: "b", From: n + 2, To: n + 6, Data: []byte(data)}}}
		if err := in.Notifications.Set[0].Validate(); err != nil {
			t.Fatal(err)
		}
		b, err := MPD(in)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Media(in, "v720")
		if err != nil {
			t.Fatal(err)
		}
		return string(b), string(p)
	}
	mpd, playlist := told(`{"asset_mpd":"https://ads.example/a.mpd?a=1&b=2"}`)
	if !strings.Contains(mpd, replaceScheme) || !strings.Contains(mpd, `<ReplacePresentation url="https://ads.example/a.mpd?a=1&amp;b=2" maxDuration="10010" returnOffset="10010"/>`) {
		t.Error(mpd)
	}
	if !strings.Contains(playlist, `CLASS="urn:headwater:notification:ad-break"`) || strings.Contains(playlist, interstitialClass) {
		t.Error(playlist)
	}
	mpd, playlist = told(`{"asset_list":"https://ads.example/list.json"}`)
	if strings.Contains(mpd, replaceScheme) || !strings.Contains(mpd, notificationScheme) {
		t.Error(mpd)
	}
	if !strings.Contains(playlist, `DURATION=10.010,X-ASSET-LIST="https://ads.example/list.json",X-PLAYOUT-LIMIT=10.010`) {
		t.Error(playlist)
	}
}

// From the first notification on players of DASH hear of the next as soon as those of
// HLS do.
func TestToldSoon(t *testing.T) {
	in := dvr()
	for sequence, want := range []time.Duration{steady, telling} {
		in.Notifications.Sequence = int64(sequence)
		b, err := MPD(in)
		if err != nil {
			t.Fatal(err)
		}
		if update := `minimumUpdatePeriod="` + isoDuration(want) + `"`; !strings.Contains(string(b), update) || Lifetime(in, live.FileMPD, "") > want {
			t.Errorf("no %s, or kept for %v", update, Lifetime(in, live.FileMPD, ""))
		}
	}
}
