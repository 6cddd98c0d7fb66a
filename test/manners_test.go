//go:build linux

package test

import (
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/lab"
)

// A port that works and whose protocol is not known, or has no request that may
// be long, gets one connection, and no byte that it did not ask for. The
// README says so.
func (f faults) manners(t *testing.T) {
	l := f.open(t, "none")
	for _, port := range []uint16{9999, 22} {
		at := netip.AddrPortFrom(netip.MustParseAddr("10.77.3.2"), port)
		if port != 22 { // which every host of the lab serves
			serveAt(t, l, lab.Server, at, func(c net.Conn) { io.Copy(io.Discard, c) })
		}
		file := filepath.Join(publicDir(t), "evidence.json")
		f.run(t, l, false, "-o", "json", "--evidence", file, at.String()).says(t, 0, "open", "none")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var set evidence.Set
		if err := json.Unmarshal(text, &set); err != nil {
			t.Fatal(err)
		}
		syns, sent := 0, 0
		for _, p := range set.Addresses[0].Packets {
			if p.Kind == "tcp" && p.Outgoing && p.Dst == at {
				sent += p.PayloadLen
				if p.Flags == "SYN" {
					syns++
				}
			}
		}
		if syns != 1 || sent != 0 {
			t.Errorf("port %d that works got %d SYNs and %d bytes, want 1 and none", port, syns, sent)
		}
	}
}
