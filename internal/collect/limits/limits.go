// Package limits reads what bounds the connections that a listener of this host
// can take: settings of the network namespace, and the descriptors of the
// processes that listen.
//
// It imports procinfo and evidence.
package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
)

// maxProcesses bounds the processes whose descriptors are counted.
const maxProcesses = 64

// Collect reads the limits of the network namespace of the calling thread, which
// are -1 where the system has none or does not tell, and the descriptors of the
// processes. Those of other users' processes need CAP_SYS_PTRACE; what is
// missing is listed. A process that has ended is left out. There is no error
// as long as anything could be read; on other systems than Linux it wraps
// errors.ErrUnsupported.
func Collect(pids []int) (evidence.ServiceLimits, []evidence.NotChecked, error) {
	out := evidence.ServiceLimits{Somaxconn: -1, MaxSYNBacklog: -1, SYNCookies: -1, AbortOverflow: -1}
	if runtime.GOOS != "linux" {
		return out, nil, fmt.Errorf("limits of listeners on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	var missing []evidence.NotChecked
	var failed error
	settings := []struct {
		name string
		to   *int
	}{
		{"net.core.somaxconn", &out.Somaxconn},
		{"net.ipv4.tcp_max_syn_backlog", &out.MaxSYNBacklog},
		{"net.ipv4.tcp_syncookies", &out.SYNCookies},
		{"net.ipv4.tcp_abort_on_overflow", &out.AbortOverflow},
	}
	unread := 0
	for _, s := range settings {
		n, err := setting(s.name)
		if err != nil {
			unread, failed = unread+1, err
			missing = append(missing, evidence.NotChecked{Check: s.name, Reason: err.Error()})
			continue
		}
		*s.to = n
	}
	files, more := filesOf(pids)
	out.Files = files
	missing = append(missing, more...)
	if unread == len(settings) && len(files) == 0 {
		return out, missing, fmt.Errorf("limits of listeners: %w", failed)
	}
	return out, missing, nil
}

// setting reads a number from /proc/sys, proc_sys(5).
func setting(name string) (int, error) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("sysctl %s: %w", name, err)
	}
	return n, nil
}

func filesOf(pids []int) (files []evidence.FilesOf, missing []evidence.NotChecked) {
	pids = slices.Clone(pids)
	slices.Sort(pids)
	pids = slices.Compact(pids)
	if n := len(pids) - maxProcesses; n > 0 {
		missing = append(missing, evidence.NotChecked{
			Check: fmt.Sprintf("descriptors of the listening processes (%d of them)", n), Reason: fmt.Sprintf("only %d are looked at", maxProcesses),
		})
		pids = pids[:maxProcesses]
	}
	denied := 0
	for _, pid := range pids {
		used, limit, err := procinfo.Files(pid)
		switch {
		case err == nil:
			p, _ := procinfo.Read(pid)
			files = append(files, evidence.FilesOf{PID: pid, Process: p.Name, Used: used, Limit: limit})
		case errors.Is(err, fs.ErrPermission):
			denied++
		case errors.Is(err, fs.ErrNotExist): // it has ended
		default:
			missing = append(missing, evidence.NotChecked{Check: fmt.Sprintf("descriptors of process %d", pid), Reason: err.Error()})
		}
	}
	if denied > 0 {
		missing = append(missing, evidence.NotChecked{
			Check:  "descriptors of the listening processes",
			Reason: fmt.Sprintf("%d of %d belong to other users: needs CAP_SYS_PTRACE", denied, len(pids)),
			How:    "run tcpwhy with sudo",
		})
	}
	return files, missing
}
