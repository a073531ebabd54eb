//go:build !unix

package listen

// An early answers requests before net/http has them: not here.
type early struct{}

func newEarly(*Conn) *early { return nil }

func (*early) ended() bool { return true }

func (*early) read([]byte) (int, error) { panic("listen: it has ended") }
