package session

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

// checkIdle looks for the idle time after which something on the way forgets a
// connection: five connections side by side, each idle for another part of
// opts.Idle; then four more between the longest time that was survived and the
// shortest that was not, and one that is as idle but for keepalive probes.
func (s *probe) checkIdle() {
	switch {
	case s.opts.Idle <= 0 || s.ctx.Err() != nil:
		return
	case s.opts.Redial == nil:
		s.skip("idle time", "no second connection", evidence.SessionIdle)
		return
	case s.unknownState != nil:
		s.skip("idle time", s.unknownState.Error(), evidence.SessionIdle)
		return
	}
	longest := s.opts.Idle
	trials := s.runTrials(
		trial{idle: longest / 8}, trial{idle: longest / 4}, trial{idle: longest / 2},
		trial{idle: longest * 3 / 4}, trial{idle: longest})
	survived, died := idleLimits(trials)
	check := &evidence.IdleCheck{}
	if died > 0 {
		step := (died - survived) / 5
		narrower := []trial{{idle: survived + step}, {idle: survived + 2*step}, {idle: survived + 3*step}, {idle: survived + 4*step}}
		// The kernel counts keepalive time in whole seconds (tcp(7)).
		period := max(died/3, time.Second).Truncate(time.Second)
		if period < died {
			narrower = append(narrower, trial{idle: died, keepalive: period})
		} else {
			s.skip("whether keepalive helps", "the idle limit is below two keepalive intervals of 1 s")
		}
		second := s.runTrials(narrower...)
		for _, t := range second {
			if t.keepalive > 0 && t.result != idleUnknown {
				held := t.result == idleAlive
				check.KeepaliveHeld = &held
			}
		}
		trials = append(trials, second...)
	}
	check.Survived, check.Died = idleLimits(trials)
	for _, t := range trials {
		if t.why != "" {
			s.skip(fmt.Sprintf("idle for %v", t.idle), t.why)
		}
	}
	if check.Survived > 0 || check.Died > 0 {
		s.out.Idle = check
	}
}

type idleResult int

const (
	idleUnknown idleResult = iota
	idleAlive
	idleDead
)

// trial is one connection left idle.
type trial struct {
	idle      time.Duration
	keepalive time.Duration // interval; 0 for none
	result    idleResult
	why       string // for idleUnknown
}

// runTrials makes all trials at the same time.
func (s *probe) runTrials(trials ...trial) []trial {
	var wg sync.WaitGroup
	for i := range trials {
		wg.Go(func() { s.stayIdle(&trials[i]) })
	}
	wg.Wait()
	return trials
}

// stayIdle makes one trial. An end that the peer makes known while the
// connection is idle is no loss on the way, and decides nothing. It must not
// touch s.out, as others run beside it.
func (s *probe) stayIdle(t *trial) {
	st, err := s.redial(0)
	if err != nil {
		t.why = "no connection: " + err.Error()
		return
	}
	defer st.close()
	keepalive := net.KeepAliveConfig{Enable: t.keepalive > 0, Idle: t.keepalive, Interval: t.keepalive, Count: 9}
	if err := st.SetKeepAliveConfig(keepalive); err != nil {
		t.why = "keepalive: " + err.Error()
		return
	}
	end := time.Now().Add(t.idle)
	st.listen(t.idle, never)
	select { // what came may have ended the reading early
	case <-s.ctx.Done():
	case <-time.After(time.Until(end)):
	}
	if s.ctx.Err() != nil {
		t.why = "interrupted"
		return
	}
	if st.end != "" {
		t.why = fmt.Sprintf("the peer ended the connection itself after %v (%s)", st.endAt.Round(time.Millisecond), st.end)
		return
	}
	switch d := s.send(st, s.firstWords()); {
	case d.done:
		t.result = idleAlive
	case s.ctx.Err() != nil:
		t.why = "interrupted"
	default:
		t.result = idleDead // silence, or a RST from where it is forgotten
	}
}

// idleLimits gives the shortest idle time that was not survived, 0 for none,
// and the longest below it that was. Trials with keepalive do not count.
func idleLimits(trials []trial) (survived, died time.Duration) {
	for _, t := range trials {
		if t.keepalive == 0 && t.result == idleDead && (died == 0 || t.idle < died) {
			died = t.idle
		}
	}
	for _, t := range trials {
		if t.keepalive == 0 && t.result == idleAlive && (died == 0 || t.idle < died) {
			survived = max(survived, t.idle)
		}
	}
	return survived, died
}
