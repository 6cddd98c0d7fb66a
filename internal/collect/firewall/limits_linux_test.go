package firewall_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/collect/firewall"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

// Rules that fork without end do not keep Read without end: it says that it
// cannot follow.
func TestForksWithoutEnd(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		p := newPair(t)
		var s strings.Builder
		s.WriteString("table inet t { chain i { type filter hook input priority 0;\n")
		for i := range 400 {
			fmt.Fprintf(&s, "limit rate 1/second meta mark set meta mark | %#x\n", 1<<(i%31))
			fmt.Fprintf(&s, "limit rate 1/second meta mark set meta mark & %#x\n", 0x7fffffff&^(1<<(i*7%31)))
		}
		s.WriteString("meta mark 0x5 drop\n}\n}\n")
		p.sh(t, s.String(), nettest.NeedProgram(t, "nft"), "-f", "-")
		v := p.read(t, firewall.Query{Client: netip.AddrPortFrom(client4, 7), Server: netip.AddrPortFrom(server4, 80), In: "srv0", Unmarked: true}).Verdicts[0]
		if v.Verdict != "depends" || len(v.Depends) > 16 {
			t.Errorf("got %s", show(v))
		}
	})
}
