package nft

// Expr is an expression of a rule: one of the pointer types below. What is not
// known here is an *Unknown. Registers are numbered from 0 by 32-bit words, so
// that NFT_REG_1 and NFT_REG32_00 are both 0; enum nft_registers.
type Expr any

// noRegister stands where an expression does not have the register.
const noRegister = -1

// The expressions, after enum nft_*_attributes in linux/netfilter/nf_tables.h.
type (
	// Immediate puts Data into a register or ends the rule with a Verdict.
	Immediate struct {
		Dst     int
		Data    []byte
		Verdict *Verdict
	}
	// Cmp goes on if the register compares so with Data, in network order.
	Cmp struct {
		Src  int
		Op   CmpOp
		Data []byte
	}
	// Range goes on if the register is within the range, or is not.
	Range struct {
		Src      int
		Not      bool
		From, To []byte
	}
	// Bitwise computes (src & Mask) ^ Xor, or shifts by Shift.
	Bitwise struct {
		Src, Dst, Len int
		Op            BitwiseOp
		Mask, Xor     []byte
		Shift         int
	}
	// Byteorder swaps the bytes of each number of Size bytes.
	Byteorder struct {
		Src, Dst, Len, Size int
		HostToNet           bool
	}
	// Payload loads bytes of the packet, or stores a register there (Src).
	Payload struct {
		Dst, Src, Base, Offset, Len int
	}
	// Meta loads or sets what the kernel knows of the packet, enum nft_meta_keys.
	Meta struct{ Dst, Src, Key int }
	// Ct loads or sets what connection tracking knows, enum nft_ct_keys. Dir is
	// -1 where no direction is given.
	Ct struct{ Dst, Src, Key, Dir int }
	// Lookup goes on if the set has the key. Dst gets the data of a map; Verdicts
	// says that it is the verdict.
	Lookup struct {
		Set      string
		Src, Dst int
		Verdicts bool
		Not      bool
	}
	// Dynset adds to a set, updates it or deletes from it.
	Dynset struct {
		Set       string
		Op        int
		Key, Data int
		Not       bool
		Timeout   uint64 // milliseconds
		Exprs     []Expr
	}
	// Limit goes on while the rate is kept; Not turns that around.
	Limit struct {
		Rate, Unit uint64 // packets or bytes in Unit seconds
		Burst      uint32
		Bytes, Not bool
	}
	// Quota goes on until so many bytes have passed.
	Quota struct {
		Bytes, Used uint64
		Over        bool
	}
	// Connlimit goes on while there are at most Count connections.
	Connlimit struct {
		Count uint32
		Over  bool
	}
	// Counter counts.
	Counter struct{ Packets, Bytes uint64 }
	// Last notes when it was last reached.
	Last struct{}
	// ObjRef uses a stateful object, or the one that a map has for a key.
	ObjRef struct {
		Type int
		Name string
		Map  string
		Src  int
	}
	// Log writes to the kernel's log or to a group.
	Log struct {
		Prefix   string
		Group    int // -1: the kernel's log
		Level    int // -1: not given
		Flags    uint32
		Snaplen  uint32
		QueueMax int
	}
	// Reject answers and drops.
	Reject struct{ Type, Code int }
	// Translate rewrites the source or the destination for the whole connection.
	Translate struct {
		Dest                               bool
		Family                             Family
		AddrMin, AddrMax, PortMin, PortMax int
		Flags                              uint32
	}
	// Masquerade rewrites the source to the address of the interface.
	Masquerade struct {
		PortMin, PortMax int
		Flags            uint32
	}
	// Redirect rewrites the destination to this host.
	Redirect struct {
		PortMin, PortMax int
		Flags            uint32
	}
	// TProxy hands the packet to a local socket.
	TProxy struct {
		Family     Family
		Addr, Port int
	}
	// Fib asks the routing tables, NFTA_FIB_F_* and enum nft_fib_result.
	Fib struct {
		Dst, Result int
		Flags       uint32
	}
	// Numgen makes a number.
	Numgen struct {
		Dst             int
		Modulus, Offset uint32
		Random          bool
	}
	// Hash makes a number of a register or, if Symmetric, of the connection.
	Hash struct {
		Src, Dst, Len         int
		Modulus, Seed, Offset uint32
		Symmetric             bool
	}
	// Rt loads from the route of the packet.
	Rt struct{ Dst, Key int }
	// Socket loads from the local socket that the packet belongs to.
	Socket struct{ Dst, Key, Level int }
	// Exthdr loads or sets an IPv6 extension header, a TCP option, ….
	Exthdr struct {
		Dst, Src, Type, Offset, Len, Op int
		Present                         bool
	}
	// NoTrack keeps the packet from connection tracking.
	NoTrack struct{}
	// SYNProxyTo completes the handshake in place of the server.
	SYNProxyTo struct {
		MSS, Wscale int
		Flags       uint32
	}
	// Queue hands the packet to a program.
	Queue struct {
		Num, Total, Flags int
		Src               int
	}
	// XT is a match or a target of iptables, struct xt_match and xt_target.
	XT struct {
		Target   bool
		Name     string
		Revision int
		Info     []byte
	}
	// Plain is an expression that has no say in what becomes of the packet here
	// and whose details do not matter: "dup", "flow_offload", "secmark".
	Plain struct{ Name string }
	// Unknown is any other expression, or one that could not be decoded.
	Unknown struct{ Name string }
)

// CmpOp is an operator, enum nft_cmp_ops.
type CmpOp int

// The operators.
const (
	CmpEq CmpOp = iota
	CmpNeq
	CmpLt
	CmpLte
	CmpGt
	CmpGte
)

// BitwiseOp is an operation, enum nft_bitwise_ops.
type BitwiseOp int

// The operations.
const (
	BitwiseMaskXor BitwiseOp = iota
	BitwiseLeft
	BitwiseRight
)

// Keys of Meta, enum nft_meta_keys.
const (
	MetaLen = iota
	MetaProtocol
	MetaPriority
	MetaMark
	MetaIif
	MetaOif
	MetaIifname
	MetaOifname
	MetaIiftype
	MetaOiftype
	MetaSkuid
	MetaSkgid
	MetaNftrace
	MetaRtclassid
	MetaSecmark
	MetaNfproto
	MetaL4proto
	MetaBriIifname
	MetaBriOifname
	MetaPkttype
	MetaCPU
	MetaIifgroup
	MetaOifgroup
	MetaCgroup
	MetaPrandom
	MetaSecpath
	MetaIifkind
	MetaOifkind
	MetaBriIifpvid
	MetaBriIifvproto
	MetaTime
	MetaDay
	MetaHour
	MetaSdif
	MetaSdifname
)

// Keys of Ct, enum nft_ct_keys.
const (
	CtState = iota
	CtDirection
	CtStatus
	CtMark
	CtSecmark
	CtExpiration
	CtHelper
	CtL3proto
	CtSrc
	CtDst
	CtProto
	CtProtoSrc
	CtProtoDst
	CtLabels
	CtPkts
	CtBytes
	CtAvgpkt
	CtZone
	CtEventmask
	CtSrcIP
	CtDstIP
	CtSrcIP6
	CtDstIP6
	CtID
)

// Results and flags of Fib.
const (
	FibOif      = 1
	FibOifname  = 2
	FibAddrtype = 3

	FibSaddr   = 1 << 0
	FibDaddr   = 1 << 1
	FibMark    = 1 << 2
	FibIif     = 1 << 3
	FibOifFlag = 1 << 4
	FibPresent = 1 << 5
)

// Bases of Payload.
const (
	PayloadLink = iota
	PayloadNetwork
	PayloadTransport
	PayloadInner
)

// Types of Reject, and codes of RejectICMPX.
const (
	RejectICMP  = 0
	RejectReset = 1
	RejectICMPX = 2
)

// Types of Object.
const (
	ObjectCounter   = 1
	ObjectQuota     = 2
	ObjectCtHelper  = 3
	ObjectLimit     = 4
	ObjectConnlimit = 5
	ObjectCtTimeout = 7
	ObjectSecmark   = 8
	ObjectCtExpect  = 9
	ObjectSYNProxy  = 10
)
