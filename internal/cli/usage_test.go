package cli_test

import (
	"strings"
	"testing"
)

// A call that cannot be meant so ends with exit code 2, says what is wrong and
// which command tells more.
func TestWrongCalls(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"completion", "no shell named\nThere are: bash, fish"},
		{"completion tcsh", `there is no completion for "tcsh"`},
		{"completion bash x", `completion bash takes no "x"`},
		{"help nope", `there is no command "nope"` + "\nThe commands are listed by: tcpwhy --help"},
		{"help explain nope", `there is no command "explain nope"`},
		{"report --nope", "The flags are listed by: tcpwhy report --help"},
		{"--nope", "The flags are listed by: tcpwhy --help"},
		{"--gentle --idle 5s 192.0.2.7:22", "--idle needs a connection that speaks"},
		{"host --during -1s", "--during must be between 0 and 24h"},
		{"explain --search=", "--search needs a word"},
	} {
		code, out, talk := run(t, 0, strings.Fields(c.args)...)
		if code != 2 || out != "" || !strings.Contains(talk, c.want) {
			t.Errorf("tcpwhy %s: exit code %d, %q, %q, want %q", c.args, code, out, talk, c.want)
		}
	}
	for _, args := range []string{"help", "help explain", "help completion bash", "completion bash"} {
		if code, out, talk := run(t, 0, strings.Fields(args)...); code != 0 || out == "" || talk != "" {
			t.Errorf("tcpwhy %s: exit code %d, %.40q, %q", args, code, out, talk)
		}
	}
}
