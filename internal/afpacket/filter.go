package afpacket

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// MaxPacket is how much of a packet a filter lets through: all of it, but for
// what only a segmentation offload can make.
const MaxPacket = 65535

// Filter selects what belongs to attempts to reach one address.
type Filter struct {
	// Target selects TCP to and from it, ICMP errors that quote a packet to
	// it, its echo replies, and ARP or ND about it.
	Target netip.Addr
	// Gateway selects ARP or ND about it; the zero Addr none.
	Gateway netip.Addr
}

// Program is the filter as classic BPF for a cooked packet socket. The zone of
// an address has no bearing.
func (f Filter) Program() ([]bpf.RawInstruction, error) {
	target, gateway := f.Target.Unmap(), f.Gateway.Unmap()
	var p program
	if target.Is4() {
		p.ipv4(target)
	} else {
		p.ipv6(target)
	}
	for _, a := range []netip.Addr{target, gateway} {
		switch {
		case a.Is4():
			arp := etherType(EtherTypeARP)
			p.accept(arp, addr(14, a)) // sender
			p.accept(arp, addr(24, a)) // target
		case a.Is6():
			for _, kind := range []uint32{135, 136} {
				p.accept(etherType(EtherTypeIPv6), field(6, 1, 58), field(40, 1, kind), addr(48, a))
			}
		}
	}
	return bpf.Assemble(append(p, bpf.RetConstant{Val: 0}))
}

func (p *program) ipv4(target netip.Addr) {
	const src, dst, proto = 12, 16, 9
	ip := etherType(EtherTypeIPv4)
	first := test{load: bpf.LoadAbsolute{Off: 6, Size: 2}, mask: 0x1fff} // fragment offset is 0
	p.accept(ip, field(proto, 1, 6), first, addr(src, target))
	p.accept(ip, field(proto, 1, 6), first, addr(dst, target))
	p.accept(ip, field(proto, 1, 1), first, transport(0, 1, 0), addr(src, target)) // echo reply
	for _, kind := range []uint32{3, 11, 12} {
		// Destination of the quoted header, 8 bytes into the ICMP message.
		p.accept(ip, field(proto, 1, 1), first, transport(0, 1, kind), transport(8+dst, 4, word(target.AsSlice())))
	}
}

func (p *program) ipv6(target netip.Addr) {
	const next, src, dst, payload = 6, 8, 24, 40
	ip := etherType(EtherTypeIPv6)
	// Classic BPF cannot walk extension headers. Whatever has one and is to or
	// from the target passes; TCP behind it is for the reader to find.
	for _, proto := range []uint32{6, 0, 43, 44, 60} {
		p.accept(ip, field(next, 1, proto), addr(src, target))
		p.accept(ip, field(next, 1, proto), addr(dst, target))
	}
	p.accept(ip, field(next, 1, 58), field(payload, 1, 129), addr(src, target))
	for _, kind := range []uint32{1, 2, 3, 4} {
		p.accept(ip, field(next, 1, 58), field(payload, 1, kind), addr(payload+8+dst, target))
	}
}

// program is a list of rules; the first that holds accepts the packet.
type program []bpf.Instruction

// test is one condition of a rule: what load (and before it prepare) loads,
// masked unless mask is 0, is val.
type test struct {
	prepare, load bpf.Instruction
	mask, val     uint32
}

// accept appends a rule: if all tests hold, the packet passes.
func (p *program) accept(rule ...any) {
	var tests []test
	for _, r := range rule {
		switch r := r.(type) {
		case test:
			tests = append(tests, r)
		case []test:
			tests = append(tests, r...)
		}
	}
	left := 1 // instructions from the one after a jump to the end of the rule
	var code []bpf.Instruction
	for i := len(tests) - 1; i >= 0; i-- {
		t := tests[i]
		one := []bpf.Instruction{t.prepare, t.load, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: t.val, SkipTrue: uint8(left)}}
		if t.mask == 0 {
			one = append(one[:2], one[3])
		}
		if t.prepare == nil {
			one = one[1:]
		}
		left += len(one)
		code = append(one, code...)
	}
	*p = append(append(*p, code...), bpf.RetConstant{Val: MaxPacket})
}

// etherType tests the protocol as the kernel sees it, which leaves out VLAN
// tags that the interface has taken off.
func etherType(v uint32) test {
	return test{load: bpf.LoadExtension{Num: bpf.ExtProto}, val: v}
}

// field tests size bytes at an offset from the network header.
func field(off uint32, size int, v uint32) test {
	return test{load: bpf.LoadAbsolute{Off: off, Size: size}, val: v}
}

// transport tests size bytes at an offset from the end of the IPv4 header.
func transport(off uint32, size int, v uint32) test {
	return test{prepare: bpf.LoadMemShift{Off: 0}, load: bpf.LoadIndirect{Off: off, Size: size}, val: v}
}

// addr tests for an address at an offset from the network header.
func addr(off uint32, a netip.Addr) []test {
	var tests []test
	for b := a.AsSlice(); len(b) > 0; b, off = b[4:], off+4 {
		tests = append(tests, field(off, 4, word(b)))
	}
	return tests
}

func word(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
