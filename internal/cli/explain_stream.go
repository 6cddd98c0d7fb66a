package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tcpwhy/tcpwhy"
	"github.com/tcpwhy/tcpwhy/internal/errtext"
)

// maxExplained bounds the different errors of a stream that are explained and
// remembered; further ones are counted.
const maxExplained = 200

// same is what makes two error lines one.
type same struct{ kind, op, errno, target, program string }

// stream explains the lines of a reader: each different error once, as soon as
// it comes, and at the end how often each came.
func (e *explaining) stream(r io.Reader) error {
	in := bufio.NewReaderSize(r, errtext.MaxLine)
	seen := map[same]int{}
	explained := map[string]bool{} // kinds
	var order []same
	lines, known, more := 0, 0, 0
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			lines++
			if x, ok := tcpwhy.ExplainText(line); ok {
				known++
				key := same{x.Kind, x.Op, x.Errno, x.Host + " " + x.Target(), x.Program}
				n := seen[key]
				switch {
				case n == 0 && len(order) == maxExplained:
					more++
				case n == 0:
					order = append(order, key)
					seen[key] = 1
					if err := e.now(string(bytes.TrimRight(line, "\r\n")), x, len(order) > 1, explained[x.Kind]); err != nil {
						return err
					}
					explained[x.Kind] = true
				default:
					seen[key]++
				}
			}
		}
		// The rest of a line that is too long is passed over.
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
	if known == 0 {
		return &usageError{fmt.Sprintf("none of %d %s holds an error that is known", lines, plural(lines, "line", "lines")),
			"Pages of the manual are searched by: tcpwhy explain --search WORD"}
	}
	return e.tally(lines, known, more, order, seen)
}

// now writes one explanation without waiting for more, in short where the kind
// was explained before.
func (e *explaining) now(line string, x tcpwhy.Explanation, further, short bool) error {
	p := e.page()
	if further && e.output != "json" {
		p.WriteByte('\n')
	}
	lay := e.errorText
	if short {
		lay = e.again
	}
	if err := lay(p, line, x); err != nil {
		return err
	}
	return e.write(p)
}

// tally says how many lines there were beside those shown.
func (e *explaining) tally(lines, known, more int, order []same, seen map[same]int) error {
	if e.output == "json" || lines == 1 {
		return nil
	}
	var again []string
	for _, k := range order {
		if n := seen[k]; n > 1 {
			about := strings.TrimSpace(k.kind + " " + k.target[strings.IndexByte(k.target, ' ')+1:])
			again = append(again, fmt.Sprintf("%s %d times", about, n))
		}
	}
	p := e.page()
	p.WriteByte('\n')
	text := fmt.Sprintf("%d of %d %s", known, lines, plural(lines, "line", "lines"))
	if len(again) > 0 {
		text += ": " + strings.Join(again[:min(len(again), 10)], ", ")
	}
	if n := more + max(0, len(again)-10); n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	p.field("errors in", text)
	return e.write(p)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
