package nft

import (
	"bytes"
	gocmp "cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is the left side of a lookup: the registers that make up the key.
func (p *printer) key(at int, kinds []uint32) string {
	o := p.get(at)
	if len(kinds) < 2 {
		if o.text == "" && o.data != nil && len(kinds) == 1 {
			return literal(kinds[0], o.data)
		}
		return o.text
	}
	var parts []string
	for _, k := range kinds {
		o := p.get(at)
		parts = append(parts, o.text)
		if len(o.fields) > 0 { // loaded in one go
			parts = parts[:len(parts)-1]
			n := 0
			for _, f := range o.fields {
				parts = append(parts, f.String())
				n += f.len
			}
			if len(parts) >= len(kinds) {
				break
			}
			at += (n + 3) / 4
			continue
		}
		at += (sizeOf(k) + 3) / 4
	}
	return strings.Join(parts, " . ")
}

// sizeOf is the size of a value of a type in bytes.
func sizeOf(kind uint32) int {
	switch kind {
	case typeIP6, typeIfname, typeString:
		return 16
	case typeEther:
		return 6
	case typeService, typeEtherType, typeArphrd:
		return 2
	case typeProto, typeNfproto, typeICMP, typeICMP6, typeTCPFlag, typeCtDir, typePkttype, typeDSCP, typeBoolean:
		return 1
	}
	return 4
}

func (p *printer) lookup(e *Lookup) {
	s := p.table.Lookup(e.Set)
	if s == nil {
		s = &Set{Name: e.Set}
	}
	left := p.key(e.Src, types(s.KeyType))
	right := "@" + Printable(s.Name)
	if s.Anonymous {
		right = p.elements(s, p.get(e.Src).kind)
	}
	switch {
	case e.Verdicts:
		p.say("%s vmap %s", left, right)
	case e.Dst >= 0:
		p.set(e.Dst, operand{text: left + " map " + right, kind: s.DataType})
	case e.Not:
		p.say("%s != %s", left, right)
	default:
		p.say("%s %s", left, right)
	}
}

// elements are those of an anonymous set. left is the type of what is looked up:
// that of the set does not tell numbers apart.
func (p *printer) elements(s *Set, left uint32) string {
	kinds := types(s.KeyType)
	var list []string
	// nft prints them in the order of their keys as numbers.
	sorted := slices.SortedStableFunc(slices.Values(s.Elements), func(a, b Element) int {
		if a.CatchAll != b.CatchAll {
			return map[bool]int{true: 1, false: -1}[a.CatchAll]
		}
		left := left
		if s.KeyType != typeInteger && len(kinds) < 2 {
			left = s.KeyType
		}
		if len(kinds) < 2 && len(a.Key) <= 8 {
			return gocmp.Compare(number(left, a.Key), number(left, b.Key))
		}
		return bytes.Compare(a.Key, b.Key)
	})
	for i, e := range sorted {
		if i == maxShown {
			list = append(list, "...")
			break
		}
		text := "*"
		if !e.CatchAll {
			text = s.key(e, kinds, left)
		}
		switch {
		case e.Verdict != nil:
			text += " : " + e.Verdict.String()
		case s.Map:
			text += " : " + s.datum(e.Data)
		}
		list = append(list, text)
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

func (s *Set) datum(b []byte) string {
	kinds := types(s.DataType)
	if len(kinds) < 2 {
		return literal(s.DataType, b)
	}
	var parts []string
	for _, k := range kinds {
		n := min(sizeOf(k), len(b))
		parts = append(parts, literal(k, b[:n]))
		b = b[min((n+3)&^3, len(b)):]
	}
	return strings.Join(parts, " . ")
}

// key is the key of an element.
func (s *Set) key(e Element, kinds []uint32, left uint32) string {
	if len(kinds) < 2 {
		kind := s.KeyType
		if kind == typeInteger && left != 0 {
			kind = left
		}
		if e.End == nil {
			return literal(kind, e.Key)
		}
		return interval(kind, e.Key, e.End)
	}
	var parts []string
	at := 0
	for _, k := range kinds {
		n := sizeOf(k)
		if at+n > len(e.Key) {
			break
		}
		switch {
		case len(e.End) >= at+n:
			parts = append(parts, interval(k, e.Key[at:at+n], e.End[at:at+n]))
		default:
			parts = append(parts, literal(k, e.Key[at:at+n]))
		}
		at += (n + 3) &^ 3
	}
	return strings.Join(parts, " . ")
}

func (p *printer) dynset(e *Dynset) {
	var kinds []uint32
	var data uint32
	if s := p.table.Lookup(e.Set); s != nil {
		kinds, data = types(s.KeyType), s.DataType
	}
	op := []string{"add", "update", "delete"}[min(max(e.Op, 0), 2)]
	in := p.key(e.Key, kinds)
	if e.Timeout > 0 {
		in += " timeout " + duration(e.Timeout)
	}
	for _, x := range e.Exprs {
		in += " " + ExprText(x)
	}
	if e.Data >= 0 {
		in += " : " + p.value(e.Data, data)
	}
	p.say("%s @%s { %s }", op, Printable(e.Set), in)
}

// duration is a time of milliseconds as nft prints it: "1d2h3m4s".
func duration(ms uint64) string {
	d := time.Duration(min(ms, 1<<43)) * time.Millisecond
	var s string
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.d; n > 0 {
			s += strconv.Itoa(int(n)) + u.name
			d -= n * u.d
		}
	}
	return s
}
