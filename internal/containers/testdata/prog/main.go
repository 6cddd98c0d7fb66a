// Command prog is what the test's containers run: it ends with the status that
// its argument tells, and with 0 not at all.
package main

import (
	"os"
	"strconv"
	"time"
)

func main() {
	if n, _ := strconv.Atoi(os.Args[1]); n != 0 {
		os.Exit(n)
	}
	time.Sleep(time.Hour)
}
