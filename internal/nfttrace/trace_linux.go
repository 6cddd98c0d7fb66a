package nfttrace

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// buffer holds some thousand messages: a packet makes a few at each hook.
	buffer = 8 << 20
	// patience bounds every wait for the kernel, which answers at once.
	patience = 2 * time.Second
)

// Tracer marks packets and reads what becomes of them. Next and Lookup belong
// to one goroutine; Stop may be called from another.
type Tracer struct {
	table  *nftables.Table
	rules  *nftables.Conn // owns the table
	events *netlink.Conn

	mu      sync.Mutex // held while the rules are looked at or taken away
	queries *netlink.Conn
	// Stop makes of generation last the generation after, and changes nothing
	// that a packet met.
	last, after uint32

	pending    []netlink.Message
	generation uint32 // of the rules, as of the last event; 0 when not known
	lost       atomic.Uint64
}

// Open adds the table to the network namespace of the calling thread and starts
// to listen. It needs CAP_NET_ADMIN over the namespace, and wraps
// os.ErrPermission without it; and nftables of Linux 5.12, without which it
// wraps errors.ErrUnsupported.
func Open(f Filter) (*Tracer, error) {
	t := &Tracer{table: &nftables.Table{Name: tablePrefix + rand.Text()[:10], Family: nftables.TableFamilyINet}}
	if err := t.open(clean(f)); err != nil {
		t.Close()
		return nil, fmt.Errorf("nftrace: %w", explain(err))
	}
	return t, nil
}

func (t *Tracer) open(f Filter) (err error) {
	if t.queries, err = netlink.Dial(unix.NETLINK_NETFILTER, nil); err != nil {
		return err
	}
	// The group of changes comes with the same queue, and tells from which
	// message on the rules are others.
	if t.events, err = netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1<<(unix.NFNLGRP_NFTRACE-1) | 1<<(unix.NFNLGRP_NFTABLES-1)}); err != nil {
		return err
	}
	_ = t.events.SetReadBuffer(buffer) // in a user namespace the kernel gives less

	var socket *netlink.Conn
	t.rules, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		socket = c
		return nil
	}))
	if err != nil {
		return err
	}
	messages, err := ownedTable(t.table.Name)
	if err != nil {
		return err
	}
	if _, err := socket.SendMessages(messages); err != nil {
		return fmt.Errorf("add table: %w", err)
	}
	if _, err := socket.Receive(); err != nil { // the acknowledgement
		return fmt.Errorf("add table: %w", err)
	}
	addRules(t.rules, t.table, f)
	if err := t.rules.Flush(); err != nil {
		return fmt.Errorf("add rules: %w", err)
	}
	return nil
}

// explain says what is missing when the kernel refuses.
func explain(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: it needs CAP_NET_ADMIN over the network namespace: run it with sudo", err)
	}
	for _, e := range []error{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.ENOENT, unix.EINVAL} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: it needs nftables of Linux 5.12 or newer: %w", err, errors.ErrUnsupported)
		}
	}
	return err
}

// Next waits for the next event. After Stop it gives those that were on their
// way and then io.EOF.
func (t *Tracer) Next() (Event, error) {
	for {
		for len(t.pending) > 0 {
			m := t.pending[0]
			t.pending = t.pending[1:]
			switch m.Header.Type {
			case message(unix.NFT_MSG_TRACE):
				e, err := decode(m.Data)
				if err != nil {
					t.lost.Add(1)
					continue
				}
				e.Generation = t.generation
				if isOurs(e.Chain.Table) {
					if e.Packet == nil {
						continue
					}
					e.Kind = KindMarked
				}
				return e, nil
			case message(unix.NFT_MSG_NEWGEN):
				t.generation = generation(m.Data)
			case message(unix.NFT_MSG_DELTABLE):
				if name(m.Data, unix.NFTA_TABLE_NAME) == t.table.Name {
					return Event{}, io.EOF
				}
			}
		}
		var err error
		t.pending, err = t.events.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			t.lost.Add(1)
			t.generation = 0
		case errors.Is(err, os.ErrDeadlineExceeded): // set by Stop
			return Event{}, io.EOF
		case err != nil:
			return Event{}, fmt.Errorf("nftrace: %w", err)
		}
	}
}

// Lost counts how often messages did not get here: the kernel says that its
// queue was full, not how many there were.
func (t *Tracer) Lost() uint64 { return t.lost.Load() }

// Stop takes the rules away. It gives the number of packets that fitted the
// filter and were not marked since there were too many.
func (t *Tracer) Stop() (unmarked uint64, err error) {
	// The table's end is announced behind the last event. Where that is lost,
	// or the table is gone already, this ends the wait.
	defer t.events.SetReadDeadline(time.Now().Add(patience))
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, chain := range []string{"prerouting", "output"} {
		rules, err := t.rules.GetRules(t.table, &nftables.Chain{Name: chain})
		if err != nil {
			return 0, fmt.Errorf("nftrace: counters: %w", err)
		}
		for _, r := range rules {
			var count []uint64
			for _, e := range r.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					count = append(count, c.Packets)
				}
			}
			if len(count) == 2 && count[0] > count[1] {
				unmarked += count[0] - count[1]
			}
		}
	}
	before, beforeErr := t.current()
	t.rules.DelTable(t.table)
	if err := t.rules.Flush(); err != nil {
		return unmarked, fmt.Errorf("nftrace: remove table: %w", err)
	}
	if now, err := t.current(); err == nil && beforeErr == nil && now == before+1 {
		t.last, t.after = before, now
	}
	return unmarked, nil
}

// Close releases everything; the table goes with it if Stop did not remove it.
func (t *Tracer) Close() error {
	var errs []error
	for _, c := range []*netlink.Conn{t.events, t.queries} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if t.rules != nil {
		errs = append(errs, t.rules.CloseLasting())
	}
	return errors.Join(errs...)
}

// generation reads an NFT_MSG_NEWGEN, 0 when it tells none.
func generation(data []byte) (id uint32) {
	_, ad, err := attributes(data)
	if err != nil {
		return 0
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_GEN_ID {
			id = ad.Uint32()
		}
	}
	return id
}

// name reads one attribute that is a string, "" when it is not there.
func name(data []byte, attribute uint16) (s string) {
	_, ad, err := attributes(data)
	if err != nil {
		return ""
	}
	for ad.Next() {
		if ad.Type() == attribute {
			s = ad.String()
		}
	}
	return s
}
