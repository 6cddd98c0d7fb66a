package resolve

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const resolvConfPath = "/etc/resolv.conf"

// Limits of the C library, resolv.h, and one of ours.
const (
	maxServers  = 3  // MAXNS
	maxNDots    = 15 // RES_MAXNDOTS
	maxTimeout  = 30 // RES_MAXRETRANS, seconds
	maxAttempts = 5  // RES_MAXRETRY
	maxSearch   = 32 // ours: the C library has none since 2.26
)

// resolvConf is what resolv.conf(5) and its environment say.
type resolvConf struct {
	servers  []netip.Addr // never empty
	search   []string     // without a last dot; "" is the root
	ndots    int
	timeout  time.Duration
	attempts int
	tcp      bool // use-vc
	noAAAA   bool
	// noServer says why the only server is the default one.
	noServer string
}

func (r *resolver) readConf() resolvConf {
	path := r.path(r.opts.ResolvConf, resolvConfPath)
	data, _, err := readBounded(path)
	conf := parseResolvConf(string(data))
	if v, ok := os.LookupEnv("LOCALDOMAIN"); ok {
		conf.setSearch(strings.Fields(v))
	} else if conf.search == nil {
		_, domain, _ := strings.Cut(ownHostname(), ".")
		conf.setSearch(strings.Fields(domain))
	}
	conf.setOptions(strings.Fields(os.Getenv("RES_OPTIONS")))
	switch {
	case err != nil:
		conf.noServer = err.Error()
	case conf.noServer != "":
		conf.noServer = path + " " + conf.noServer
	}
	return conf
}

// parseResolvConf reads resolv.conf(5) as the C library does: keywords at the
// start of the line, the last search or domain line counts, what is not
// understood is skipped. search stays nil if there is no such line.
func parseResolvConf(data string) resolvConf {
	conf := resolvConf{ndots: 1, timeout: 5 * time.Second, attempts: 2}
	bad := ""
	for line := range strings.Lines(data) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(line, fields[0]) {
			continue
		}
		key, values := fields[0], fields[1:]
		switch key {
		case "nameserver":
			addr, err := netip.ParseAddr(values[0])
			switch {
			case err != nil && bad == "":
				bad = values[0]
			case err == nil && len(conf.servers) < maxServers && !slices.Contains(conf.servers, addr):
				conf.servers = append(conf.servers, addr)
			}
		case "domain":
			conf.setSearch(values[:1])
		case "search":
			conf.setSearch(values)
		case "options":
			conf.setOptions(values)
		}
	}
	if len(conf.servers) == 0 {
		conf.servers = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		conf.noServer = "has no nameserver line"
		if bad != "" {
			conf.noServer = fmt.Sprintf("has no nameserver line with an address, but %q", bad)
		}
	}
	return conf
}

func (c *resolvConf) setSearch(domains []string) {
	c.search = []string{}
	for _, d := range domains {
		d = strings.TrimPrefix(strings.TrimSuffix(d, "."), ".")
		if (d == "" || validName(d)) && len(c.search) < maxSearch {
			c.search = append(c.search, d)
		}
	}
}

func (c *resolvConf) setOptions(options []string) {
	for _, o := range options {
		key, value, _ := strings.Cut(o, ":")
		n, err := strconv.Atoi(value)
		valid := err == nil && n >= 0
		switch {
		case key == "ndots" && valid:
			c.ndots = min(n, maxNDots)
		case key == "timeout" && valid:
			c.timeout = time.Duration(max(1, min(n, maxTimeout))) * time.Second
		case key == "attempts" && valid:
			c.attempts = max(1, min(n, maxAttempts))
		case o == "use-vc":
			c.tcp = true
		case o == "no-aaaa":
			c.noAAAA = true
		}
	}
}

// candidate is a name to ask for.
type candidate struct {
	name     string
	suffixed bool
}

// candidates lists the full names to ask for in the order of res_search(3) in
// the C library (resolv/res_query.c): as it is first if it has ndots dots,
// else last; the search list in between, unless the name is absolute.
func (c *resolvConf) candidates(host string) []candidate {
	asIs := candidate{name: host}
	if strings.HasSuffix(host, ".") {
		return []candidate{asIs}
	}
	first := strings.Count(host, ".") >= c.ndots
	var names []candidate
	if first {
		names = append(names, asIs)
	}
	root := false
	for _, domain := range c.search {
		switch full := host + "." + domain; {
		case domain != "" && validName(full):
			names = append(names, candidate{full, true})
		case domain == "" && !first && !root:
			// The root on the list stands for the name as it is.
			names = append(names, asIs)
			root = true
		}
	}
	if !first && !root {
		names = append(names, asIs)
	}
	return names
}
