// Command tcpwhy tells why a TCP connection fails.
package main

import (
	"os"

	"github.com/tcpwhy/tcpwhy/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], cli.System())) }
