/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loops of steady.c, which it runs where they are and copies to a guest: nothing in them depends on their place. As C functions,
 * uint64_t loop(uint64_t base, uint64_t count, uint64_t rounds): what they return is ticks of the time stamp counter.
 */
	.section .text
	.globl steady_loops, steady_loops_end
	.globl steady_read, steady_write, steady_copy, steady_chase, steady_stop

/* The counter in RAX, and all before it done; changes RDX. */
.macro ticks
	lfence
	rdtsc
	shlq $32, %rdx
	orq %rdx, %rax
.endm

/* Rounds in R8, the first reading in R9. */
.macro begin
	movq %rdx, %r8
	ticks
	movq %rax, %r9
.endm
.macro end
	ticks
	subq %r9, %rax
	ret
.endm

/* The four parts of a line of 64 bytes, at an offset from a register. */
.macro load offset, from
	movdqa \offset(\from), %xmm0
	movdqa \offset + 16(\from), %xmm1
	movdqa \offset + 32(\from), %xmm2
	movdqa \offset + 48(\from), %xmm3
.endm
.macro store offset, to
	movdqa %xmm0, \offset(\to)
	movdqa %xmm1, \offset + 16(\to)
	movdqa %xmm2, \offset + 32(\to)
	movdqa %xmm3, \offset + 48(\to)
.endm

/* Around what is done to step bytes at RCX: rounds over count bytes at RDI, up to R10. R11 begins where they end. */
.macro begin_rounds
	begin
1:	movq %rdi, %rcx
	leaq (%rdi,%rsi), %r10
	movq %r10, %r11
	.balign 32
2:
.endm
.macro end_rounds step
	addq $\step, %rcx
	cmpq %r10, %rcx
	jb 2b
	decq %r8
	jnz 1b
	end
.endm

	.balign 64
steady_loops:
/* Reads count bytes, a multiple of 256, in each round. */
steady_read:
	begin_rounds
	load 0, %rcx
	load 64, %rcx
	load 128, %rcx
	load 192, %rcx
	end_rounds 256

/* Writes them. */
	.balign 64
steady_write:
	pxor %xmm0, %xmm0
	movdqa %xmm0, %xmm1
	movdqa %xmm0, %xmm2
	movdqa %xmm0, %xmm3
	begin_rounds
	store 0, %rcx
	store 64, %rcx
	store 128, %rcx
	store 192, %rcx
	end_rounds 256

/* Copies the first half of them to the second. */
	.balign 64
steady_copy:
	shrq $1, %rsi
	begin_rounds
	load 0, %rcx
	store 0, %r11
	load 64, %rcx
	store 64, %r11
	addq $128, %r11
	end_rounds 128

	.balign 64
/* Follows count pointers, from the one at base. */
steady_chase:
	begin
1:	movq (%rdi), %rdi
	decq %rsi
	jnz 1b
	end

/* Not called but entered, in a guest: calls RBX, then writes what it returns to *R15, where there is no memory, so that KVM leaves the guest. */
	.balign 64
steady_stop:
	call *%rbx
	movq %rax, (%r15)
1:	pause
	jmp 1b
steady_loops_end:

	.section .note.GNU-stack, "", @progbits
