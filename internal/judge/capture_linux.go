package judge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/net/bpf"

	"golang.org/x/sys/unix"

	"github.com/tcpwhy/tcpwhy/internal/afpacket"
	"github.com/tcpwhy/tcpwhy/internal/lab"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
)

// Capture writes what hosts of a lab see to files, each packet as it comes.
type Capture struct {
	hosts []*captured
	wg    sync.WaitGroup
}

// captured is the capture of one host. Its file is a whole one from the start, so
// that what there is can be read at any moment, and be it nothing.
type captured struct {
	host, path string
	conn       *afpacket.Conn
	file       *os.File
	w          *pcapfile.Writer
	err        error
}

// NewCapture captures all packets of the hosts to dir/HOST.pcapng, which only
// their owner may read. Files of before are replaced. Close must be called.
func NewCapture(l *lab.Lab, dir string, hosts ...string) (_ *Capture, err error) {
	c := new(Capture)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("capture: %w", err), c.Close(""))
		}
	}()
	everything, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: afpacket.MaxPacket}})
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		h := &captured{host: host, path: filepath.Join(dir, host+".pcapng")}
		if err := os.Remove(h.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		err := l.Do(host, func() (err error) {
			h.conn, err = afpacket.Open(everything, 0)
			return err
		})
		if err != nil {
			return nil, err
		}
		c.hosts = append(c.hosts, h)
		if h.file, err = os.OpenFile(h.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return nil, err
		}
		h.w = pcapfile.NewWriter(h.file, "tcpwhy lab")
		if err := h.w.Begin(); err != nil {
			return nil, err
		}
		c.wg.Go(h.run)
	}
	return c, nil
}

// Close ends the capture after the packets that there are, with a comment at the
// end of each file, and returns the first thing that went wrong.
func (c *Capture) Close(comment string) error {
	for _, h := range c.hosts {
		h.conn.Close()
	}
	c.wg.Wait()
	var errs []error
	for _, h := range c.hosts {
		if comment != "" {
			h.keep(h.w.Conclude(h.host + ": " + comment))
		}
		if h.file != nil {
			h.keep(h.file.Close())
		}
		if h.err != nil {
			errs = append(errs, fmt.Errorf("capture of %s: %w", h.host, h.err))
		}
	}
	return errors.Join(errs...)
}

// Paths are the files.
func (c *Capture) Paths() []string {
	var paths []string
	for _, h := range c.hosts {
		paths = append(paths, h.path)
	}
	return paths
}

func (h *captured) keep(err error) {
	if h.err == nil {
		h.err = err
	}
}

// run writes packets until the capture is closed.
func (h *captured) run() {
	for h.err == nil {
		werr := h.conn.Wait()
		err := h.conn.Drain(h.write)
		if errors.Is(werr, os.ErrClosed) || errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

func (h *captured) write(p *afpacket.Packet) {
	// What goes over lo is seen going out and coming in.
	if h.err != nil || p.Direction == afpacket.Outgoing && p.HardwareType == unix.ARPHRD_LOOPBACK {
		return
	}
	h.err = h.w.Write(pcapfile.Packet{
		Time: p.Time, Interface: p.Interface, Name: h.conn.InterfaceName(p.Interface),
		EtherType: p.EtherType, HardwareType: p.HardwareType, PacketType: uint8(p.Direction),
		HardwareAddr: p.HardwareAddr[:p.HardwareAddrLen], Data: p.Data, OriginalLength: p.Len,
	})
}
