// Package check holds the deployment files against the tools that will read
// them and against the binary: a module of its own, for what only that needs.
package check

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// binary is the headwater command, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "headwater-check")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "headwater")
	build := exec.Command("go", "build", "-o", binary, "./cmd/headwater")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		os.Stderr.Write(out)
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var help = map[string]string{}

// knows fails unless the command has the flag, or the flag of the variable.
func knows(t *testing.T, where, command, flag string) {
	t.Helper()
	text, ok := help[command]
	if !ok {
		out, err := exec.Command(binary, "help", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: headwater help %s: %v\n%s", where, command, err, out)
		}
		text = string(out)
		help[command] = text
	}
	if !regexp.MustCompile(`(?m)^\s*--` + regexp.QuoteMeta(flag) + `\b`).MatchString(text) {
		t.Errorf("%s: headwater %s has no flag --%s", where, command, flag)
	}
}

// arguments checks the words of a headwater command line.
func arguments(t *testing.T, where string, words []string) {
	t.Helper()
	if len(words) == 0 {
		t.Errorf("%s: no command", where)
		return
	}
	for _, w := range words[1:] {
		if name, ok := strings.CutPrefix(w, "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			knows(t, where, words[0], name)
		}
	}
}

// variable checks a HEADWATER_COMMAND_FLAG.
func variable(t *testing.T, where, name string) {
	t.Helper()
	rest, ok := strings.CutPrefix(name, "HEADWATER_")
	if !ok {
		return
	}
	command, flag, ok := strings.Cut(rest, "_")
	if !ok {
		t.Errorf("%s: %s names no flag", where, name)
		return
	}
	knows(t, where, strings.ToLower(command), strings.ToLower(strings.ReplaceAll(flag, "_", "-")))
}

func TestCompose(t *testing.T) {
	file := "../compose/compose.yaml"
	opts, err := cli.NewProjectOptions([]string{file}, cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := opts.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range project.Services {
		if s.Image != "headwater" {
			continue
		}
		if s.Build == nil {
			t.Errorf("%s: nothing builds it", name)
		} else if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		arguments(t, "compose "+name, s.Command)
		for v := range s.Environment {
			variable(t, "compose "+name, v)
		}
		// Whoever reaches an origin has to say who they are, and its credentials are made first.
		if file := s.Environment["HEADWATER_ORIGIN_CREDENTIALS"]; s.Command[0] == "origin" {
			if file == nil || len(s.Volumes) != 1 || !strings.HasPrefix(*file, s.Volumes[0].Target+"/") {
				t.Errorf("%s: has no credentials", name)
			}
			if s.DependsOn["keys"].Condition != "service_completed_successfully" {
				t.Errorf("%s: does not wait for its credentials", name)
			}
			for _, p := range s.Ports {
				if p.HostIP != "127.0.0.1" {
					t.Errorf("%s: is published on %q", name, p.HostIP)
				}
			}
		}
	}
}

// kubernetes returns the objects that the kustomization makes, strictly read.
func kubernetes(t *testing.T) []any {
	t.Helper()
	make := krusty.MakeKustomizer(krusty.MakeDefaultOptions())
	if _, err := make.Run(filesys.MakeFsOnDisk(), "../kubernetes"); err == nil || !strings.Contains(err.Error(), "credentials.json") {
		t.Errorf("something is applied without credentials: %v", err)
	}
	// As its first line says.
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../kubernetes")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary, "keys", "init", filepath.Join(dir, "keys")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := make.Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, r := range made.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		var o any
		switch kind := r.GetGvk().ApiVersion() + " " + r.GetKind(); kind {
		case "v1 Namespace":
			o = new(corev1.Namespace)
		case "v1 ConfigMap":
			o = new(corev1.ConfigMap)
		case "v1 Service":
			o = new(corev1.Service)
		case "apps/v1 Deployment":
			o = new(appsv1.Deployment)
		case "apps/v1 StatefulSet":
			o = new(appsv1.StatefulSet)
		case "batch/v1 Job":
			o = new(batchv1.Job)
		case "policy/v1 PodDisruptionBudget":
			o = new(policyv1.PodDisruptionBudget)
		case "v1 Secret":
			o = new(corev1.Secret)
		case "networking.k8s.io/v1 NetworkPolicy":
			o = new(networkingv1.NetworkPolicy)
		default:
			t.Fatalf("%s %s is of a kind that nothing here checks", kind, r.GetName())
		}
		if err := yaml.UnmarshalStrict(text, o); err != nil {
			t.Errorf("%s %s: %v", r.GetKind(), r.GetName(), err)
		}
		all = append(all, o)
	}
	return all
}

func TestKubernetes(t *testing.T) {
	all := kubernetes(t)
	var pods []corev1.PodTemplateSpec
	configs := map[string]map[string]string{}
	for _, o := range all {
		switch o := o.(type) {
		case *corev1.ConfigMap:
			configs[o.Name] = o.Data
		case *appsv1.Deployment:
			pods = append(pods, o.Spec.Template)
			selects(t, o.Name, o.Spec.Selector.MatchLabels, o.Spec.Template.Labels)
		case *appsv1.StatefulSet:
			pods = append(pods, o.Spec.Template)
			selects(t, o.Name, o.Spec.Selector.MatchLabels, o.Spec.Template.Labels)
		case *batchv1.Job:
			pods = append(pods, o.Spec.Template)
		}
	}
	headwaters := 0
	for _, pod := range pods {
		for _, c := range pod.Spec.Containers {
			if c.Image != "headwater" {
				continue
			}
			headwaters++
			where := "kubernetes " + c.Name + " " + strings.Join(c.Args, " ")
			arguments(t, where, c.Args)
			for _, e := range c.Env {
				variable(t, where, e.Name)
			}
			for _, from := range c.EnvFrom {
				data, ok := configs[from.ConfigMapRef.Name]
				if !ok {
					t.Errorf("%s: there is no ConfigMap %s", where, from.ConfigMapRef.Name)
				}
				for v := range data {
					variable(t, where, v)
				}
			}
			for _, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
				if p != nil && !hasPort(c, p.HTTPGet.Port.String()) {
					t.Errorf("%s: a probe asks port %s, which it has not", where, p.HTTPGet.Port.String())
				}
			}
		}
	}
	if headwaters < 5 {
		t.Errorf("only %d containers of headwater", headwaters)
	}
	for _, o := range all {
		s, ok := o.(*corev1.Service)
		if !ok {
			continue
		}
		found := false
		for _, pod := range pods {
			if !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)) {
				continue
			}
			found = true
			for _, p := range s.Spec.Ports {
				target := p.TargetPort.String()
				if target == "0" || target == "" {
					target = p.Name
				}
				if !hasPort(pod.Spec.Containers[0], target) {
					t.Errorf("service %s: its pods have no port %s", s.Name, target)
				}
			}
		}
		if !found {
			t.Errorf("service %s selects no pod", s.Name)
		}
	}
}

// TestKubernetesIsClosed: by default nobody connects to any pod; what a policy
// names are pods and ports that there are; and every origin has credentials.
func TestKubernetesIsClosed(t *testing.T) {
	all := kubernetes(t)
	secrets := map[string]bool{}
	var pods []corev1.PodTemplateSpec
	for _, o := range all {
		switch o := o.(type) {
		case *corev1.Secret:
			secrets[o.Name] = true
		case *appsv1.Deployment:
			pods = append(pods, o.Spec.Template)
		case *appsv1.StatefulSet:
			pods = append(pods, o.Spec.Template)
		}
	}
	closed, named := false, map[int]bool{}
	for _, o := range all {
		p, ok := o.(*networkingv1.NetworkPolicy)
		if !ok {
			continue
		}
		if len(p.Spec.PodSelector.MatchLabels) == 0 {
			closed = len(p.Spec.Ingress) == 0 && len(p.Spec.PolicyTypes) == 1 && p.Spec.PolicyTypes[0] == networkingv1.PolicyTypeIngress
			continue
		}
		found := false
		for i, pod := range pods {
			if !labels.SelectorFromSet(p.Spec.PodSelector.MatchLabels).Matches(labels.Set(pod.Labels)) {
				continue
			}
			found, named[i] = true, true
			for _, in := range p.Spec.Ingress {
				for _, port := range in.Ports {
					if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(c corev1.ContainerPort) bool { return c.ContainerPort == port.Port.IntVal }) {
						t.Errorf("policy %s: pod %v has no port %s", p.Name, pod.Labels, port.Port)
					}
				}
			}
		}
		if !found {
			t.Errorf("policy %s selects no pod", p.Name)
		}
	}
	if !closed {
		t.Error("no policy closes what no other opens")
	}
	for i, pod := range pods {
		if !named[i] {
			t.Errorf("nothing may connect to pod %v", pod.Labels)
		}
		if pod.Labels["app"] != "origin" {
			continue
		}
		if v := pod.Spec.Volumes; len(v) == 0 || v[0].Secret == nil || !secrets[v[0].Secret.SecretName] || pod.Spec.Containers[0].VolumeMounts[0].MountPath != "/keys" {
			t.Errorf("pod %v has no credentials", pod.Labels)
		}
	}
}

func selects(t *testing.T, name string, selector, of map[string]string) {
	t.Helper()
	if !labels.SelectorFromSet(selector).Matches(labels.Set(of)) {
		t.Errorf("%s does not select its own pods", name)
	}
}

func hasPort(c corev1.Container, name string) bool {
	for _, p := range c.Ports {
		if p.Name == name {
			return true
		}
	}
	return false
}

// TestSystemd has systemd read the units, with the binary where they expect it.
func TestSystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal("this test needs systemd-analyze: apt-get install systemd")
	}
	units, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	dir := t.TempDir()
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Replace(filepath.Base(unit), "@.", "@publish.", 1)
		text = bytes.ReplaceAll(text, []byte("/usr/local/bin/headwater"), []byte(binary))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name))
		out, err := cmd.CombinedOutput()
		if err != nil || len(bytes.TrimSpace(out)) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if _, words, ok := strings.Cut(line, binary+" "); ok && strings.HasPrefix(line, "ExecStart") {
				arguments(t, unit, strings.Fields(strings.Trim(words, `"`)))
			}
			if _, v, ok := strings.Cut(line, "HEADWATER_"); ok && strings.HasPrefix(line, "#") {
				name, _, _ := strings.Cut(v, "=")
				if !strings.HasPrefix(name, "PACKAGER_...") {
					variable(t, unit, "HEADWATER_"+name)
				}
			}
		}
	}
}

// TestRunbookCommands: each headwater command in the runbook has its flags.
func TestRunbookCommands(t *testing.T) {
	f, err := os.Open("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range regexp.MustCompile("(?:^|[`(/ ])headwater ((?:origin|edge|packager|event|load|store|keys|demo|drill)\\b[^`\\n|&>]*)").FindAllSubmatch(text, -1) {
		words := strings.Fields(string(m[1]))
		var plain []string
		for _, w := range words {
			plain = append(plain, strings.Trim(w, ",;:.()"))
		}
		arguments(t, "docs/operations.md: "+string(m[1]), plain)
		n++
	}
	if n == 0 {
		t.Error("no command found")
	}
}
