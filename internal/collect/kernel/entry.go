package kernel

import (
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// entry is an attempt with what the tracker needs to know of it.
type entry struct {
	Attempt
	seq        uint32        // of the first SYN, once SYNs is not 0
	answered   time.Duration // when a SYN-ACK was sent last
	answeredBy string        // interface of the first one
	resetBy    party
	quiet      bool // nothing came with the SYN or soon after

	told               Fate
	toldFinal, changed bool

	in         *list // nil once forgotten
	prev, next *entry
}

// party sent a RST.
type party uint8

const (
	byNobody party = iota
	byClient
	byServer
)

// end sets when it was over, for once.
func (a *entry) end(at time.Duration) {
	if a.Ended == 0 {
		a.Ended = at
	}
}

// again takes back the end and what led to it.
func (a *entry) again() {
	a.Ended, a.resetBy, a.Reset, a.ICMP = 0, byNobody, Act{}, ""
	a.Drop, a.Drops = Act{}, 0
}

func act(e *evidence.KernelEvent) Act {
	return Act{
		At: e.At, Flags: e.Flags, FromServer: e.FromServer, Reason: e.Reason,
		Location: e.Location, Interface: e.Interface, Namespace: e.Namespace,
	}
}

// list is one of entries, each in one list.
type list struct{ first, last *entry }

func (l *list) push(a *entry) {
	a.in, a.prev, a.next = l, l.last, nil
	if l.last != nil {
		l.last.next = a
	} else {
		l.first = a
	}
	l.last = a
}

func (l *list) remove(a *entry) {
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		l.first = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	} else {
		l.last = a.prev
	}
	a.in, a.prev, a.next = nil, nil, nil
}
