package cassandratest

import (
	"context"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// settle waits until every node knows all the others and has the schema that
// they have. Nodes that start at once serve before they have met, and what one
// is told of the schema then reaches the others late or not at all.
func (c *Cluster) settle(ctx context.Context) error {
	for _, n := range c.Nodes {
		for {
			err := n.settled(ctx, len(c.Nodes))
			if err == nil {
				break
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

// settled returns what is missing for a node to be one of so many that agree.
func (n *Node) settled(ctx context.Context, of int) error {
	conf := gocql.NewCluster(n.Host)
	conf.DisableInitialHostLookup = true // this node and no other
	conf.Timeout, conf.ConnectTimeout = 5*time.Second, 5*time.Second
	conf.Consistency = gocql.One
	session, err := conf.CreateSession()
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
