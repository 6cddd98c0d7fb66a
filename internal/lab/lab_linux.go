package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/nft"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// Lab is a scenario that has been built.
type Lab struct {
	Scenario Scenario
	Family   Family
	Params   Params

	ctx      context.Context
	cancel   context.CancelFunc
	machines map[string]*machine
	servers  map[door]server
	names    map[string]*nameServer // by host
	serving  sync.WaitGroup         // everything that runs until Close
	closers  []io.Closer            // what makes it end, beside cancel
	err      error                  // the first error of the scenario's make

	dst    netip.AddrPort
	target string
	dir    string            // holds the files
	files  map[string]string // path a program opens: file in dir that it gets
	env    []string          // for programs, beside our own
	ca     *authority        // that programs trust; nil before trust

	descriptors int           // the limit of the user's programs; 0 is ours
	denied      syscall.Errno // what a seccomp filter of theirs says to connect(2); 0 without one
}

// Params change how a scenario is made; the zero value leaves it as it is.
type Params struct {
	// Port is the target's, DefaultPort if 0. Scenarios about a certain port, such
	// as a protocol's own, take no other: Open says so by a ParamsError.
	Port uint16
	// Later leaves the fault to Break: until then everything is well.
	Later bool
}

// ParamsError says that a scenario cannot be changed in the way that is asked for.
type ParamsError struct {
	Param    string // "port" for Params.Port, "loss" for Scenario.Losing
	Scenario string // its name
	Why      string // what follows the name
}

func (e *ParamsError) Error() string { return e.Scenario + " " + e.Why }

// cannot is a ParamsError of the lab's scenario.
func (l *Lab) cannot(param, why string, args ...any) error {
	return &ParamsError{param, l.Scenario.Name, fmt.Sprintf(why, args...)}
}

// DefaultPort is the target's port.
const DefaultPort = 8080

// Open builds a scenario for one family. The lab ends with ctx or with Close,
// which must be called in any case. An error that wraps errors.ErrUnsupported
// names a kernel feature that is missing.
func Open(ctx context.Context, s Scenario, f Family, p Params) (_ *Lab, err error) {
	if !slices.Contains(s.Families, f) {
		return nil, fmt.Errorf("lab: scenario %s cannot be made for %v", s.Name, f)
	}
	if p.Later && !s.StartsWell() {
		return nil, fmt.Errorf("lab: scenario %s cannot start later: it is broken, or well, from the beginning", s.Name)
	}
	l := &Lab{
		Scenario: s, Family: f, Params: p,
		machines: make(map[string]*machine), servers: make(map[door]server), files: make(map[string]string), names: make(map[string]*nameServer),
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = fmt.Errorf("lab: build %s for %v: %w", s.Name, f, err)
			l.Close()
		}
	}()
	if l.dir, err = os.MkdirTemp("", "tcpwhy-lab-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(l.dir, 0o755); err != nil { // others read the files too
		return nil, err
	}
	if err := l.build(s.Topology); err != nil {
		return nil, err
	}
	l.defaults()
	s.healthy(l)
	switch {
	case l.err != nil:
	case p.Port != 0 && p.Port != l.dst.Port():
		l.err = l.cannot("port", "cannot have port %d: it is about port %d", p.Port, l.dst.Port())
	case s.Loss > 0 && l.own():
		l.err = l.cannot("loss", "cannot have loss: its target is on the %s itself, and nothing is sent to another host", s.From)
	}
	if p.Later || l.err != nil {
		return l, l.err
	}
	return l, l.Break()
}

// healthy makes the state before the fault.
func (s Scenario) healthy(l *Lab) {
	if s.setup == nil {
		l.service(Server)
	} else {
		s.setup(l)
	}
}

// Break makes the fault, and then the loss. Open does unless Params.Later is set.
func (l *Lab) Break() error {
	s := l.Scenario
	if s.fault != nil {
		s.fault(l)
	}
	if s.Loss == 0 || l.err != nil {
		return l.err
	}
	// What packets are lost by chance look like many a fault: with the loss the
	// fault could not be proven any more.
	if err := l.verifyFault(l.ctx); err != nil {
		l.fail(err)
		return l.err
	}
	l.lose(s.Loss)
	return l.err
}

// defaults are the target and the files that most scenarios leave as they are.
func (l *Lab) defaults() {
	l.dst = l.at(Server, cmp.Or(l.Params.Port, DefaultPort))
	l.hosts()
	l.file("/etc/resolv.conf", "nameserver "+l.resolver().String()+"\n")
	// The machine's own may ask services that are not in the namespace.
	if _, err := os.Stat("/etc/nsswitch.conf"); err == nil {
		l.file("/etc/nsswitch.conf", "hosts: files dns\n")
	}
}

// Target is what the user would type.
func (l *Lab) Target() string {
	if l.target != "" {
		return l.target
	}
	return l.dst.String()
}

// Dst is the address that Target leads to and that Verify connects to.
func (l *Lab) Dst() netip.AddrPort { return l.dst }

// Answers is the host that has the target's address, or should.
func (l *Lab) Answers() string {
	for _, h := range l.Scenario.Topology.Hosts {
		if slices.Contains(l.machines[h].addrs, l.dst.Addr()) {
			return h
		}
	}
	if l.dst.Addr().IsLoopback() {
		return l.Scenario.From
	}
	return Server
}

// own says whether the target is the user's own host.
func (l *Lab) own() bool { return l.Answers() == l.Scenario.From || l.dst.Addr().IsUnspecified() }

// Addr is a host's first address of the lab's family, zero if it has none.
func (l *Lab) Addr(host string) netip.Addr {
	if m := l.machines[host]; m != nil {
		return m.addr(l.Family)
	}
	return netip.Addr{}
}

// Do runs f inside the namespace of a host, as netns.NS.Do.
func (l *Lab) Do(host string, f func() error) error { return l.machines[host].ns.Do(f) }

// Close ends every process and server of the lab and removes it. When it
// returns nothing is left, but the kernel may take a moment to free the
// namespaces.
func (l *Lab) Close() error {
	l.cancel()
	var errs []error
	for _, c := range l.closers {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) { // stopped before
			errs = append(errs, err)
		}
	}
	l.serving.Wait()
	for _, m := range l.machines {
		errs = append(errs, m.close())
	}
	errs = append(errs, os.RemoveAll(l.dir))
	return errors.Join(errs...)
}

// fail notes the first error. What a scenario does after it has no effect that
// matters: Open closes the lab.
func (l *Lab) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// missing notes an error that means the kernel lacks a feature.
func (l *Lab) missing(feature string, err error) {
	for _, e := range []error{unix.ENOENT, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT} {
		if errors.Is(err, e) {
			err = fmt.Errorf("kernel without %s: %w: %w", feature, err, errors.ErrUnsupported)
			break
		}
	}
	l.fail(err)
}

// at is a port of a host.
func (l *Lab) at(host string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(l.Addr(host), port)
}

// pick returns the value for the lab's family.
func pick[T any](l *Lab, v4, v6 T) T {
	if l.Family == V6 {
		return v6
	}
	return v4
}

// The verbs of the scenarios follow.

// rules adds rules to a host's firewall.
func (l *Lab) rules(host string, hook nft.Hook, rules ...nft.Rule) {
	l.chain(host, nft.Chain{Hook: hook, Rules: rules})
}

func (l *Lab) chain(host string, c nft.Chain) {
	if err := nft.Apply(l.machines[host].ns.Fd(), c); err != nil {
		l.missing("nftables or what a rule of it needs", err)
	}
}

// sysctl sets a setting of a host.
func (l *Lab) sysctl(host, name, value string) {
	if err := l.machines[host].sysctl(name, value); err != nil {
		l.fail(err)
	}
}

// configure changes a host's links, addresses and routes.
func (l *Lab) configure(host string, f func(*rtnl.Changer) error) {
	if err := f(l.machines[host].change); err != nil {
		l.fail(err)
	}
}

// file puts content over the file of that path for the programs of the lab.
func (l *Lab) file(path, content string) {
	l.files[path] = l.write(filepath.Base(path), content)
}

// hosts writes /etc/hosts for the programs of the lab: the names of its hosts
// for the lab's family, in which the fault is, and more lines.
func (l *Lab) hosts(more ...string) {
	lines := []string{"127.0.0.1 localhost", "::1 localhost"}
	for _, h := range l.Scenario.Topology.Hosts {
		for _, a := range l.machines[h].addrs {
			if a.Is4() == (l.Family == V4) {
				lines = append(lines, a.String()+" "+h)
			}
		}
	}
	l.file("/etc/hosts", strings.Join(append(lines, more...), "\n")+"\n")
}

// write makes a file that everybody may read and returns its path.
func (l *Lab) write(name, content string) string {
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		l.fail(err)
	}
	return path
}
