package capture

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/tcpwhy/tcpwhy/internal/decap"
	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/wire"
)

// Write reads the captures once more and writes the packets of the failed
// connections that a filter selects as pcapng, each with a comment that says
// what it means, and gives their number. Link types, interfaces, their names
// and the resolution of their times are kept, down to nanoseconds.
func (r *Result) Write(ctx context.Context, w io.Writer, sources []Source, f Filter, application string) (int, error) {
	out := bufio.NewWriter(w)
	x := &extract{r: r, blocks: pcapfile.NewBlocks(out), app: application, ports: map[port]int{}, trails: r.trails(f)}
	for i := range sources {
		if err := x.file(ctx, i, &sources[i]); err != nil {
			return x.written, err
		}
	}
	if len(x.ports) == 0 { // readers of the libpcap kind want an interface
		if _, err := x.interfaceOf(port{link: decap.LinkEthernet, times: pcapfile.Microseconds}, ""); err != nil {
			return 0, fmt.Errorf("write capture: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return x.written, fmt.Errorf("write capture: %w", err)
	}
	return x.written, nil
}

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

// port of the output: what pcapng calls an interface. One that is described in
// several sections alike is one.
type port struct {
	file   int
	number int
	name   string
	link   uint16
	times  pcapfile.Resolution
}

// extract writes packets of some connections.
type extract struct {
	r       *Result
	blocks  *pcapfile.Blocks
	app     string
	ports   map[port]int
	known   []pcapfile.Interface // by number, those of the section being read
	trails  map[ends][]*trail
	written int
}

// interfaceOf gives the number of a port in the output, and describes it there when
// it is new. The first one begins the output.
func (x *extract) interfaceOf(p port, comment string) (n int, err error) {
	if n, ok := x.ports[p]; ok {
		return n, nil
	}
	if len(x.ports) == 0 {
		err = x.blocks.Section(x.app, "the packets of failed connections only")
	}
	if err == nil {
		n, err = x.blocks.Interface(p.link, p.name, comment, p.times)
	}
	x.ports[p] = n
	return n, err
}

func (x *extract) file(ctx context.Context, i int, s *Source) error {
	in, err := s.open()
	if err != nil {
		return err
	}
	defer in.Close()
	of := -1 // the file that x.known is of
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
		if now, _ := x.r.locate(i, b.First+1); now != of {
			of, x.known = now, nil
		}
		described := b.Interfaces
		for n := range b.Records {
			described = x.describe(described, n)
			if err := x.packet(i, &b, n); err != nil {
				return fmt.Errorf("write capture: %w", err)
			}
		}
		x.describe(described, len(b.Records))
	}
}

// describe notes the interfaces that are described before a record, and gives the
// rest.
func (x *extract) describe(all []pcapfile.Interface, record int) []pcapfile.Interface {
	for len(all) > 0 && all[0].From <= record {
		n := all[0].Number
		if n >= len(x.known) {
			x.known = append(x.known, make([]pcapfile.Interface, n+1-len(x.known))...)
		}
		x.known[n], all = all[0], all[1:]
	}
	return all
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
	return x.write(file, b.Interface(rec), rec, data, comment)
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

func (x *extract) write(file, number int, rec *pcapfile.Record, data []byte, comment string) error {
	from := ""
	if !x.r.FileSet() { // else it is an interface of all files
		from = x.r.Files[file].Name
	}
	i := &x.known[number]
	n, err := x.interfaceOf(port{file, number, i.Name, rec.Link, i.Resolution}, from)
	if err != nil {
		return err
	}
	x.written++
	return x.blocks.Packet(&pcapfile.Captured{
		Time: rec.Time, Interface: n, Length: int(rec.OrigLen), Data: data, Dir: rec.Dir, Comment: comment,
	})
}
