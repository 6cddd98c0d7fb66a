package xtables

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxText bounds a rule as text, maxName a name or comment in it, in bytes.
	maxText = 1024
	maxName = 256
)

// Text is the rule as "iptables -S" prints it, without a counter. An extension
// that is not understood is there as its name and "[...]". Control characters
// are made visible, and no more than 1 KiB is given.
func (r *Rule) Text(f Family, chain string) string {
	var b strings.Builder
	b.WriteString("-A " + Printable(chain))
	h := r.Header
	network(&b, " -s ", h.Src)
	network(&b, " -d ", h.Dst)
	device(&b, " -i ", h.In)
	device(&b, " -o ", h.Out)
	if h.Proto != 0 {
		b.WriteString(not(h.NotProto) + " -p " + protocol(h.Proto))
	}
	switch {
	case h.Fragments:
		b.WriteString(" -f")
	case h.NotFragments:
		b.WriteString(" ! -f")
	}
	for _, m := range r.Matches {
		b.WriteString(" " + MatchText(f, m))
	}
	b.WriteString(r.Target.text(f))
	return Bound(b.String())
}

// PolicyText is the policy as "iptables -S" prints it.
func (c *Chain) PolicyText() string {
	return "-P " + Printable(c.Name) + " " + string(c.Policy)
}

func (t Target) text(f Family) string {
	switch {
	case t.Extension != nil:
		return " " + ActionText(f, *t.Extension)
	case t.Chain != "" && t.Goto:
		return " -g " + Printable(t.Chain)
	case t.Chain != "":
		return " -j " + Printable(t.Chain)
	case t.Verdict != Continue:
		return " -j " + string(t.Verdict)
	}
	return ""
}

func network(b *strings.Builder, flag string, n Network) {
	if !n.Mask.IsValid() || n.Mask.IsUnspecified() {
		return
	}
	b.WriteString(not(n.Not) + flag + n.Addr.String() + "/" + mask(n.Mask))
}

// mask is the length of a prefix, or the mask itself where it is none.
func mask(m netip.Addr) string {
	ones := 0
	for _, x := range m.AsSlice() {
		ones += bits.OnesCount8(x)
	}
	if p, err := m.Prefix(ones); err == nil && p.Addr() == m {
		return strconv.Itoa(ones)
	}
	return m.String()
}

func device(b *strings.Builder, flag string, i Interface) {
	if i.Name == "" && !i.Not {
		return
	}
	name := Printable(i.Name)
	if i.Prefix {
		name += "+"
	}
	b.WriteString(not(i.Not) + flag + name)
}

func not(inverted bool) string {
	if inverted {
		return " !"
	}
	return ""
}

func protocol(p uint8) string {
	switch p {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case 58:
		return "ipv6-icmp"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// MatchText is the match as "iptables -S" prints it.
func MatchText(f Family, x Extension) string {
	name := "-m " + Printable(x.Name)
	switch m := Match(f, x).(type) {
	case *TCP:
		return name + m.text()
	case *Multiport:
		flag := " --ports "
		switch {
		case !m.Src:
			flag = " --dports "
		case !m.Dst:
			flag = " --sports "
		}
		var list []string
		for _, r := range m.Ranges {
			list = append(list, ports(r, ":"))
		}
		return name + not(m.Not) + flag + strings.Join(list, ",")
	case *Conntrack:
		return m.text()
	case *Limit:
		s := name + " --limit " + m.Rate()
		if m.Burst != 5 {
			s += fmt.Sprintf(" --limit-burst %d", m.Burst)
		}
		return s
	case *AddrType:
		return name + m.text()
	case *Comment:
		return name + " --comment " + quote(m.Text)
	case *Mark:
		return name + not(m.Not) + " --mark " + hexMask(m.Mark, m.Mask)
	case *IPRange:
		s := name
		if m.Src[0].IsValid() {
			s += not(m.NotSrc) + " --src-range " + m.Src[0].String() + "-" + m.Src[1].String()
		}
		if m.Dst[0].IsValid() {
			s += not(m.NotDst) + " --dst-range " + m.Dst[0].String() + "-" + m.Dst[1].String()
		}
		return s
	}
	return name + " [...]"
}

// ports is a range, or one port where it is one.
func ports(r [2]uint16, dash string) string {
	if r[0] == r[1] {
		return strconv.Itoa(int(r[0]))
	}
	return fmt.Sprintf("%d%s%d", r[0], dash, r[1])
}

func (m *TCP) text() string {
	var s string
	port := func(flag string, r [2]uint16, inv bool) {
		if r != [2]uint16{0, 0xffff} || inv {
			s += not(inv) + flag + ports(r, ":")
		}
	}
	port(" --sport ", m.Src, m.NotSrc)
	port(" --dport ", m.Dst, m.NotDst)
	if m.Option != 0 || m.NotOption {
		s += not(m.NotOption) + " --tcp-option " + strconv.Itoa(int(m.Option))
	}
	if m.Mask != 0 || m.NotFlags {
		s += not(m.NotFlags) + " --tcp-flags " + tcpFlags(m.Mask) + " " + tcpFlags(m.Flags)
	}
	return s
}

func tcpFlags(set uint8) string {
	if set == 0 {
		return "NONE"
	}
	return names(uint16(set), []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"})
}

// names lists the names of the bits that are set.
func names(set uint16, bit []string) string {
	var list []string
	for i, name := range bit {
		if set&(1<<i) != 0 && name != "" {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}

func (m *Conntrack) text() string {
	var list []string
	for _, s := range []struct {
		bit  uint16
		name string
	}{
		{StateInvalid, "INVALID"}, {StateNew, "NEW"}, {StateRelated, "RELATED"}, {StateEstablished, "ESTABLISHED"},
		{StateUntracked, "UNTRACKED"}, {StateSNAT, "SNAT"}, {StateDNAT, "DNAT"},
	} {
		if m.State&s.bit != 0 {
			list = append(list, s.name)
		}
	}
	inv := func(flag uint16) string { return not(m.Inverted&flag != 0) }
	if m.Alias {
		return "-m state" + inv(ConntrackState) + " --state " + strings.Join(list, ",")
	}
	s := "-m conntrack"
	known := uint16(ConntrackState | ConntrackOrigSrc | ConntrackOrigDst | ConntrackStatus | ConntrackOrigDstPort | ConntrackDirection)
	if m.Flags&ConntrackState != 0 {
		s += inv(ConntrackState) + " --ctstate " + strings.Join(list, ",")
	}
	if m.Flags&ConntrackOrigSrc != 0 {
		s += inv(ConntrackOrigSrc) + " --ctorigsrc " + prefix(m.OrigSrc)
	}
	if m.Flags&ConntrackOrigDst != 0 {
		s += inv(ConntrackOrigDst) + " --ctorigdst " + prefix(m.OrigDst)
	}
	if m.Flags&ConntrackOrigDstPort != 0 {
		s += inv(ConntrackOrigDstPort) + " --ctorigdstport " + ports(m.OrigDstPorts, ":")
	}
	if m.Flags&ConntrackStatus != 0 {
		status := names(m.Status, []string{"EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"})
		if m.Status == 0 {
			status = "NONE"
		}
		s += inv(ConntrackStatus) + " --ctstatus " + status
	}
	if m.Flags&ConntrackDirection != 0 {
		if m.Inverted&ConntrackDirection != 0 {
			s += " --ctdir REPLY"
		} else {
			s += " --ctdir ORIGINAL"
		}
	}
	if m.Flags&^known != 0 {
		s += " [...]"
	}
	return s
}

// prefix is an address, with its mask where that is not a whole one.
func prefix(n Network) string {
	if m := mask(n.Mask); m != strconv.Itoa(n.Mask.BitLen()) {
		return n.Addr.String() + "/" + m
	}
	return n.Addr.String()
}

// Rate is the limit as the command takes it: "10/sec".
func (m *Limit) Rate() string {
	const scale = 10000 // XT_LIMIT_SCALE
	rates := []struct {
		name string
		mult uint32
	}{{"day", scale * 24 * 60 * 60}, {"hour", scale * 60 * 60}, {"min", scale * 60}, {"sec", scale}}
	if m.Avg == 0 {
		return "0/sec"
	}
	i := 1
	for ; i < len(rates); i++ {
		if m.Avg > rates[i].mult || rates[i].mult/m.Avg < rates[i].mult%m.Avg {
			break
		}
	}
	return fmt.Sprintf("%d/%s", rates[i-1].mult/m.Avg, rates[i-1].name)
}

func (m *AddrType) text() string {
	types := []string{"UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE"}
	var s string
	if m.Src != 0 {
		s += not(m.NotSrc) + " --src-type " + names(m.Src, types)
	}
	if m.Dst != 0 {
		s += not(m.NotDst) + " --dst-type " + names(m.Dst, types)
	}
	if m.IfaceIn {
		s += " --limit-iface-in"
	}
	if m.IfaceOut {
		s += " --limit-iface-out"
	}
	return s
}

func hexMask(mark, mask uint32) string {
	if mask == 0xffffffff {
		return fmt.Sprintf("%#x", mark)
	}
	return fmt.Sprintf("%#x/%#x", mark, mask)
}

// quote is the text as iptables-save quotes it, with control characters made
// visible.
func quote(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	}) < 0
	if plain && s != "" {
		return Printable(s)
	}
	return `"` + Printable(strings.NewReplacer(`"`, `\"`, `\`, `\\`, `'`, `\'`).Replace(s)) + `"`
}

// Printable makes control characters and other invisible ones visible, and cuts
// what is too long for a name.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if b.Len() > maxName {
			return b.String() + "..."
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRuneToASCII(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// Bound cuts the text of a rule that is too long.
func Bound(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
}
