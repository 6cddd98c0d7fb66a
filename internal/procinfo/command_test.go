package procinfo

import (
	"strings"
	"testing"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"nginx -g daemon_off;", "nginx -g daemon_off;"},
		{"nginx: master process /usr/sbin/nginx", "nginx: master process /usr/sbin/nginx"},
		{"app|--password=hunter2|-v", "app --password=*** -v"},
		{"app|--password=hunter 2|-v", "app --password=*** -v"},
		{"app|--password|hunter2|-v", "app --password *** -v"},
		{"app|--no-password|--token|hunter2", "app --no-password *** ***"},
		{"app|-password=", "app -password="},
		{"app|--db-pass|hunter2", "app --db-pass ***"},
		{"app|--api-key=hunter2", "app --api-key=***"},
		{"app|--set=auth.password=hunter2", "app --set=auth.password=***"},
		{"java|-Djavax.net.ssl.keyStorePassword=hunter2|-jar|a.jar", "java -Djavax.net.ssl.keyStorePassword=*** -jar a.jar"},
		{"env|PGPASSWORD=hunter2|psql", "env PGPASSWORD=*** psql"},
		{"psql|host=db password=hunter2 user=x", "psql host=db password=*** user=x"},
		{"psql|host=db password='hunt er\\'2' user=x", "psql host=db password=*** user=x"},
		{"psql|password=hunter2 host=db", "psql password=***"},
		{"psql|postgres://bob:hunter2@db/x", "psql postgres://***@db/x"},
		{"psql|--url=postgres://bob:hun@ter/2@db/x", "psql --url=postgres://***@db/x"},
		{"git|https://hunter2@git.example/x", "git https://***@git.example/x"},
		{"app|--dsn=root:hunter2@tcp(127.0.0.1:3306)/db", "app --dsn=***@tcp(127.0.0.1:3306)/db"},
		{"app|root:hunt=er2@tcp(127.0.0.1:3306)/db", "app ***@tcp(127.0.0.1:3306)/db"},
		{"ssh|git@git.example:x", "ssh git@git.example:x"},
		{"sshd: alice@pts/0", "sshd: alice@pts/0"},
		{"curl|-H|Authorization: Bearer hunter2", "curl -H Authorization:***"},
		{"curl|-u|bob:hunter2|--user-agent|x", "curl -u *** --user-agent x"},
		{"curl|--user=bob:hunter2", "curl --user=***"},
		{"sh|-c|curl -H \"X-Auth: Bearer hunter2\" x", "sh -c curl -H \"X-Auth: *** x"},
		{"sh|-c|mysql --password 'hunter 2' -u root", "sh -c mysql --password *** -u root"},
		{`sh|-c|echo {\"password\": \"hunter 2\"}`, `sh -c echo {\\"password\\": ***`},
		{`app|{"user": "bob", "password" : "hunter 2", "x": 1}`, `app {"user": "bob", "password" : ***, "x": 1}`},
		{"mysql|-phunter2|-P3306|-u|root", "mysql -p*** -P3306 -u root"},
		{"sudo|/usr/bin/mysqldump|-phunter2", "sudo /usr/bin/mysqldump -p***"},
		{"mysql|-p|db", "mysql -p db"},
		{"mysqld|-p3307", "mysqld -p3307"},
		{"nc|-p3307", "nc -p3307"},
		{"sshpass|-p|hunter2|ssh|x", "sshpass -p *** ssh x"},
		{"redis-cli|-a|hunter2", "redis-cli -a ***"},
		{"redis-server|--requirepass|hunter2", "redis-server --requirepass ***"},
		{"a\x1b]0;x\x07\xff|\u202e", `a\x1b]0;x\a\xff \u202e`},
		{"", ""},
	} {
		if got := Command(strings.Split(c.args, "|")); got != c.want {
			t.Errorf("%q\ngot  %s\nwant %s", c.args, got, c.want)
		}
	}
	if got := Command(nil); got != "" {
		t.Errorf("no arguments: %q", got)
	}
	if got := Command([]string{strings.Repeat("a", 10000)}); len(got) != maxCommand || !strings.HasSuffix(got, "...") {
		t.Errorf("a long argument gives %d characters, ends in %q", len(got), got[len(got)-8:])
	}
	if got := Command([]string{"a", "--password=" + strings.Repeat("x", 10000), "-v"}); got != "a --password=***... ..." {
		t.Errorf("a long secret: %q", got)
	}
}

// FuzzCommand puts a secret in every place where Command knows secrets, among
// arguments that may be anything, and looks for it in the line.
func FuzzCommand(f *testing.F) {
	f.Add("nginx", "-v", "x")
	f.Add("a b", `"`, "'")
	f.Add("--password", "=", "")
	f.Fuzz(func(t *testing.T, before, after, around string) {
		const secret = "Zq7hunter2"
		clean := strings.NewReplacer(secret, "", "\x00", "").Replace
		before, after, around = clean(before), clean(after), clean(around)
		if len(before)+len(after) > 400 {
			return
		}
		word := strings.Map(func(r rune) rune { // within one word of a shell
			if strings.ContainsRune("\"'\\ \t\n\r\f\v", r) {
				return -1
			}
			return r
		}, around)
		for _, args := range [][]string{
			{"--password=" + around + secret},
			{"--password", secret + around},
			{"PGPASSWORD=" + around + secret},
			{"x --api-key=" + secret + word},
			{"https://" + word + secret + "@h"},
			{"mysql", "-p" + secret + around},
			{"Authorization: Bearer " + secret},
		} {
			args = append(append([]string{before}, args...), after)
			got := Command(args)
			if strings.Contains(got, secret) {
				t.Errorf("%q shows the secret: %s", args, got)
			}
			if len(got) > maxCommand || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q: %d characters, or not printable: %q", args, len(got), got)
			}
		}
	})
}

func BenchmarkCommand(b *testing.B) {
	for name, args := range map[string][]string{
		"usual":   {"/usr/lib/postgresql/17/bin/postgres", "-D", "/var/lib/postgresql/17/main", "-c", "config_file=/etc/postgresql/17/main/postgresql.conf"},
		"hostile": {strings.Repeat(`a="`, maxRead/3)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Command(args)
			}
		})
	}
}
