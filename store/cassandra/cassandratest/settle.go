package cassandratest

import (
	"context"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// settleFor is how long nodes that serve may take to agree.
const settleFor = 2 * time.Minute

// settle waits until every node knows all the others and has the schema that they
// have, and the same again after the schema was changed. Nodes that start at once serve
// before they have met, and what one is told of the schema then reaches the others late or
// not at all.
func (c *Cluster) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	if err := c.agree(ctx); err != nil {
		return err
	}
	if err := c.Nodes[0].change(ctx); err != nil {
		return fmt.Errorf("cassandratest: changing the schema: %w", err)
	}
	return c.agree(ctx)
}

func (c *Cluster) agree(ctx context.Context) error {
	for _, n := range c.Nodes {
		for {
			err := n.settled(ctx, len(c.Nodes))
			if err == nil {
				break
			}
			if !n.p.Running() {
				return fmt.Errorf("cassandratest: node %s has ended", n.Host)
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("cassandratest: node %s: %w: %w", n.Host, ctx.Err(), err)
			}
		}
	}
	return nil
}

// session is one with this node and no other.
func (n *Node) session() (*gocql.Session, error) {
	conf := gocql.NewCluster(n.Host)
	conf.DisableInitialHostLookup = true
	conf.Timeout, conf.ConnectTimeout = 30*time.Second, 30*time.Second
	conf.Consistency = gocql.One
	return conf.CreateSession()
}

// change makes a keyspace that nobody uses.
func (n *Node) change(ctx context.Context) error {
	session, err := n.session()
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Query("CREATE KEYSPACE IF NOT EXISTS agreed WITH replication = {'class': 'NetworkTopologyStrategy', '" + n.DC + "': 1}").ExecContext(ctx)
}

// settled returns what is missing for a node to be one of so many that agree.
func (n *Node) settled(ctx context.Context, of int) error {
	session, err := n.session()
	if err != nil {
		return err
	}
	defer session.Close()
	var own gocql.UUID
	if err := session.Query("SELECT schema_version FROM system.local").ScanContext(ctx, &own); err != nil {
		return err
	}
	rows := session.Query("SELECT schema_version FROM system.peers_v2").IterContext(ctx)
	known := 1
	var version gocql.UUID
	for rows.Scan(&version) {
		if version == own {
			known++
		}
	}
	if err := rows.Close(); err != nil {
		return err
	}
	if known != of {
		return fmt.Errorf("it agrees with %d of %d nodes", known, of)
	}
	return nil
}
