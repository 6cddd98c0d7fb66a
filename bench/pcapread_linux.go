package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tcpwhy/tcpwhy/internal/pcapfile"
	"github.com/tcpwhy/tcpwhy/internal/tcpflow"
)

// readPcap reads a capture as the given reader does, and prints how many
// connections it has found.
func readPcap(name, path string) error {
	switch name {
	case "tcpflow":
		return readTCPFlow(path, time.Minute)
	case "held":
		return readTCPFlow(path, 0)
	case "gopacket":
		return readGopacket(path)
	}
	return fmt.Errorf("there is no reader %q", name)
}

// readTCPFlow follows connections and counts what became of them.
func readTCPFlow(path string, linger time.Duration) (err error) {
	r, err := pcapfile.Open(path, pcapfile.ReadOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var parts [tcpflow.Parts]struct {
		n [tcpflow.Open + 1]int
		_ [128]byte // apart from the next one
	}
	_, err = tcpflow.Analyze(context.Background(), r, tcpflow.Options{Linger: linger, Part: func(part int, c *tcpflow.Conn) error {
		parts[part].n[c.Outcome]++
		return nil
	}})
	outcomes := map[tcpflow.Outcome]int{}
	for i := range parts {
		for o, n := range parts[i].n {
			outcomes[tcpflow.Outcome(o)] += n
		}
	}
	fmt.Println(outcomes)
	return err
}

// readGopacket is what a Go program does without more thought: the fast
// decoder of gopacket, and a map of connections.
func readGopacket(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := pcapgo.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	var (
		eth     layers.Ethernet
		ip4     layers.IPv4
		ip6     layers.IPv6
		tcp     layers.TCP
		payload gopacket.Payload
		found   []gopacket.LayerType
	)
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &ip4, &ip6, &tcp, &payload)
	parser.IgnoreUnsupported = true
	type key struct {
		src, dst         [16]byte
		srcPort, dstPort layers.TCPPort
	}
	type state struct{ syn, synACK, ack, fin, rst int }
	conns := map[key]*state{}
	for {
		b, _, err := r.ZeroCopyReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		// Payload that the capture cut is an error here; the layers are there.
		_ = parser.DecodeLayers(b, &found)
		var k, back key
		isTCP := false
		for _, l := range found {
			switch l {
			case layers.LayerTypeIPv4:
				copy(k.src[:], ip4.SrcIP)
				copy(k.dst[:], ip4.DstIP)
			case layers.LayerTypeIPv6:
				copy(k.src[:], ip6.SrcIP)
				copy(k.dst[:], ip6.DstIP)
			case layers.LayerTypeTCP:
				isTCP = true
				k.srcPort, k.dstPort = tcp.SrcPort, tcp.DstPort
			}
		}
		if !isTCP {
			continue
		}
		back = key{k.dst, k.src, k.dstPort, k.srcPort}
		s := conns[k]
		if s == nil {
			s = conns[back]
		}
		if s == nil {
			s = &state{}
			conns[k] = s
		}
		switch {
		case tcp.RST:
			s.rst++
		case tcp.SYN && tcp.ACK:
			s.synACK++
		case tcp.SYN:
			s.syn++
		case tcp.FIN:
			s.fin++
		default:
			s.ack++
		}
	}
	fmt.Println(len(conns))
	return nil
}
