package token

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// The claims' keys in a CWT: of RFC 8392, and of CTA-5007-B as they are registered
// with IANA, from claimCatReplay to claimCatR.
const (
	claimISS       = 1
	claimAUD       = 3
	claimEXP       = 4
	claimNBF       = 5
	claimCatReplay = 308
	claimCatV      = 310
	claimCatNIP    = 311
	claimCatU      = 312
	claimCatM      = 313
	claimCatIFData = 320
	claimCatIF     = 322
	claimCatR      = 323
)

// claimNames are those that a JWT has for them.
var claimNames = map[int64]string{claimISS: "iss", claimAUD: "aud", claimEXP: "exp", claimNBF: "nbf", claimCatReplay: "catreplay", claimCatV: "catv",
	claimCatNIP: "catnip", claimCatU: "catu", claimCatM: "catm", claimCatIFData: "catifdata", claimCatIF: "catif", claimCatR: "catr"}

// Tags and labels of COSE (RFC 9052) and CWT.
const (
	tagCWT   = 61
	tagMac0  = 17
	tagSign1 = 18
	tagIPv4  = 52 // RFC 9164
	tagIPv6  = 54

	labelAlg  = 1
	labelCrit = 2
	labelKid  = 4
)

// algorithms are COSE's, by JOSE's names.
var algorithms = map[int64]string{5: HS256, -7: ES256, -37: PS256}

// decoding refuses what two readers could understand in two ways, and bounds what
// a stranger can have us do.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: 256, MaxMapPairs: 128,
		IntDec: cbor.IntDecConvertSignedOrFail, UTF8: cbor.UTF8RejectInvalid, IndefLength: cbor.IndefLengthForbidden,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

var encoding = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// A message is COSE_Mac0 or COSE_Sign1: both have these four members.
type message struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]any
	Payload     []byte
	Signature   []byte
}

// parseCWT reads a CWT in COSE, and verifies it.
func parseCWT(b []byte, keys *Keys, tenant string) (*Claims, error) {
	malformed := func(err error) error { return fmt.Errorf("%w: %w", Malformed, err) }
	kind := uint64(0)
	for range 2 {
		var tag cbor.RawTag
		if len(b) == 0 || b[0]>>5 != 6 {
			break
		}
		if err := decoding.Unmarshal(b, &tag); err != nil {
			return nil, malformed(err)
		}
		switch {
		case tag.Number == tagCWT && kind == 0:
		case tag.Number == tagMac0, tag.Number == tagSign1:
			kind = tag.Number
		default:
			return nil, Malformed
		}
		b = tag.Content
	}
	var c message
	if err := decoding.Unmarshal(b, &c); err != nil {
		return nil, malformed(err)
	}
	protected := map[any]any{}
	if len(c.Protected) > 0 {
		if err := decoding.Unmarshal(c.Protected, &protected); err != nil {
			return nil, malformed(err)
		}
	}
	if _, critical := protected[int64(labelCrit)]; critical {
		return nil, Unsupported
	}
	number, ok := protected[int64(labelAlg)].(int64)
	if !ok {
		return nil, Malformed // what is not protected says nothing
	}
	algorithm := algorithms[number]
	context := "Signature1"
	if algorithm == HS256 {
		context = "MAC0"
	}
	if kind == tagMac0 && algorithm != HS256 || kind == tagSign1 && algorithm == HS256 {
		return nil, Malformed
	}
	kid, _ := protected[int64(labelKid)].([]byte)
	if kid == nil {
		kid, _ = c.Unprotected[int64(labelKid)].([]byte)
	}
	key, err := keys.Find(string(kid), algorithm, tenant)
	if err != nil {
		return nil, err
	}
	signed, err := encoding.Marshal([]any{context, c.Protected, []byte{}, c.Payload})
	if err != nil {
		return nil, malformed(err)
	}
	if err := key.verify(signed, c.Signature); err != nil {
		return nil, err
	}
	raw := map[any]any{}
	if err := decoding.Unmarshal(c.Payload, &raw); err != nil {
		return nil, malformed(err)
	}
	claims, err := cwtClaims(raw)
	if err != nil {
		return nil, err
	}
	claims.key, claims.raw = key, raw
	return claims, nil
}

// cwtClaims reads the claims of a CWT.
func cwtClaims(raw map[any]any) (*Claims, error) {
	c := new(Claims)
	for k, v := range raw {
		name := ""
		switch k := k.(type) {
		case int64:
			if name = claimNames[k]; name == "" && k >= claimCatReplay && k <= claimCatR {
				name = "cat" // another of CTA-5007-B
			}
		case string:
			if k == "catp" { // it has no number
				name = k
			}
		}
		if !c.read(name, v) {
			return nil, Malformed
		}
	}
	return c, nil
}
