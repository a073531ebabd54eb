package main

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"headwater/live"
)

// What a CPIX document (DASH-IF, version 2.3) says of DRM systems. Its keys are not
// read: they are the encoder's business, and never leave the operator's machine from
// here.
type cpix struct {
	XMLName xml.Name `xml:"urn:dashif:org:cpix CPIX"`
	Systems []struct {
		KID       string `xml:"kid,attr"`
		System    string `xml:"systemId,attr"`
		PSSH      string `xml:"urn:dashif:org:cpix PSSH"`
		KeyURI    string `xml:"urn:dashif:org:cpix URIExtXKey"`
		DASH      string `xml:"urn:dashif:org:cpix ContentProtectionData"`
		Signaling []struct {
			Playlist string `xml:"playlist,attr"`
			Data     string `xml:",chardata"`
		} `xml:"urn:dashif:org:cpix HLSSignalingData"`
	} `xml:"urn:dashif:org:cpix DRMSystemList>DRMSystem"`
}

const (
	maxCPIX      = 1 << 20
	maxCPIXDepth = 32
)

var errCPIX = errors.New("no CPIX document")

// parseCPIX reads a document strictly: one that is well-formed to its end, in UTF-8,
// without a document type and what could come with one.
func parseCPIX(b []byte) ([]live.DRM, error) {
	if len(b) > maxCPIX {
		return nil, fmt.Errorf("%w: larger than %d bytes", errCPIX, maxCPIX)
	}
	depth, roots := 0, 0
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errCPIX, err)
		}
		switch x := token.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: a document type, or another directive", errCPIX)
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			if depth++; depth > maxCPIXDepth {
				return nil, fmt.Errorf("%w: nested more than %d deep", errCPIX, maxCPIXDepth)
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(x)) > 0 {
				return nil, fmt.Errorf("%w: text outside of the root element", errCPIX)
			}
		}
	}
	if roots != 1 {
		return nil, fmt.Errorf("%w: %d root elements", errCPIX, roots)
	}
	var doc cpix
	if err := xml.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", errCPIX, err)
	}
	var out []live.DRM
	for _, s := range doc.Systems {
		d := live.DRM{System: strings.ToLower(s.System), KID: strings.ToLower(s.KID), PSSH: strings.Join(strings.Fields(s.PSSH), "")}
		uri, err := unbase64(s.KeyURI)
		if err != nil {
			return nil, fmt.Errorf("%w: URIExtXKey of %s: %w", errCPIX, d.System, err)
		}
		d.KeyURI = uri
		if d.ContentProtection, err = unbase64(s.DASH); err != nil {
			return nil, fmt.Errorf("%w: ContentProtectionData of %s: %w", errCPIX, d.System, err)
		}
		for _, g := range s.Signaling {
			text, err := unbase64(g.Data)
			if err != nil {
				return nil, fmt.Errorf("%w: HLSSignalingData of %s: %w", errCPIX, d.System, err)
			}
			if g.Playlist == "" || g.Playlist == "media" {
				signalled(&d, text)
			}
		}
		out = append(out, d)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no DRMSystem in it", errCPIX)
	}
	return out, nil
}

func unbase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	return string(b), err
}

var keyAttribute = regexp.MustCompile(`(URI|KEYFORMATVERSIONS|KEYFORMAT)="([^"]*)"`)

// signalled takes from the tags of a media playlist what is not said otherwise.
func signalled(d *live.DRM, tags string) {
	for line := range strings.Lines(tags) {
		attributes, ok := strings.CutPrefix(line, "#EXT-X-KEY:")
		if !ok {
			continue
		}
		for _, m := range keyAttribute.FindAllStringSubmatch(attributes, -1) {
			to := map[string]*string{"URI": &d.KeyURI, "KEYFORMAT": &d.KeyFormat, "KEYFORMATVERSIONS": &d.KeyFormatVersions}[m[1]]
			if *to == "" {
				*to = m[2]
			}
		}
	}
}
