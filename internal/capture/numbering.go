package capture

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// numbering is one way to read the names of a file set: each has a number, and the
// files were written in the order of the numbers.
type numbering struct {
	numbers []int // by place in the set
	name    func(n int) string
	// ring says that 0 follows the last number, whatever that is: tcpdump -C -W.
	ring bool
	// clock says that the numbers may also be times of day or dates, as in
	// tcpdump -G 3600 -w name%H.
	clock bool
}

// The names that programs give to the files of a set; a compression's ending is
// taken off before.
const (
	// "%s-%04d%s", tcpwhy capture --size and --every.
	oursForm = `^(.*-)(\d{4,6})(\.[^./]*)?$`
	// "%s_%05u_%s%s" and with nametimenum "%s_%s_%05u%s", ringbuffer.c of Wireshark.
	dumpcapForm   = `^(.*_)(\d{5})_\d{14}(\.[^/]*)?$`
	dumpcapByTime = `^(.*)_\d{14}_(\d{5})(\.[^/]*)?$`
)

// Of more digits than these a number at the end of a name may be a time or a date:
// without leading zeros, and of a fixed width.
const (
	mostDigits  = 6
	fixedDigits = 3
)

// readings are the ways to read names, none where they follow no numbering.
func readings(names []string) []numbering {
	if len(names) < 2 {
		return nil
	}
	bare, packed := make([]string, len(names)), compressed(names[0])
	for i, n := range names {
		ext := compressed(n)
		if bare[i] = strings.TrimSuffix(n, ext); ext != packed {
			packed = "" // the newest may not be compressed yet
		}
	}
	form := func(pattern, format string, clock bool) []numbering {
		re := regexp.MustCompile(pattern)
		first := re.FindStringSubmatch(bare[0])
		if first == nil {
			return nil
		}
		x := numbering{clock: clock, name: func(n int) string { return fmt.Sprintf(format, first[1], n, first[3]) + packed }}
		for _, b := range bare {
			m := re.FindStringSubmatch(b)
			if m == nil || m[1] != first[1] || m[3] != first[3] {
				return nil
			}
			n, _ := strconv.Atoi(m[2]) // of 6 digits at most
			x.numbers = append(x.numbers, n)
		}
		return []numbering{x}
	}
	for _, x := range [][]numbering{
		form(dumpcapForm, "%s%05d_*%s", false), form(dumpcapByTime, "%s_*_%05d%s", false), form(oursForm, "%s%04d%s", true),
	} {
		if x != nil {
			return x
		}
	}
	return tcpdumpReadings(bare, packed)
}

// compressed gives the ending that says how a file is compressed, "" without.
func compressed(name string) string {
	switch ext := filepath.Ext(name); ext {
	case ".gz", ".zst", ".lz4":
		return ext
	}
	return ""
}

// tcpdumpReadings are those of tcpdump -C: name, name1, name2 and so on, with -W
// from name0 on and all as wide as the last one. What comes before the numbers may
// end in digits itself.
func tcpdumpReadings(names []string, packed string) (out []numbering) {
	stem := names[0]
	for _, n := range names {
		for !strings.HasPrefix(n, stem) {
			stem = stem[:len(stem)-1]
		}
	}
	least := len(strings.TrimRight(stem, "0123456789"))
	for cut := len(stem); cut >= least; cut-- {
		if x, ok := tcpdumpReading(names, stem[:cut], packed, cut == least); ok {
			out = append(out, x)
		}
	}
	return out
}

// tcpdumpReading takes what follows the stem for the numbers; fixed says that they
// may be of a fixed width.
func tcpdumpReading(names []string, stem, packed string, fixed bool) (x numbering, ok bool) {
	narrow, wide, zeros, first := math.MaxInt, 0, false, false
	for _, name := range names {
		digits := name[len(stem):]
		n, err := strconv.Atoi("0" + digits)
		switch {
		case err != nil || strings.Trim(digits, "0123456789") != "" || len(digits) > mostDigits:
			return x, false
		case digits == "": // no number of tcpdump's is 0 then
			first = true
		default:
			narrow, wide = min(narrow, len(digits)), max(wide, len(digits))
			zeros = zeros || digits[0] == '0'
		}
		x.numbers = append(x.numbers, n)
	}
	width := 0
	switch {
	case first && zeros:
		return x, false
	case first || narrow < wide && !zeros:
	case fixed && narrow == wide && wide <= fixedDigits:
		width = wide
	default:
		return x, false
	}
	x.clock, x.ring = !first, zeros
	x.name = func(n int) string {
		if n == 0 && first {
			return stem + packed
		}
		return fmt.Sprintf("%s%0*d%s", stem, width, n, packed)
	}
	return x, true
}

// jump is where numbers are left out: those from below to.
type jump struct {
	after    int // the place in the order of the file before
	from, to int
}

// jumps gives those of a numbering where the files, in the order of time, are those
// at some places; ok is false where the numbers do not go up with the time.
func (x *numbering) jumps(order []int) (out []jump, ok bool) {
	turned := false
	for i := 1; i < len(order); i++ {
		a, b := x.numbers[order[i-1]], x.numbers[order[i]]
		switch {
		case a < b:
			out = append(out, jump{i - 1, a + 1, b})
		case !x.ring || turned:
			return nil, false
		default: // what comes before 0 depends on -W, which nothing tells
			turned = true
			out = append(out, jump{i - 1, 0, b})
		}
	}
	if turned && x.numbers[order[len(order)-1]] >= x.numbers[order[0]] {
		return nil, false
	}
	return out, true
}

// clockUnits are what the numbers of a clock or a calendar may count.
var clockUnits = []struct {
	unit  time.Duration
	count func(n int, year int) int
}{
	{time.Second, plain}, {time.Minute, plain}, {time.Hour, plain}, {day, plain},
	{time.Minute, func(n, _ int) int { return n/100*60 + n%100 }}, // %H%M
	{day, func(n, year int) int { // %m%d
		return int(time.Date(year, time.Month(n/100), n%100, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60))
	}},
}

const day = 24 * time.Hour

func plain(n, _ int) int { return n }

// byClock says that the numbers may tell times: as much time passes between the
// first packets of files as between their numbers. The first file does not count:
// it was begun with the program, which may have been long before its first packet.
func (x *numbering) byClock(files []File, order []int) bool {
	if len(order) < 3 {
		return true // nothing tells
	}
	for _, u := range clockUnits {
		base, agree := order[1], true
		for i := 2; i < len(order) && agree; i++ {
			at := order[i]
			if x.numbers[at] < x.numbers[order[i-1]] {
				base = at
			}
			year := files[at].First.Time().Year()
			passed := time.Duration(u.count(x.numbers[at], year)-u.count(x.numbers[base], year)) * u.unit
			agree = (files[at].First.Sub(files[base].First) - passed).Abs() < u.unit+u.unit/2
		}
		if agree {
			return true
		}
	}
	return false
}
