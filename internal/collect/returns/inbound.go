package returns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/rtnl"
)

// inbound tells what the kernel does with the client's packets at a link.
func inbound(r *rtnl.Reader, out *evidence.Return, in rtnl.Interface) (err error) {
	if out.Local.Is6() { // which has no reverse path filter but rules of the firewall
		all, err := setting("ipv6", "all", "forwarding")
		if err != nil {
			return err
		}
		forced, err := setting("ipv6", in.Name, "force_forwarding") // Linux 6.17
		out.Forwarding = all != 0 || forced != 0
		return notThere(err)
	}
	var value [5]int
	for i, s := range []struct{ link, name string }{
		{"all", "rp_filter"}, {in.Name, "rp_filter"}, {"all", "log_martians"}, {in.Name, "log_martians"}, {in.Name, "forwarding"},
	} {
		if value[i], err = setting("ipv4", s.link, s.name); err != nil {
			return err
		}
	}
	out.LogMartians, out.Forwarding = value[2] != 0 || value[3] != 0, value[4] != 0
	switch max(value[0], value[1]) { // IN_DEV_RPFILTER in linux/inetdevice.h
	case 0:
		out.RPFilter = "off"
	case 1:
		out.RPFilter = "strict"
	default:
		out.RPFilter = "loose"
	}
	out.PassesRP, err = passes(r, out, in)
	return err
}

// passes says whether packets of the client pass the reverse path filter;
// fib_validate_source in net/ipv4/fib_frontend.c. It is nil when that turns on
// what is not known.
func passes(r *rtnl.Reader, out *evidence.Return, in rtnl.Interface) (*bool, error) {
	back := out.Route
	switch {
	case in.Loopback: // its packets keep the route that they were sent by
		return answer(back.Local), nil
	case back.Local || !out.Client.IsGlobalUnicast() || back.Type != "unicast" && back.Errno == "":
		return nil, nil // a martian, whatever the filter
	case out.RPFilter == "off":
		return answer(true), nil
	case in.Master != 0: // of a VRF, whose own device counts
		return nil, nil
	}
	rules, err := r.RulesLookAt(false)
	if err != nil {
		return nil, err
	}
	marked, err := validMark(in.Name)
	if err != nil {
		return nil, err
	}
	if rules.Packet || rules.Mark && marked {
		return nil, nil
	}
	errno, err := r.Arrival(out.Client, out.Local, in.Index)
	switch {
	case err != nil:
		return nil, err
	case errno == "":
		return answer(true), nil
	case errno != "EXDEV" && errno != "EINVAL" || !out.IsLocal:
		return nil, nil
	}
	// EINVAL has other reasons, so what the route back says must agree.
	if agrees, err := refuses(r, out, in); err != nil || !agrees {
		return nil, err
	}
	switch ipsec, err := rtnl.IPsec(); {
	case err != nil:
		return nil, fmt.Errorf("whether the packets fail the reverse path filter, which IPsec passes by: %w", err)
	case ipsec:
		return nil, nil
	}
	return answer(false), nil
}

// refuses says whether the filter would refuse by the route back: there is none,
// or it is by another interface, which the loose filter minds only where the
// interface has no address.
func refuses(r *rtnl.Reader, out *evidence.Return, in rtnl.Interface) (bool, error) {
	switch {
	case out.Route.Errno != "":
		return true, nil
	case out.Route.Link == nil || out.Route.Link.Index == in.Index:
		return false, nil
	case out.RPFilter == "strict":
		return true, nil
	}
	addrs, err := r.Addrs(false)
	for _, a := range addrs {
		if a.Link == in.Index {
			return false, err
		}
	}
	return err == nil, err
}

func answer(yes bool) *bool { return &yes }

// validMark is src_valid_mark, by which a packet's mark counts in the lookup of
// its source.
func validMark(link string) (bool, error) {
	all, err := setting("ipv4", "all", "src_valid_mark")
	if err != nil {
		return false, err
	}
	own, err := setting("ipv4", link, "src_valid_mark")
	return all != 0 || own != 0, err
}

// setting reads a number of /proc/sys/net, which the kernel shows for the
// network namespace of the calling thread.
func setting(family, link, name string) (int, error) {
	b, err := os.ReadFile("/proc/sys/net/" + family + "/conf/" + link + "/" + name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("setting %s of %s: %w", name, rtnl.Printable(link), err)
	}
	return n, nil
}

func notThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
