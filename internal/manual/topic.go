package manual

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Subject is a page that is about no cause: what many causes share, or how
// something works.
type Subject struct {
	ID      string
	Title   string
	Aliases []string
	// See are the IDs of causes and topics that it leads to.
	See     []string
	Sources []string
	Blocks  []Block
	// Markdown is the whole page behind its front matter.
	Markdown string
}

// BlockKind is the kind of a Block.
type BlockKind int

// The kinds of blocks.
const (
	Paragraph BlockKind = iota
	Heading
	Bullet
	Code
	Table
)

// Block is a part of a topic. Paragraphs and the like hold inline Markdown of
// one kind: code in backticks.
type Block struct {
	Kind BlockKind
	// Text is one line, but of Code the lines as they are, the last without its
	// newline.
	Text string
	// OS is where the lines of Code are commands, as Item.OS; empty if they are
	// none, but output or a picture.
	OS   string
	Rows [][]string // of a Table, all of one length; the first is its head
}

// Topics lists the topics in the order in which to read them.
func Topics() []string { return slices.Clone(topicIDs[:]) }

// Topic returns a topic, parsed anew at each call: the caller owns it. It is
// false for an ID without one.
func Topic(id string) (*Subject, bool) { return load(topicIDs[:], "topics", id, parseTopic) }

var topicIDs = [...]string{
	"refused-or-timeout",
	"handshake-in-tcpdump",
	"kernel-answers-first",
	"syn-retransmission",
	"four-tuple",
	"ttl-and-distance",
	"capture-both-sides",
	"reading-sockets",
	"host-firewalls",
	"cloud-firewalls",
	"containers",
	"kubernetes",
	"timeouts",
	"connection-pools",
}

// parseTopic reads a topic: front matter, then paragraphs, "## " headings, "- "
// bullets, pipe tables and fenced blocks. A fence names the system whose
// commands it holds, or text.
func parseTopic(text string) (*Subject, error) {
	front, body, err := split(text)
	if err != nil {
		return nil, err
	}
	t := &Subject{Markdown: body}
	if err := parseFront(front, []field{
		{key: "id", text: &t.ID},
		{key: "title", text: &t.Title},
		{key: "aliases", list: &t.Aliases, optional: true},
		{key: "see", list: &t.See},
		{key: "sources", list: &t.Sources},
	}); err != nil {
		return nil, fmt.Errorf("front matter: %w", err)
	}
	if t.Blocks, err = parseBlocks(body); err != nil {
		return nil, err
	}
	if len(t.Blocks) == 0 {
		return nil, errors.New("a topic without text")
	}
	return t, nil
}

func parseBlocks(body string) ([]Block, error) {
	var blocks []Block
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	open := false // the last block may go on
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.TrimSpace(line) == "":
			open = false
		case strings.HasPrefix(line, "```"):
			end := slices.Index(lines[i+1:], "```")
			if end < 1 {
				return nil, fmt.Errorf("%q: the block is empty or does not end", line)
			}
			b := Block{Kind: Code, OS: line[3:], Text: strings.Join(lines[i+1:i+1+end], "\n")}
			if b.OS == "text" {
				b.OS = ""
			} else if !slices.Contains(systems, b.OS) {
				return nil, fmt.Errorf("%q names neither text nor a system (%s)", line, strings.Join(systems, ", "))
			}
			blocks, open = append(blocks, b), false
			i += 1 + end
		case strings.HasPrefix(line, "## "):
			blocks, open = append(blocks, Block{Kind: Heading, Text: line[3:]}), false
		case strings.HasPrefix(line, "#"):
			return nil, fmt.Errorf("%q: headings begin with two signs", line)
		case strings.HasPrefix(line, "- "):
			blocks, open = append(blocks, Block{Kind: Bullet, Text: line[2:]}), true
		case strings.HasPrefix(line, "|"):
			end := i + 1
			for end < len(lines) && strings.HasPrefix(lines[end], "|") {
				end++
			}
			rows, err := parseTable(lines[i:end])
			if err != nil {
				return nil, err
			}
			blocks, open = append(blocks, Block{Kind: Table, Rows: rows}), false
			i = end - 1
		case open:
			blocks[len(blocks)-1].Text += " " + strings.TrimSpace(line)
		default:
			blocks, open = append(blocks, Block{Kind: Paragraph, Text: strings.TrimSpace(line)}), true
		}
	}
	return blocks, nil
}

// parseTable reads a head, a line of dashes, and rows.
func parseTable(lines []string) ([][]string, error) {
	var rows [][]string
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if len(line) < 2 || line[len(line)-1] != '|' {
			return nil, fmt.Errorf("%q: a row of a table ends with |", line)
		}
		cells := strings.Split(line[1:len(line)-1], "|")
		for j := range cells {
			cells[j] = strings.TrimSpace(cells[j])
		}
		if i == 1 {
			if strings.Trim(line, "|- ") != "" {
				return nil, fmt.Errorf("%q: a table's second line is of dashes", line)
			}
		} else {
			rows = append(rows, cells)
		}
		if len(cells) != len(rows[0]) {
			return nil, fmt.Errorf("%q: %d cells below %d", line, len(cells), len(rows[0]))
		}
	}
	if len(rows) < 2 {
		return nil, fmt.Errorf("%q: a table without rows", lines[0])
	}
	return rows, nil
}
