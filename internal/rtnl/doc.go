// Package rtnl speaks rtnetlink(7) with the kernel: query*.go reads routes,
// links, addresses, neighbours and policy rules; change*.go makes them, for
// the lab. Two questions go to neighbours of it: whether there is IPsec, and
// what conntrack counted. It reports what the kernel says and has no opinion on
// it.
//
// A handle belongs to the network namespace of the thread that opened it, and
// stays there. The package imports evidence and vishvananda/netlink, which
// no other package does.
package rtnl
