package kernel

import (
	"cmp"
	"slices"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// batch holds back events and packets until both have come, and gives them in the
// order of time.
type batch struct {
	events  []evidence.KernelEvent
	packets []evidence.Packet
	order   []item
}

// item is one of the batch: events by index, packets behind them.
type item struct {
	at    time.Duration
	index int
}

// release gives what is not after until, and keeps the rest.
func (b *batch) release(until time.Duration, event func(*evidence.KernelEvent), packet func(*evidence.Packet)) {
	b.order = b.order[:0]
	events, packets := 0, 0 // kept
	for i := range b.events {
		if b.events[i].At <= until {
			b.order = append(b.order, item{b.events[i].At, i})
		}
	}
	for i := range b.packets {
		if b.packets[i].At <= until {
			b.order = append(b.order, item{b.packets[i].At, len(b.events) + i})
		}
	}
	slices.SortStableFunc(b.order, func(a, b item) int { return cmp.Compare(a.at, b.at) })
	for _, o := range b.order {
		if o.index < len(b.events) {
			event(&b.events[o.index])
		} else {
			packet(&b.packets[o.index-len(b.events)])
		}
	}
	for i := range b.events {
		if b.events[i].At > until {
			b.events[events] = b.events[i]
			events++
		}
	}
	for i := range b.packets {
		if b.packets[i].At > until {
			b.packets[packets] = b.packets[i]
			packets++
		}
	}
	b.events, b.packets = b.events[:events], b.packets[:packets]
}
