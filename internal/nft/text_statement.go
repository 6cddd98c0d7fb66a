package nft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/xtables"
)

// String is the verdict as nft prints it.
func (v *Verdict) String() string {
	const codeMask, queue = 0xff, 3
	switch {
	case v.Code >= 0 && v.Code&codeMask == VerdictDrop:
		return "drop"
	case v.Code >= 0 && v.Code&codeMask == VerdictAccept:
		return "accept"
	case v.Code >= 0 && v.Code&codeMask == queue:
		return fmt.Sprintf("queue to %d", v.Code>>16)
	case v.Code == VerdictJump:
		return "jump " + Printable(v.Chain)
	case v.Code == VerdictGoto:
		return "goto " + Printable(v.Chain)
	case v.Code == VerdictReturn:
		return "return"
	case v.Code == VerdictContinue:
		return "continue"
	}
	return fmt.Sprintf("verdict %d", v.Code)
}

// units of time in limits, by seconds.
var units = map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}

// statement prints what is no match.
func (p *printer) statement(e Expr) {
	switch e := e.(type) {
	case *Counter:
		p.say("counter packets %d bytes %d", e.Packets, e.Bytes)
	case *Last:
		p.say("last")
	case *Limit:
		p.say("%s", e.text())
	case *Quota:
		p.say("%s", e.text())
	case *Connlimit:
		p.say("ct count %s%d", over(e.Over), e.Count)
	case *ObjRef:
		p.object(e)
	case *Log:
		p.say("%s", e.text())
	case *Reject:
		if e.Type == RejectICMP {
			p.implyFamily()
		}
		p.say("%s", e.text(p.table.Family))
	case *Translate:
		p.translate(e)
	case *Masquerade:
		p.say("masquerade%s%s", p.ports(" to :", e.PortMin, e.PortMax), natFlags(e.Flags))
	case *Redirect:
		p.say("redirect%s%s", p.ports(" to :", e.PortMin, e.PortMax), natFlags(e.Flags))
	case *TProxy:
		s := "tproxy"
		if p.table.Family == FamilyINet && e.Family == FamilyIP {
			s += " ip"
		} else if p.table.Family == FamilyINet && e.Family == FamilyIP6 {
			s += " ip6"
		}
		s += " to "
		if e.Addr >= 0 {
			s += p.value(e.Addr, addrType(e.Family))
		}
		p.say("%s%s", s, p.ports(":", e.Port, noRegister))
	case *NoTrack:
		p.say("notrack")
	case *SYNProxyTo:
		s := "synproxy"
		if e.Flags&1 != 0 {
			s += fmt.Sprintf(" mss %d", e.MSS)
		}
		if e.Flags&2 != 0 {
			s += fmt.Sprintf(" wscale %d", e.Wscale)
		}
		if e.Flags&8 != 0 {
			s += " timestamp"
		}
		if e.Flags&4 != 0 {
			s += " sack-perm"
		}
		p.say("%s", s)
	case *Queue:
		p.say("%s", e.text(p))
	case *XT:
		f := xtables.IPv4
		if p.table.Family == FamilyIP6 {
			f = xtables.IPv6
		}
		x := xtables.Extension{Name: e.Name, Revision: e.Revision, Info: e.Info}
		if e.Target {
			p.say("%s", xtables.ActionText(f, x))
		} else {
			p.say("%s", xtables.MatchText(f, x))
		}
	case *Plain:
		p.say("%s", e.Name)
	case *Unknown:
		p.say("unknown expression %s", quoted(e.Name))
	}
}

func over(is bool) string {
	if is {
		return "over "
	}
	return ""
}

func (e *Limit) text() string {
	unit := units[e.Unit]
	if unit == "" {
		unit = fmt.Sprintf("%ds", e.Unit)
	}
	if !e.Bytes {
		s := fmt.Sprintf("limit rate %s%d/%s", over(e.Not), e.Rate, unit)
		if e.Burst != 0 && e.Burst != 5 {
			s += fmt.Sprintf(" burst %d packets", e.Burst)
		}
		return s
	}
	s := fmt.Sprintf("limit rate %s%s/%s", over(e.Not), size(e.Rate), unit)
	if e.Burst != 0 {
		s += " burst " + size(uint64(e.Burst))
	}
	return s
}

// size is a number of bytes in the largest unit that it is a multiple of.
func size(n uint64) string {
	for i, unit := range []string{"mbytes", "kbytes"} {
		if by := uint64(1) << (20 - 10*i); n >= by && n%by == 0 {
			return fmt.Sprintf("%d %s", n/by, unit)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

func (e *Quota) text() string {
	s := "quota " + over(e.Over) + size(e.Bytes)
	if e.Used > 0 {
		s += " used " + size(e.Used)
	}
	return s
}

func (p *printer) object(e *ObjRef) {
	name := quoted(e.Name)
	if e.Map != "" {
		var kinds []uint32
		right := "@" + Printable(e.Map)
		if s := p.table.Lookup(e.Map); s != nil {
			kinds = types(s.KeyType)
		}
		name = p.key(e.Src, kinds) + " map " + right
	}
	word, ok := map[int]string{
		ObjectCounter: "counter name", ObjectQuota: "quota name", ObjectLimit: "limit name", ObjectConnlimit: "ct count name",
		ObjectCtHelper: "ct helper set", ObjectCtTimeout: "ct timeout set", ObjectCtExpect: "ct expectation set",
		ObjectSecmark: "meta secmark set", ObjectSYNProxy: "synproxy name",
	}[e.Type]
	if !ok {
		word = "object"
	}
	p.say("%s %s", word, name)
}

// levels of the kernel's log.
var levels = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}

func (e *Log) text() string {
	const warn = 4
	s := "log"
	if e.Prefix != "" {
		s += " prefix " + quoted(e.Prefix)
	}
	if e.Group >= 0 {
		s += fmt.Sprintf(" group %d", e.Group)
		if e.Snaplen > 0 {
			s += fmt.Sprintf(" snaplen %d", e.Snaplen)
		}
		if e.QueueMax > 0 {
			s += fmt.Sprintf(" queue-threshold %d", e.QueueMax)
		}
	}
	if e.Level >= 0 && e.Level != warn && e.Level < len(levels) {
		s += " level " + levels[e.Level]
	}
	const all = 0x2f // NF_LOG_MASK
	if e.Flags&all == all {
		return s + " flags all"
	}
	var tcp []string
	if e.Flags&1 != 0 {
		tcp = append(tcp, "sequence")
	}
	if e.Flags&2 != 0 {
		tcp = append(tcp, "options")
	}
	if len(tcp) > 0 {
		s += " flags tcp " + strings.Join(tcp, ",")
	}
	for _, f := range []struct {
		bit  uint32
		name string
	}{{4, "ip options"}, {8, "skuid"}, {0x20, "ether"}} {
		if e.Flags&f.bit != 0 {
			s += " flags " + f.name
		}
	}
	return s
}

// codes of ICMP destination unreachable by family, and of icmpx.
var (
	icmpCodes  = map[int]string{0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable", 9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited"}
	icmp6Codes = map[int]string{0: "no-route", 1: "admin-prohibited", 3: "addr-unreachable", 4: "port-unreachable", 5: "policy-fail", 6: "reject-route"}
	icmpxCodes = map[int]string{0: "no-route", 1: "port-unreachable", 2: "host-unreachable", 3: "admin-prohibited"}
)

func code(names map[int]string, n int) string {
	if s, ok := names[n]; ok {
		return s
	}
	return strconv.Itoa(n)
}

func (e *Reject) text(f Family) string {
	const portUnreachable, port6Unreachable, portX = 3, 4, 1
	switch {
	case e.Type == RejectReset:
		return "reject with tcp reset"
	case e.Type == RejectICMPX && e.Code == portX, e.Type == RejectICMP && f == FamilyIP && e.Code == portUnreachable,
		e.Type == RejectICMP && f == FamilyIP6 && e.Code == port6Unreachable:
		return "reject"
	case e.Type == RejectICMPX:
		return "reject with icmpx " + code(icmpxCodes, e.Code)
	case f == FamilyIP6:
		return "reject with icmpv6 " + code(icmp6Codes, e.Code)
	}
	return "reject with icmp " + code(icmpCodes, e.Code)
}

// Answer is what the packet is answered with: "icmp port-unreachable".
func (e *Reject) Answer(v6 bool) string {
	n := e.Code
	switch {
	case e.Type == RejectReset:
		return "tcp reset"
	case e.Type == RejectICMPX && n >= 0 && n < 4: // nft_reject.c, icmp_code_v4 and _v6
		if v6 {
			n = [...]int{0, 4, 3, 1}[n]
		} else {
			n = [...]int{0, 3, 1, 13}[n]
		}
	}
	if v6 {
		return "icmpv6 " + code(icmp6Codes, n)
	}
	return "icmp " + code(icmpCodes, n)
}

func addrType(f Family) uint32 {
	if f == FamilyIP6 {
		return typeIP6
	}
	return typeIP
}

func (p *printer) translate(e *Translate) {
	s := "snat"
	if e.Dest {
		s = "dnat"
	}
	// A map that gives address and port is named with the family.
	both := e.PortMin >= 0 && p.get(e.AddrMin).data == nil && p.get(e.PortMin).data == nil
	if (p.table.Family == FamilyINet || both) && e.Family != 0 && e.Family != FamilyINet {
		s += " " + e.Family.String()
	}
	if e.Flags&(1<<6) != 0 { // NF_NAT_RANGE_NETMAP
		s += " prefix"
	}
	s += " to "
	kind := addrType(e.Family)
	if e.AddrMin >= 0 {
		o := p.get(e.AddrMin)
		addr := p.value(e.AddrMin, kind)
		if e.AddrMax >= 0 && e.AddrMax != e.AddrMin && o.data != nil {
			addr = interval(kind, o.data, p.get(e.AddrMax).data)
		}
		if kind == typeIP6 && e.PortMin >= 0 && o.data != nil {
			addr = "[" + addr + "]"
		}
		s += addr
	}
	// A map may give both.
	if e.PortMin >= 0 && p.get(e.PortMin).data != nil {
		s += p.ports(":", e.PortMin, e.PortMax)
	} else if e.PortMin >= 0 && p.get(e.PortMin).text != "" {
		s += ":" + p.get(e.PortMin).text
	}
	p.say("%s%s", s, natFlags(e.Flags))
}

func (p *printer) ports(before string, lo, hi int) string {
	if lo < 0 {
		return ""
	}
	s := before + p.value(lo, typeService)
	if hi >= 0 && hi != lo {
		s += "-" + p.value(hi, typeService)
	}
	return s
}

func natFlags(flags uint32) string {
	var list []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{1 << 2, "random"}, {1 << 4, "fully-random"}, {1 << 3, "persistent"}} {
		if flags&f.bit != 0 {
			list = append(list, f.name)
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " " + strings.Join(list, ",")
}

func (e *Queue) text(p *printer) string {
	var flags []string
	if e.Flags&1 != 0 {
		flags = append(flags, "bypass")
	}
	if e.Flags&2 != 0 {
		flags = append(flags, "fanout")
	}
	s := "queue"
	if len(flags) > 0 {
		s += " flags " + strings.Join(slices.Clip(flags), ",")
	}
	switch {
	case e.Src >= 0:
		return s + " to " + p.get(e.Src).text
	case e.Total > 1:
		return fmt.Sprintf("%s to %d-%d", s, e.Num, e.Num+e.Total-1)
	}
	return fmt.Sprintf("%s to %d", s, e.Num)
}
