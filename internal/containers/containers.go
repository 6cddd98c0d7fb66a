// Package containers asks the container engines of this host for their
// containers: Docker and podman, over their unix sockets, with the HTTP API of
// Docker Engine (version 1.24 and later), which podman serves, too. It only
// reads, and needs no engine.
//
// Names, images and messages of containers are text from strangers: they come
// out bounded and in printable ASCII. The package imports evidence only.
package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
)

const (
	// timeout bounds each request.
	timeout = time.Second
	// maxBody bounds an answer; that for a thousand containers has about 2 MB.
	maxBody = 8 << 20
	// maxContainers bounds how many are looked at, maxInspected how many of them
	// closely.
	maxContainers = 2000
	maxInspected  = 64
	// version is what is asked for; Docker 29 answers from 1.44 on, and says so.
	version = "v1.24"
)

// The errors of List. Where the socket may not be opened it is os.ErrPermission.
var (
	// ErrNotRunning says that nobody answers at the socket.
	ErrNotRunning = errors.New("the engine does not run")
	// ErrCut says that there are more containers than are looked at.
	ErrCut = errors.New("not all containers were looked at")
)

// Engine is a container engine and the socket that it serves.
type Engine struct {
	Name   string // "docker" or "podman"
	Socket string // path
}

// Engines lists the engines whose sockets exist, those of this user included,
// and others names the sockets of engines that do not have the API.
func Engines() (engines []Engine, others []string) {
	candidates := []Engine{{"docker", "/var/run/docker.sock"}, {"podman", "/run/podman/podman.sock"}}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); strings.HasPrefix(dir, "/") {
		candidates = append(candidates, Engine{"docker", dir + "/docker.sock"}, Engine{"podman", dir + "/podman/podman.sock"})
	}
	if path, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); ok && strings.HasPrefix(path, "/") {
		candidates = append(candidates, Engine{"docker", path})
	}
	var seen []os.FileInfo
	for _, e := range candidates {
		// A file that this user may not see counts as none, as it does for ls.
		if info, err := os.Stat(e.Socket); err == nil && info.Mode().Type() == fs.ModeSocket && !known(seen, info) {
			seen = append(seen, info)
			engines = append(engines, e)
		}
	}
	for _, path := range []string{"/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock", "/run/crio/crio.sock"} {
		if info, err := os.Stat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
			others = append(others, path)
		}
	}
	return engines, others
}

func known(seen []os.FileInfo, info os.FileInfo) bool {
	for _, s := range seen {
		if os.SameFile(s, info) {
			return true
		}
	}
	return false
}

// Container is one container, with what the evidence does not hold.
type Container struct {
	evidence.Container
	// Error is what the engine says of the last start, if that failed.
	Error string
	// Finished is when it ended last; zero if it never ran or never ended.
	Finished time.Time
	// HostNetwork says that it has the network namespace of the host.
	HostNetwork bool
}

// List gives the containers of an engine, running or not. Details that the list
// itself lacks (how it ended, what it exposes, what it would publish when
// started) are asked for the ones that look says true for, at most 64; with nil
// for all. Beside an error that wraps ErrCut the result is what was got.
func List(ctx context.Context, e Engine, look func(*Container) bool) ([]Container, error) {
	c := client{engine: e, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", e.Socket)
		},
		DisableCompression: true, // a small body must not become a large one
	}}, version: version}
	defer c.http.CloseIdleConnections()
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	var summaries []summary
	if err := c.get(ctx, "/containers/json?all=1", &summaries); err != nil {
		return nil, err
	}
	var cut error
	if len(summaries) > maxContainers {
		summaries, cut = summaries[:maxContainers], fmt.Errorf("%s: %w", e.Name, ErrCut)
	}
	list := make([]Container, 0, len(summaries))
	inspected := 0
	for i := range summaries {
		c1 := summaries[i].container(e.Name)
		if look == nil || look(&c1) {
			if inspected++; inspected > maxInspected {
				cut = fmt.Errorf("%s: %w", e.Name, ErrCut)
			} else {
				var d details
				err := c.get(ctx, "/containers/"+url.PathEscape(summaries[i].ID)+"/json", &d)
				switch {
				case err == nil:
					d.add(&c1)
				case errors.Is(err, fs.ErrNotExist): // gone since
					continue
				default:
					cut = fmt.Errorf("%s: %w: %w", e.Name, ErrCut, err)
				}
			}
		}
		list = append(list, c1)
	}
	return list, cut
}

type client struct {
	engine  Engine
	http    *http.Client
	version string
}

// get asks for a path and reads the JSON of the answer.
func (c *client) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, status, err := c.ask(ctx, path)
	if status == http.StatusBadRequest && c.version == version {
		// The engine is too new for the version: without one it takes its own.
		c.version = ""
		body, status, err = c.ask(ctx, path)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s at %s: %w", c.engine.Name, shown(c.engine.Socket), os.ErrPermission)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s at %s: %w", c.engine.Name, shown(c.engine.Socket), ErrNotRunning)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s at %s does not answer in time", c.engine.Name, shown(c.engine.Socket))
	case err != nil:
		return fmt.Errorf("%s: %s", c.engine.Name, shown(err.Error()))
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", c.engine.Name, fs.ErrNotExist)
	case status != http.StatusOK:
		return fmt.Errorf("%s answers with HTTP status %d", c.engine.Name, status)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: its answer is not that of the API: %s", c.engine.Name, shown(err.Error()))
	}
	return nil
}

func (c *client) ask(ctx context.Context, path string) (body []byte, status int, err error) {
	base := "http://engine"
	if c.version != "" {
		base += "/" + c.version
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("an answer of more than %d MiB", maxBody>>20)
	}
	return body, resp.StatusCode, err
}
