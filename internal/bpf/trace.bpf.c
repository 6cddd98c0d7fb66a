//go:build ignore

// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only

// What the kernel says about the connections of one server port: raw
// tracepoints, filtered here, into a ring buffer. Of the kernel's structures only
// the members used are declared; their real offsets are filled in at load time
// from the running kernel's BTF (CO-RE).

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define NULL ((void *)0)

// Maps, as libbpf's conventions for BTF-defined ones have it.
#define UINT(name, value) int(*name)[value]
#define TYPE(name, type) typeof(type) *name
enum { MAP_PERCPU_ARRAY = 6, MAP_RINGBUF = 27 };

// Helpers by number, include/uapi/linux/bpf.h.
static u64 (*ktime_get_ns)(void) = (void *)5;
static u64 (*get_current_pid_tgid)(void) = (void *)14;
static long (*get_current_comm)(void *buf, u32 size) = (void *)16;
static u64 (*get_current_task)(void) = (void *)35;
static void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*probe_read_kernel)(void *dst, u32 size, const void *src) = (void *)113;
static void *(*ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*ringbuf_submit)(void *data, u64 flags) = (void *)132;
static u64 (*ringbuf_query)(void *ring, u64 flags) = (void *)134;
enum { NO_WAKEUP = 1, FORCE_WAKEUP = 2, AVAIL_DATA = 0 };

// read copies a member of a kernel structure; what cannot be read is 0.
#define read(dst, ptr, member) \
	probe_read_kernel(&(dst), sizeof(dst), __builtin_preserve_access_index(&(ptr)->member))

#define exists(ptr, member) __builtin_preserve_field_info((ptr)->member, 2)

struct in6_addr {
	u8 bytes[16];
};

struct ns_common {
	u32 inum;
} CORE;

struct net {
	struct ns_common ns;
} CORE;

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	u8 skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} CORE;

struct file {
	void *private_data;
} CORE;

struct socket {
	struct file *file;
	struct sock *sk;
} CORE;

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	struct socket *sk_socket;
} CORE;

struct inet_sock {
	u16 inet_sport;
} CORE;

struct request_sock {
	struct sock_common __req_common;
} CORE;

struct net_device {
	char name[16];
	possible_net_t nd_net;
} CORE;

struct dst_entry {
	struct net_device *dev;
} CORE;

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	int skb_iif;
	u16 protocol;
	u16 transport_header;
	u16 network_header;
	u32 tail;
	unsigned char *head;
} CORE;

struct fdtable {
	u32 max_fds;
	struct file **fd;
} CORE;

struct files_struct {
	struct fdtable *fdt;
} CORE;

struct task_struct {
	struct files_struct *files;
} CORE;

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long orig_ax;
} CORE;
#define SYSCALL_NUMBER orig_ax
enum { SYS_ACCEPT = 43, SYS_ACCEPT4 = 288 };
typedef unsigned long syscall_number;
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	int syscallno;
} CORE;
#define SYSCALL_NUMBER syscallno
enum { SYS_ACCEPT = 202, SYS_ACCEPT4 = 242 };
typedef int syscall_number;
#else
#error "which member of pt_regs has the number of the system call?"
#endif

enum { AF_INET = 2, AF_INET6 = 10, IPPROTO_TCP = 6, IPPROTO_MPTCP = 262 };
enum { TCP_SYN_SENT = 2, TCP_SYN_RECV = 3 };
enum { TH_SYN = 0x02, TH_ACK = 0x10 };

#define HTONS(v) ((u16)__builtin_bswap16(v)) // both machines are little-endian
enum { ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };

struct address {
	u64 half[2]; // IPv4 as ::ffff:a.b.c.d
};

// Set before loading, and constant for the verifier. The filter; 0 is any.
const volatile struct address only_client, only_server;
const volatile u32 only_netns;
const volatile u16 only_port;
const volatile u8 by_client, by_server;
// Which arguments the tracepoints of this kernel have.
const volatile u8 drop_has_reason, drop_has_socket, reset_has_reason;
// With so many bytes in the ring its reader is woken.
const volatile u64 wake_at;

enum kind {
	DROP,
	SEND_RESET,
	RECEIVE_RESET,
	RETRANSMIT,
	RETRANSMIT_SYNACK,
	STATE,
	ACCEPTED,
};

// event has no holes; decode() in decode.go knows its layout.
struct event {
	u64 time; // CLOCK_MONOTONIC
	u64 location;
	struct address client, server;
	u16 client_port, server_port;
	u32 netns;
	u32 reason;
	u32 pid;
	u8 kind;
	u8 flags;
	u8 from_server;
	u8 old_state;
	u8 new_state;
	u8 taken;
	u8 zero[2];
	char name[16]; // of the interface; of the process with ACCEPTED
};

struct {
	UINT(type, MAP_RINGBUF);
	UINT(max_entries, 1 << 23); // bytes
} events SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u64);
} lost SEC(".maps");

// tuple is a segment's, or that of a socket as if the segment came to it.
struct tuple {
	struct address src, dst;
	u16 sport, dport;
	u8 flags;
};

INLINE void mapped(struct address *a, u32 v4)
{
	a->half[0] = 0;
	a->half[1] = (u64)v4 << 32 | 0xffff0000;
}

INLINE u32 inum(struct net *net)
{
	u32 n = 0;

	if (net)
		read(n, net, ns.inum);
	return n;
}

INLINE u32 socket_netns(const struct sock_common *c)
{
	struct net *net = NULL;

	if (c)
		read(net, c, skc_net.net);
	return inum(net);
}

// from_socket is false for a socket without a peer. num is its port, 0 if that is
// the one it has now.
NOINLINE int from_socket(const struct sock_common *c, u16 num, struct tuple *t)
{
	u16 family = 0;

	t->dport = num;
	if (!num)
		read(t->dport, c, skc_num);
	read(t->sport, c, skc_dport);
	t->sport = HTONS(t->sport);
	t->flags = 0;
	if (!t->sport || !t->dport)
		return 0;
	// Another port is the usual case, and most cheaply seen.
	if (only_port && t->dport != only_port)
		return 0;
	read(family, c, skc_family);
	if (family == AF_INET) {
		u32 a = 0;

		read(a, c, skc_daddr);
		mapped(&t->src, a);
		read(a, c, skc_rcv_saddr);
		mapped(&t->dst, a);
		return 1;
	}
	// A kernel may be without IPv6.
	if (family != AF_INET6 || !exists(c, skc_v6_daddr))
		return 0;
	read(t->src, c, skc_v6_daddr);
	read(t->dst, c, skc_v6_rcv_saddr);
	return 1;
}

struct tcp_start { // of the header
	u16 source, dest;
	u32 seq, ack;
	u8 offset, flags;
} __attribute__((packed));

// from_packet is false for what is no TCP, a later fragment, or has its headers
// outside of the linear part.
NOINLINE int from_packet(const struct sk_buff *skb, struct tuple *t)
{
	struct tcp_start tcp = {};
	unsigned char *head = NULL;
	u16 protocol = 0, network = 0;
	u32 tail = 0, at;

	read(protocol, skb, protocol);
	if (protocol != HTONS(ETH_P_IP) && protocol != HTONS(ETH_P_IPV6))
		return 0;
	read(head, skb, head);
	read(network, skb, network_header);
	read(tail, skb, tail);
	at = network;
	if (protocol == HTONS(ETH_P_IP)) {
		struct {
			u8 version_ihl, tos;
			u16 len, id, frag;
			u8 ttl, proto;
			u16 sum;
			u32 src, dst;
		} ip = {};

		if (at + sizeof(ip) > tail || probe_read_kernel(&ip, sizeof(ip), head + at))
			return 0;
		if (ip.version_ihl >> 4 != 4 || ip.proto != IPPROTO_TCP || ip.frag & HTONS(0x1fff))
			return 0;
		mapped(&t->src, ip.src);
		mapped(&t->dst, ip.dst);
		at += (ip.version_ihl & 15) * 4;
	} else {
		struct {
			u8 version, class_flow[3];
			u16 len;
			u8 next, hops;
			struct address src, dst;
		} ip = {};
		u8 next;

		if (at + sizeof(ip) > tail || probe_read_kernel(&ip, sizeof(ip), head + at))
			return 0;
		if (ip.version >> 4 != 6)
			return 0;
		t->src = ip.src;
		t->dst = ip.dst;
		next = ip.next;
		at += sizeof(ip);
		// Hop-by-hop options, routing header and destination options.
#pragma unroll
		for (int i = 0; i < 4; i++) {
			u8 option[2] = {};

			if (next != 0 && next != 43 && next != 60)
				break;
			if (at + 8 > tail || probe_read_kernel(option, sizeof(option), head + at))
				return 0;
			next = option[0];
			at += (option[1] + 1) * 8;
		}
		if (next != IPPROTO_TCP)
			return 0;
	}
	if (at + sizeof(tcp) > tail || probe_read_kernel(&tcp, sizeof(tcp), head + at))
		return 0;
	t->sport = HTONS(tcp.source);
	t->dport = HTONS(tcp.dest);
	t->flags = tcp.flags;
	return 1;
}

// to_server says which end is the server: the one with the port. Without a port
// to go by it is the one that a SYN is for, else the one with the lower port.
INLINE int to_server(const struct tuple *t)
{
	if (only_port)
		return t->dport == only_port;
	if (t->flags & TH_SYN)
		return !(t->flags & TH_ACK);
	return t->dport <= t->sport;
}

INLINE int same(const struct address *a, const volatile struct address *b)
{
	return a->half[0] == b->half[0] && a->half[1] == b->half[1];
}

// reserve gives an event with tuple, time and kind, or NULL: the filter is
// against it, or there is no room, which is counted.
NOINLINE struct event *reserve(enum kind kind, const struct tuple *t, u32 netns)
{
	const struct address *client = &t->src, *server = &t->dst;
	u16 client_port = t->sport, server_port = t->dport;
	int from_server = !to_server(t);
	struct event *e;

	if (from_server) {
		client = &t->dst;
		server = &t->src;
		client_port = t->dport;
		server_port = t->sport;
	}
	if (only_port && server_port != only_port)
		return NULL;
	if (only_netns && netns != only_netns)
		return NULL;
	if (by_client && !same(client, &only_client))
		return NULL;
	if (by_server && !same(server, &only_server))
		return NULL;
	e = ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		u32 zero = 0;
		u64 *n = map_lookup_elem(&lost, &zero);

		// A tracepoint may hit within another on the same processor.
		if (n)
			__sync_fetch_and_add(n, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->time = ktime_get_ns();
	e->kind = kind;
	e->client = *client;
	e->server = *server;
	e->client_port = client_port;
	e->server_port = server_port;
	e->from_server = from_server;
	e->flags = t->flags;
	e->netns = netns;
	return e;
}

// submit does not wake the reader, who looks by the clock, until a lot is there.
NOINLINE void submit(struct event *e)
{
	u64 waiting = ringbuf_query(&events, AVAIL_DATA);

	ringbuf_submit(e, waiting > wake_at ? FORCE_WAKEUP : NO_WAKEUP);
}

INLINE u32 device_netns(struct net_device *dev)
{
	struct net *net = NULL;

	if (dev)
		read(net, dev, nd_net.net);
	return inum(net);
}

// device of a packet, or NULL, and its network namespace, or 0.
NOINLINE struct net_device *device(const struct sk_buff *skb, const struct tuple *t, u32 *netns)
{
	struct net_device *dev = NULL, *routed = NULL;
	struct sock *sk = NULL;
	unsigned long dst = 0;
	int arrived = 0;
	u16 num = 0;

	read(dev, skb, dev);
	*netns = device_netns(dev);
	read(sk, skb, sk);
	if (sk)
		read(num, sk, __sk_common.skc_num);
	if (num == t->dport && *netns != socket_netns((void *)sk)) {
		// The packet waits in a socket's queue: the member holds something
		// else then.
		*netns = socket_netns((void *)sk);
		return NULL;
	}
	if (*netns)
		return dev;
	read(dst, skb, _skb_refdst);
	dst &= ~1ul; // SKB_DST_NOREF
	if (!dst)
		return NULL;
	read(routed, (struct dst_entry *)dst, dev);
	*netns = device_netns(routed);
	// What came for this host is routed to the loopback, wherever it came in.
	read(arrived, skb, skb_iif);
	return arrived ? NULL : routed;
}

INLINE void where(struct event *e, struct net_device *dev)
{
	if (dev)
		read(e->name, dev, name);
}

SEC("raw_tp/kfree_skb")
int drop(u64 *ctx)
{
	const struct sk_buff *skb = (void *)ctx[0];
	struct net_device *dev;
	struct sock *sk = NULL;
	struct tuple t = {};
	struct event *e;
	u32 netns = 0;

	if (!from_packet(skb, &t)) {
		// One of our own that has no IP header yet.
		u16 protocol = 0;

		read(sk, skb, sk);
		if (!sk)
			return 0;
		read(protocol, sk, sk_protocol);
		if (protocol != IPPROTO_TCP || !from_socket((void *)sk, 0, &t))
			return 0;
	} else if (only_port && t.sport != only_port && t.dport != only_port) {
		return 0;
	}
	dev = device(skb, &t, &netns);
	if (!netns) {
		if (!sk)
			read(sk, skb, sk);
		if (!sk && drop_has_socket)
			sk = (void *)ctx[3];
		netns = socket_netns((void *)sk);
	}
	e = reserve(DROP, &t, netns);
	if (!e)
		return 0;
	e->location = ctx[1];
	if (drop_has_reason)
		e->reason = ctx[2];
	where(e, dev);
	submit(e);
	return 0;
}

SEC("raw_tp/tcp_send_reset")
int send_reset(u64 *ctx)
{
	const struct sock *sk = (void *)ctx[0];
	const struct sk_buff *skb = (void *)ctx[1];
	struct net_device *dev = NULL;
	struct tuple t = {};
	struct event *e;
	u16 port = 0;
	u32 netns = 0;

	if (skb && from_packet(skb, &t)) {
		// The segment that is answered.
		dev = device(skb, &t, &netns);
	} else if (sk) {
		// No answer: the socket is closed, and may have given its port back.
		read(port, (struct inet_sock *)sk, inet_sport);
		if (!from_socket((void *)sk, HTONS(port), &t))
			return 0;
	} else {
		return 0;
	}
	// A reset by a client's socket is the other end's to tell.
	if (!to_server(&t))
		return 0;
	e = reserve(SEND_RESET, &t, netns ? netns : socket_netns((void *)sk));
	if (!e)
		return 0;
	if (reset_has_reason)
		e->reason = ctx[2];
	e->from_server = 1;
	where(e, dev);
	submit(e);
	return 0;
}

// about reports what a socket is all that is known of.
NOINLINE struct event *about(enum kind kind, const struct sock_common *c, u16 num)
{
	struct tuple t = {};

	if (!from_socket(c, num, &t) || !to_server(&t))
		return NULL;
	return reserve(kind, &t, socket_netns(c));
}

SEC("raw_tp/tcp_receive_reset")
int receive_reset(u64 *ctx)
{
	struct event *e = about(RECEIVE_RESET, (void *)ctx[0], 0);

	if (e)
		submit(e);
	return 0;
}

SEC("raw_tp/tcp_retransmit_skb")
int retransmit(u64 *ctx)
{
	struct event *e = about(RETRANSMIT, (void *)ctx[0], 0);

	if (!e)
		return 0;
	e->from_server = 1;
	submit(e);
	return 0;
}

SEC("raw_tp/tcp_retransmit_synack")
int retransmit_synack(u64 *ctx)
{
	struct event *e = about(RETRANSMIT_SYNACK, (void *)ctx[1], 0);

	if (!e)
		return 0;
	e->from_server = 1;
	submit(e);
	return 0;
}

SEC("raw_tp/inet_sock_set_state")
int set_state(u64 *ctx)
{
	const struct sock *sk = (void *)ctx[0];
	struct socket *owner = NULL;
	u16 protocol = 0, port = 0;
	struct event *e;

	// That of a client, and the birth of the server's.
	if (ctx[1] == TCP_SYN_SENT || ctx[2] == TCP_SYN_SENT || ctx[2] == TCP_SYN_RECV)
		return 0;
	read(protocol, sk, sk_protocol);
	if (protocol != IPPROTO_TCP)
		return 0;
	// A socket that enters CLOSE has given its port back.
	read(port, (struct inet_sock *)sk, inet_sport);
	e = about(STATE, (void *)sk, HTONS(port));
	if (!e)
		return 0;
	e->old_state = ctx[1];
	e->new_state = ctx[2];
	read(owner, sk, sk_socket);
	e->taken = owner != NULL;
	submit(e);
	return 0;
}

// accepted runs after every system call of the machine: what is not an accept()
// must end soon.
SEC("raw_tp/sys_exit")
int accepted(u64 *ctx)
{
	const struct pt_regs *regs = (void *)ctx[0];
	long fd = ctx[1];
	struct task_struct *task;
	struct files_struct *files = NULL;
	struct fdtable *table = NULL;
	struct socket *socket = NULL, *owner = NULL;
	struct file **fds = NULL, *file = NULL, *back = NULL;
	struct sock *sk = NULL;
	syscall_number number = 0;
	u16 protocol = 0, port = 0;
	u32 room = 0;
	struct event *e;

	if (fd < 0)
		return 0;
	read(number, regs, SYSCALL_NUMBER);
	if (number != SYS_ACCEPT4 && number != SYS_ACCEPT)
		return 0;
	task = (void *)get_current_task();
	read(files, task, files);
	read(table, files, fdt);
	read(room, table, max_fds);
	if (fd >= room)
		return 0;
	read(fds, table, fd);
	probe_read_kernel(&file, sizeof(file), fds + fd);
	read(socket, file, private_data);
	read(back, socket, file);
	read(sk, socket, sk);
	read(owner, sk, sk_socket);
	// All of this holds for a socket, and for nothing else.
	if (!file || back != file || !sk || owner != socket)
		return 0;
	read(protocol, sk, sk_protocol);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
		return 0;
	// It may be closed already.
	read(port, (struct inet_sock *)sk, inet_sport);
	e = about(ACCEPTED, (void *)sk, HTONS(port));
	if (!e)
		return 0;
	e->pid = get_current_pid_tgid() >> 32;
	get_current_comm(e->name, sizeof(e->name));
	submit(e);
	return 0;
}

char __license[] SEC("license") = "Dual MIT/GPL";
