package manifest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"headwater/internal/need"
)

// schemaVariable names the directory with DASH-MPD.xsd, as the standard's group
// publishes it. It is not ours to hand on.
const schemaVariable = "HEADWATER_DASH_SCHEMA"

// What DASH-MPD.xsd takes of XLink.
const xlink = `<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/1999/xlink">
 <xs:attribute name="href" type="xs:anyURI"/>
 <xs:attribute name="type" type="xs:string"/>
 <xs:attribute name="show" type="xs:string"/>
 <xs:attribute name="actuate" type="xs:string"/>
</xs:schema>`

// The schema has no word for what ETSI TS 103 998 adds.
var steeringOnly = regexp.MustCompile(`\n *<ContentSteering .*</ContentSteering>|(<Location) serviceLocation="[^"]*"`)

// Every MPD of the golden files is valid by the schema of ISO/IEC 23009-1.
func TestSchema(t *testing.T) {
	place := need.Given(t, schemaVariable, "the directory of DASH-MPD.xsd of ISO/IEC 23009-1, 5th edition")
	schema, err := os.ReadFile(filepath.Join(place, "DASH-MPD.xsd"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	xsd := write("DASH-MPD.xsd", schema)
	catalog := write("catalog.xml", fmt.Appendf(nil, `<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog">
 <system systemId="http://www.w3.org/XML/2008/06/xlink.xsd" uri="%[1]s"/><system systemId="http://www.w3.org/1999/xlink.xsd" uri="%[1]s"/>
 <uri name="http://www.w3.org/XML/2008/06/xlink.xsd" uri="%[1]s"/><uri name="http://www.w3.org/1999/xlink.xsd" uri="%[1]s"/>
</catalog>`, write("xlink.xsd", []byte(xlink))))
	args := []string{"--noout", "--nonet", "--schema", xsd}
	for _, g := range slices.Concat(golden, goldenGenerations) {
		for i, f := range []func(Input) ([]byte, error){MPD, ListedMPD} {
			if b, err := f(g.in); err == nil {
				args = append(args, write(g.name+[]string{".mpd", "-listed.mpd"}[i], b))
			}
		}
	}
	b, err := MPD(golden[0].in)
	if err != nil {
		t.Fatal(err)
	}
	steered := Steered(b, placeA)
	if bytes.Equal(steered, b) {
		t.Error("an MPD has no steering")
	}
	args = append(args, write("steered.mpd", steeringOnly.ReplaceAll(steered, []byte("$1"))))
	// One that is not valid, to see that the schema is heeded.
	wrong := write("wrong.mpd", bytes.Replace(b, []byte("timescale="), []byte("timescal="), 1))
	run := func(args ...string) (string, error) {
		cmd := exec.Command("xmllint", args...)
		cmd.Env = append(os.Environ(), "XML_CATALOG_FILES="+catalog)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(args...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run("--noout", "--nonet", "--schema", xsd, wrong); err == nil || !strings.Contains(out, "timescal") {
		t.Errorf("an MPD that is not valid: %v\n%s", err, out)
	}
}
