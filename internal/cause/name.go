package cause

import . "github.com/tcpwhy/tcpwhy/internal/evidence" //lint:ignore ST1001 the vocabulary is the language of this file

// anyway lets every oddity of a resolved name stand beside the one in odd.
func anyway(odd P) P { return with(P{NameResult: is(NameResolved)}, odd) }

func nameCauses() []Cause {
	fails := func(v Value) []P { return ways(P{NameResult: is(v), NameSystem: is(SystemAgrees)}) }
	return []Cause{
		{ID: "name-not-found", Stage: StageName, Title: "the name does not exist", Prior: 10, Ways: fails(NameNXDomain)},
		{ID: "name-no-address", Stage: StageName, Title: "the name exists but has no address of the family asked for", Prior: 4, Ways: fails(NameNoData)},
		{ID: "dns-server-failure", Stage: StageName, Title: "the name server fails to answer (SERVFAIL)", Prior: 4, Ways: fails(NameServFail)},
		{ID: "dns-query-refused", Stage: StageName, Title: "the name server refuses the query (REFUSED)", Prior: 2, Ways: fails(NameRefused)},
		{ID: "dns-timeout", Stage: StageName, Title: "no name server answers in time", Prior: 5, Ways: fails(NameTimeout)},
		{ID: "dns-unreachable", Stage: StageName, Title: "port 53 of the name server refuses or is unreachable", Prior: 3, Ways: fails(NameUnreachable)},
		{ID: "dns-no-server", Stage: StageName, Title: "no usable name server is configured", Prior: 2, Ways: fails(NameNoServer)},
		{ID: "dns-tcp-blocked", Stage: StageName, Title: "the answer is truncated and DNS over TCP fails", Prior: 1, Ways: fails(NameTCPBlocked)},
		{ID: "dns-cname-broken", Stage: StageName, Title: "the name is an alias that loops or leads to nothing", Prior: 1, Ways: fails(NameBrokenAlias)},
		{ID: "dns-stale-address", Stage: StageName, Title: "the name servers disagree about the address", Prior: 2,
			Ways: ways(anyway(P{NameServers: is(No), NameOutcomes: is(OutcomesOne, OutcomesAllFail, OutcomesSomeFail, OutcomesFamilyFail)}))},
		{ID: "hosts-file-override", Stage: StageName, Title: "the hosts file decides and differs from DNS", Prior: 5,
			Ways: ways(anyway(P{NameHostsFile: is(HostsDiffers), NameOutcomes: is(OutcomesOne, OutcomesAllFail, OutcomesSomeFail, OutcomesFamilyFail)}))},
		{ID: "dns-search-suffix", Stage: StageName, Title: "the answer is for the name with a search suffix added", Prior: 3,
			Ways: ways(anyway(P{NameSuffix: is(Yes), NameOutcomes: is(OutcomesOne, OutcomesAllFail, OutcomesSomeFail, OutcomesFamilyFail)}))},
		{ID: "dns-slow", Stage: StageName, Title: "resolving the name eats most of the connect time", Prior: 2,
			Ways: ways(anyway(P{NameSpeed: is(SpeedSlow)}))},
		{ID: "name-points-to-self", Stage: StageName, Title: "the name resolves to this host itself", Prior: 4,
			Ways: ways(anyway(P{NamePointsTo: is(PointsSelf), NameOutcomes: is(OutcomesOne, OutcomesAllFail, OutcomesSomeFail, OutcomesFamilyFail)}))},
		{ID: "some-addresses-fail", Stage: StageName, Title: "some addresses of the name work and others fail", Prior: 4,
			Ways: ways(anyway(P{NameOutcomes: is(OutcomesSomeFail)}))},
		{ID: "address-family-broken", Stage: StageName, Title: "one address family of the name fails, the other works", Prior: 4,
			Ways: ways(anyway(P{NameOutcomes: is(OutcomesFamilyFail)}))},
	}
}
