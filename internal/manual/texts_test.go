package manual

import (
	"slices"
	"strings"
	"testing"

	"github.com/tcpwhy/tcpwhy/internal/errtext"
)

// vaguer lists what a text of a table may be taken for besides the table's own
// kind: some programs say the same for several.
var vaguer = map[string][]errtext.Kind{
	"refused":             {errtext.ConnectFailed},                          // curl
	"connect-timeout":     {errtext.Timeout},                                // psql
	"read-timeout":        {errtext.Timeout},                                // limits over all
	"host-unreachable":    {errtext.ConnectFailed},                          // curl
	"network-unreachable": {errtext.ConnectFailed, errtext.HostUnreachable}, // curl, Chrome
	"reset":               {errtext.Closed},                                 // psql, Node.js
	"name-not-found":      {errtext.NameFailed},                             // who do not tell the two apart
	"name-temporary":      {errtext.NameFailed},
}

// around gives the line of a log for texts that tables show alone, and that
// files have, too: only what stands around them tells that it was a connection.
var around = map[string]string{
	"Permission denied":                    "connect: Permission denied",
	"Permission denied (os error 13)":      "tcp connect error: Permission denied (os error 13)",
	"Operation not permitted":              "connect: Operation not permitted",
	"Operation not permitted (os error 1)": "tcp connect error: Operation not permitted (os error 1)",
	"Too many open files":                  "socket: Too many open files",
	"Too many open files (os error 24)":    "tcp connect error: Too many open files (os error 24)",
	"EOF":                                  `Get "http://{{.Host}}:{{.Port}}/": EOF`,
	"of fetch: other side closed":          "SocketError: other side closed",
	"or: i/o timeout":                      "lookup {{.Host}} on {{.Server}}:53: read udp {{.Client}}:41715->{{.Server}}:53: i/o timeout",
	"or connect: the same":                 "connect: cannot assign requested address",
	"Server closed the connection":         "Error: Server closed the connection",
}

// unknown are texts that are not recognised, with the reason: alone they are no
// sign of a failed connection.
var unknown = map[string]string{
	"PermissionError: [Errno 13] Permission denied":      "a semaphore, a device or a signal gives it, too",
	"PermissionError: [Errno 1] Operation not permitted": "a signal, a clock or a change of user gives it, too",
	"failed to fill whole buffer":                        "a file that is too short gives it, too",
	"in the middle of an answer: unexpected EOF":         "a file that is too short gives it, too",
}

// Every text of the tables is recognised as what the table says, so that who
// comes with it finds the table's causes.
func TestTextsAreRecognised(t *testing.T) {
	var used []string
	for _, e := range allErrors(t) {
		for _, s := range e.Texts {
			for text := range strings.SplitSeq(s.Text, "; ") {
				line := text
				if l, ok := around[text]; ok {
					line = l
				}
				used = append(used, text)
				line = Shown{Text: line}.Fill(sample).Text
				m, ok := errtext.Recognise([]byte(line))
				if why := unknown[text]; why != "" {
					if ok {
						t.Errorf("%s, %s: %q is recognised now: %s", e.ID, s.Program, line, why)
					}
					continue
				}
				if kind := string(m.Kind); !ok || kind != e.ID && !slices.Contains(vaguer[e.ID], m.Kind) {
					t.Errorf("%s, %s: %q is taken for %q (%v)", e.ID, s.Program, line, kind, ok)
				}
			}
		}
	}
	for _, m := range []map[string]string{around, unknown} {
		for text := range m {
			if !slices.Contains(used, text) {
				t.Errorf("no table shows %q", text)
			}
		}
	}
}
