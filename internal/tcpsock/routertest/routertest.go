// Package routertest gives tests of the socket code a small internet of network
// namespaces, for IPv4 and IPv6:
//
//	client .2 --- 1 --- .1 r1 .1 --- 2 --- .2 r2 .1 --- 3 --- .2 server
//
// where network 1 is 10.77.1.0/24 and fd77:1::/64, and so on. Only tests import
// it; it imports netns and nettest.
package routertest
