// Command errors connects to a host and a port in the ways of Go's standard
// library, for some seconds at most each, and prints the errors.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	patience, err := time.ParseDuration(os.Args[3] + "s")
	if err != nil {
		panic(err)
	}
	address := net.JoinHostPort(os.Args[1], os.Args[2])
	if conn, err := net.DialTimeout("tcp", address, patience); err != nil {
		fmt.Println(err)
	} else {
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			fmt.Println(err)
		}
	}
	client := http.Client{Timeout: patience}
	if _, err := client.Get("http://" + address + "/"); err != nil {
		fmt.Println(err)
	}
}
