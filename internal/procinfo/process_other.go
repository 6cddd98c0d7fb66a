//go:build !linux

package procinfo

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/tcpwhy/tcpwhy/internal/visible"
)

// Read tells of a process what the system does. Units and containers exist on
// Linux only.
func Read(pid int) (Process, error) {
	p := Process{PID: pid}
	if pid < 0 || pid > math.MaxInt32 {
		return p, fmt.Errorf("process %d: no such process", pid)
	}
	proc, err := process.NewProcess(int32(pid))
	if err != nil {
		return p, fmt.Errorf("process %d: %w", pid, err)
	}
	if name, err := proc.Name(); err == nil {
		p.Name = visible.Text(name, maxName)
	}
	if args, err := proc.CmdlineSlice(); err == nil {
		p.Command = Command(args)
	}
	if ms, err := proc.CreateTime(); err == nil && ms > 0 {
		p.Started = time.UnixMilli(ms)
	}
	return p, nil
}

// Files fails with errors.ErrUnsupported.
func Files(pid int) (used, limit int, err error) {
	return 0, 0, fmt.Errorf("descriptors of process %d: %w", pid, errors.ErrUnsupported)
}
