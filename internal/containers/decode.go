package containers

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/visible"
)

const (
	maxPorts = 64
	maxText  = 256
	maxError = 1024
	idDigits = 12
)

// summary is an entry of GET /containers/json, Docker Engine API,
// ContainerSummary.
type summary struct {
	ID    string `json:"Id"`
	Names []string
	Image string
	State string
	// PID is podman's own addition.
	PID   int `json:"Pid"`
	Ports []struct {
		IP          string
		PrivatePort uint16
		PublicPort  uint16
		Type        string
	}
	HostConfig struct{ NetworkMode string }
}

func (s *summary) container(engine string) Container {
	c := Container{Container: evidence.Container{
		Engine: engine, ID: shown(s.ID[:min(len(s.ID), idDigits)]), Image: shown(s.Image), State: strings.ToLower(shown(s.State)), PID: max(0, s.PID),
	}}
	if len(s.Names) > 0 {
		c.Name = shown(strings.TrimPrefix(s.Names[0], "/"))
	}
	for _, p := range s.Ports {
		if p.Type != "tcp" || p.PrivatePort == 0 {
			continue
		}
		if p.PublicPort != 0 {
			c.publish(p.IP, strconv.Itoa(int(p.PublicPort)), p.PrivatePort)
		}
		c.expose(p.PrivatePort)
	}
	c.HostNetwork = s.HostConfig.NetworkMode == "host"
	return c
}

// details is what is used of GET /containers/ID/json, ContainerInspectResponse.
type details struct {
	State struct {
		Status     string
		OOMKilled  bool
		Pid        int
		ExitCode   int
		Error      string
		FinishedAt string
	}
	RestartCount int
	Config       struct {
		ExposedPorts map[string]struct{}
	}
	HostConfig struct {
		NetworkMode  string
		PortBindings map[string][]binding
	}
	NetworkSettings struct {
		Ports map[string][]binding
	}
}

type binding struct{ HostIP, HostPort string } // HostIp; the case does not matter

// add puts the details to what the list told. The published ports of a container
// that runs are those in NetworkSettings, of one that does not those that it
// would get.
func (d *details) add(c *Container) {
	if d.State.Status != "" {
		c.State = strings.ToLower(shown(d.State.Status))
	}
	c.PID, c.Restarts = max(0, d.State.Pid), max(0, d.RestartCount)
	c.ExitCode, c.OOMKilled = d.State.ExitCode, d.State.OOMKilled
	c.Error = visible.Text(d.State.Error, maxError)
	if t, err := time.Parse(time.RFC3339Nano, d.State.FinishedAt); err == nil && t.Year() > 1 {
		c.Finished = t
	}
	c.HostNetwork = c.HostNetwork || d.HostConfig.NetworkMode == "host"
	ports := d.NetworkSettings.Ports
	if c.State != "running" {
		ports = d.HostConfig.PortBindings
	}
	for key, bindings := range ports {
		port, ok := tcpPort(key)
		if !ok {
			continue
		}
		for _, b := range bindings {
			c.publish(b.HostIP, b.HostPort, port)
		}
		c.expose(port)
	}
	for key := range d.Config.ExposedPorts {
		if port, ok := tcpPort(key); ok {
			c.expose(port)
		}
	}
	slices.Sort(c.Exposed)
	slices.SortFunc(c.Published, func(a, b evidence.Published) int { return a.Host.Compare(b.Host) })
}

// publish adds a published port. Without address it is all of them, which the
// engine writes as 0.0.0.0 too; a port that the engine has yet to choose is none.
func (c *Container) publish(ip, host string, port uint16) {
	n, err := strconv.ParseUint(host, 10, 16)
	if err != nil || n == 0 || len(c.Published) == maxPorts {
		return
	}
	a := netip.IPv4Unspecified()
	if ip != "" {
		if a, err = netip.ParseAddr(ip); err != nil || a.Zone() != "" {
			return
		}
	}
	if p := (evidence.Published{Host: netip.AddrPortFrom(a, uint16(n)), Port: port}); !slices.Contains(c.Published, p) {
		c.Published = append(c.Published, p)
	}
}

func (c *Container) expose(port uint16) {
	if len(c.Exposed) < maxPorts && !slices.Contains(c.Exposed, port) {
		c.Exposed = append(c.Exposed, port)
	}
}

// tcpPort reads "80/tcp".
func tcpPort(s string) (uint16, bool) {
	s, ok := strings.CutSuffix(s, "/tcp")
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), ok && err == nil && n > 0
}

func shown(s string) string { return visible.Text(s, maxText) }
