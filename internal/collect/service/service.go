// Package service collects what the host's service manager, its containers and
// its logs say about who should listen on a port: the units and containers that
// have to do with it, their state, and the last lines of their logs with what is
// known of their meaning.
//
// It judges nothing and changes nothing. Its sources run beside each other, none
// is required, and none can hold up the answer. Text from logs comes out bounded,
// in printable ASCII and with secrets masked. It imports systemd, journal,
// containers, procinfo, errtext, collect and evidence.
package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/collect"
	"github.com/tcpwhy/tcpwhy/internal/containers"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	// patience bounds the whole. The logs of the units can only be asked for when
	// the units are known: they get what is left after firstPart.
	patience  = 1200 * time.Millisecond
	firstPart = 800 * time.Millisecond
	// lookBack is how far logs are read where Options do not say, and oomBack how
	// far the kernel's.
	lookBack = 24 * time.Hour
	oomBack  = time.Hour
	// maxOwners bounds the owners of listeners that are looked at.
	maxOwners = 32
)

// Options say whose service it is about.
type Options struct {
	Clock collect.Clock // of the run, for Service.At
	Port  uint16
	// PIDs are the processes that own the listeners on the port.
	PIDs []int
	// Names are services that the caller asks for: names of units, with or without
	// suffix, or patterns of them, or of containers.
	Names []string
	// Logs are more files that the service writes its log to.
	Logs []string
	// Since bounds how old log lines may be; the zero time stands for one day.
	Since time.Time
}

// Collect asks the service manager, the container engines and the logs of this
// host. What could not be asked is named in the list beside the result, with what
// to do; the error is for wrong options only. It takes less than 1.5 s, whatever
// hangs, and ends with ctx.
func Collect(ctx context.Context, o Options) (evidence.Service, []evidence.NotChecked, error) {
	engines, others := containers.Engines()
	return sources{engines: engines, otherEngines: others}.collect(ctx, o)
}

// sources are the places that are asked; zero values are those of the system.
type sources struct {
	bus          string // address of the D-Bus bus
	journal      string // directory of the journal
	logs         string // root of plain log files
	engines      []containers.Engine
	otherEngines []string
}

func (src sources) collect(ctx context.Context, o Options) (evidence.Service, []evidence.NotChecked, error) {
	if o.Port == 0 && len(o.PIDs) == 0 && len(o.Names) == 0 {
		return evidence.Service{}, nil, errors.New("services can be looked for by a port, a process or a name, and none is given")
	}
	now := time.Now()
	if o.Since.IsZero() {
		o.Since = now.Add(-lookBack)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o.PIDs = o.PIDs[:min(len(o.PIDs), maxOwners)]
	g := &gathering{o: o, src: src, now: now}
	g.programs, g.owners = related(o)

	first, endFirst := context.WithTimeout(ctx, firstPart)
	g.run(first, map[string]func(context.Context, *found){
		checkUnits: g.units, checkScan: g.scan, checkContainers: g.containers, checkKernel: g.kernel, checkFiles: g.files,
	})
	endFirst()
	g.run(ctx, map[string]func(context.Context, *found){checkUnits: g.namedUnits()})
	g.run(ctx, map[string]func(context.Context, *found){checkJournal: g.unitLogs()})
	return g.result()
}

// The checks, as they stand among what was not checked.
const (
	checkUnits      = "state of the services (systemd)"
	checkContainers = "containers"
	checkScan       = "log lines that name the port"
	checkJournal    = "logs of the services"
	checkKernel     = "processes killed for want of memory, or crashed"
	checkFiles      = "log files"
)

// found is what one source found.
type found struct {
	units      []evidence.Unit
	containers []evidence.Container
	lines      []line
	missed     []evidence.NotChecked
}

func (f *found) miss(check, reason, how string) {
	f.missed = append(f.missed, evidence.NotChecked{Check: check, Reason: reason, How: how, Keys: []evidence.Key{evidence.HostService}})
}

// gathering is one collection.
type gathering struct {
	o        Options
	src      sources
	now      time.Time
	programs []string // command names that have to do with the port
	owners   []string // containers of the listeners' owners
	found
}

// run lets sources work beside each other and takes what they found, of those
// that are done when ctx is. A source that ignores ctx (a file on a dead file
// server) is left behind, and what it finds is not looked at.
func (g *gathering) run(ctx context.Context, sources map[string]func(context.Context, *found)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	results := map[string]*found{}
	for check, source := range sources {
		wg.Go(func() {
			var f found
			source(ctx, &f)
			mu.Lock()
			defer mu.Unlock()
			results[check] = &f
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-afterwards(ctx):
	}
	mu.Lock()
	defer mu.Unlock()
	for _, check := range []string{checkUnits, checkScan, checkContainers, checkKernel, checkFiles, checkJournal} {
		f := results[check]
		if f == nil {
			if sources[check] != nil {
				g.miss(check, "no answer in time", "try again")
			}
			continue
		}
		g.found.units = append(g.found.units, f.units...)
		g.found.containers = append(g.found.containers, f.containers...)
		g.lines = append(g.lines, f.lines...)
		g.missed = append(g.missed, f.missed...)
	}
}

// afterwards is done a little after ctx, so that what ends with ctx is heard.
func afterwards(ctx context.Context) <-chan struct{} {
	late := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(100*time.Millisecond, func() { close(late) }) })
	return late
}

func (g *gathering) result() (evidence.Service, []evidence.NotChecked, error) {
	s := evidence.Service{At: g.o.Clock.Now(), Units: g.found.units, Containers: g.found.containers}
	g.lines = inOrder(g.lines)
	mark(g.lines)
	g.lines = slices.DeleteFunc(g.lines, func(l line) bool { return l.from == fromKernel && !g.concerns(&l) })
	s.Log = choose(g.lines)
	return s, g.missed, nil
}

// once adds a unit unless it is there already.
func once(units []evidence.Unit, u evidence.Unit) []evidence.Unit {
	if slices.ContainsFunc(units, func(v evidence.Unit) bool { return v.Name == u.Name }) {
		return units
	}
	return append(units, u)
}

func usualFor(port uint16) string { return fmt.Sprintf("usual for port %d", port) }
