//go:build !unix

package journal

const nonblock, nofollow = 0, 0
