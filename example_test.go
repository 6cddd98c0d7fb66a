package tcpwhy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy"
)

// closed is an address of this machine where nothing listens: the near end of
// a connection holds the port. The caller calls done.
func closed() (address string, done func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		panic(err)
	}
	return conn.LocalAddr().String(), func() { conn.Close(); ln.Close() }
}

func ExampleExplain() {
	address, done := closed()
	defer done()
	_, err := net.Dial("tcp", address)

	e := tcpwhy.Explain(err)
	fmt.Println(e.Kind, e.Errno, e.Op)
	fmt.Println(e.Causes[0].ID+":", e.Causes[0].Title)
	fmt.Println(e.Command() == "tcpwhy "+address)
	// Output:
	// refused ECONNREFUSED connect
	// no-listener: nothing listens on the port
	// true
}

func ExampleExplain_wrapped() {
	address, done := closed()
	defer done()
	_, err := http.Get("http://" + address + "/health")
	err = errors.Join(errors.New("the service is not ready"), fmt.Errorf("check: %w", err))

	fmt.Println(tcpwhy.Explain(err).Title)
	// Output: connection refused
}

func ExampleExplainText() {
	log := `2026-01-02 03:04:05 INFO  started
2026-01-02 03:04:06 ERROR SQLSTATE[HY000] [2002] Connection refused
2026-01-02 03:04:09 ERROR dial tcp 192.0.2.7:5432: i/o timeout
`
	for line := range strings.Lines(log) {
		if e, ok := tcpwhy.ExplainText([]byte(line)); ok {
			fmt.Printf("%s: %s\n", e.Program, e.Kind)
		}
	}
	// Output:
	// PHP: refused
	// Go: connect-timeout
}

func ExampleDiagnose() {
	address, done := closed()
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	d, err := tcpwhy.Diagnose(ctx, address)
	if err != nil {
		fmt.Println(err) // the target is none
		return
	}
	fmt.Println(d.Outcome)
	if d.Certainty != tcpwhy.Certain {
		for _, s := range d.Next {
			_ = s.Command // what would tell the candidates apart
		}
	}
	// Output: refused
}

func ExampleDialer() {
	address, done := closed()
	defer done()
	dialer := &tcpwhy.Dialer{Extra: 20 * time.Second}
	dialer.Timeout = 5 * time.Second // as in net.Dialer

	_, err := dialer.DialContext(context.Background(), "tcp", address)
	var why *tcpwhy.Error
	if errors.As(err, &why) {
		fmt.Println(why.Diagnosis.Outcome)
	}
	var op *net.OpError // the error of net is still there
	fmt.Println(errors.As(err, &op))
	// Output:
	// refused
	// true
}

func ExampleTransport() {
	address, done := closed()
	defer done()
	client := &http.Client{Transport: &tcpwhy.Transport{Extra: 20 * time.Second}}

	_, err := client.Get("http://" + address + "/")
	var why *tcpwhy.Error
	if errors.As(err, &why) {
		fmt.Println(why.Diagnosis.Outcome)
	}
	// Output: refused
}
