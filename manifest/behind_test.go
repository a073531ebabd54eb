package manifest

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestBehind(t *testing.T) {
	mpd, err := os.ReadFile("testdata/dvr-29.97/manifest.mpd")
	if err != nil {
		t.Fatal(err)
	}
	got := string(Behind(mpd, 2*time.Second, 4500*time.Millisecond))
	want := strings.NewReplacer(`Delay="PT5.6S"`, `Delay="PT10.1S"`, `<Latency referenceId="0" target="5600"/>`, `<Latency referenceId="0" target="10100"/>`).Replace(string(mpd))
	if got != want || got == string(mpd) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for list, want := range map[string]string{
		"#EXTM3U\n#EXT-X-VERSION:8\n": "#EXTM3U\n#EXT-X-START:TIME-OFFSET=-10.500\n#EXT-X-VERSION:8\n",
		"":                            "",
		"<MPD>":                       "<MPD>",
		`<MPD suggestedPresentationDelay="PTxS"><Latency target="`: `<MPD suggestedPresentationDelay="PTxS"><Latency target="`,
	} {
		if got := string(Behind([]byte(list), 2*time.Second, 4500*time.Millisecond)); got != want {
			t.Errorf("%q becomes %q, want %q", list, got, want)
		}
	}
}
