package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// launchFlag makes this program a launcher: it runs one program and says what
// that took. The launcher is small, which matters: a new process begins with
// the peak memory of the one that forked it, see exec_mmap in fs/exec.c.
const launchFlag = "-launch"

// perRun bounds each run.
const perRun = 40 * time.Second

// sample is what one run took.
type sample struct {
	Elapsed  time.Duration // from before fork to after wait
	PeakKB   int64         // ru_maxrss, getrusage(2)
	Exit     int           // -1 for a signal
	TimedOut bool
}

// launch runs argv, with its output thrown away, and prints the sample as JSON.
// It ends the program, and all that this has started, when perRun is over or
// when stdin ends: so nothing outlives the one that holds the other end.
func launch(argv []string) int {
	ctx, cancel := context.WithTimeout(context.Background(), perRun)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	// The parent in the sense of Pdeathsig is a thread.
	runtime.LockOSThread()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	start := time.Now()
	err := cmd.Run()
	s := sample{Elapsed: time.Since(start), TimedOut: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	// What it started may still be there.
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	s.Exit = cmd.ProcessState.ExitCode()
	s.PeakKB = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		return exitFailed
	}
	return exitMet
}
