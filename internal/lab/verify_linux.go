package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Patience bounds each connection that Verify makes. Address resolution that
// fails says so after 3.1 s, so silence for longer than that means silence.
const Patience = 4 * time.Second

// quiet is how long a peer must say nothing to count as silent; in the lab an
// answer takes less than a millisecond.
const quiet = 250 * time.Millisecond

// Verify makes a plain connection where the user sits and checks that the
// kernel says what the scenario predicts. With loss, before which Break has done
// so, it checks that some packets are lost and that the fault is not hidden by it.
// A ParamsError says that it is, or that it hides the loss.
func (l *Lab) Verify(ctx context.Context) error {
	check := l.verifyFault
	if l.Scenario.Loss > 0 {
		check = l.verifyLoss
	}
	if err := check(ctx); err != nil {
		return fmt.Errorf("lab: %s for %v: %w", l.Scenario.Name, l.Family, err)
	}
	return nil
}

// verifyFault checks what the scenario predicts without loss. Where it fails and
// the user has chosen the port, that may have another part in the scenario.
func (l *Lab) verifyFault(ctx context.Context) error {
	err := l.predicted(ctx)
	if port := l.Params.Port; err != nil && port != 0 && ctx.Err() == nil && !errors.Is(err, errors.ErrUnsupported) {
		err = l.cannot("port", "cannot be proven at port %d: %v", port, err)
	}
	return err
}

func (l *Lab) predicted(ctx context.Context) error {
	s := l.Scenario
	if want := s.Expected(l.Family); want != "" {
		if err := l.expect(ctx, l.dst, want, s.After); err != nil {
			return err
		}
		if want == HostUnreach {
			if err := l.forgetTarget(); err != nil {
				return err
			}
		}
	}
	if s.prove != nil {
		return s.prove(ctx, l)
	}
	return nil
}

// forgetTarget ends a resolution of the target's address, wherever it is under way:
// the client's fourth SYN comes at the moment at which the first resolution fails,
// and may begin another one. Who connects next would be told too soon.
func (l *Lab) forgetTarget() error {
	var errs []error
	for _, h := range l.Scenario.Topology.Hosts {
		errs = append(errs, l.machines[h].change.ForgetNeighbour(l.dst.Addr()))
	}
	return errors.Join(errs...)
}

// expect connects from where the user sits.
func (l *Lab) expect(ctx context.Context, to netip.AddrPort, want Outcome, after Ending) error {
	return l.expectAt(ctx, l.Scenario.From, to, want, after)
}

// expectAt connects from a host.
func (l *Lab) expectAt(ctx context.Context, host string, to netip.AddrPort, want Outcome, after Ending) error {
	return l.Do(host, func() error {
		if host == l.Scenario.From {
			if err := l.confine(); err != nil {
				return err
			}
		}
		c, err := dial(ctx, to)
		if c != nil {
			defer c.Close()
		}
		if ctx.Err() != nil {
			return ctx.Err() // it was not the network that took too long
		}
		got := outcome(err)
		if want == Opens && after == Reset && got == "ECONNRESET" {
			return nil // a RST right behind the SYN-ACK can be there before connect(2) returns
		}
		if got != want {
			return fmt.Errorf("connect to %v: %s, want %s (%v)", to, got, want, err)
		}
		if after == Whatever {
			return nil
		}
		if got := ending(c, hello, after); got != after {
			return fmt.Errorf("%v after the handshake: %s, want %s", to, got, after)
		}
		return nil
	})
}

func outcome(err error) Outcome {
	var errno syscall.Errno
	switch {
	case err == nil:
		return Opens
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return TimesOut
	case errors.As(err, &errno):
		return Outcome(unix.ErrnoName(errno))
	}
	return Outcome(err.Error())
}

// hello is a request that is smaller than any MTU, with a small answer.
const hello = "HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n"

// ending sends a request, or as many as the peer takes if it is to stall, and
// looks at what comes back. Only for the ending that is expected to be silence
// does it wait no longer than silence takes.
func ending(c net.Conn, request string, want Ending) Ending {
	for again := true; again; again = want == Stalled {
		c.SetWriteDeadline(time.Now().Add(quiet))
		if _, err := io.WriteString(c, request); errors.Is(err, os.ErrDeadlineExceeded) {
			return Stalled
		} else if errors.Is(err, unix.ECONNRESET) {
			return Reset // who has been told is not told again: a read would see the end
		} else if err != nil {
			break // the read will say more
		}
	}
	patience := Patience
	if want == Silent {
		patience = quiet
	}
	c.SetReadDeadline(time.Now().Add(patience))
	n, err := c.Read(make([]byte, 512))
	switch {
	case n > 0:
		return Talks
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Silent
	case errors.Is(err, io.EOF):
		return Closed
	default:
		return Reset
	}
}
