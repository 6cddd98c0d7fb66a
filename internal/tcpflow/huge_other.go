//go:build !linux

package tcpflow

func hugePages([]uint64) {}
