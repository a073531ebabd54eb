//go:build !unix

package listen

import (
	"net"

	"headwater/admit"
)

// writeTurn writes p in a turn, which ends with its lease where the other side does
// not read.
func writeTurn(nc net.Conn, p []byte, take func() *admit.Turn) (n int, err error) {
	turn := take()
	defer turn.Give()
	return nc.Write(p)
}
