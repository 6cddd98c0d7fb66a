// Package lab makes network faults with the kernel's own means and says what
// each of them is, so that it can judge a diagnosis.
//
// A Scenario is one fault: a topology, what is done to it, the cause by its
// catalogue ID, and what a plain connect(2) must see. Open builds it from
// network namespaces; Verify proves with a plain connection that the fault is
// there before anybody is judged by it; Command runs a program where the user
// would sit; Close removes everything.
//
//	for _, s := range lab.Scenarios() {
//		for _, f := range s.Families {
//			l, err := lab.Open(ctx, s, f, lab.Params{})
//			…
//			err = l.Verify(ctx)
//			out, err := l.Command(s.From, true, program, l.Target()).Output()
//			err = l.Close()
//
// Combine makes one scenario of several, and Losing one that loses packets, too.
//
// It needs root, or a user namespace such as package isolate makes: root there is
// enough for nearly every scenario. An error that wraps errors.ErrUnsupported says
// which kernel feature a scenario lacks.
//
// The lab imports netns, rtnl and nft only. It shares nothing with the
// collectors or the diagnosis, so that it cannot share their mistakes.
package lab
