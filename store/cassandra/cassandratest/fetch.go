package cassandratest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

//go:embed pom.xml
var pom []byte

// jars returns the directory with Cassandra's jars, and fetches them the first
// time.
func jars(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", errors.New("cassandratest: no java: install a Java 17 runtime (scripts/setup.sh does)")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cassandratest: %w", err)
	}
	version := regexp.MustCompile(`cassandra-all</artifactId>\s*<version>([^<]+)<`).FindSubmatch(pom)
	parent := filepath.Join(cache, "headwater")
	dir := filepath.Join(parent, "cassandra-"+string(version[1]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", errors.New("cassandratest: no mvn: install Maven (scripts/setup.sh does)")
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	// Fetched beside and renamed: another process may do the same, and a
	// fetch that breaks off leaves nothing.
	tmp, err := os.MkdirTemp(parent, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib")
	cmd.Dir = tmp
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("cassandratest: fetching Cassandra with mvn: %w: %s", err, tail(out.String()))
	}
	if err := os.Rename(filepath.Join(tmp, "lib"), dir); err != nil {
		if _, e := os.Stat(dir); e == nil {
			return dir, nil
		}
		return "", err
	}
	return dir, nil
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
