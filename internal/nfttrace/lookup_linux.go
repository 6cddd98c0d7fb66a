package nfttrace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrChanged says that the rules are no longer those that the packet met: a
// handle may mean another rule now.
var ErrChanged = errors.New("nftrace: the rules have changed since")

// Lookup tells about the rule that an event names, in a packet's way through
// the base chain. It needs the rules to be the ones of the event, and fails
// with ErrChanged when they are not. A handle of 0 is the policy of base.
func (t *Tracer) Lookup(e Event, base Chain) (Rule, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rule, err := t.lookup(e, base)
	now, genErr := t.current()
	if now == t.after {
		now = t.last
	}
	switch {
	case genErr != nil:
		return Rule{}, genErr
	case e.Generation == 0 || now != e.Generation:
		return Rule{}, ErrChanged
	}
	return rule, err
}

// current is the generation that the rules have now.
func (t *Tracer) current() (uint32, error) {
	reply, err := t.ask(unix.NFT_MSG_GETGEN, "", func(*netlink.AttributeEncoder) {})
	if err != nil {
		return 0, fmt.Errorf("nftrace: generation of the rules: %w", err)
	}
	return generation(reply), nil
}

func (t *Tracer) lookup(e Event, base Chain) (Rule, error) {
	var r Rule
	reply, err := t.ask(unix.NFT_MSG_GETCHAIN, base.Family, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, base.Table)
		ae.String(unix.NFTA_CHAIN_NAME, base.Name)
	})
	if err != nil {
		return r, fmt.Errorf("nftrace: chain %q: %w", base.Name, err)
	}
	if err := r.chain(reply); err != nil || e.Handle == 0 {
		return r, err
	}
	reply, err = t.ask(unix.NFT_MSG_GETRULE, e.Chain.Family, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, e.Chain.Table)
		ae.String(unix.NFTA_RULE_CHAIN, e.Chain.Name)
		ae.Uint64(unix.NFTA_RULE_HANDLE, e.Handle)
	})
	if err != nil {
		return r, fmt.Errorf("nftrace: rule %d of chain %q: %w", e.Handle, e.Chain.Name, err)
	}
	return r, r.rule(reply, e.V6)
}

// ask sends one request and gives its one answer.
func (t *Tracer) ask(kind uint16, family string, fill func(*netlink.AttributeEncoder)) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	fill(ae)
	attrs, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	var number byte
	for n, word := range families {
		if word == family {
			number = n
		}
	}
	if err := t.queries.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	reply, err := t.queries.Execute(netlink.Message{
		Header: netlink.Header{Type: message(kind), Flags: netlink.Request},
		Data:   append(general(number, 0), attrs...),
	})
	switch {
	case err != nil:
		return nil, err
	case len(reply) != 1:
		return nil, fmt.Errorf("%d answers, want 1", len(reply))
	}
	return reply[0].Data, nil
}

// hooks are those of the families of IP; linux/netfilter.h, enum nf_inet_hooks.
var hooks = [...]string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}

// chain reads an NFT_MSG_NEWCHAIN.
func (r *Rule) chain(data []byte) error {
	_, ad, err := attributes(data)
	if err != nil {
		return err
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_CHAIN_HOOK {
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					switch ad.Type() {
					case unix.NFTA_HOOK_HOOKNUM:
						if n := ad.Uint32(); n < uint32(len(hooks)) {
							r.Hook = hooks[n]
						}
					case unix.NFTA_HOOK_PRIORITY:
						r.Priority = int(int32(ad.Uint32()))
					}
				}
				return nil
			})
		}
	}
	return ad.Err()
}

// rule reads of an NFT_MSG_NEWRULE the expressions that tell what it does with
// packets of a family of IP.
func (r *Rule) rule(data []byte, v6 bool) error {
	_, ad, err := attributes(data)
	if err != nil {
		return err
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_RULE_EXPRESSIONS {
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					ad.Nested(func(ad *netlink.AttributeDecoder) error { return r.expression(ad, v6) })
				}
				return nil
			})
		}
	}
	return ad.Err()
}

func (r *Rule) expression(ad *netlink.AttributeDecoder, v6 bool) error {
	var name string
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_EXPR_NAME:
			switch name = ad.String(); name {
			case "nat", "redir", "masq":
				r.NAT = true
			}
		case unix.NFTA_EXPR_DATA:
			switch name {
			case "reject":
				ad.Nested(func(ad *netlink.AttributeDecoder) error { return r.reject(ad, v6) })
			case "target":
				ad.Nested(func(ad *netlink.AttributeDecoder) error { return r.target(ad, v6) })
			}
		}
	}
	return nil
}

// reject reads what nft_reject sends.
func (r *Rule) reject(ad *netlink.AttributeDecoder, v6 bool) error {
	var kind uint32
	var code byte
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_REJECT_TYPE:
			kind = ad.Uint32()
		case unix.NFTA_REJECT_ICMP_CODE:
			code = ad.Uint8()
		}
	}
	protocol, words := "icmp ", icmpCodes
	if v6 {
		protocol, words = "icmpv6 ", icmp6Codes
	}
	if kind == unix.NFT_REJECT_ICMPX_UNREACH {
		if words = icmpxCodes; v6 {
			words = icmpx6Codes
		}
	}
	if r.Reject = tcpReset; kind != unix.NFT_REJECT_TCP_RST {
		w, ok := words[code]
		if !ok {
			w = fmt.Sprintf("code %d", code)
		}
		r.Reject = protocol + w
	}
	return nil
}

// target reads a target of iptables-nft, with struct ipt_reject_info for REJECT.
func (r *Rule) target(ad *netlink.AttributeDecoder, v6 bool) error {
	var name string
	var info []byte
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_TARGET_NAME:
			name = ad.String()
		case unix.NFTA_TARGET_INFO:
			info = ad.Bytes()
		}
	}
	switch name {
	case "DNAT", "SNAT", "REDIRECT", "MASQUERADE", "NETMAP":
		r.NAT = true
	case "REJECT":
		words := xtReject[:]
		if v6 {
			words = xtReject6[:]
		}
		r.Reject = "icmp"
		if len(info) >= 4 {
			if with := binary.NativeEndian.Uint32(info); with < uint32(len(words)) {
				r.Reject = words[with]
			}
		}
	}
	return nil
}

const tcpReset = "tcp reset"

// The codes in the words of nft(8), "icmp code" and "icmpv6 code", and those of
// "icmpx code" as what is sent; net/netfilter/nft_reject.c.
var (
	icmpCodes = map[byte]string{
		0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable",
		9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited",
	}
	icmp6Codes = map[byte]string{
		0: "no-route", 1: "admin-prohibited", 3: "addr-unreachable", 4: "port-unreachable",
		5: "policy-fail", 6: "reject-route",
	}
	icmpxCodes = map[byte]string{
		unix.NFT_REJECT_ICMPX_NO_ROUTE: "net-unreachable", unix.NFT_REJECT_ICMPX_PORT_UNREACH: "port-unreachable",
		unix.NFT_REJECT_ICMPX_HOST_UNREACH: "host-unreachable", unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED: "admin-prohibited",
	}
	icmpx6Codes = map[byte]string{
		unix.NFT_REJECT_ICMPX_NO_ROUTE: "no-route", unix.NFT_REJECT_ICMPX_PORT_UNREACH: "port-unreachable",
		unix.NFT_REJECT_ICMPX_HOST_UNREACH: "addr-unreachable", unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED: "admin-prohibited",
	}
)

// What REJECT of iptables sends: ipt_REJECT.h, enum ipt_reject_with, and
// ip6t_REJECT.h.
var (
	xtReject = [...]string{
		"icmp net-unreachable", "icmp host-unreachable", "icmp prot-unreachable", "icmp port-unreachable", "icmp echo-reply",
		"icmp net-prohibited", "icmp host-prohibited", tcpReset, "icmp admin-prohibited",
	}
	xtReject6 = [...]string{
		"icmpv6 no-route", "icmpv6 admin-prohibited", "icmpv6 not-neighbour", "icmpv6 addr-unreachable", "icmpv6 port-unreachable",
		"icmpv6 echo-reply", tcpReset, "icmpv6 policy-fail", "icmpv6 reject-route",
	}
)
