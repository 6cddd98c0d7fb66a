package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tcpwhy/tcpwhy/internal/decap"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Write reads the captures once more and writes the packets of the failed
// connections that a filter selects as pcapng, each with a comment that says
// what it means, and gives their number. Link types and interfaces are kept.
func (r *Result) Write(ctx context.Context, w io.Writer, sources []Source, f Filter, application string) (int, error) {
	x := &extract{r: r, out: w, app: application, ports: map[port]int{}, trails: r.trails(f)}
	for i := range sources {
		if err := x.file(ctx, i, &sources[i]); err != nil {
			return x.written, err
		}
	}
	if x.ng == nil {
		return 0, x.begin(&pcapgo.NgInterface{LinkType: layers.LinkTypeEthernet, TimestampResolution: nanoseconds})
	}
	if err := x.ng.Flush(); err != nil {
		return x.written, fmt.Errorf("write capture: %w", err)
	}
	return x.written, nil
}

const nanoseconds = 9

// ends are those of a connection in one order, whoever sends.
type ends struct {
	file uint16
	a, b netip.AddrPort
}

func endsOf(file uint16, x, y netip.AddrPort) ends {
	if x.Compare(y) > 0 {
		x, y = y, x
	}
	return ends{file, x, y}
}

// trails gathers the connections to write by their ends, each list in the order
// of their first packets: the same ports may have been used again.
func (r *Result) trails(f Filter) map[ends][]*trail {
	m := r.matcher(f)
	out := map[ends][]*trail{}
	for i := range r.book.kept {
		if !r.selects(m, OnlyFailed, i) {
			continue
		}
		k := &r.book.kept[i]
		client, server := r.book.client(k), r.book.server(k)
		e := endsOf(k.file, client, server)
		out[e] = append(out[e], &trail{kept: k, client: client, server: server})
	}
	for _, list := range out {
		slices.SortFunc(list, func(x, y *trail) int { return cmp.Compare(x.kept.number, y.kept.number) })
	}
	return out
}

// port of the output: what pcapng calls an interface.
type port struct {
	file   int
	number uint8
	link   uint16
}

// extract writes packets of some connections.
type extract struct {
	r       *Result
	out     io.Writer
	app     string
	ng      *pcapgo.NgWriter
	ports   map[port]int
	trails  map[ends][]*trail
	written int
}

func (x *extract) begin(i *pcapgo.NgInterface) (err error) {
	x.ng, err = pcapgo.NewNgWriterInterface(x.out, *i, pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: x.app, Comment: "the packets of failed connections only"},
	})
	if err == nil {
		err = x.ng.Flush()
	}
	return err
}

func (x *extract) file(ctx context.Context, i int, s *Source) error {
	in, err := s.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	var b pcapfile.Batch
	for {
		err := in.ReadBatch(ctx, &b)
		var damage *pcapfile.DamageError
		if err == io.EOF || errors.As(err, &damage) {
			return nil // told of when it was read first
		}
		if err != nil {
			return err
		}
		for n := range b.Records {
			if err := x.packet(i, &b, n); err != nil {
				return fmt.Errorf("write capture: %w", err)
			}
		}
	}
}

// packet writes a packet if it belongs to one of the connections.
func (x *extract) packet(file int, b *pcapfile.Batch, n int) error {
	rec := &b.Records[n]
	data := b.Packet(rec)
	var d decap.Packet
	var src, dst netip.AddrPort
	var q wire.Quoted
	kind := d.Decode(rec.Link, data, int(rec.OrigLen))
	switch kind {
	case decap.TCP:
		s, t := d.Addrs(data)
		sp, dp := d.Ports(data)
		src, dst = netip.AddrPortFrom(s, sp), netip.AddrPortFrom(t, dp)
	case decap.ICMPError:
		if d.Payload > d.End || q.Decode(data[d.Payload:d.End]) != nil {
			return nil
		}
		src, dst = q.Src(), q.Dst()
	default:
		return nil
	}
	number := b.First + uint64(n) + 1
	t := find(x.trails[endsOf(uint16(file), src, dst)], number)
	if t == nil {
		return nil
	}
	var comment string
	if kind == decap.TCP {
		comment = t.tcp(x.r, rec.Time, &d, data, src == t.client)
	} else {
		from, _ := d.Addrs(data)
		comment = t.icmp(from, data[d.L4], data[d.L4+1], src == t.client)
	}
	return x.write(file, rec, data, comment)
}

// find gives the last connection that had begun by a packet.
func find(list []*trail, number uint64) *trail {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].kept.number <= number {
			return list[i]
		}
	}
	return nil
}

func (x *extract) write(file int, rec *pcapfile.Record, data []byte, comment string) error {
	id := port{file, rec.Iface, rec.Link}
	number, ok := x.ports[id]
	if !ok {
		i := &pcapgo.NgInterface{
			Name: fmt.Sprintf("%d", rec.Iface), Comment: x.r.Files[file].Name, LinkType: layers.LinkType(rec.Link), TimestampResolution: nanoseconds,
		}
		var err error
		if x.ng == nil {
			err = x.begin(i)
		} else {
			number, err = x.ng.AddInterface(*i)
		}
		if err != nil {
			return err
		}
		x.ports[id] = number
	}
	info := gopacket.CaptureInfo{
		Timestamp: time.Unix(0, rec.Time), CaptureLength: len(data), Length: int(rec.OrigLen), InterfaceIndex: number,
	}
	o := pcapgo.NgPacketOptions{Comments: []string{comment}}
	switch rec.Dir {
	case pcapfile.DirIn:
		o.Flags = &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}
	case pcapfile.DirOut:
		o.Flags = &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionOutbound}
	}
	x.written++
	return x.ng.WritePacketWithOptions(info, data, o)
}
