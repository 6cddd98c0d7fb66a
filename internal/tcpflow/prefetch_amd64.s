#include "go_asm.h"
#include "textflag.h"

// func prefetch(lines []uintptr)
TEXT ·prefetch(SB), NOSPLIT, $0-24
	MOVQ lines_base+0(FP), SI
	MOVQ lines_len+8(FP), CX
	LEAQ (SI)(CX*8), CX
	JMP  check

next:
	MOVQ       (SI), DX
	PREFETCHT0 (DX)
	ADDQ       $8, SI

check:
	CMPQ SI, CX
	JB   next
	RET

// func prefetchSlots(packets []packet, slots []uint64)
TEXT ·prefetchSlots(SB), NOSPLIT, $0-48
	MOVQ  packets_base+0(FP), SI
	MOVQ  packets_len+8(FP), CX
	MOVQ  slots_base+24(FP), R8
	MOVQ  slots_len+32(FP), R9
	DECQ  R9
	IMULQ $packet__size, CX
	ADDQ  SI, CX
	JMP   check

next:
	MOVL       packet_hash(SI), DX
	ANDQ       R9, DX
	PREFETCHT0 (R8)(DX*8)
	ADDQ       $packet__size, SI

check:
	CMPQ SI, CX
	JB   next
	RET

// func prefetchConns(packets []packet, slots []uint64, chunks []*[chunk]conn, data []byte)
TEXT ·prefetchConns(SB), NOSPLIT, $0-96
	MOVQ  packets_base+0(FP), SI
	MOVQ  packets_len+8(FP), CX
	MOVQ  slots_base+24(FP), R8
	MOVQ  slots_len+32(FP), R9
	MOVQ  chunks_base+48(FP), R10
	MOVQ  data_base+72(FP), R11
	DECQ  R9
	IMULQ $packet__size, CX
	ADDQ  SI, CX
	JMP   check

next:
	// The lower half of a slot is the number of the connection.
	MOVL       packet_hash(SI), DX
	ANDQ       R9, DX
	MOVL       (R8)(DX*8), AX
	MOVL       AX, BX
	SHRL       $const_chunkBits, BX
	MOVQ       (R10)(BX*8), BX
	ANDL       $(const_chunk-1), AX
	IMULQ      $conn__size, AX
	ADDQ       AX, BX
	PREFETCHT0 (BX)
	PREFETCHT0 64(BX)

	// FIN, SYN and RST are the lowest bits of the flags. They cannot be
	// predicted: what is not wanted is the first line again, and no branch.
	MOVL    packet_ip(SI), AX
	LEAQ    20(R11)(AX*1), AX
	LEAQ    128(BX), DX
	MOVBLZX packet_flags(SI), DI
	TESTL   $2, DI
	CMOVQEQ BX, AX
	TESTL   $7, DI
	CMOVQEQ BX, DX
	PREFETCHT0 (DX)
	PREFETCHT0 64(DX)
	PREFETCHT0 (AX)
	PREFETCHT0 44(AX)
	ADDQ    $packet__size, SI

check:
	CMPQ SI, CX
	JB   next
	RET
