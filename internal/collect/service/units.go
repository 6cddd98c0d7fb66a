package service

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/tcpwhy/tcpwhy/internal/containers"
	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/procinfo"
	"github.com/tcpwhy/tcpwhy/internal/systemd"
)

// Why a unit or a container belongs to the port, as in evidence.Unit.
const (
	whyOwner = "owns the listener"
	whyAsked = "asked for"
	whyLog   = "its log names the port"
)

// related gives the command names that have to do with the port (those usual for
// it, those asked for, and those of the listeners' owners) and the containers
// that the owners are in.
func related(o Options) (programs, containers []string) {
	programs = procinfo.UsualPrograms(o.Port)
	add := func(name string) {
		if name != "" && !slices.Contains(programs, name) {
			programs = append(programs, name)
		}
	}
	for _, n := range o.Names {
		name, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(n, ".service"), ".socket"), "@")
		add(name)
	}
	for _, pid := range o.PIDs {
		if p, err := procinfo.Read(pid); err == nil {
			add(p.Name)
			if p.Container != "" {
				containers = append(containers, p.Container)
			}
		}
	}
	return programs, containers
}

// units asks for the units of the listeners' owners, for those asked for, those
// usual for the port, and the socket units that name it, in this order.
func (g *gathering) units(ctx context.Context, f *found) {
	c, err := systemd.Open(ctx, g.src.bus)
	if err != nil {
		f.noSystemd(err)
		return
	}
	defer c.Close()
	for _, pid := range g.o.PIDs {
		name, err := c.UnitByPID(ctx, pid)
		if err != nil {
			f.noSystemd(err)
			return
		}
		// Process 1 holds sockets for the units that it starts, and a scope that an
		// engine made for a container says less than the engine.
		if p, err := procinfo.Read(pid); name == "" || name == "init.scope" || err == nil && p.Container != "" {
			continue
		}
		f.ask(ctx, c, whyOwner, name)
	}
	f.ask(ctx, c, whyAsked, g.o.Names...)
	if g.o.Port == 0 {
		return
	}
	f.ask(ctx, c, usualFor(g.o.Port), procinfo.UsualUnits(g.o.Port)...)
	sockets, err := c.Units(ctx, "*.socket")
	if err != nil {
		f.noSystemd(err)
	}
	for _, u := range sockets {
		if !slices.ContainsFunc(u.Listens, func(a string) bool { return portOf(a) == g.o.Port }) {
			continue
		}
		f.units = once(f.units, unit(u, fmt.Sprintf("listens on port %d", g.o.Port)))
		f.ask(ctx, c, "is started by "+u.Name, u.Triggers...)
	}
}

// namedUnits asks for the units whose logs name the port.
func (g *gathering) namedUnits() func(context.Context, *found) {
	var names []string
	for _, l := range g.lines {
		if l.Unit != "" && !slices.Contains(names, l.Unit) && !slices.ContainsFunc(g.found.units, func(u evidence.Unit) bool { return u.Name == l.Unit }) {
			names = append(names, l.Unit)
		}
	}
	return func(ctx context.Context, f *found) {
		if len(names) == 0 {
			return
		}
		c, err := systemd.Open(ctx, g.src.bus)
		if err != nil {
			return // as was said
		}
		defer c.Close()
		f.ask(ctx, c, whyLog, names...)
	}
}

// ask adds units that exist.
func (f *found) ask(ctx context.Context, c *systemd.Conn, why string, patterns ...string) {
	units, err := c.Units(ctx, patterns...)
	if err != nil {
		f.noSystemd(err)
	}
	for _, u := range units {
		f.units = once(f.units, unit(u, why))
	}
}

func (f *found) noSystemd(err error) {
	if slices.ContainsFunc(f.missed, func(n evidence.NotChecked) bool { return n.Check == checkUnits }) {
		return
	}
	how := "systemctl status"
	switch {
	case errors.Is(err, systemd.ErrNotRunning):
		how = "ask the service manager that is used here"
	case errors.Is(err, os.ErrPermission):
		how = "sudo tcpwhy host …"
	}
	f.miss(checkUnits, err.Error(), how)
}

func unit(u systemd.Unit, why string) evidence.Unit {
	return evidence.Unit{
		Name: u.Name, Why: why, Active: u.Active, Sub: u.Sub, Result: u.Result, ExitCode: u.ExitCode, ExitStatus: u.ExitStatus,
		Restarts: u.Restarts, MainPID: u.MainPID, Since: u.Since, Listens: u.Listens,
	}
}

// portOf is the port of an address of a socket unit, systemd.socket(5); 0 for
// one that is no TCP address.
func portOf(address string) uint16 {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return ap.Port()
	}
	return portNumber(address) // a port alone: all addresses
}

// containers asks the engines.
func (g *gathering) containers(ctx context.Context, f *found) {
	for _, e := range g.src.engines {
		list, err := containers.List(ctx, e, func(c *containers.Container) bool { return c.State != "running" || g.belongs(c) })
		if err != nil {
			how := e.Name + " ps --all"
			switch {
			case errors.Is(err, os.ErrPermission):
				how = "sudo tcpwhy host …, or sudo " + how
			case errors.Is(err, containers.ErrNotRunning):
				how = "systemctl status " + e.Name
			}
			f.miss("containers of "+e.Name, err.Error(), how)
		}
		for i := range list {
			c := &list[i]
			if !g.belongs(c) {
				continue
			}
			f.containers = append(f.containers, c.Container)
			if c.Error != "" && c.State != "running" {
				// The engine's own words of why it did not start.
				f.lines = append(f.lines, line{LogLine: evidence.LogLine{Time: c.Finished, Process: e.Name}, raw: []byte(c.Name + ": " + c.Error)})
			}
		}
	}
	if len(g.src.otherEngines) > 0 && len(g.src.engines) == 0 {
		f.miss("containers of containerd or CRI-O", "their sockets do not speak HTTP ("+strings.Join(g.src.otherEngines, ", ")+")", "sudo crictl ps --all, or sudo ctr --namespace k8s.io containers ls")
	}
}

// belongs says that a container has to do with the port.
func (g *gathering) belongs(c *containers.Container) bool {
	if slices.Contains(g.o.Names, c.Name) || slices.Contains(g.owners, c.ID) || slices.ContainsFunc(g.o.PIDs, func(pid int) bool { return pid == c.PID }) {
		return true
	}
	return g.o.Port != 0 && (slices.Contains(c.Exposed, g.o.Port) ||
		slices.ContainsFunc(c.Published, func(p evidence.Published) bool { return p.Host.Port() == g.o.Port || p.Port == g.o.Port }))
}
