package rtnl

import "fmt"

// Drops gives what the links, by index, have dropped since they exist;
// IFLA_STATS64.
func (r *Reader) Drops() (map[int]Drops, error) {
	links, err := r.h.LinkList()
	if err := broken(err); err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := make(map[int]Drops, len(links))
	for _, l := range links {
		if a := l.Attrs(); a.Statistics != nil {
			out[a.Index] = Drops{a.Name, a.Statistics.RxDropped, a.Statistics.RxMissedErrors, a.Statistics.TxDropped}
		}
	}
	return out, nil
}
