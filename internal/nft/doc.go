// Package nft has two sides.
//
// One reads all nftables rules of a network namespace: Read gives tables, chains,
// rules, sets and maps as values, Table.Text a rule as nft(8) prints it. It
// changes nothing, and an expression that it does not understand is there as
// one that is not known, never left out.
//
// The other writes rules, for the lab: a few matches and verdicts put together as
// one would write them for nft(8).
//
//	nft.Apply(ns, nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{
//		nft.If(nft.DPort(8080)).Reset(),
//	}})
//
// Rules live in one table of the family inet, so they hold for IPv4 and IPv6
// alike unless they match an address or nft.V4 or nft.V6. Those of an Ingress chain
// live in one of the family netdev, where these matches do not exist.
//
// It imports google/nftables, mdlayher/netlink and xtables: rules of iptables-nft
// carry matches and targets of iptables.
package nft
