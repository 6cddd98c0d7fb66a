package resolve

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
)

const hostsPath = "/etc/hosts"

// readHosts returns the addresses that the hosts file has for the name, and
// how many more it has than are kept. A missing file is an empty one.
func (r *resolver) readHosts() (addrs []netip.Addr, more int) {
	path := r.path(r.opts.HostsFile, hostsPath)
	data, cut, err := readBounded(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		r.note("the hosts file", clean(err.Error()), "")
	case cut:
		r.note("the end of the hosts file", clean(path+" is larger than 1 MiB"), "")
	}
	return parseHosts(string(data), r.name.Host, r.opts.Families)
}

// parseHosts reads hosts(5): lines of an address and its names. As in the C
// library case does not matter, a last dot does, and the addresses of all
// lines that have the name count.
func parseHosts(data, name string, fam Families) (addrs []netip.Addr, more int) {
	for line := range strings.Lines(data) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 || !slices.ContainsFunc(fields[1:], func(f string) bool { return strings.EqualFold(f, name) }) {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		switch {
		case err != nil || !fam.has(addr) || slices.Contains(addrs, addr):
		case len(addrs) == maxAddrs:
			more++
		default:
			addrs = append(addrs, addr)
		}
	}
	return addrs, more
}
