package cassandra

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"headwater/store"
)

// ErrSchema is wrapped by what Open returns where the schema is missing or not
// the one that this code needs: headwater store init mends it.
var ErrSchema = errors.New("cassandra store: schema")

// schemaVersion is what this code needs. A migration adds a step to steps and
// raises it; what old code can go on with beside it says compatible.
const (
	schemaVersion = 1
	compatible    = 1 // the oldest code that can use this schema
)

// steps[i] takes a namespace's keyspace from version i to i+1. Each statement
// may be repeated. {ks} is the keyspace, {id:NAME} an id of its own for a table:
// with one that follows from its name, two who create it at once create the
// same. Timestamps are nanoseconds, which time windows are told.
var steps = map[string][][]string{
	store.Media: {{
		`CREATE TABLE IF NOT EXISTS {ks}.items (record text, bucket bigint, key text, head map<blob, blob>, value map<blob, blob>,
			PRIMARY KEY ((record, bucket), key)) WITH ID = {id:items} AND gc_grace_seconds = 21600 AND compaction = {windows}
			AND speculative_retry = 'MIN(99p,50ms)'`,
		`CREATE TABLE IF NOT EXISTS {ks}.chunks (record text, key text, stamp blob, idx int, data blob,
			PRIMARY KEY ((record, key, stamp, idx))) WITH ID = {id:chunks} AND gc_grace_seconds = 21600 AND compaction = {windows}
			AND compression = {'enabled': 'false'} AND speculative_retry = 'MIN(99p,50ms)'`,
		createBuckets,
	}},
	store.Control: {{
		`CREATE TABLE IF NOT EXISTS {ks}.items (record text, bucket bigint, key text, head map<blob, blob>, value map<blob, blob>,
			PRIMARY KEY ((record, bucket), key)) WITH ID = {id:items} AND compaction = {'class': 'LeveledCompactionStrategy'}
			AND speculative_retry = 'MIN(99p,50ms)'`,
		`CREATE TABLE IF NOT EXISTS {ks}.chunks (record text, key text, stamp blob, idx int, data blob,
			PRIMARY KEY ((record, key, stamp, idx))) WITH ID = {id:chunks} AND compression = {'enabled': 'false'}
			AND speculative_retry = 'MIN(99p,50ms)'`,
		createBuckets,
	}},
}

const (
	createBuckets = `CREATE TABLE IF NOT EXISTS {ks}.buckets (record text, bucket bigint, PRIMARY KEY (record, bucket)) WITH ID = {id:buckets}
		AND compaction = {'class': 'LeveledCompactionStrategy'} AND speculative_retry = 'MIN(99p,50ms)'`
	createVersion = `CREATE TABLE IF NOT EXISTS {ks}.schema_version (name text, version int, compatible int, owner text, PRIMARY KEY (name)) WITH ID = {id:schema_version}`
)

// tableID is a UUID that follows from the name.
func tableID(keyspace, table string) gocql.UUID {
	sum := sha256.Sum256([]byte("headwater " + keyspace + "." + table))
	sum[6] = sum[6]&0x0f | 0x80 // version 8: of one's own making
	sum[8] = sum[8]&0x3f | 0x80
	return gocql.UUID(sum[:16])
}

// windows is about twenty compaction windows per retention.
func windows(retention time.Duration) string {
	minutes := max(int((retention / 20).Minutes()), 1)
	return fmt.Sprintf(`{'class': 'TimeWindowCompactionStrategy', 'timestamp_resolution': 'NANOSECONDS', 'compaction_window_unit': 'MINUTES', 'compaction_window_size': '%d'}`, minutes)
}

func statement(s, keyspace string, retention time.Duration) string {
	s = strings.NewReplacer("{ks}", keyspace, "{windows}", windows(retention)).Replace(s)
	if _, rest, ok := strings.Cut(s, "{id:"); ok {
		name, _, _ := strings.Cut(rest, "}")
		s = strings.Replace(s, "{id:"+name+"}", tableID(keyspace, name).String(), 1)
	}
	return s
}

// Init creates what is missing of the schema and migrates what is older. It may
// be repeated, and run by several at once. say tells what was done.
func Init(ctx context.Context, o Options, say func(string)) error {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return fmt.Errorf("cassandra store: init: %w", err)
	}
	session, _, err := o.connect(ddlTimeout)
	if err != nil {
		return fmt.Errorf("cassandra store: init: %w", err)
	}
	defer session.Close()
	for _, namespace := range o.Namespaces {
		m := &migration{session: session, opt: o, namespace: namespace, keyspace: o.keyspace(namespace), say: say}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("cassandra store: init: keyspace %s: %w", m.keyspace, err)
		}
	}
	return nil
}

type migration struct {
	session             *gocql.Session
	opt                 Options
	namespace, keyspace string
	say                 func(string)
}

// ddlTimeout is for one statement: to create a table takes a busy cluster long.
const ddlTimeout = 30 * time.Second

// settleFor is how long what another migration did at the same time may take to
// reach every node, during which they contradict each other.
const settleFor = 15 * time.Second

// settle tries something until it succeeds or nodes have had time to agree.
func settle(ctx context.Context, f func() error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		err := f()
		if err == nil || time.Since(began) > settleFor {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

func (m *migration) exec(ctx context.Context, s string, args ...any) error {
	err := settle(ctx, func() error {
		return m.session.Query(s, args...).Consistency(gocql.Quorum).ExecContext(ctx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(strings.Fields(s)[:3], " "), err)
	}
	return nil
}

func (m *migration) run(ctx context.Context) error {
	if err := m.replicate(ctx); err != nil {
		return err
	}
	if err := m.exec(ctx, statement(createVersion, m.keyspace, 0)); err != nil {
		return err
	}
	if err := m.agree(ctx); err != nil {
		return err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	have := 0
	err = settle(ctx, func() (err error) {
		if have, _, err = readVersion(ctx, m.session, m.keyspace); errors.Is(err, gocql.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if have >= schemaVersion {
		m.say(fmt.Sprintf("keyspace %s is at version %d", m.keyspace, have))
		return nil
	}
	for _, list := range steps[m.namespace][have:] {
		for _, s := range list {
			if err := m.exec(ctx, statement(s, m.keyspace, m.opt.Retention)); err != nil {
				return err
			}
		}
	}
	if err := m.agree(ctx); err != nil {
		return err
	}
	if err := m.exec(ctx, "INSERT INTO "+m.keyspace+".schema_version (name, version, compatible) VALUES ('schema', ?, ?)", schemaVersion, compatible); err != nil {
		return err
	}
	m.say(fmt.Sprintf("keyspace %s was at version %d and is now at %d", m.keyspace, have, schemaVersion))
	return nil
}

// agree waits until every node has the schema, and says who has another.
func (m *migration) agree(ctx context.Context) error {
	err := m.session.AwaitSchemaAgreement(ctx)
	if err == nil {
		return nil
	}
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // nodes that disagree take all the time there is
	defer cancel()
	var host, version string
	has := make(map[string]string)
	const own, others = "SELECT broadcast_address, schema_version FROM system.local", "SELECT peer, schema_version FROM system.peers"
	for _, q := range []string{own, others, others} { // each is asked of another node, where there is one
		rows := m.session.Query(q).Consistency(gocql.One).IterContext(ask)
		for rows.Scan(&host, &version) {
			has[host] = version
		}
		_ = rows.Close() // what was learned is said
	}
	var each []string
	for _, host := range slices.Sorted(maps.Keys(has)) {
		each = append(each, host+" has "+has[host])
	}
	return fmt.Errorf("the nodes do not agree on the schema (%s), is one down? nodetool describecluster tells; run this again when it is back: %w", strings.Join(each, ", "), err)
}

// replicate creates the keyspace, or adds to its replication what was asked for.
func (m *migration) replicate(ctx context.Context) error {
	var have map[string]string
	err := m.session.Query("SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?", m.keyspace).Consistency(gocql.One).ScanContext(ctx, &have)
	switch {
	case errors.Is(err, gocql.ErrNotFound):
		if m.opt.Replication == nil {
			return errors.New("it does not exist: say how many copies each data centre keeps, such as replication=dc1:3")
		}
		if err := m.exec(ctx, "CREATE KEYSPACE IF NOT EXISTS "+m.keyspace+" WITH replication = "+replicationCQL(m.opt.Replication)); err != nil {
			return err
		}
		m.say(fmt.Sprintf("keyspace %s is created, replicated %s", m.keyspace, replicationCQL(m.opt.Replication)))
		return m.agree(ctx)
	case err != nil:
		return err
	case m.opt.Replication == nil:
		return nil
	}
	old := make(map[string]int)
	for dc, n := range have {
		if dc != "class" {
			if old[dc], err = strconv.Atoi(n); err != nil {
				return fmt.Errorf("its replication %v is not ours to change", have)
			}
		}
	}
	if maps.Equal(old, m.opt.Replication) {
		return nil
	}
	for dc, n := range old {
		if m.opt.Replication[dc] < n {
			return fmt.Errorf("it keeps %d copies in %s, and %d are asked for: to lower that is left to ALTER KEYSPACE by hand", n, dc, m.opt.Replication[dc])
		}
	}
	if err := m.exec(ctx, "ALTER KEYSPACE "+m.keyspace+" WITH replication = "+replicationCQL(m.opt.Replication)); err != nil {
		return err
	}
	m.say(fmt.Sprintf("keyspace %s is now replicated %s: what is in it gets its new copies by nodetool rebuild (a new data centre) or nodetool repair --full", m.keyspace, replicationCQL(m.opt.Replication)))
	return m.agree(ctx)
}

func replicationCQL(r map[string]int) string {
	s := "{'class': 'NetworkTopologyStrategy'"
	for _, dc := range slices.Sorted(maps.Keys(r)) {
		s += fmt.Sprintf(", '%s': %d", dc, r[dc])
	}
	return s + "}"
}

// lockSeconds is how long a migration may take that dies half-way before
// another goes on with it.
const lockSeconds = 60

// lock lets one migrate at a time.
func (m *migration) lock(ctx context.Context) (unlock func(), err error) {
	owner := fmt.Sprintf("%016x", rand.Uint64())
	insert := fmt.Sprintf("INSERT INTO %s.schema_version (name, owner) VALUES ('lock', ?) IF NOT EXISTS USING TTL %d", m.keyspace, lockSeconds)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		got := make(map[string]any)
		applied := false
		err := settle(ctx, func() (err error) {
			applied, err = m.session.Query(insert, owner).Consistency(gocql.Quorum).SerialConsistency(gocql.Serial).MapScanCASContext(ctx, got)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		// After an error it may be ours already.
		if applied || got["owner"] == owner {
			return func() {
				remove := "DELETE FROM " + m.keyspace + ".schema_version WHERE name = 'lock' IF owner = ?"
				end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				// Left behind, it ends by itself.
				_, _ = m.session.Query(remove, owner).Consistency(gocql.Quorum).SerialConsistency(gocql.Serial).MapScanCASContext(end, make(map[string]any))
			}, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("another migration is under way: %w", ctx.Err())
		}
	}
}

func readVersion(ctx context.Context, session *gocql.Session, keyspace string) (version, compatible int, err error) {
	err = session.Query("SELECT version, compatible FROM "+keyspace+".schema_version WHERE name = 'schema'").
		Consistency(gocql.LocalQuorum).ScanContext(ctx, &version, &compatible)
	return version, compatible, err
}

// checkVersion returns an error that says what to do unless the schema is fit.
func checkVersion(ctx context.Context, session *gocql.Session, o Options, namespace string) error {
	ks := o.keyspace(namespace)
	var found string
	err := session.Query("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_version'", ks).
		Consistency(gocql.One).ScanContext(ctx, &found)
	have, oldest := 0, 0
	if err == nil {
		have, oldest, err = readVersion(ctx, session, ks)
	}
	switch {
	case errors.Is(err, gocql.ErrNotFound):
		return fmt.Errorf("%w: keyspace %s is not set up: run headwater store init with this --store, and replication=DC:COPIES,... in it", ErrSchema, ks)
	case err != nil:
		return fmt.Errorf("%w: reading the version of keyspace %s: %w", store.ErrUnavailable, ks, err)
	case have < schemaVersion:
		return fmt.Errorf("%w: keyspace %s is at version %d, this build needs %d: run headwater store init with this --store", ErrSchema, ks, have, schemaVersion)
	case oldest > schemaVersion:
		return fmt.Errorf("%w: keyspace %s is at version %d, which a build for version %d cannot use: run a newer one", ErrSchema, ks, have, schemaVersion)
	}
	return nil
}
