package hostside

import (
	"context"

	"github.com/tcpwhy/tcpwhy/internal/evidence"
	"github.com/tcpwhy/tcpwhy/internal/nft"
)

// ruleAsItIs reads an nftables rule by its handle, nil where it is gone. Rules are
// read anew each time: a handle means something else once they were replaced.
func ruleAsItIs(ctx context.Context) func(family, table, chain string, handle uint64) *evidence.Rule {
	return func(family, table, chain string, handle uint64) *evidence.Rule {
		rules, err := nft.Read(ctx, 0)
		if err != nil {
			return nil
		}
		for _, t := range rules.Tables {
			if t.Family.String() != family || t.Name != table {
				continue
			}
			c := t.Chain(chain)
			if c == nil {
				continue
			}
			for _, r := range c.Rules {
				if r.Handle == handle {
					return &evidence.Rule{System: "nftables", Family: family, Table: nft.Printable(table), Chain: nft.Printable(chain),
						Hook: c.Hook, Priority: c.Priority, Handle: handle, Text: t.Text(r), Comment: nft.Printable(r.Comment)}
				}
			}
		}
		return nil
	}
}
