package errtext

import "sync"

// need is what a line must hold beside a phrase for it to count.
type need uint8

const (
	needNet     need = 1 << iota // a word of the network
	needConnect                  // a word for opening or binding a socket
	needStart                    // nothing before it but blanks
	needEnd                      // nothing behind it but blanks and signs
	needCase                     // the very letters, see phrase.exact
)

// phrase is a sequence of words that tells a kind.
type phrase struct {
	text    string // in lower case
	kind    Kind
	errno   string
	op      Op     // what the words say of the operation
	program string // whose words they are
	need    need
	// exact is the text as it must stand, with needCase.
	exact string
	// check is a further test of the line, if not nil.
	check func(r *reader, h hit) bool
	// constant says that the phrase is the name of an error, which also stands
	// in settings and source code.
	constant bool
	// phaseless words are of a time limit over the whole: nothing else in the line
	// tells what took too long.
	phaseless bool
	// weak words are used for other things, too.
	weak bool
}

func (p *phrase) certainty() Certainty {
	if p.weak {
		return Likely
	}
	return Certain
}

// rank orders the phrases of a line: those that say most come first.
func (p *phrase) rank() int {
	switch p.kind {
	case BadGateway, ServiceUnavailable, GatewayTimeout:
		return 0
	case ConnectFailed, NameFailed, TLSFailed, Timeout, Closed, PoolTimeout:
		return 1
	}
	return 2
}

// phrases is the table, made once.
var phrases = sync.OnceValue(func() []phrase {
	var all []phrase
	for _, part := range [][]phrase{errnoPhrases(), numberPhrases(), systemPhrases, languagePhrases, clientPhrases, toolPhrases, serverPhrases, webPhrases} {
		all = append(all, part...)
	}
	return all
})
