package xtables

import "fmt"

// ActionText is the target as "iptables -S" prints it.
func ActionText(f Family, x Extension) string {
	name := "-j " + Printable(x.Name)
	switch a := Action(f, x).(type) {
	case *Reject:
		return name + " --reject-with " + a.With
	case *NAT:
		return name + a.text()
	case *SetMark:
		return name + fmt.Sprintf(" --set-xmark %#x/%#x", a.Mark, a.Mask)
	case *ConnMark:
		switch a.Mode {
		case ConnMarkSet:
			return name + fmt.Sprintf(" --set-xmark %#x/%#x", a.Mark, a.Mask)
		case ConnMarkSave:
			return name + fmt.Sprintf(" --save-mark --nfmask %#x --ctmask %#x", a.NFMask, a.Mask)
		case ConnMarkRestore:
			return name + fmt.Sprintf(" --restore-mark --nfmask %#x --ctmask %#x", a.NFMask, a.Mask)
		}
	case *NoTrack:
		if a.Alias {
			return "-j NOTRACK"
		}
		return name + " --notrack"
	case *GroupLog:
		if a.Prefix != "" {
			name += " --nflog-prefix " + quote(a.Prefix)
		}
		if a.Group != 0 {
			name += fmt.Sprintf(" --nflog-group %d", a.Group)
		}
		return name
	case *Log:
		if a.Prefix != "" {
			name += " --log-prefix " + quote(a.Prefix)
		}
		if a.Level != 4 {
			name += fmt.Sprintf(" --log-level %d", a.Level)
		}
		for i, flag := range []string{"tcp-sequence", "tcp-options", "ip-options", "uid", "", "macdecode"} {
			if a.Flags&(1<<i) != 0 && flag != "" {
				name += " --log-" + flag
			}
		}
		return name
	}
	return name + " [...]"
}

func (a *NAT) text() string {
	var s string
	port := ""
	if a.Flags&RangePorts != 0 {
		port = ports(a.Ports, "-")
	}
	switch {
	case a.ToSelf && port != "":
		s = " --to-ports " + port
	case !a.ToSelf:
		s = " --to-source "
		if a.Dest {
			s = " --to-destination "
		}
		if a.Addrs[0].IsValid() {
			addrs := a.Addrs[0].String()
			if a.Addrs[1] != a.Addrs[0] {
				addrs += "-" + a.Addrs[1].String()
			}
			if a.Addrs[0].Is6() && port != "" {
				addrs = "[" + addrs + "]"
			}
			s += addrs
		}
		if port != "" {
			s += ":" + port
		}
	}
	if a.Flags&RangeRandom != 0 {
		s += " --random"
	}
	if a.Flags&RangeFully != 0 {
		s += " --random-fully"
	}
	if a.Flags&RangeSticky != 0 {
		s += " --persistent"
	}
	return s
}
