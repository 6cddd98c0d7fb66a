package xtables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// hooks by their number, enum nf_inet_hooks.
var hooks = [numHooks]string{"prerouting", "input", "forward", "output", "postrouting"}

const (
	numHooks  = 5
	nameLen   = 32 // XT_TABLE_MAXNAMELEN
	ifNameLen = 16

	// extHeader is the size of struct xt_entry_match and xt_entry_target before
	// their data: size, name and revision.
	extHeader = 32
	extName   = 29
)

// info is struct ipt_getinfo and ip6t_getinfo.
type info struct {
	name       string
	validHooks uint32
	hookEntry  [numHooks]uint32
	underflow  [numHooks]uint32
	entries    uint32
	size       uint32
}

const infoSize = nameLen + 4 + 4*numHooks*2 + 4 + 4

func parseInfo(b []byte) (info, error) {
	if len(b) < infoSize {
		return info{}, errors.New("the answer about the table is too short")
	}
	in := info{name: cstring(b[:nameLen])}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	in.validHooks = u32(nameLen)
	for i := range numHooks {
		in.hookEntry[i] = u32(nameLen + 4 + 4*i)
		in.underflow[i] = u32(nameLen + 4 + 4*numHooks + 4*i)
	}
	in.entries, in.size = u32(infoSize-8), u32(infoSize-4)
	return in, nil
}

// layout is where the parts of an entry are; struct ipt_entry and ip6t_entry of
// 64-bit kernels.
type layout struct {
	addr                         int // size of an address
	proto, flags, invert         int
	targetOffset, nextOffset     int
	counters, size               int
	protoFlag, tosFlag, gotoFlag byte // 0: the family has no such flag
	fragFlag                     byte
}

var layouts = map[Family]layout{
	IPv4: {addr: 4, proto: 80, flags: 82, invert: 83, targetOffset: 88, nextOffset: 90, counters: 96, size: 112, gotoFlag: 2, fragFlag: 1},
	IPv6: {addr: 16, proto: 128, flags: 131, invert: 132, targetOffset: 140, nextOffset: 142, counters: 152, size: 168, protoFlag: 1, tosFlag: 2, gotoFlag: 4},
}

// Flags that turn matches of the header around, IPT_INV_*.
const (
	invIn = 1 << iota
	invOut
	_
	invSrc
	invDst
	invFrag
	invProto
)

// entry is a rule as it stands in the blob.
type entry struct {
	at, next int
	rule     *Rule
	label    string // of an error target: the name of the chain that starts here
	isLabel  bool
	jump     int // target of a jump, by offset; -1 none
}

// parse makes a table of the blob that IPT_SO_GET_ENTRIES gives.
func parse(f Family, in info, blob []byte) (*Table, error) {
	t := &Table{Family: f, Name: in.name}
	entries, err := parseEntries(layouts[f], blob)
	if err != nil {
		return nil, fmt.Errorf("table %q: %w", in.name, err)
	}
	starts := map[int]*Chain{} // by the offset of the first rule
	var chain *Chain
	under := -1
	for i, e := range entries {
		for h := range numHooks {
			if in.validHooks&(1<<h) != 0 && int(in.hookEntry[h]) == e.at {
				chain = &Chain{Name: strings.ToUpper(hooks[h]), Hook: hooks[h]}
				under = int(in.underflow[h])
				t.Chains = append(t.Chains, chain)
				starts[e.at] = chain
			}
		}
		switch {
		case e.isLabel:
			chain, under = nil, -1
			if i < len(entries)-1 { // the last one ends the table
				chain = &Chain{Name: e.label}
				t.Chains = append(t.Chains, chain)
				starts[e.next] = chain
			}
		case chain == nil:
			return nil, fmt.Errorf("table %q: the rule at offset %d is in no chain", in.name, e.at)
		case e.at == under:
			chain.Policy, chain.Packets, chain.Bytes = e.rule.Target.Verdict, e.rule.Packets, e.rule.Bytes
			chain, under = nil, -1
		default:
			e.rule.Number = len(chain.Rules) + 1
			chain.Rules = append(chain.Rules, e.rule)
		}
	}
	for _, e := range entries {
		if e.jump < 0 {
			continue
		}
		to := starts[e.jump]
		switch {
		case e.jump == e.next:
			e.rule.Target.Verdict = Continue
		case to == nil:
			return nil, fmt.Errorf("table %q: the rule at offset %d jumps to offset %d, where no chain starts", in.name, e.at, e.jump)
		default:
			e.rule.Target.Chain = to.Name
		}
	}
	// The kernel ends a user's chain with a rule of its own that returns.
	for _, c := range t.Chains {
		if n := len(c.Rules); c.Hook == "" && n > 0 {
			c.Rules = c.Rules[:n-1]
		}
	}
	return t, nil
}

func parseEntries(l layout, blob []byte) ([]entry, error) {
	var out []entry
	for at := 0; at < len(blob); {
		b := blob[at:]
		if len(b) < l.size {
			return nil, fmt.Errorf("the rule at offset %d is cut off", at)
		}
		target := int(binary.NativeEndian.Uint16(b[l.targetOffset:]))
		next := int(binary.NativeEndian.Uint16(b[l.nextOffset:]))
		if target < l.size || next < target+extHeader || next > len(b) {
			return nil, fmt.Errorf("the rule at offset %d has impossible sizes", at)
		}
		e := entry{at: at, next: at + next, jump: -1, rule: &Rule{
			Packets: binary.NativeEndian.Uint64(b[l.counters:]),
			Bytes:   binary.NativeEndian.Uint64(b[l.counters+8:]),
			Header:  parseHeader(l, b),
		}}
		for m := l.size; m < target; {
			x, size, err := parseExtension(b[m:target])
			if err != nil {
				return nil, fmt.Errorf("the rule at offset %d: a match: %w", at, err)
			}
			e.rule.Matches = append(e.rule.Matches, x)
			m += size
		}
		x, _, err := parseExtension(b[target:next])
		if err != nil {
			return nil, fmt.Errorf("the rule at offset %d: its target: %w", at, err)
		}
		if err := e.setTarget(x, b[l.flags]&l.gotoFlag != 0); err != nil {
			return nil, fmt.Errorf("the rule at offset %d: %w", at, err)
		}
		out = append(out, e)
		at += next
	}
	return out, nil
}

func (e *entry) setTarget(x Extension, goTo bool) error {
	switch x.Name {
	case "": // XT_STANDARD_TARGET
		if len(x.Info) < 4 {
			return errors.New("its verdict is cut off")
		}
		switch v := int32(binary.NativeEndian.Uint32(x.Info)); v {
		case -1: // -NF_DROP - 1
			e.rule.Target.Verdict = Drop
		case -2: // -NF_ACCEPT - 1
			e.rule.Target.Verdict = Accept
		case -4: // -NF_QUEUE - 1
			e.rule.Target.Verdict = Queue
		case -5: // XT_RETURN
			e.rule.Target.Verdict = Return
		default:
			if v < 0 {
				return fmt.Errorf("its verdict %d is not known", v)
			}
			e.jump, e.rule.Target.Goto = int(v), goTo
		}
	case "ERROR": // XT_ERROR_TARGET
		e.label, e.isLabel = cstring(x.Info), true
	default:
		e.rule.Target.Extension = &x
	}
	return nil
}

// parseExtension decodes struct xt_entry_match or xt_entry_target, and says how
// long it is.
func parseExtension(b []byte) (Extension, int, error) {
	if len(b) < extHeader {
		return Extension{}, 0, errors.New("it is cut off")
	}
	size := int(binary.NativeEndian.Uint16(b))
	if size < extHeader || size > len(b) {
		return Extension{}, 0, fmt.Errorf("its size of %d bytes is impossible", size)
	}
	return Extension{Name: cstring(b[2 : 2+extName]), Revision: int(b[2+extName]), Info: b[extHeader:size]}, size, nil
}

func parseHeader(l layout, b []byte) Header {
	inv := b[l.invert]
	flags := b[l.flags]
	addr := func(i int) netip.Addr {
		a, _ := netip.AddrFromSlice(b[i*l.addr : (i+1)*l.addr])
		return a
	}
	names := 4 * l.addr
	iface := func(i int, not byte) Interface {
		name, mask := b[names+i*ifNameLen:][:ifNameLen], b[names+(i+2)*ifNameLen:][:ifNameLen]
		n := 0
		for n < ifNameLen && mask[n] != 0 {
			n++
		}
		x := Interface{Not: inv&not != 0}
		if n > 0 {
			// The mask of a whole name covers its zero byte, too.
			x.Name = cstring(name[:n])
			x.Prefix = len(x.Name) == n && n < ifNameLen
		}
		return x
	}
	h := Header{
		Src: Network{addr(0), addr(2), inv&invSrc != 0},
		Dst: Network{addr(1), addr(3), inv&invDst != 0},
		In:  iface(0, invIn), Out: iface(1, invOut),
		Fragments:    flags&l.fragFlag != 0 && inv&invFrag == 0,
		NotFragments: flags&l.fragFlag != 0 && inv&invFrag != 0,
		TOS:          flags&l.tosFlag != 0,
	}
	if l.protoFlag == 0 || flags&l.protoFlag != 0 {
		h.Proto = uint8(binary.NativeEndian.Uint16(b[l.proto:]))
		h.NotProto = inv&invProto != 0
	}
	return h
}

// cstring is the text up to the first zero byte.
func cstring(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
