package probe

// What one address and one trace hold open at most, in descriptors.
const (
	filesKept       = 24 // of the program itself, and of the name servers
	filesPerAddress = 10
	filesPerTrace   = 34
)

// limits bound what is done at the same time, so that a low limit of open
// descriptors makes a run slower and not wrong.
type limits struct {
	addresses chan struct{}
	traces    chan struct{}
}

func newLimits() limits {
	files := max(OpenFiles()-filesKept, 0)
	traces := min(max(files/(3*filesPerTrace), 1), 2*maxDeep)
	addresses := min(max((files-traces*filesPerTrace)/filesPerAddress, 1), maxAddresses)
	return limits{addresses: make(chan struct{}, addresses), traces: make(chan struct{}, traces)}
}
