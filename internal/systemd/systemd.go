// Package systemd asks the service manager for the state of its units, over
// D-Bus, org.freedesktop.systemd1(5). It only reads.
//
// What the manager says of names and addresses comes out bounded and in
// printable ASCII. The package imports nothing of ours.
package systemd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	sdbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// The errors of Open. A refusal, by the socket or by the bus, is os.ErrPermission.
var (
	// ErrNotRunning says that this host has another service manager, or none:
	// /run/systemd/system is missing, sd_booted(3).
	ErrNotRunning = errors.New("systemd does not run here")
	// ErrNoBus says that the bus cannot be reached or does not answer in time.
	ErrNoBus = errors.New("the D-Bus system bus cannot be reached")
)

const (
	maxUnits = 64 // whose properties are read by one call of Units
	maxText  = 256
)

// booted exists while systemd is the service manager.
const booted = "/run/systemd/system"

// Unit is the state of a unit. Fields that its type does not have are zero.
type Unit struct {
	Name string
	// Load is LoadState: "loaded", "masked", "bad-setting", …; never "not-found".
	Load string
	// Active, Sub and Result are ActiveState, SubState and Result.
	Active, Sub, Result string
	// ExitCode is how the main process ended last: "exited", "killed" or
	// "dumped" (ExecMainCode, the CLD_ constants of sigaction(2)), "" while it
	// runs or where it never did. ExitStatus is its exit status, or the signal.
	ExitCode   string
	ExitStatus int
	Restarts   int       // NRestarts: automatic ones since the unit was started
	MainPID    int       // 0 where there is none now
	Since      time.Time // StateChangeTimestamp; zero if it never changed
	// Listens are the stream addresses of a socket unit, as systemd.socket(5)
	// writes them: "[::]:22", "/run/docker.sock".
	Listens []string
	// Triggers are the units that a socket unit starts.
	Triggers []string
}

// Conn is a connection to a service manager.
type Conn struct{ bus *sdbus.Conn }

// Open connects to the service manager of the system over the system bus, whose
// address $DBUS_SYSTEM_BUS_ADDRESS may tell. Another address (D-Bus
// Specification, "Server Addresses") may be given, of a bus with a manager of its
// own. The connection ends with ctx, which bounds every call.
func Open(ctx context.Context, address string) (*Conn, error) {
	if address != "" {
		return open(ctx, address)
	}
	if _, err := os.Stat(booted); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	return open(ctx, cmp.Or(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path=/run/dbus/system_bus_socket"))
}

func open(ctx context.Context, address string) (*Conn, error) {
	bus, err := sdbus.NewConnection(func() (*dbus.Conn, error) {
		conn, err := dbus.Dial(address, dbus.WithContext(ctx)) // closes it with ctx
		if err != nil {
			return nil, err
		}
		err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))})
		if err == nil {
			err = conn.Hello()
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	})
	switch {
	case err == nil:
		return &Conn{bus}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("D-Bus at %s: %w", shown(address), os.ErrPermission)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %s does not answer", ErrNoBus, shown(address))
	}
	return nil, fmt.Errorf("%w: %s", ErrNoBus, shown(err.Error()))
}

// Close ends the connection.
func (c *Conn) Close() { c.bus.Close() }

// UnitByPID names the unit that a process belongs to; "" where it has none, or
// is gone.
func (c *Conn) UnitByPID(ctx context.Context, pid int) (string, error) {
	if pid <= 0 || int64(pid) > 1<<31-1 {
		return "", nil // 0 would be this very process
	}
	path, err := c.bus.GetUnitByPID(ctx, uint32(pid))
	if isDBusError(err, "org.freedesktop.systemd1.NoUnitForPID", "org.freedesktop.DBus.Error.UnixProcessIdUnknown") {
		return "", nil
	}
	if err != nil {
		return "", failed("unit of process "+strconv.Itoa(pid), err)
	}
	// The path is that of the object; the name, which it escapes, is a property.
	p, err := c.bus.GetUnitPathPropertiesContext(ctx, path)
	if err != nil {
		return "", failed("unit of process "+strconv.Itoa(pid), err)
	}
	return shown(text(p, "Id")), nil
}

// Units gives the state of the units with these names, or that patterns with
// "*", "?" and "[" match, systemctl(1): loaded or not, whether they ever ran or
// not, but only those that exist. A name without suffix is a service. The result
// is in order of the arguments, each unit once, at most 64. What is no name of a
// unit matches nothing. With an error it holds what was read before.
func (c *Conn) Units(ctx context.Context, patterns ...string) ([]Unit, error) {
	names, err := c.resolve(ctx, patterns)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	status, err := c.bus.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, failed("states of units", err)
	}
	var units []Unit
	for _, s := range status {
		if s.LoadState == "not-found" || len(units) == maxUnits || slices.ContainsFunc(units, func(u Unit) bool { return u.Name == shown(s.Name) }) {
			continue
		}
		u, err := c.unit(ctx, &s)
		if err != nil {
			return units, failed("state of unit "+shown(s.Name), err)
		}
		units = append(units, u)
	}
	return units, nil
}

// resolve makes names of patterns.
func (c *Conn) resolve(ctx context.Context, patterns []string) ([]string, error) {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) && len(names) < maxUnits && !strings.Contains(name, "@.") { // a template is no unit
			names = append(names, name)
		}
	}
	for _, p := range patterns {
		p = withSuffix(p)
		switch {
		case !validPattern(p):
		case !strings.ContainsAny(p, "*?["):
			add(p)
		default:
			loaded, err := c.bus.ListUnitsByPatternsContext(ctx, nil, []string{p})
			if err != nil {
				return nil, failed("units "+shown(p), err)
			}
			for _, u := range loaded {
				add(u.Name)
			}
			files, err := c.bus.ListUnitFilesByPatternsContext(ctx, nil, []string{p})
			if err != nil {
				return nil, failed("files of units "+shown(p), err)
			}
			for _, f := range files {
				add(path.Base(f.Path))
			}
		}
	}
	return names, nil
}

// unit reads the properties of a unit. The manager may have changed its state
// since s: all of a unit is taken from one answer, or two for what its type has.
func (c *Conn) unit(ctx context.Context, s *sdbus.UnitStatus) (Unit, error) {
	p, err := c.bus.GetUnitPathPropertiesContext(ctx, s.Path)
	if err != nil {
		return Unit{}, err
	}
	u := Unit{
		Name: shown(text(p, "Id")), Load: shown(text(p, "LoadState")), Active: shown(text(p, "ActiveState")), Sub: shown(text(p, "SubState")),
		Since: moment(p, "StateChangeTimestamp"),
	}
	if u.Name == "" {
		u.Name = shown(s.Name)
	}
	switch suffix := path.Ext(u.Name); suffix {
	case ".service":
		p, err := c.bus.GetUnitTypePropertiesContext(ctx, s.Name, "Service")
		if err != nil {
			return u, err
		}
		u.Result, u.ExitStatus = shown(text(p, "Result")), int(number(p, "ExecMainStatus"))
		u.ExitCode = exitCodes[number(p, "ExecMainCode")]
		u.Restarts, u.MainPID = int(number(p, "NRestarts")), int(number(p, "MainPID"))
	case ".socket":
		u.Triggers = strs(p["Triggers"])
		p, err := c.bus.GetUnitTypePropertiesContext(ctx, s.Name, "Socket")
		if err != nil {
			return u, err
		}
		u.Result, u.Listens = shown(text(p, "Result")), streams(p["Listen"])
	}
	return u, nil
}

// exitCodes are the CLD_ constants, bits/siginfo-consts.h of glibc.
var exitCodes = map[int64]string{1: "exited", 2: "killed", 3: "dumped"}

// failed makes an error of a call one of this package.
func failed(what string, err error) error {
	if isDBusError(err, "org.freedesktop.DBus.Error.AccessDenied") {
		return fmt.Errorf("%s: %w", what, os.ErrPermission)
	}
	if errors.Is(err, dbus.ErrClosed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, ErrNoBus)
	}
	return fmt.Errorf("%s: %s", what, shown(err.Error()))
}

func isDBusError(err error, names ...string) bool {
	var e dbus.Error
	return errors.As(err, &e) && slices.Contains(names, e.Name)
}
