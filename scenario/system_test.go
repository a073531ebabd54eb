package scenario

import (
	"net"
	"net/http"
	"testing"
)

// TestListensWhereItIsFree: of several addresses the first that is free is taken, and
// where none is, it is said.
func TestListensWhereItIsFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	srv := &Server{drain: func() {}}
	if err := srv.listen(addr+",127.0.0.1:0", http.NotFoundHandler()); err != nil || srv.addrs[0] == addr {
		t.Errorf("listens on %v, %v", srv.addrs, err)
	}
	if err := srv.listen(addr, http.NotFoundHandler()); err == nil || len(srv.addrs) != 1 {
		t.Errorf("listens on %v", srv.addrs)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
}
