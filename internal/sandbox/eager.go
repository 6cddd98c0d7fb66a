package sandbox

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	blockedAfter = 200 * time.Millisecond // a write that takes longer is blocked
	blockedAgain = 5 * time.Second        // when that is said again
)

// writing is what the writer of an eager client tells its observer.
type writing struct {
	mu     sync.Mutex
	since  time.Time // when the write under way began; zero for none
	said   time.Time // when it was last said to be blocked; zero for never
	times  int       // how many writes were blocked
	asleep time.Duration
}

// flood is the eager client: it writes messages as fast as it can, reads
// nothing, and tells when a write has to wait.
func (v *calling) flood(ctx context.Context) error {
	w := &writing{}
	done := make(chan struct{})
	var observer sync.WaitGroup
	observer.Go(func() { v.observe(w, done) })
	start := time.Now()
	sent, err := v.pour(ctx, w)
	close(done)
	observer.Wait()
	long := time.Since(start)
	ok := err == nil
	switch {
	case ok:
		// Written is not delivered: that is when the server has read to the end.
		ok = v.bye(v.ReadTimeout)
	case ctx.Err() != nil:
		// The user ended it, which is fine while nothing was in the way.
		if w.said.IsZero() {
			v.bye(goodbye)
			ok = v.Count == 0
		}
	default:
		e := v.event(Failed)
		e.Number, e.Window = v.sent, sendState(v.tcp)
		e.TookMS = milliseconds(time.Since(w.since))
		v.fail(e, err, "send of message %d failed after %s%s", v.sent+1, took(time.Since(w.since)), e.Window.text())
	}
	e := Event{Kind: Summary, Number: v.sent, Window: sendState(v.tcp)}
	v.say(e, "%s, %d bytes written in %s; blocked %s, %s in all%s", count(v.sent, "message"), sent,
		took(long), count(w.times, "time"), took(w.asleep), e.Window.text())
	if !ok || v.sent < v.Count {
		return ErrFailed
	}
	return nil
}

// pour writes the messages and returns how many bytes went out.
func (v *calling) pour(ctx context.Context, w *writing) (sent int, err error) {
	for v.Count == 0 || v.sent < v.Count {
		m := Message{Number: v.sent + 1, PID: os.Getpid(), Name: v.Name}
		head := m.String()
		line := head + strings.Repeat(".", max(0, maxLine-1-len(head))) + "\n"
		now := time.Now()
		w.begin(now)
		if err := v.stream.SetWriteDeadline(now.Add(v.ReadTimeout)); err != nil {
			return sent, err
		}
		if err := ctx.Err(); err != nil { // the deadline that ends writes may be overwritten
			return sent, err
		}
		n, err := v.stream.Write([]byte(line))
		sent += n
		if err != nil {
			w.add(time.Since(now))
			return sent, err
		}
		v.sent++
		if waited := w.end(); waited > 0 {
			e := v.event(Resumed)
			e.Number, e.TookMS = v.sent, milliseconds(waited)
			v.say(e, "message %d went out after %s", v.sent, took(waited))
		}
	}
	return sent, nil
}

func (w *writing) begin(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.said = now, time.Time{}
}

// end returns how long the write took if it was said to be blocked, else 0.
func (w *writing) end() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	waited := time.Since(w.since)
	w.since = time.Time{}
	if w.said.IsZero() {
		return 0
	}
	w.asleep += waited
	return waited
}

// add counts a write that failed.
func (w *writing) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.said.IsZero() {
		w.asleep += d
	}
}

// blocked says for how long a write has been blocked, 0 for not at all, and
// whether it is time to say so.
func (w *writing) blocked(now time.Time) (long time.Duration, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if long = now.Sub(w.since); w.since.IsZero() || long < blockedAfter {
		return 0, false
	}
	if w.said.IsZero() {
		w.times++
	} else if now.Sub(w.said) < blockedAgain {
		return long, false
	}
	w.said = now
	return long, true
}

// observe looks at the writer until it is done. It says what it sees when a
// write is blocked, when the window is zero then, and every now and then.
func (v *calling) observe(w *writing, done <-chan struct{}) {
	tick := time.NewTicker(blockedAfter / 4)
	defer tick.Stop()
	for zero := false; ; {
		select {
		case <-done:
			return
		case now := <-tick.C:
			long, due := w.blocked(now)
			if long == 0 {
				zero = false
				continue
			}
			state := sendState(v.tcp)
			before := zero
			zero = zero || state != nil && state.Peer == 0
			if due || zero && !before {
				e := v.event(Blocked)
				e.TookMS, e.Window = milliseconds(long), state
				v.say(e, "a write has been blocked for %s%s", took(long), state.text())
			}
		}
	}
}

// text says the state in words, to be put behind a clause.
func (s *SendState) text() string {
	if s == nil {
		return ""
	}
	t := fmt.Sprintf("; %d bytes in the send buffer, %d of them not sent yet; the peer's window is ", s.Queued, s.Unsent)
	if s.Peer == 0 {
		t += "zero"
	} else {
		t += fmt.Sprintf("%d bytes", s.Peer)
	}
	if s.Probes > 0 {
		t += fmt.Sprintf(" (%s without an answer)", count(s.Probes, "probe"))
	}
	return t
}
