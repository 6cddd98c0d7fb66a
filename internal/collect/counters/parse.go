package counters

import (
	"fmt"
	"strconv"
	"strings"
)

// parseTables reads the format of /proc/net/netstat and snmp: pairs of lines,
// names and then values, both starting with the name of the table.
//
//	TcpExt: SyncookiesSent SyncookiesRecv
//	TcpExt: 0 3
//
// The keys are "TcpExt.SyncookiesSent". Values that are no 64-bit number are
// left out: newer kernels may count past that.
func parseTables(text string, into map[string]int64) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines)%2 != 0 {
		return fmt.Errorf("%d lines do not make pairs of names and values", len(lines))
	}
	for i := 0; i < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) == 0 || len(names) != len(values) || names[0] != values[0] || !strings.HasSuffix(names[0], ":") {
			return fmt.Errorf("lines %d and %d do not belong together", i+1, i+2)
		}
		table := strings.TrimSuffix(names[0], ":")
		for j := 1; j < len(names); j++ {
			if v, err := strconv.ParseInt(values[j], 10, 64); err == nil {
				into[table+"."+names[j]] = v
			}
		}
	}
	return nil
}

// parseLines reads the format of /proc/net/snmp6, a name and a value on each
// line. The name starts with its table, which ends in 6: "Ip6InReceives" gets
// the key "Ip6.InReceives".
func parseLines(text string, into map[string]int64) error {
	n := 0
	for line := range strings.Lines(text) {
		n++
		f := strings.Fields(line)
		if len(f) != 2 {
			return fmt.Errorf("line %d has %d fields, want a name and a value", n, len(f))
		}
		table, name, ok := strings.Cut(f[0], "6")
		v, err := strconv.ParseInt(f[1], 10, 64)
		if ok && err == nil {
			into[table+"6."+name] = v
		}
	}
	return nil
}

// parseConntrack reads /proc/net/stat/nf_conntrack, the names and then a line
// of hexadecimal counts for each CPU, and adds these up: "conntrack.drop". The
// first, the number of entries, is the same on each line and left out.
func parseConntrack(text string, into map[string]int64) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	names := strings.Fields(lines[0])
	if len(names) < 2 || names[0] != "entries" || len(lines) < 2 {
		return fmt.Errorf("no table of counts that starts with entries")
	}
	for n, line := range lines[1:] {
		values := strings.Fields(line)
		if len(values) != len(names) {
			return fmt.Errorf("line %d has %d counts, want %d", n+2, len(values), len(names))
		}
		for i := 1; i < len(names); i++ {
			if err := addHex(into, "conntrack."+names[i], values[i]); err != nil {
				return fmt.Errorf("line %d: %w", n+2, err)
			}
		}
	}
	return nil
}

// parseSoftnet reads /proc/net/softnet_stat, a line of hexadecimal counts for
// each CPU, and adds up three of them; net/core/net-procfs.c, softnet_seq_show.
func parseSoftnet(text string, into map[string]int64) error {
	n := 0
	for line := range strings.Lines(text) {
		n++
		f := strings.Fields(line)
		if len(f) < 3 {
			return fmt.Errorf("line %d has %d counts, want 3 and more", n, len(f))
		}
		for i, name := range map[int]string{1: "dropped", 2: "time_squeeze", 10: "flow_limit"} {
			if i >= len(f) {
				continue // an old kernel
			}
			if err := addHex(into, "softnet."+name, f[i]); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("no line")
	}
	return nil
}

// addHex adds a 32-bit count of one CPU.
func addHex(into map[string]int64, name, value string) error {
	v, err := strconv.ParseUint(value, 16, 32)
	if err != nil {
		return fmt.Errorf("count %s: %w", name, err)
	}
	into[name] += int64(v)
	return nil
}

// parsePorts reads a list of ports as the sysctls write it, "80,8000-8080" or
// "32768 60999" for a single range, and calls each with every port.
func parsePorts(text string, each func(port uint16)) error {
	for _, part := range strings.Split(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			from, to, isRange = strings.Cut(part, " ")
		}
		if !isRange {
			to = from
		}
		lo, err1 := strconv.ParseUint(from, 10, 16)
		hi, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || lo > hi {
			return fmt.Errorf("not a range of ports: %q", part)
		}
		for p := lo; p <= hi; p++ {
			each(uint16(p))
		}
	}
	return nil
}
