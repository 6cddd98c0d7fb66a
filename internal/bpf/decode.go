package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// eventSize is that of struct event in trace.bpf.c.
const eventSize = 88

// kinds of enum kind, in its order.
var kinds = [...]evidence.EventKind{
	evidence.EventDrop, evidence.EventSendReset, evidence.EventReceiveReset, evidence.EventRetransmit,
	evidence.EventRetransSYNACK, evidence.EventState, evidence.EventAccepted,
}

// states are the TCP states, include/net/tcp_states.h.
var states = [...]string{
	1: "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
	"CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV", "BOUND_INACTIVE",
}

const (
	stateEstablished = 1
	stateSYNRecv     = 3
)

// decoder turns what the programs write into events.
type decoder struct {
	start time.Time // with a monotonic reading
	ns    uint64    // the kernel's monotonic clock then
	// drops and resets are the names of the reasons, subsystems those of the
	// ranges that modules have, each by number.
	drops, resets, subsystems map[uint32]string
	// location names the function that an address is in.
	location func(addr uint64) string
	names    map[string]string // escaped, of interfaces and processes
}

var errEvent = errors.New("an event of the kernel is not what the program writes")

// decode fills e from a record of the ring.
func (d *decoder) decode(raw []byte, e *Event) error {
	le := binary.LittleEndian
	if len(raw) < eventSize || int(raw[64]) >= len(kinds) {
		return errEvent
	}
	raw = raw[:eventSize]
	*e = Event{
		Time: d.start.Add(time.Duration(le.Uint64(raw) - d.ns)),
		KernelEvent: evidence.KernelEvent{
			Kind:       kinds[raw[64]],
			Client:     netip.AddrPortFrom(addr(raw[16:32]), le.Uint16(raw[48:])),
			Server:     netip.AddrPortFrom(addr(raw[32:48]), le.Uint16(raw[50:])),
			Flags:      wire.Flags(raw[65]).String(),
			FromServer: raw[66] != 0,
			Namespace:  le.Uint32(raw[52:]),
			PID:        int(le.Uint32(raw[60:])),
		},
	}
	reason := le.Uint32(raw[56:])
	switch e.Kind {
	case evidence.EventDrop:
		e.Reason = d.dropReason(reason)
		e.Location = d.location(le.Uint64(raw[8:]))
		e.Interface = d.name(raw[72:])
	case evidence.EventSendReset:
		if len(d.resets) > 0 {
			e.Reason = named(d.resets, reason)
		}
		e.Interface = d.name(raw[72:])
	case evidence.EventAccepted:
		e.Comm = d.name(raw[72:])
	case evidence.EventState:
		old, new := raw[67], raw[68]
		if old == stateSYNRecv && new == stateEstablished {
			e.Kind = evidence.EventEstablished
		}
		e.State = state(new)
		e.Taken = raw[69] != 0
	}
	return nil
}

func addr(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)).Unmap() }

func state(n uint8) string {
	if int(n) < len(states) && states[n] != "" {
		return states[n]
	}
	return fmt.Sprintf("state %d", n)
}

// dropReason names a reason. The upper 16 bits are those of a subsystem, enum
// skb_drop_reason_subsys, whose own numbers only its module knows.
func (d *decoder) dropReason(n uint32) string {
	if len(d.drops) == 0 {
		return "" // before Linux 5.17
	}
	if subsystem, ok := d.subsystems[n>>16]; ok && n>>16 != 0 {
		return fmt.Sprintf("%s:%d", subsystem, n&0xffff)
	}
	return named(d.drops, n)
}

func named(names map[uint32]string, n uint32) string {
	if s, ok := names[n]; ok {
		return s
	}
	return fmt.Sprintf("number %d", n)
}

// maxNames bounds what the names of processes can fill.
const maxNames = 4096

// name escapes one that the kernel ends with a 0.
func (d *decoder) name(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	q := strconv.QuoteToASCII(string(b))
	s := q[1 : len(q)-1]
	if len(d.names) < maxNames {
		d.names[string(b)] = s
	}
	return s
}
