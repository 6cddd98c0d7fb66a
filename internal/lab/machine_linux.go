package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/netns"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// machine is a host of the lab: a network namespace.
type machine struct {
	name   string
	ns     *netns.NS
	change *rtnl.Changer
	addrs  []netip.Addr // in the order of the topology
}

func newMachine(name string, router bool) (_ *machine, err error) {
	m := &machine{name: name}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.ns, err = netns.New(); err != nil {
		return nil, err
	}
	if m.change, err = rtnl.NewChanger(m.ns.Fd()); err != nil {
		return nil, err
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return nil, fmt.Errorf("kernel without IPv6: %w", errors.ErrUnsupported)
	}
	settings := [][2]string{
		// A new namespace takes over what the machine has for IPv4.
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
		// Addresses are usable at once.
		{"net.ipv6.conf.all.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		// Every packet that deserves an ICMP error gets one.
		{"net.ipv4.icmp_ratelimit", "0"},
		{"net.ipv4.icmp_ratemask", "0"},
		{"net.ipv6.icmp.ratelimit", "0"},
	}
	if router {
		settings = append(settings,
			[2]string{"net.ipv4.ip_forward", "1"},
			[2]string{"net.ipv6.conf.all.forwarding", "1"},
			[2]string{"net.ipv4.conf.all.send_redirects", "0"},
			[2]string{"net.ipv4.conf.default.send_redirects", "0"})
	}
	for _, s := range settings {
		if err := m.sysctl(s[0], s[1]); err != nil {
			return nil, err
		}
	}
	// Not every kernel has these.
	for _, s := range [][2]string{{"net.ipv4.icmp_msgs_per_sec", "1000000"}, {"net.ipv6.icmp.ratemask", "255"}} {
		if err := m.sysctl(s[0], s[1]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return m, m.change.SetUp("lo")
}

// ready waits until the interface passes packets of both families.
func (m *machine) ready(ctx context.Context, e End) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	err := m.change.WaitCarrier(ctx, e.Interface, true)
	if err == nil && len(e.Addrs) > 0 {
		err = m.change.WaitIPv6(ctx, e.Interface)
	}
	return err
}

// sysctl writes a setting of the machine, by its dotted name.
func (m *machine) sysctl(name, value string) error {
	err := m.ns.Do(func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
	})
	if err != nil {
		return fmt.Errorf("lab: %s: sysctl %s=%s: %w", m.name, name, value, err)
	}
	return nil
}

// addr is the machine's first address of the family.
func (m *machine) addr(f Family) netip.Addr {
	for _, a := range m.addrs {
		if a.Is4() == (f == V4) {
			return a
		}
	}
	return netip.Addr{}
}

func (m *machine) close() error {
	var err error
	if m.change != nil {
		m.change.Close()
	}
	if m.ns != nil {
		err = m.ns.Close()
	}
	return err
}
