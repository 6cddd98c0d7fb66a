package lab_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tcpwhy/tcpwhy/internal/lab"
)

// What a topology refers to is there, and two hosts share nothing.
func TestTopologies(t *testing.T) {
	seen := make(map[string]lab.Topology)
	for _, s := range lab.Scenarios() {
		top := s.Topology
		// A cable's length is all that topologies of one name may differ in.
		if first, ok := seen[top.Name]; !ok {
			seen[top.Name] = top
		} else if d := cmp.Diff(first, top, cmpopts.IgnoreFields(lab.Link{}, "Cable"), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); d != "" {
			t.Errorf("two topologies are called %s:\n%s", top.Name, d)
		}
	}
	for name, top := range seen {
		t.Run(name, func(t *testing.T) {
			known := func(host string) {
				t.Helper()
				if !slices.Contains(top.Hosts, host) {
					t.Errorf("there is no host %s", host)
				}
			}
			owner := make(map[netip.Addr]string)
			links := make(map[string]bool)
			end := func(e lab.End) {
				t.Helper()
				known(e.Host)
				if links[e.Host+" "+e.Interface] {
					t.Errorf("%s has two interfaces %s", e.Host, e.Interface)
				}
				links[e.Host+" "+e.Interface] = true
				for _, a := range e.Addrs {
					if o := owner[a.Addr()]; o != "" {
						t.Errorf("%s and %s have %v", o, e.Host, a.Addr())
					}
					owner[a.Addr()] = e.Host
				}
			}
			for _, l := range top.Links {
				end(l.A)
				end(l.B)
			}
			for _, b := range top.Bridges {
				end(b.End)
				for _, p := range b.Ports {
					if !links[b.Host+" "+p] {
						t.Errorf("%s has no interface %s for its bridge", b.Host, p)
					}
				}
			}
			for _, r := range top.Routers {
				known(r)
			}
			for _, r := range top.Routes {
				known(r.Host)
				for _, via := range r.Via {
					if owner[via] == "" || owner[via] == r.Host {
						t.Errorf("%s has a route to %v through %v, which is no other host", r.Host, r.Dst, via)
					}
				}
			}
			for _, m := range top.Masquerades {
				if !links[m.Host+" "+m.Interface] || !slices.Contains(top.Routers, m.Host) {
					t.Errorf("%s cannot masquerade at %s", m.Host, m.Interface)
				}
			}
		})
	}
}
