package exchange

import "testing"

func TestBestCoding(t *testing.T) {
	for v, want := range map[string]Coding{
		"": Identity, "gzip": Gzip, "deflate, gzip;q=1.0, *;q=0.5": Gzip, "gzip, deflate, br, zstd": Brotli, "br, gzip": Brotli, "GZIP": Gzip, "br": Brotli, "brr": Identity,
		"gzip;q=0": Identity, "gzip;q=0.000": Identity, "gzip;q=0.001": Gzip, "gzip ; q=0.5": Gzip, "x-gzip": Identity, "identity;q=1, gzip;q=0": Identity, ",,": Identity,
		"br;q=0, gzip": Gzip,
	} {
		if got := BestCoding(v); got != want {
			t.Errorf("%q: %v", v, got)
		}
		if got := BestCoding([]byte(v)); got != want {
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
