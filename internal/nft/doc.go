// Package nft writes nftables rules into a network namespace, for the lab: a
// few matches and verdicts put together as one would write them for nft(8).
//
//	nft.Apply(ns, nft.Chain{Hook: nft.Forward, Rules: []nft.Rule{
//		nft.If(nft.DPort(8080)).Reset(),
//	}})
//
// Rules live in one table of the family inet, so they hold for IPv4 and IPv6
// alike unless they match an address or nft.V4 or nft.V6. Those of an Ingress chain
// live in one of the family netdev, where these matches do not exist. It imports
// google/nftables and nothing of ours.
package nft
