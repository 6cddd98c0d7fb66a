package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// blockSize is that of a block of the ring: more than the largest packet with
// its header, segmentation offload counted in.
const blockSize = 512 << 10

type ring struct {
	file   *os.File
	raw    syscall.RawConn
	mem    []byte
	blocks int
	at     int // block to read next
	left   int // packets left in it
	next   int // offset of the next one in mem
	held   bool
}

// OpenRing starts a capture as Open does, with what the filter accepts cut to
// the length that it returns. A process without CAP_NET_RAW gets a
// *PermissionError.
func OpenRing(filter []bpf.RawInstruction, o RingOptions) (*Ring, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case err == unix.EPERM || err == unix.EACCES:
		return nil, &PermissionError{os.NewSyscallError("socket", err)}
	case err != nil:
		return nil, fmt.Errorf("capture packets: %w", os.NewSyscallError("socket", err))
	}
	r := &Ring{}
	if err := r.setup(fd, filter, o); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("capture packets: %w", err)
	}
	r.file = os.NewFile(uintptr(fd), "packet ring")
	if r.raw, err = r.file.SyscallConn(); err != nil {
		r.Close()
		return nil, fmt.Errorf("capture packets: %w", err)
	}
	return r, nil
}

func (r *Ring) setup(fd int, filter []bpf.RawInstruction, o RingOptions) error {
	if o.Bytes <= 0 {
		o.Bytes = defaultRing
	}
	if o.Retire <= 0 {
		o.Retire = defaultRetire
	}
	if err := attach(fd, filter); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return os.NewSyscallError("setsockopt PACKET_VERSION", err)
	}
	const frame = 2048 // unused by version 3, but checked
	r.blocks = max((o.Bytes+blockSize-1)/blockSize, 2)
	req := unix.TpacketReq3{
		Block_size: blockSize, Block_nr: uint32(r.blocks), Frame_size: frame, Frame_nr: uint32(r.blocks) * (blockSize / frame),
		Retire_blk_tov: uint32(max(o.Retire.Milliseconds(), 1)),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return os.NewSyscallError("setsockopt PACKET_RX_RING", err)
	}
	mem, err := unix.Mmap(fd, 0, r.blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if err := begin(fd, o); err != nil {
		_ = unix.Munmap(mem)
		return err
	}
	r.mem = mem
	return nil
}

func begin(fd int, o RingOptions) error {
	if o.Promiscuous {
		if o.Interface == 0 {
			return errors.New("promiscuous mode needs an interface")
		}
		m := unix.PacketMreq{Ifindex: int32(o.Interface), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return os.NewSyscallError("setsockopt PACKET_ADD_MEMBERSHIP", err)
		}
	}
	return bind(fd, o.Interface)
}

// header gives that of the block to read next.
func (r *Ring) header() *unix.TpacketHdrV1 {
	d := (*unix.TpacketBlockDesc)(unsafe.Pointer(&r.mem[r.at*blockSize]))
	return (*unix.TpacketHdrV1)(unsafe.Pointer(&d.Hdr))
}

func (r *Ring) ready() bool {
	return r.left > 0 || atomic.LoadUint32(&r.header().Block_status)&unix.TP_STATUS_USER != 0 && !r.held
}

// Wait blocks until Next has something to return, or until the deadline: then
// it fails with os.ErrDeadlineExceeded.
func (r *Ring) Wait() error {
	r.release()
	return r.raw.Read(func(uintptr) bool { return r.ready() })
}

// Next fills p with the next packet, or returns false at once if there is none
// at the moment. The packet's data is valid until Next or Wait is called again.
func (r *Ring) Next(p *Packet) bool {
	for r.left == 0 {
		r.release()
		h := r.header()
		if atomic.LoadUint32(&h.Block_status)&unix.TP_STATUS_USER == 0 {
			return false
		}
		r.left, r.next, r.held = int(h.Num_pkts), r.at*blockSize+int(h.Offset_to_first_pkt), true
	}
	r.packet(p)
	return true
}

// release gives a block that is done back to the kernel.
func (r *Ring) release() {
	if !r.held || r.left > 0 {
		return
	}
	r.held = false
	atomic.StoreUint32(&r.header().Block_status, unix.TP_STATUS_KERNEL)
	r.at = (r.at + 1) % r.blocks
}

// packet reads the one at next. What the kernel wrote is taken as it is; it
// cannot be changed by anybody else.
func (r *Ring) packet(p *Packet) {
	h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&r.mem[r.next]))
	ll := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&r.mem[r.next+unix.SizeofTpacket3Hdr]))
	start := r.next + int(h.Net)
	*p = Packet{
		Time: time.Unix(int64(h.Sec), int64(h.Nsec)), Interface: int(ll.Ifindex), Direction: Direction(ll.Pkttype),
		EtherType:    binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, ll.Protocol)),
		HardwareType: ll.Hatype, HardwareAddr: ll.Addr, HardwareAddrLen: min(int(ll.Halen), len(ll.Addr)),
		VLAN: -1, Partial: h.Status&unix.TP_STATUS_CSUMNOTREADY != 0,
		Len: int(h.Len), Data: r.mem[start : start+int(h.Snaplen) : start+int(h.Snaplen)],
	}
	if h.Status&unix.TP_STATUS_VLAN_VALID != 0 {
		p.VLAN = int(h.Hv1.Vlan_tci & 0xffff)
	}
	r.left--
	r.next += int(h.Next_offset)
}

// SetDeadline sets the time at which Wait gives up; the zero time is never. It
// may be called from any goroutine, also while Wait waits.
func (r *Ring) SetDeadline(t time.Time) error { return r.file.SetReadDeadline(t) }

// InterfaceName gives the name of an interface in the capture's own namespace,
// or "" when it is gone.
func (r *Ring) InterfaceName(index int) string {
	var name string
	_ = r.raw.Control(func(fd uintptr) { name = interfaceName(int(fd), index) })
	return name
}

// Stats reads the counters and sets them back.
func (r *Ring) Stats() (Stats, error) {
	var s Stats
	var err error
	cerr := r.raw.Control(func(fd uintptr) {
		var t *unix.TpacketStatsV3
		if t, err = unix.GetsockoptTpacketStatsV3(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			s = Stats{Received: int(t.Packets), Dropped: int(t.Drops)}
		}
		err = os.NewSyscallError("getsockopt PACKET_STATISTICS", err)
	})
	return s, errors.Join(cerr, err)
}

// Close ends the capture. Packets that Next gave are gone then.
func (r *Ring) Close() error {
	err := r.file.Close()
	if r.mem != nil {
		err = errors.Join(err, unix.Munmap(r.mem))
		r.mem = nil
	}
	return err
}
