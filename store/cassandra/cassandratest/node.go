package cassandratest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"headwater/internal/proc"
)

const (
	portCQL    = 9042
	portGossip = 7100
)

// Node is one node, which may be running, paused or dead. Its methods are for
// one goroutine at a time.
type Node struct {
	Host string // its address; CQL is on the default port
	DC   string

	seeds      string
	number, of int
	dir, lib   string
	heap       int
	quick      bool
	within     []string
	args       []string // of java

	p proc.Process
}

const cassandraYAML = `
cluster_name: headwater
num_tokens: 1
initial_token: %[3]s
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
role_manager: CassandraRoleManager
data_file_directories: [ %[1]s/data ]
commitlog_directory: %[1]s/commitlog
saved_caches_directory: %[1]s/saved_caches
hints_directory: %[1]s/hints
cdc_raw_directory: %[1]s/cdc
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 32MiB
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [ { seeds: "%[4]s" } ]
storage_port: 7100
listen_address: %[2]s
rpc_address: %[2]s
native_transport_port: 9042
endpoint_snitch: GossipingPropertyFileSnitch
concurrent_reads: 16
concurrent_writes: 16
memtable_allocation_type: heap_buffers
disk_optimization_strategy: ssd
`

const logback = `<configuration><appender name="S" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %date{HH:mm:ss,SSS} %msg%n</pattern></encoder></appender><root level="INFO"><appender-ref ref="S"/></root></configuration>
`

func (n *Node) configure() error {
	conf := filepath.Join(n.dir, "conf")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return err
	}
	// Tokens at equal distances over the whole ring.
	token := new(big.Int).Mul(big.NewInt(math.MaxInt64), big.NewInt(2*int64(n.number-1)))
	token.Div(token, big.NewInt(int64(n.of)))
	token.Add(token, big.NewInt(math.MinInt64+1))
	return errors.Join(
		os.WriteFile(filepath.Join(conf, "cassandra.yaml"), fmt.Appendf(nil, cassandraYAML, n.dir, n.Host, token, n.seeds), 0o644),
		os.WriteFile(filepath.Join(conf, "cassandra-rackdc.properties"), fmt.Appendf(nil, "dc=%s\nrack=rack%d\n", n.DC, n.number), 0o644),
		os.WriteFile(filepath.Join(conf, "logback.xml"), []byte(logback), 0o644),
	)
}

// exports and opens are the packages that Cassandra reaches into.
const exports = `java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.management.rmi/com.sun.jmx.remote.internal.rmi
java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql java.base/java.lang.ref java.base/java.lang.reflect`

const opens = `java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect
java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar jdk.management/com.sun.management.internal
java.base/sun.nio.ch java.base/java.io java.base/java.lang java.base/java.lang.reflect java.base/java.util java.base/java.util.concurrent
java.base/java.util.concurrent.atomic java.base/java.nio java.rmi/sun.rmi.transport.tcp`

func (n *Node) arguments() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(n.lib, "*.jar"))
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("cassandratest: no jars in %s (%v): remove the directory to fetch them again", n.lib, err)
	}
	jamm, err := filepath.Glob(filepath.Join(n.lib, "jamm-*.jar"))
	if err != nil || len(jamm) != 1 {
		return nil, fmt.Errorf("cassandratest: no jamm in %s", n.lib)
	}
	args := []string{
		"-javaagent:" + jamm[0], fmt.Sprintf("-Xms%dM", n.heap), fmt.Sprintf("-Xmx%dM", n.heap), "-Xss256k",
		"-XX:MaxDirectMemorySize=256M", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djdk.attach.allowAttachSelf=true",
	}
	if n.quick {
		args = append(args, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote")
	} else {
		args = append(args, "-XX:+UseG1GC")
	}
	for p := range strings.FieldsSeq(exports) {
		args = append(args, "--add-exports", p+"=ALL-UNNAMED")
	}
	for p := range strings.FieldsSeq(opens) {
		args = append(args, "--add-opens", p+"=ALL-UNNAMED")
	}
	return append(args,
		"-Dcassandra.config=file://"+n.dir+"/conf/cassandra.yaml", "-Dcassandra.storagedir="+n.dir, "-Dcassandra.logdir="+n.dir,
		"-Dcassandra-foreground=yes", "-Dcassandra.ring_delay_ms=100", "-Dcassandra.skip_wait_for_gossip_to_settle=0",
		"-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.migration_delay_ms=1000", "-Dcassandra.schema_pull_interval_ms=2000",
		"-cp", filepath.Join(n.dir, "conf")+":"+strings.Join(all, ":"), "org.apache.cassandra.service.CassandraDaemon"), nil
}

// Start runs a node that is not running, and returns when it serves.
func (n *Node) Start(ctx context.Context) error {
	if n.args == nil {
		args, err := n.arguments()
		if err != nil {
			return err
		}
		n.args = append(append(slices.Clone(n.within), "java"), args...)
		n.p = proc.Process{
			Name: "cassandra " + n.Host, Log: n.Log(), Make: func() *exec.Cmd { return exec.Command(n.args[0], n.args[1:]...) },
			Ready: proc.Accepts(fmt.Sprintf("%s:%d", n.Host, portCQL)),
		}
	}
	return n.p.Start(ctx)
}

// Kill ends the node at once, as kill -9 does, and waits for its end. What it
// had acknowledged is in its commit log.
func (n *Node) Kill() error { return n.p.Kill() }

// clear kills the node and forgets what it had.
func (n *Node) clear() error {
	err := n.Kill()
	for _, d := range []string{"data", "commitlog", "saved_caches", "hints", "cdc"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(n.dir, d)))
	}
	return err
}

// Pause stops the node where it stands; its connections stay open.
func (n *Node) Pause() error { return n.p.Pause() }

// Resume lets a paused node go on.
func (n *Node) Resume() error { return n.p.Resume() }

// Log returns the path of the node's log.
func (n *Node) Log() string { return filepath.Join(n.dir, "log") }
