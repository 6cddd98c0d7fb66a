package pcapfilter

import "golang.org/x/net/bpf"

// node is a condition.
type node interface {
	// gen appends code that goes to one of two labels.
	gen(c *code, yes, no int)
}

type (
	and []node
	or  []node
	not struct{ node }
	// test loads something, after before if that is not nil, masks it unless mask
	// is 0, and compares.
	test struct {
		before, load bpf.Instruction
		mask         uint32
		cond         bpf.JumpTest
		val          uint32
	}
)

func (n and) gen(c *code, yes, no int) {
	for i, x := range n {
		next := yes
		if i < len(n)-1 {
			next = c.label()
		}
		x.gen(c, next, no)
		if i < len(n)-1 {
			c.place(next)
		}
	}
	if len(n) == 0 {
		c.jump(yes)
	}
}

func (n or) gen(c *code, yes, no int) {
	for i, x := range n {
		next := no
		if i < len(n)-1 {
			next = c.label()
		}
		x.gen(c, yes, next)
		if i < len(n)-1 {
			c.place(next)
		}
	}
	if len(n) == 0 {
		c.jump(no)
	}
}

func (n not) gen(c *code, yes, no int) { n.node.gen(c, no, yes) }

func (n test) gen(c *code, yes, no int) {
	if n.before != nil {
		c.add(n.before)
	}
	c.add(n.load)
	if n.mask != 0 {
		c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: n.mask})
	}
	// Conditional jumps reach 255 instructions, the others all.
	c.add(bpf.JumpIf{Cond: n.cond, Val: n.val, SkipTrue: 0, SkipFalse: 1})
	c.jump(yes)
	c.jump(no)
}

// code is a program with labels.
type code struct {
	ops    []bpf.Instruction
	labels []int       // where each is
	jumps  map[int]int // place of a jump to its label
}

func (c *code) add(i bpf.Instruction) { c.ops = append(c.ops, i) }

func (c *code) label() int {
	c.labels = append(c.labels, -1)
	return len(c.labels) - 1
}

func (c *code) place(l int) { c.labels[l] = len(c.ops) }

func (c *code) jump(l int) {
	if c.jumps == nil {
		c.jumps = map[int]int{}
	}
	c.jumps[len(c.ops)] = l
	c.add(bpf.Jump{})
}

// linked is the program with the jumps filled in. Labels lie behind the jumps
// to them, as BPF demands.
func (c *code) linked() []bpf.Instruction {
	for at, l := range c.jumps {
		c.ops[at] = bpf.Jump{Skip: uint32(c.labels[l] - at - 1)}
	}
	return c.ops
}
