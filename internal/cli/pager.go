package cli

import (
	"io"
	"os/exec"
	"strings"
)

// page makes an empty page for the width and signs of stdout.
func (e *explaining) page() *page {
	text := e.output == "text"
	p := &page{width: e.host.width(), bold: func(s string) string { return s }, plain: text && !e.host.unicode()}
	if text && e.host.color() {
		p.bold = func(s string) string { return "\x1b[1m" + s + "\x1b[0m" }
	}
	return p
}

func (e *explaining) write(p *page) error {
	_, err := io.WriteString(e.host.Stdout, p.String())
	return err
}

// paged lays a page out and shows it: through a pager on a terminal, else as it
// is.
func (e *explaining) paged(lay func(*page) error) error {
	p := e.page()
	if err := lay(p); err != nil {
		return err
	}
	if e.host.Columns > 0 && e.output == "text" && e.throughPager(p.String()) {
		return nil
	}
	return e.write(p)
}

// throughPager shows text with $PAGER, or with less where there is none. It is
// false if nothing was shown. less keeps colours (-R), ends by itself if all
// fits (-F) and leaves the text on the screen (-X).
func (e *explaining) throughPager(text string) bool {
	command := strings.Fields(e.host.Getenv("PAGER"))
	if len(command) == 0 {
		command = []string{"less", "-FRX"}
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return false
	}
	cmd := exec.Command(program, command[1:]...)
	cmd.Stdin = strings.NewReader(text)
	cmd.Stdout, cmd.Stderr = e.host.Stdout, e.host.Stderr
	if err := cmd.Start(); err != nil {
		return false
	}
	// How a pager ends, perhaps before it has read all, is no error of ours.
	_ = cmd.Wait()
	return true
}
