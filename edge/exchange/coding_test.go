package exchange

import "testing"

func TestTakesGzip(t *testing.T) {
	for v, want := range map[string]bool{
		"": false, "gzip": true, "deflate, gzip;q=1.0, *;q=0.5": true, "gzip, deflate, br, zstd": true, "GZIP": true, "br": false,
		"gzip;q=0": false, "gzip;q=0.000": false, "gzip;q=0.001": true, "gzip ; q=0.5": true, "x-gzip": false, "identity;q=1, gzip;q=0": false, ",,": false,
	} {
		if got := TakesGzip(v); got != want {
			t.Errorf("%q: %v", v, got)
		}
		if got := TakesGzip([]byte(v)); got != want {
			t.Errorf("%q as bytes: %v", v, got)
		}
	}
}

func TestTakesSkip(t *testing.T) {
	for v, want := range map[string]bool{
		"": false, "_HLS_skip=YES": true, "_HLS_skip=v2": true, "CMCD=a&_HLS_skip=YES&x=1": true, "_HLS_skip=NO": false, "_HLS_skip": false, "a_HLS_skip=YES": false,
	} {
		if got := TakesSkip(v); got != want {
			t.Errorf("%q: %v", v, got)
		}
	}
}
