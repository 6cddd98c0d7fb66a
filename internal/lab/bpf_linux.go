package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A hook is a place where a BPF program sees each packet of an interface. Its
// context is a struct of which we need the pointers to the frame's begin and end.
type hook struct {
	name          string
	program       uint32 // kind of program
	attach        uint32
	flags         uint32
	begin, end    int16 // offsets in the context
	passes, drops int32 // what it returns
}

// The hooks; linux/bpf.h: struct xdp_md and struct __sk_buff.
var (
	xdp = hook{"XDP", unix.BPF_PROG_TYPE_XDP, unix.BPF_XDP, unix.XDP_FLAGS_SKB_MODE, 0, 4, 2, 1}
	tcx = hook{"tc", unix.BPF_PROG_TYPE_SCHED_CLS, unix.BPF_TCX_INGRESS, 0, 76, 80, 0, 2}
)

// attach makes a program drop TCP to the target's port where packets come in at
// an interface, until the lab ends. Only root of the machine can.
func (l *Lab) attach(host, iface string, h hook) {
	err := l.Do(host, func() error {
		program, err := load(h, dropPort(h, l.Family, l.dst.Port()))
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		defer unix.Close(program)
		at, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		link, err := bpf(unix.BPF_LINK_CREATE, []uint32{uint32(program), uint32(at.Index), h.attach, h.flags, 0, 0, 0, 0, 0, 0, 0, 0})
		if err != nil {
			return fmt.Errorf("attach: %w", err)
		}
		l.closers = append(l.closers, os.NewFile(uintptr(link), h.name))
		return nil
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = fmt.Errorf("%s program, for which a newer kernel or root of the machine is needed: %w: %w", h.name, err, errors.ErrUnsupported)
	}
	if err != nil {
		l.fail(err)
	}
}

// instruction is struct bpf_insn; RFC 9669 section 3.
type instruction struct {
	code byte
	regs byte // destination and source, a nibble each
	off  int16
	imm  int32
}

// dropPort is a program that drops TCP of the family to a port. It takes frames
// of Ethernet, and IP headers without options or extensions, as SYNs have them.
func dropPort(h hook, f Family, port uint16) []instruction {
	const (
		frame, end, value = 2, 3, 4 // registers; 1 is the context, 0 what is returned
		ethernet          = 14

		move, add        = unix.BPF_ALU64 | unix.BPF_MOV, unix.BPF_ALU64 | unix.BPF_ADD
		load8, load16    = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_B, unix.BPF_LDX | unix.BPF_MEM | unix.BPF_H
		load32           = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
		unequal, greater = unix.BPF_JMP | unix.BPF_JNE, unix.BPF_JMP | unix.BPF_JGT
	)
	inNetworkOrder := func(v uint16) int32 {
		return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
	}
	kind, protocol, header := uint16(unix.ETH_P_IP), int16(9), int16(20)
	if f == V6 {
		kind, protocol, header = unix.ETH_P_IPV6, 6, 40
	}
	dport := ethernet + header + 2
	regs := func(dst, src byte) byte {
		if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big endian: nibbles are swapped, too
			return dst<<4 | src
		}
		return src<<4 | dst
	}
	code := []instruction{
		{load32, regs(frame, 1), h.begin, 0},
		{load32, regs(end, 1), h.end, 0},
		{move, regs(0, 0), 0, h.passes},
		{move | unix.BPF_X, regs(value, frame), 0, 0},
		{add, regs(value, 0), 0, int32(dport + 2)},
		{greater | unix.BPF_X, regs(value, end), 0, 0},
		{load16, regs(value, frame), 12, 0},
		{unequal, regs(value, 0), 0, inNetworkOrder(kind)},
		{load8, regs(value, frame), ethernet + protocol, 0},
		{unequal, regs(value, 0), 0, unix.IPPROTO_TCP},
		{load16, regs(value, frame), dport, 0},
		{unequal, regs(value, 0), 0, inNetworkOrder(port)},
		{move, regs(0, 0), 0, h.drops},
		{unix.BPF_JMP | unix.BPF_EXIT, 0, 0, 0},
	}
	for i, c := range code { // all jumps are to the end
		if c.code&0x07 == unix.BPF_JMP && c.code&0xf0 != unix.BPF_EXIT {
			code[i].off = int16(len(code) - 2 - i)
		}
	}
	return code
}

// load gives a program to the kernel; bpf(2), BPF_PROG_LOAD.
func load(h hook, code []instruction) (int, error) {
	license := []byte("GPL\x00")
	pointer := func(p unsafe.Pointer) []uint32 {
		b := binary.NativeEndian.AppendUint64(nil, uint64(uintptr(p)))
		return []uint32{binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])}
	}
	attr := append([]uint32{h.program, uint32(len(code))}, pointer(unsafe.Pointer(&code[0]))...)
	attr = append(attr, pointer(unsafe.Pointer(&license[0]))...)
	attr = append(attr, make([]uint32, 12)...) // no log, no name
	fd, err := bpf(unix.BPF_PROG_LOAD, attr)
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	return fd, err
}

// bpf is bpf(2). The kernel takes fields that are missing from attr for zero.
func bpf(command int, attr []uint32) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(unsafe.Pointer(&attr[0])), uintptr(4*len(attr)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
