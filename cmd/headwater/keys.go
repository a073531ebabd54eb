package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"headwater/access"
	"headwater/access/token"
	"headwater/live"
)

var keysCommand = &command{
	name: "keys", summary: "make credentials",
	usage: "VERB [flags]",
	about: `
Verbs:
  init DIR   make DIR/credentials.json for --credentials, and a file with the secret of
             each: publish (of all tenants), control (admin), deliver, and peer (of edges).
             What is there stays: it may run at each start
  viewers    add a key to the file of --viewer-keys, of --tenant or of all
  token TENANT/EVENT
             print a token that opens the event --for a while, signed with the key --key of
             --viewer-keys: --form cwt, jwt or url (for one URL: append ?CAT=...)
  add        add one to the file of --credentials: --name, --grant; print its secret
  list       list names and grants of the file of --credentials

A grant is RIGHT, RIGHT:TENANT or, of publish and init, RIGHT:TENANT/PIPELINE. The rights:
  publish  PUT segments; a tenant's also sets the init segment of a rendition
  init     of a pipeline: set the init segment of a rendition, which is all pipelines'
  deliver  fill from a delivery listener
  read     see events, what was done, and metrics
  operate  change events that there are
  admin    create and delete events, and say who may watch
  peer     be a node of the site

The file has hashes of secrets, not the secrets. To put a new secret in the place of an
old one add it under the same name, give it to who uses it, and take the old one out.`,
}

func init() { keysCommand.run = runKeys }

type keysFlags struct {
	credentials, name string
	grants            []string
	viewerKeys, key   string
	tenants           []string
	form              string
	length            time.Duration
}

func (f *keysFlags) register(o *options) {
	o.String(&f.credentials, "credentials", "", "add, list: `FILE` of credentials")
	o.String(&f.name, "name", "", "add: `NAME` of who it is for, as logs have it")
	o.List(&f.grants, "grant", "add: `GRANT` that it has")
	o.String(&f.viewerKeys, "viewer-keys", "", "viewers, token: `FILE` of keys of viewers' tokens")
	o.String(&f.key, "key", "", "viewers, token: `ID` of the key; viewers: default one with the time")
	o.List(&f.tenants, "tenant", "viewers: `TENANT` whose events the key opens; default all")
	o.String(&f.form, "form", "cwt", "token: `FORM`: cwt, jwt or url")
	o.Duration(&f.length, "for", 4*time.Hour, "token: `TIME` that it opens the event")
}

func runKeys(_ context.Context, env *environment, args []string) error {
	var f keysFlags
	o := newOptions("keys")
	f.register(o)
	verb, rest, err := o.parseVerb(env, args, "init, viewers, token, add or list")
	switch {
	case err != nil:
		return err
	case verb == "init" && len(rest) == 1:
		return initKeys(env, rest[0])
	case verb == "init":
		return usagef("init: name one directory")
	case verb == "viewers" && len(rest) == 0:
		return f.addViewerKey(env)
	case verb == "token" && len(rest) == 1:
		return f.token(env, rest[0])
	case verb == "token":
		return usagef("token: name one event: TENANT/EVENT")
	case len(rest) > 0:
		return usagef("%s: %q: takes only flags", verb, rest[0])
	case f.credentials == "":
		return usagef("--credentials: name the file")
	case verb == "list":
		return listKeys(env, f.credentials)
	}
	return f.add(env)
}

// readCredentials reads a file of credentials.
func readCredentials(name string) (*access.File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f, err := access.ParseFile(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func (f *keysFlags) add(env *environment) error {
	if f.name == "" || len(f.grants) == 0 {
		return usagef("add: give --name and --grant")
	}
	file, err := readCredentials(f.credentials)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = new(access.File), nil
	}
	if err != nil {
		return err
	}
	secret, hash := access.NewSecret()
	same := func(c access.Credential) bool { return c.Name == f.name && slices.Equal(c.Grants, f.grants) }
	if i := slices.IndexFunc(file.Credentials, same); i >= 0 {
		file.Credentials[i].Secrets = append(file.Credentials[i].Secrets, hash)
	} else {
		file.Credentials = append(file.Credentials, access.Credential{Name: f.name, Secrets: []string{hash}, Grants: f.grants})
	}
	if _, err := access.NewKeyring(file.Credentials...); err != nil {
		return usageError{err}
	}
	if err := writeCredentials(f.credentials, file); err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, secret)
	return err
}

func listKeys(env *environment, name string) error {
	file, err := readCredentials(name)
	if err != nil {
		return usagef("--credentials: %w", err)
	}
	if _, err := access.NewKeyring(file.Credentials...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(file.Credentials) == 0 {
		fmt.Fprintf(env.stderr, "%s has not one credential\n", name)
	}
	for _, c := range file.Credentials {
		line := fmt.Sprintf("%s: %s (%s", c.Name, strings.Join(c.Grants, " "), count(len(c.Secrets), "secret"))
		if len(c.Certificates) > 0 {
			line += "; " + strings.Join(c.Certificates, " ")
		}
		if !c.Expires.IsZero() {
			line += "; until " + c.Expires.UTC().Format("2006-01-02T15:04:05Z")
		}
		fmt.Fprintln(env.stdout, line+")")
	}
	return nil
}

func writeCredentials(name string, file *access.File) error {
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(name, append(b, '\n'))
}

// replaceFile writes a file that others must not read, unless they may already, nor see
// half-written.
func replaceFile(name string, b []byte) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(name); err == nil {
		mode = info.Mode().Perm()
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// addViewerKey adds a key of viewers' tokens to a file.
func (f *keysFlags) addViewerKey(env *environment) error {
	if f.viewerKeys == "" {
		return usagef("--viewer-keys: name the file")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	b, err := os.ReadFile(f.viewerKeys)
	if err == nil {
		err = json.Unmarshal(b, &set)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", f.viewerKeys, err)
	}
	if f.key == "" {
		f.key = time.Now().UTC().Format("2006-01-02T150405Z")
	}
	_, key := token.NewKey(f.key, f.tenants...)
	set.Keys = append(set.Keys, key)
	if b, err = json.MarshalIndent(set, "", "  "); err != nil {
		return err
	}
	if _, err := token.ParseKeys(b); err != nil {
		return usageError{err}
	}
	if err := replaceFile(f.viewerKeys, append(b, '\n')); err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, f.key)
	return err
}

// token prints one that opens an event.
func (f *keysFlags) token(env *environment, event string) error {
	id, err := live.ParseEventID(event)
	if err != nil {
		return usagef("token: %s", live.PathReason(err))
	}
	if f.viewerKeys == "" {
		return usagef("--viewer-keys: name the file of keys (headwater keys viewers makes it)")
	}
	if f.length <= 0 {
		return usagef("--for: %v opens nothing", f.length)
	}
	keys, err := readViewerKeys(f.viewerKeys)
	if err != nil {
		return usagef("--viewer-keys: %w", err)
	}
	key, err := keys.Only(f.key)
	if err != nil {
		return usagef("--viewer-keys: %s, --key %q: %w", f.viewerKeys, f.key, err)
	}
	path, expires := "/"+id.String()+"/", time.Now().Add(f.length)
	var s string
	switch f.form {
	case "cwt":
		s, err = key.CWT(map[any]any{4: expires.Unix(), 312: map[any]any{3: map[any]any{1: path}}})
	case "jwt":
		s, err = key.JWT(map[string]any{"exp": expires.Unix(), "catu": map[string]any{"path": map[string]any{"prefix": path}}})
	case "url":
		s, err = key.Sign(path+"*", expires)
	default:
		return usagef("--form: %q is not cwt, jwt or url", f.form)
	}
	if err == nil {
		_, err = fmt.Fprintln(env.stdout, s)
	}
	return err
}

// initKeys makes what a deployment needs, once. Of several at once the one that
// is first to link the file of credentials makes them; that is whole by then.
func initKeys(env *environment, dir string) error {
	name := filepath.Join(dir, "credentials.json")
	there := func() error {
		fmt.Fprintf(env.stderr, "%s is there, and stays\n", name)
		return nil
	}
	if _, err := os.Stat(name); err == nil {
		return there()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := new(access.File)
	secrets := make(map[string]string)
	for _, c := range []struct{ name, grant string }{{"publish", "publish"}, {"control", "admin"}, {"deliver", "deliver"}, {"peer", "peer"}} {
		secret, hash := access.NewSecret()
		secrets[c.name] = secret
		file.Credentials = append(file.Credentials, access.Credential{Name: c.name, Secrets: []string{hash}, Grants: []string{c.grant}})
	}
	mine := filepath.Join(dir, ".new-"+rand.Text())
	if err := writeCredentials(mine, file); err != nil {
		return err
	}
	err := os.Link(mine, name)
	if err = errors.Join(err, os.Remove(mine)); errors.Is(err, fs.ErrExist) {
		return there()
	} else if err != nil {
		return err
	}
	for name, secret := range secrets {
		if err := replaceFile(filepath.Join(dir, name+".secret"), []byte(secret+"\n")); err != nil {
			return err
		}
	}
	fmt.Fprintf(env.stderr, "%s has the hashes, publish.secret, control.secret, deliver.secret and peer.secret beside it the secrets\n", name)
	return nil
}
