package rtnl

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/nettest"
)

func TestArrival(t *testing.T) {
	nettest.InUserNS(t, func(t *testing.T) {
		nettest.NeedProgram(t, "ip")
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if err := ns.Do(func() error {
			if err := lines("", two+"rule add fwmark 7 lookup 100\n"); err != nil {
				return err
			}
			if err := lines("-6", "rule add ipproto tcp dport 80 lookup 100"); err != nil {
				return err
			}
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/v1/rp_filter", []byte("1"), 0); err != nil {
				return err
			}
			r, err := NewReader()
			if err != nil {
				return err
			}
			defer r.Close()
			links, err := r.Interfaces()
			if err != nil {
				return err
			}
			index := func(name string) int {
				return links[slices.IndexFunc(links, func(l Interface) bool { return l.Name == name })].Index
			}
			for _, c := range []struct {
				from, to, link string
				ok             bool
			}{
				{"10.77.1.2", "10.77.1.1", "v0", true},
				{"10.77.1.2", "10.77.1.1", "v1", false}, // the way back is by v0
				{"10.77.1.2", "192.0.2.1", "v0", false}, // no route, and no forwarding
				{"10.77.1.1", "10.77.1.1", "v0", false}, // from ourselves
			} {
				errno, err := r.Arrival(netip.MustParseAddr(c.from), netip.MustParseAddr(c.to), index(c.link))
				if err != nil || (errno == "") != c.ok {
					t.Errorf("%+v: %q, %v", c, errno, err)
				}
			}
			if _, err := r.Arrival(netip.MustParseAddr("10.77.1.2"), netip.MustParseAddr("10.77.1.1"), 999); err != nil {
				t.Errorf("a link that is not there: %v", err) // ENODEV is an answer
			}
			for v6, want := range map[bool]Criteria{false: {Mark: true}, true: {Packet: true}} {
				if got, err := r.RulesLookAt(v6); got != want || err != nil {
					t.Errorf("rules, IPv6 %v: %+v, %v", v6, got, err)
				}
			}
			if has, err := IPsec(); has || err != nil {
				t.Errorf("IPsec: %v, %v", has, err)
			}
			if err := lines("", "xfrm state add src 10.77.1.1 dst 10.77.1.2 proto esp spi 7 mode transport enc cipher_null \"\" auth hmac(sha1) 0x0102030405060708091011121314151617181920"); err == nil {
				if has, err := IPsec(); !has || err != nil {
					t.Errorf("IPsec with an association: %v, %v", has, err)
				}
			} else {
				t.Logf("no association can be made here: %v", err)
			}
			drops, err := r.Drops()
			if d := drops[index("v0")]; d.Name != "v0" || len(drops) != len(links) {
				t.Errorf("drops: %+v", drops)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestIPsecForbidden(t *testing.T) {
	nettest.Powerless(t, func() error {
		if _, err := IPsec(); !errors.Is(err, os.ErrPermission) {
			t.Errorf("IPsec for an ordinary user: %v", err)
		}
		if _, err := TrackStats(); !errors.Is(err, os.ErrPermission) {
			t.Errorf("statistics for an ordinary user: %v", err)
		}
		return nil
	})
}
