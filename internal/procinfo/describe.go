package procinfo

import "github.com/tcpwhy/tcpwhy/internal/evidence"

// maxDescribed bounds the processes that one call of Describe looks at.
const maxDescribed = 1024

// Describe adds to each socket that has a PID what Read tells of the process. A
// process that has ended meanwhile leaves it as it was.
func Describe(sockets []evidence.Listener) {
	known := make(map[int]Process)
	for i := range sockets {
		l := &sockets[i]
		if l.PID == 0 {
			continue
		}
		p, ok := known[l.PID]
		if !ok {
			if len(known) == maxDescribed {
				continue
			}
			p, _ = Read(l.PID)
			known[l.PID] = p
		}
		if p.Name != "" {
			l.Process = p.Name
		}
		l.Command, l.Unit, l.Container, l.Started = p.Command, p.Unit, p.Container, p.Started
	}
}
