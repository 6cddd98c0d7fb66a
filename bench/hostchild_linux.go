package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/collect/kernel"
)

// hostChild is one of the processes of the benchmark of a host. It prints that it
// is ready, does its work until its input ends, and prints what came of it.
func hostChild(args []string) error {
	answer := json.NewEncoder(os.Stdout)
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serveHost(args[1], answer)
	case len(args) == 3 && args[0] == "load":
		return loadHost(args[1], args[2], answer)
	case len(args) == 1 && args[0] == "watch":
		return watchHost(answer)
	}
	return fmt.Errorf("there is no process %q", args)
}

func untilInputEnds() { io.Copy(io.Discard, os.Stdin) }

// serveHost accepts connections and closes them, with as little work as that
// takes.
func serveHost(at string, answer *json.Encoder) error {
	addr, err := netip.ParseAddrPort(at)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return err
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return err
	}
	go func() {
		for {
			c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err == nil {
				unix.Close(c)
			}
		}
	}()
	if err := answer.Encode(true); err != nil {
		return err
	}
	untilInputEnds()
	return answer.Encode(true)
}

// loadHost makes attempts at a rate, in turn to the open and the closed port.
func loadHost(rateText, durationText string, answer *json.Encoder) error {
	rate, err := strconv.Atoi(rateText)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(durationText)
	if err != nil {
		return err
	}
	if err := answer.Encode(true); err != nil {
		return err
	}
	runtime.LockOSThread()
	to := [2]unix.SockaddrInet4{{Port: hostPort, Addr: hostOpen.Addr().As4()}, {Port: hostPort, Addr: hostClosed.Addr().As4()}}
	var l hostLoad
	start := time.Now()
	for n := 0; time.Since(start) < d; n++ {
		if ahead := time.Duration(n)*time.Second/time.Duration(max(rate, 1)) - time.Since(start); rate > 0 && ahead > time.Millisecond {
			time.Sleep(ahead)
		}
		switch err := connectOnce(&to[n%2]); err {
		case nil:
			l.Open++
		case unix.ECONNREFUSED:
			l.Refused++
		default:
			l.Failed++
		}
	}
	l.Elapsed = time.Since(start)
	return answer.Encode(l)
}

// connectOnce connects and ends that by a reset, which leaves no port behind in
// TIME_WAIT.
func connectOnce(to *unix.SockaddrInet4) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	return unix.Connect(fd, to)
}

// watchHost watches the port and writes each attempt as JSON, to nowhere.
func watchHost(answer *json.Encoder) error {
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	lines := json.NewEncoder(out)
	// The port may be in use elsewhere on the machine.
	var here unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &here); err != nil {
		return err
	}
	w, err := kernel.Start(context.Background(), collect.Env{Clock: collect.NewClock()}, kernel.Options{
		Port: hostPort, Namespace: uint32(here.Ino), Changed: func(a kernel.Attempt) { _ = lines.Encode(a) },
	})
	if err != nil {
		return err
	}
	if absent := w.NotChecked(); len(absent) > 0 {
		return fmt.Errorf("%s: %s", absent[0].Check, absent[0].Reason)
	}
	if err := answer.Encode(true); err != nil {
		return err
	}
	untilInputEnds()
	w.Stop()
	s := w.Summary()
	seen := hostSeen{Attempts: s.Attempts, Events: s.Events, Packets: s.Packets, Lost: s.LostEvents + s.LostPackets}
	for fate, n := range s.Fates {
		switch fate {
		case kernel.FateAccepted, kernel.FateRefused, kernel.FateResetByClient, kernel.FateResetByServer:
			seen.Known += n
		}
	}
	return errors.Join(w.Err(), answer.Encode(seen))
}

// bpftraceLines are the first words of the lines that the script prints.
var bpftraceLines = map[string]bool{
	"drop": true, "send-reset": true, "receive-reset": true, "retransmit": true, "retransmit-syn-ack": true, "state": true, "accepted": true,
}

// bpftraceScript prints events of the port at the same tracepoints.
func bpftraceScript() string {
	const script = `
tracepoint:skb:kfree_skb {
  $s = (struct sk_buff *)args->skbaddr;
  $i = (struct iphdr *)($s->head + $s->network_header);
  $t = (struct tcphdr *)($s->head + $s->transport_header);
  if ($i->protocol == 6 && ($t->dest == SWAPPED || $t->source == SWAPPED)) {
    printf("drop %d %s %s %d %s %d\n", args->reason, ksym(args->location), ntop($i->saddr), $t->source, ntop($i->daddr), $t->dest);
  }
}
tracepoint:tcp:tcp_send_reset {
  $s = (struct sk_buff *)args->skbaddr;
  $i = (struct iphdr *)($s->head + $s->network_header);
  $t = (struct tcphdr *)($s->head + $s->transport_header);
  if ($t->dest == SWAPPED) { printf("send-reset %d %s %d\n", args->reason, ntop($i->saddr), $t->source); }
}
tracepoint:tcp:tcp_receive_reset /args->sport == PORT/ { printf("receive-reset %s %d\n", ntop(args->daddr), args->dport); }
tracepoint:tcp:tcp_retransmit_skb /args->sport == PORT/ { printf("retransmit %s %d\n", ntop(args->daddr), args->dport); }
tracepoint:tcp:tcp_retransmit_synack /args->sport == PORT/ { printf("retransmit-syn-ack %s %d\n", ntop(args->daddr), args->dport); }
tracepoint:sock:inet_sock_set_state /args->sport == PORT/ { printf("state %s %d %d %d\n", ntop(args->daddr), args->dport, args->oldstate, args->newstate); }
tracepoint:syscalls:sys_exit_accept4 /args->ret >= 0/ { printf("accepted %d %s\n", pid, comm); }
`
	swapped := hostPort>>8 | hostPort&0xff<<8
	return strings.NewReplacer("SWAPPED", strconv.Itoa(swapped), "PORT", strconv.Itoa(hostPort)).Replace(script)
}

// mountTracefs gives the thread, and what it starts, a tracefs that nobody else
// sees: bpftrace reads there what fields a tracepoint has.
func mountTracefs() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, "")
}
