// Package xtables reads the tables of the legacy iptables and ip6tables over
// the kernel's own interface (getsockopt IPT_SO_GET_INFO and
// IPT_SO_GET_ENTRIES, linux/netfilter_ipv4/ip_tables.h), decodes their matches
// and targets, and prints rules as "iptables -S" does. The rules of
// iptables-nft carry the same matches and targets inside nftables expressions;
// they are decoded by the same code.
//
// It never makes the kernel create a table: tables that are not in use are not
// asked for. It imports nothing of ours.
package xtables
