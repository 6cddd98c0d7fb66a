#include "go_asm.h"
#include "textflag.h"

// func prefetch(lines []uintptr)
TEXT ·prefetch(SB), NOSPLIT, $0-24
	MOVD lines_base+0(FP), R0
	MOVD lines_len+8(FP), R1
	ADD  R1<<3, R0, R1
	B    check

next:
	MOVD.P 8(R0), R2
	PRFM   (R2), PLDL1KEEP

check:
	CMP R1, R0
	BLO next
	RET

// func prefetchSlots(packets []packet, slots []uint64)
TEXT ·prefetchSlots(SB), NOSPLIT, $0-48
	MOVD packets_base+0(FP), R0
	MOVD packets_len+8(FP), R1
	MOVD slots_base+24(FP), R2
	MOVD slots_len+32(FP), R3
	SUB  $1, R3
	MOVD $packet__size, R4
	MADD R4, R0, R1, R1
	B    check

next:
	MOVWU packet_hash(R0), R5
	AND   R3, R5
	ADD   R5<<3, R2, R5
	PRFM  (R5), PLDL1KEEP
	ADD   R4, R0

check:
	CMP R1, R0
	BLO next
	RET

// func prefetchConns(packets []packet, slots []uint64, chunks []*[chunk]conn, data []byte)
TEXT ·prefetchConns(SB), NOSPLIT, $0-96
	MOVD packets_base+0(FP), R0
	MOVD packets_len+8(FP), R1
	MOVD slots_base+24(FP), R2
	MOVD slots_len+32(FP), R3
	MOVD chunks_base+48(FP), R6
	MOVD data_base+72(FP), R7
	SUB  $1, R3
	MOVD $packet__size, R4
	MOVD $conn__size, R10
	MADD R4, R0, R1, R1
	B    check

next:
	// The lower half of a slot is the number of the connection.
	MOVWU packet_hash(R0), R5
	AND   R3, R5
	MOVD  (R2)(R5<<3), R5
	MOVWU R5, R5
	LSR   $const_chunkBits, R5, R8
	MOVD  (R6)(R8<<3), R8
	AND   $(const_chunk-1), R5
	MADD  R10, R8, R5, R8
	PRFM  (R8), PLDL1KEEP
	PRFM  64(R8), PLDL1KEEP

	// FIN, SYN and RST are the lowest bits of the flags. They cannot be
	// predicted: what is not wanted is the first line again, and no branch.
	MOVWU packet_ip(R0), R5
	ADD   R7, R5
	ADD   $20, R5
	ADD   $128, R8, R11
	MOVBU packet_flags(R0), R9
	TST   $2, R9
	CSEL  EQ, R8, R5, R5
	TST   $7, R9
	CSEL  EQ, R8, R11, R11
	PRFM  (R11), PLDL1KEEP
	ADD   $64, R11
	PRFM  (R11), PLDL1KEEP
	PRFM  (R5), PLDL1KEEP
	ADD   $44, R5
	PRFM  (R5), PLDL1KEEP
	ADD   R4, R0

check:
	CMP R1, R0
	BLO next
	RET
