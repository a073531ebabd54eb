package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errHelp asks for the command's help.
var errHelp = errors.New("help")

// options are a command's flags. Each has a configuration key (its name with
// _ for -) and an environment variable (HEADWATER_COMMAND_NAME). A flag beats
// the environment, which beats the configuration file, which beats the default.
type options struct {
	command string
	set     *flag.FlagSet
	lists   map[string]bool // flags that repeat
	secrets map[string]bool // flags that take a secret: help does not show them
	config  string
	typed   []string // flags that the command line gave, not the environment or a file
}

func newOptions(command string) *options {
	o := &options{command: command, set: flag.NewFlagSet(command, flag.ContinueOnError), lists: make(map[string]bool), secrets: make(map[string]bool)}
	o.set.SetOutput(io.Discard)
	o.set.StringVar(&o.config, "config", "", "`FILE` of JSON with a key for each flag, - written as _; a key that is another command's is ignored")
	return o
}

func (o *options) String(p *string, name, value, usage string) {
	o.set.StringVar(p, name, value, usage)
}
func (o *options) Bool(p *bool, name string, usage string) { o.set.BoolVar(p, name, false, usage) }
func (o *options) Int(p *int, name string, value int, usage string) {
	o.set.IntVar(p, name, value, usage)
	o.reads(name, "is no whole number")
}
func (o *options) Float(p *float64, name string, value float64, usage string) {
	o.set.Float64Var(p, name, value, usage)
	o.reads(name, "is no number")
}
func (o *options) Duration(p *time.Duration, name string, value time.Duration, usage string) {
	o.set.DurationVar(p, name, value, usage)
	o.reads(name, "is no time like 30s, 1m30s or 500ms")
}

// reads has a flag say what it wants, where package flag says "parse error".
func (o *options) reads(name, what string) {
	f := o.set.Lookup(name)
	f.Value = plainValue{f.Value, what}
}

type plainValue struct {
	flag.Value
	what string
}

func (v plainValue) Set(s string) error {
	if err := v.Value.Set(s); err != nil {
		return errors.New(v.what)
	}
	return nil
}

// List is a flag that may be given several times; in the environment and as a
// string in a configuration file its values are separated by commas.
func (o *options) List(p *[]string, name, usage string) {
	o.lists[name] = true
	o.set.Var((*listValue)(p), name, usage+" (repeatable)")
}

// Secret and SecretList are flags that take secrets. They are for the environment
// and configuration files: others see a command line, so there it is warned of.
func (o *options) Secret(p *string, name, usage string) {
	o.secrets[name] = true
	o.set.StringVar(p, name, "", usage)
}

func (o *options) SecretList(p *[]string, name, usage string) {
	o.secrets[name] = true
	o.List(p, name, usage)
}

// Bytes is a size such as 1GiB, 256MB or 4096.
func (o *options) Bytes(p *int64, name string, value int64, usage string) {
	*p = value
	o.set.Var((*bytesValue)(p), name, usage)
}

type listValue []string

func (l *listValue) String() string { return strings.Join(*l, ",") }
func (l *listValue) Set(s string) error {
	*l = append(*l, s)
	return nil
}

type bytesValue int64

var units = []struct {
	suffix string
	size   int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}

func (b *bytesValue) String() string {
	n := int64(*b)
	for _, u := range []int{2, 1, 0} {
		if n != 0 && n%units[u].size == 0 {
			return strconv.FormatInt(n/units[u].size, 10) + units[u].suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

func (b *bytesValue) Set(s string) error {
	for _, u := range units {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
			if err != nil || !(n >= 0 && n*float64(u.size) <= 1<<62) {
				return errors.New("is not a size like 1GiB, 256MB or 4096")
			}
			*b = bytesValue(n * float64(u.size))
			return nil
		}
	}
	return nil
}

// parse reads flags, environment and configuration file, and returns what is
// not a flag. Flags and other arguments may be mixed.
func (o *options) parse(env *environment, args []string) (rest []string, err error) {
	for {
		if err := o.set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, errHelp
			}
			message := strings.Replace(err.Error(), " -", " --", 1)
			if name, ok := strings.CutPrefix(message, "flag provided but not defined: --"); ok {
				message = "--" + name + ": there is no such flag" + didYouMean(name, "--", o.names())
			}
			return nil, usageError{errors.New(message)}
		}
		args = o.set.Args()
		if len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	if err := checkEnvironment(env, o); err != nil {
		return nil, err
	}
	given := make(map[string]bool)
	o.set.Visit(func(f *flag.Flag) {
		given[f.Name] = true
		o.typed = append(o.typed, f.Name)
		if o.secrets[f.Name] && env.stderr != nil {
			fmt.Fprintf(env.stderr, "headwater %s: --%s: others see a secret on the command line: give it in a file, or as %s\n", o.command, f.Name, o.variable(f.Name))
		}
	})
	o.set.VisitAll(func(f *flag.Flag) {
		if v := env.getenv(o.variable(f.Name)); v != "" && !given[f.Name] && err == nil {
			given[f.Name] = true
			err = o.assign(f.Name, v, o.variable(f.Name))
		}
	})
	if err != nil {
		return nil, err
	}
	if o.config != "" {
		err = o.readConfig(given)
	}
	return rest, err
}

// parseVerb is parse for a command with verbs, such as "init, add or list": which one
// it is, and what follows it.
func (o *options) parseVerb(env *environment, args []string, verbs string) (verb string, rest []string, err error) {
	if rest, err = o.parse(env, args); err != nil {
		return "", nil, err
	}
	if len(rest) == 0 {
		return "", nil, usagef("say what to do: %s", verbs)
	}
	known := strings.Split(strings.Replace(verbs, " or ", ", ", 1), ", ")
	if !slices.Contains(known, rest[0]) {
		return "", nil, usagef("%q is not a verb of %s: there are %s%s", rest[0], o.command, strings.Replace(verbs, " or ", " and ", 1), didYouMean(rest[0], "", known))
	}
	return rest[0], rest[1:], nil
}

// names are those of the flags, keys those of the configuration.
func (o *options) names() (all []string) {
	o.set.VisitAll(func(f *flag.Flag) { all = append(all, f.Name) })
	return all
}

func (o *options) keys() (all []string) {
	for _, name := range o.names() {
		all = append(all, strings.ReplaceAll(name, "-", "_"))
	}
	return all
}

func (o *options) variable(name string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(o.command+"_"+name, "-", "_"))
}

func (o *options) assign(name, value, source string) error {
	values := []string{value}
	if o.lists[name] {
		values = strings.Split(value, ",")
	}
	for _, v := range values {
		if err := o.set.Set(name, v); err != nil {
			if o.secrets[name] {
				v = "the secret"
			}
			return usagef("%s: %q %v", source, v, err)
		}
	}
	return nil
}

// readConfig takes from the file what neither flag nor environment gave. The
// file is an object of keys, or of commands with objects of keys.
func (o *options) readConfig(given map[string]bool) error {
	b, err := os.ReadFile(o.config)
	if err != nil {
		return usagef("--config: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return usagef("--config %s: %w", o.config, err)
	}
	keys := all
	if own, ok := all[o.command]; ok {
		keys = nil
		if err := json.Unmarshal(own, &keys); err != nil {
			return usagef("--config %s: %s: %w", o.config, o.command, err)
		}
	}
	for key, raw := range keys {
		if find(key) != nil {
			continue
		}
		name := strings.ReplaceAll(key, "_", "-")
		if o.set.Lookup(name) == nil || name == "config" {
			return usagef("--config %s: %q is not a key of %s%s", o.config, key, o.command, didYouMean(key, "", o.keys()))
		}
		if given[name] {
			continue
		}
		values, err := configValues(raw)
		if err != nil {
			return usagef("--config %s: %s: %w", o.config, key, err)
		}
		for _, v := range values {
			if err := o.assign(name, v, "--config "+o.config+": "+key); err != nil {
				return err
			}
		}
	}
	return nil
}

// configValues takes a JSON string, number, boolean, or array of those.
func configValues(raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var out []string
	for _, x := range list {
		var s string
		if json.Unmarshal(x, &s) != nil {
			if s = strings.TrimSpace(string(x)); s == "" || strings.ContainsAny(s[:1], "{[n") {
				return nil, fmt.Errorf("%s is not a string, number, boolean or list of those", s)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// dashed is a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// describe prints every flag with its default, variable and key.
func (o *options) describe(w io.Writer) {
	fmt.Fprintf(w, "\nFlags (each is also a key of --config FILE, with _ for -, and an environment variable):\n")
	o.set.VisitAll(func(f *flag.Flag) {
		if o.secrets[f.Name] {
			return
		}
		kind, usage := flag.UnquoteUsage(f)
		head := "  " + dashed(f.Name)
		if kind != "" {
			head += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "%s\n        %s\n        %s\n", head, usage, o.variable(f.Name))
	})
}

// shown is an address, or several, as logs may have it: without a query and
// without credentials.
func shown(addresses ...string) string {
	out := make([]string, len(addresses))
	for i, a := range addresses {
		a, _, _ = strings.Cut(a, "?")
		if scheme, rest, ok := strings.Cut(a, "://"); ok {
			host, path, _ := strings.Cut(rest, "/")
			if at := strings.LastIndex(host, "@"); at >= 0 {
				a = scheme + "://" + host[at+1:] + strings.TrimSuffix("/"+path, "/")
			}
		}
		out[i] = a
	}
	return strings.Join(out, ",")
}

// logging makes the logger of a long-running command.
type logging struct{ level, format string }

func (l *logging) flags(o *options) {
	o.String(&l.level, "log-level", "info", "least `LEVEL` to log: debug, info, warn or error")
	o.String(&l.format, "log-format", "text", "`FORMAT` of the log on standard error: text or json")
}

func (l *logging) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, usagef("--log-level: %q is not debug, info, warn or error", l.level)
	}
	opt := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return nil, usagef("--log-format: %q is not text or json", l.format)
}
