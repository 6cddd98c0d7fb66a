package nft

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// maxElements bounds the elements read of one set, maxRules those of all
	// rules; a set may hold millions.
	maxElements = 1 << 16
	maxRules    = 1 << 17

	// maxTries is how often the rules are read again when they change meanwhile.
	maxTries = 5
)

// Read reads the ruleset of the namespace that the descriptor refers to; with 0
// that of the calling thread. It changes nothing.
//
// It needs CAP_NET_ADMIN over the namespace and else returns an error that wraps
// EPERM (errors.Is with fs.ErrPermission). A kernel without nftables gives
// ErrUnsupported.
func Read(ctx context.Context, ns int) (*Ruleset, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns})
	if err != nil {
		return nil, firstError(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r := &reading{conn: conn}
	if r.generation(); r.err != nil && ctx.Err() == nil {
		return nil, firstError(r.err)
	}
	for range maxTries {
		before := r.generation()
		rules := r.ruleset()
		if after := r.generation(); r.err == nil && before == after {
			rules.Generation = after
			return rules, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("nft: read rules: %w", ctx.Err())
		}
		if r.err != nil && !errors.Is(r.err, unix.EINTR) && !errors.Is(r.err, unix.ENOENT) {
			return nil, fmt.Errorf("nft: read rules: %w", r.err)
		}
		r.err = nil // they changed under us
	}
	return nil, fmt.Errorf("nft: the rules changed %d times while they were read: try again", maxTries)
}

// firstError is the error of the first question: it tells whether there are
// nftables at all.
func firstError(err error) error {
	for _, no := range []error{unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EINVAL} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w (%w)", ErrUnsupported, err)
		}
	}
	return fmt.Errorf("nft: read rules: %w", err)
}

// reading is one reading of the ruleset; after the first error it does nothing.
type reading struct {
	conn *netlink.Conn
	err  error
}

func (r *reading) ruleset() *Ruleset {
	out := &Ruleset{}
	r.dump(unix.NFT_MSG_GETTABLE, 0, nil, func(f Family, a attrs) bool {
		const dormant = 1 // NFT_TABLE_F_DORMANT
		out.Tables = append(out.Tables, &Table{Family: f, Name: a.text(1), Dormant: a.int(2)&dormant != 0})
		return true
	})
	table := func(f Family, name string) *Table {
		for _, t := range out.Tables {
			if t.Family == f && t.Name == name {
				return t
			}
		}
		return &Table{} // made since: the generation tells
	}
	r.dump(unix.NFT_MSG_GETCHAIN, 0, nil, func(f Family, a attrs) bool {
		t := table(f, a.text(1))
		t.Chains = append(t.Chains, decodeChain(f, a))
		return true
	})
	var (
		total int
		chain *TableChain
		of    *Table
	)
	r.dump(unix.NFT_MSG_GETRULE, 0, nil, func(f Family, a attrs) bool {
		if total++; total > maxRules {
			r.err = fmt.Errorf("more than %d rules", maxRules)
			return false
		}
		if of == nil || of.Family != f || of.Name != a.text(1) {
			of, chain = table(f, a.text(1)), nil
		}
		if chain == nil || chain.Name != a.text(2) {
			chain = of.Chain(a.text(2))
		}
		if chain != nil {
			chain.Rules = append(chain.Rules, decodeRule(a))
		}
		return true
	})
	r.dump(unix.NFT_MSG_GETSET, 0, nil, func(f Family, a attrs) bool {
		t := table(f, a.text(1))
		t.Sets = append(t.Sets, decodeSet(a))
		return true
	})
	r.dump(unix.NFT_MSG_GETOBJ, 0, nil, func(f Family, a attrs) bool {
		t := table(f, a.text(1))
		t.Objects = append(t.Objects, &Object{Name: a.text(2), Type: a.int(3)})
		return true
	})
	for _, t := range out.Tables {
		for _, s := range t.Sets {
			r.elements(t, s)
		}
	}
	return out
}

func (r *reading) elements(t *Table, s *Set) {
	const tableAttr, setAttr, elementsAttr = 1, 2, 3 // NFTA_SET_ELEM_LIST_*
	req, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: tableAttr, Data: append([]byte(t.Name), 0)},
		{Type: setAttr, Data: append([]byte(s.Name), 0)},
	})
	if err != nil {
		r.err = err
		return
	}
	var ends []bool
	r.dump(unix.NFT_MSG_GETSETELEM, t.Family, req, func(_ Family, a attrs) bool {
		for _, v := range a.get(elementsAttr).all() {
			if len(s.Elements) == maxElements {
				s.Truncated = true
				return true
			}
			e, last := decodeElement(v)
			s.Elements, ends = append(s.Elements, e), append(ends, last)
		}
		return true
	})
	// Without all bounds there is no telling where an interval ends.
	if s.Interval && s.Truncated {
		s.Elements = nil
	} else if s.Interval {
		s.Elements = intervals(s.Elements, ends)
	}
}

// generation is the number of the ruleset, enum nft_gen_attributes.
func (r *reading) generation() (id uint32) {
	const genID = 1
	r.request(unix.NFT_MSG_GETGEN, 0, 0, nil, func(_ Family, a attrs) bool {
		id = a.u32(genID)
		return true
	})
	return id
}

// dump asks for all objects of a kind and calls f with each, until it returns
// false.
func (r *reading) dump(kind int, f Family, data []byte, each func(Family, attrs) bool) {
	r.request(kind, f, netlink.Dump, data, each)
}

func (r *reading) request(kind int, f Family, flags netlink.HeaderFlags, data []byte, each func(Family, attrs) bool) {
	if r.err != nil {
		return
	}
	const header = 4 // struct nfgenmsg: family, version, resource
	msg := netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | flags},
		Data:   append([]byte{byte(f), unix.NFNETLINK_V0, 0, 0}, data...),
	}
	if _, err := r.conn.Send(msg); err != nil {
		r.err = err
		return
	}
	more := true
	for m, err := range r.conn.ReceiveIter() {
		if err != nil {
			r.err = err
			return
		}
		const interrupted = 0x10 // NLM_F_DUMP_INTR
		if m.Header.Flags&interrupted != 0 && r.err == nil {
			r.err = unix.EINTR
		}
		if len(m.Data) < header || !more || r.err != nil {
			continue
		}
		more = each(Family(m.Data[0]), attrs(m.Data[header:]))
	}
}
