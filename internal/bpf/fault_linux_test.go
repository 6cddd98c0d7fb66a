//go:build linux && (amd64 || arm64)

package bpf

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/tcpsock/routertest"
)

// md5 wants signatures of a peer, RFC 2385.
func md5(fd int, peer netip.Addr) error {
	sig := unix.TCPMD5Sig{Keylen: 3, Key: [80]byte{1, 2, 3}}
	le := binary.NativeEndian
	// struct sockaddr_storage: family, port, and for IPv6 the flow first.
	raw := make([]byte, 128)
	if peer.Is4() {
		le.PutUint16(raw, unix.AF_INET)
		copy(raw[4:], peer.AsSlice())
	} else {
		le.PutUint16(raw, unix.AF_INET6)
		copy(raw[8:], peer.AsSlice())
	}
	sig.Addr.Family = le.Uint16(raw)
	copy(sig.Addr.Data[:], raw[2:])
	return unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig)
}

// drops is a program that drops what is for a port. Where the frame begins and
// ends stands in its context at two offsets.
func drops(t *testing.T, kind ebpf.ProgramType, begin, end int16, family int, port uint16, pass, drop int32) *ebpf.Program {
	t.Helper()
	dport := int16(14 + 20 + 2)
	if family == 6 {
		dport = 14 + 40 + 2
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: kind, License: "MIT", Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, begin, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, end, asm.Word),
		asm.Mov.Imm(asm.R0, pass),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(dport)+2),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
		asm.LoadMem(asm.R4, asm.R2, dport, asm.Half),
		asm.JNE.Imm(asm.R4, int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))), "out"),
		asm.Mov.Imm(asm.R0, drop),
		asm.Return().WithSymbol("out"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func dropXDP(t *testing.T, n *routertest.Node, family int, port uint16) {
	t.Helper()
	p := drops(t, ebpf.XDP, 0, 4, family, port, 2, 1)
	n.Do(func() {
		i, err := net.InterfaceByName("e0")
		if err != nil {
			t.Error(err)
			return
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: i.Index, Flags: link.XDPGenericMode})
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
	})
}

func dropTC(t *testing.T, n *routertest.Node, family int, port uint16) {
	t.Helper()
	p := drops(t, ebpf.SchedCLS, 76, 80, family, port, 0, 2)
	n.Do(func() {
		i, err := net.InterfaceByName("e0")
		if err != nil {
			t.Error(err)
			return
		}
		l, err := link.AttachTCX(link.TCXOptions{Program: p, Interface: i.Index, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
	})
}
