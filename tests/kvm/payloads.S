/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests of a few bytes for test_machine.c, entered as Linux is (boot.rst, "64-bit boot protocol"): long mode, the first 4 GiB mapped one to one,
 * RSI = zero page, a stack. Each may lie anywhere, so nothing here is relocated. Payloads print to COM1 and end through the power
 * ports; the letters are what the test looks for.
 */
	.section .rodata
	.code64

	.set COM1, 0x3f8
	.set SLEEP_CONTROL, 0x600
	.set S5_NOW, 0x34          /* SLP_TYP 5, SLP_EN */
	.set RESET, 0x602

/* A payload lies from payload_NAME to payload_NAME_end. */
.macro payload name
	.globl payload_\name, payload_\name\()_end
	.balign 16
payload_\name:
.endm
.macro payload_end name
payload_\name\()_end:
.endm

.macro out8 port, value
	movw $\port, %dx
	movb $\value, %al
	outb %al, %dx
.endm
.macro print letter
	out8 COM1, \letter
.endm
.macro power_off
	out8 SLEEP_CONTROL, S5_NOW
1:	pause
	jmp 1b
.endm
.macro reset
	out8 RESET, 1
1:	pause
	jmp 1b
.endm

/* Prints count bytes at RSI with one string instruction; changes RSI, RCX, RDX. */
.macro print_bytes count
	movl \count, %ecx
	movw $COM1, %dx
	cld
	rep outsb
.endm

payload hello
	leaq hello_text(%rip), %rsi
	movw $COM1, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	power_off
hello_text:
	.asciz "hello from 64-bit code\n"
payload_end hello

payload reset
	print 'R'
	reset
payload_end reset

/* The keyboard controller's reset line. */
payload keyboard
	out8 0x64, 0xfe
1:	pause
	jmp 1b
payload_end keyboard

/* A warm reset, which is what Linux does at a panic with our command line (reboot=panic_warm). */
payload warm_reset
	movw $0x1234, 0x472
	reset
payload_end warm_reset

/* A cold reset is one that somebody asked for. */
payload cold_reset
	movw $0, 0x472
	reset
payload_end cold_reset

payload pvpanic
	out8 0x505, 1
1:	pause
	jmp 1b
payload_end pvpanic

/* Where there is a debug-exit port, this ends the machine with 42; where there is none, the port reads as ones. */
payload debug_exit
	movw $0xf4, %dx
	inb %dx, %al
	cmpb $0xff, %al
	jne there_is_one
	print 'N'
	power_off
there_is_one:
	movl $0x7788992a, %eax
	movw $0xf4, %dx
	outl %eax, %dx
1:	pause
	jmp 1b
payload_end debug_exit

/* 3000 writes to a port and 50 to memory that nobody has, and the marks of a start: 2 before 1, 9, and 2 again. */
payload count
	movl $3000, %ecx
	movw $0x700, %dx
1:	outb %al, %dx
	decl %ecx
	jnz 1b
	movl $50, %ecx
	movl $0xfe000000, %edi
1:	movl %ecx, (%rdi)
	decl %ecx
	jnz 1b
	out8 0xf5, 2
	out8 0xf5, 1
	out8 0xf5, 9
	out8 0xf5, 2
	print 'C'
	power_off
payload_end count

payload triple_fault
	print 'T'
	lidt no_idt(%rip)
	ud2
no_idt:
	.word 0
	.quad 0
payload_end triple_fault

payload spin
	print 'S'
1:	pause
	jmp 1b
payload_end spin

/* Interrupts are off, so nothing ends this halt. */
payload halt
	print 'H'
1:	hlt
	jmp 1b
payload_end halt

/* Never stops printing. */
payload chatter
	movw $COM1, %dx
	movb $'c', %al
1:	outb %al, %dx
	jmp 1b
payload_end chatter

/*
 * Never stops reading and writing ports, every one but those that would end the machine: power (0x600 to 0x602), pvpanic (0x505),
 * debug-exit (0xf4 to 0xf7), the keyboard controller's reset (0x64).
 */
payload flood_ports
	xorl %ecx, %ecx
1:	movw %cx, %dx
	cmpw $0x64, %dx
	je 2f
	cmpw $0x505, %dx
	je 2f
	leal -0xf4(%rdx), %eax
	cmpw $4, %ax
	jb 2f
	leal -0x600(%rdx), %eax
	cmpw $4, %ax
	jb 2f
	inb %dx, %al
	outb %al, %dx
	inw %dx, %ax
	inl %dx, %eax
2:	incl %ecx
	jmp 1b
payload_end flood_ports

/* Never stops reading and writing the pages around 0xd0000000: the registers of virtio devices, and what has nothing behind it. */
payload flood_mmio
1:	movl $0xcfff0000, %edi
	movl $0xd0020000, %esi
2:	movl (%rdi), %eax
	movl %edi, (%rdi)
	movb %al, 1(%rdi)
	addq $4, %rdi
	cmpq %rsi, %rdi
	jb 2b
	jmp 1b
payload_end flood_mmio

/* The zero page, the RSDP (36 bytes), the command line (256 bytes), the initrd (its size). */
payload boot_params
	movq %rsi, %rbx
	print_bytes $4096
	movq 0x070(%rbx), %rsi
	print_bytes $36
	movl 0x228(%rbx), %esi
	print_bytes $256
	movl 0x218(%rbx), %esi
	print_bytes 0x21c(%rbx)
	power_off
payload_end boot_params

/* What nobody answers reads as ones, of any width, and writes to it go nowhere. 'y' for each that is right. */
.macro check_ones mask
	movb $'y', %bl
	cmpq $\mask, %rax
	je 1f
	movb $'n', %bl
1:	movb %bl, %al
	movw $COM1, %dx
	outb %al, %dx
.endm
payload ones
	out8 0x1234, 0
	xorl %eax, %eax
	movw $0x1234, %dx
	inb %dx, %al
	check_ones 0xff
	xorl %eax, %eax
	movw $0x1234, %dx
	inw %dx, %ax
	check_ones 0xffff
	movw $0x1234, %dx
	inl %dx, %eax
	movl %eax, %eax
	cmpl $-1, %eax
	movl $0, %eax
	sete %al
	check_ones 1
	/* one port beyond the serial port's eight */
	xorl %eax, %eax
	movw $0x400, %dx
	inb %dx, %al
	check_ones 0xff
	/* a width that COM1 does not take */
	xorl %eax, %eax
	movw $COM1, %dx
	inw %dx, %ax
	check_ones 0xffff
	/* memory without anything behind it: in the 32-bit hole */
	movl $0xe0000000, %edi
	movb $0, (%rdi)
	movzbl (%rdi), %eax
	check_ones 0xff
	movzwl (%rdi), %eax
	check_ones 0xffff
	movq $0, (%rdi)
	movq (%rdi), %rax
	check_ones -1
	power_off
payload_end ones

/* The host bridge that makes Linux publish Soft Reserved ranges: its ids, and ones where no device is. */
payload pci
	movl $0x80000000, %eax
	movw $0xcf8, %dx
	outl %eax, %dx
	movw $0xcfc, %dx
	inl %dx, %eax
	pushq %rax
	movl $0x80000800, %eax
	movw $0xcf8, %dx
	outl %eax, %dx
	movw $0xcfc, %dx
	inl %dx, %eax
	pushq %rax
	movq %rsp, %rsi
	print_bytes $16
	power_off
payload_end pci

/*
 * Echoes COM1 by polling until a 'q' comes. RTS is set because the other side waits for it.
 */
payload echo
	out8 COM1 + 4, 0x03
	print '>'
1:	movw $COM1 + 5, %dx
2:	inb %dx, %al
	testb $1, %al
	jz 2b
	movw $COM1, %dx
	inb %dx, %al
	cmpb $'q', %al
	je 3f
	outb %al, %dx
	jmp 1b
3:	power_off
payload_end echo

/*
 * Maps a 2 MiB page of guest-physical memory where the test says and copies a mark into it. The test puts its address behind the code, a
 * multiple of 2 MiB: the eight bytes at spm_address, and, as a second place, at spm_address + 8. In each, the last eight bytes get the mark
 * "SPM-0001" or "SPM-0002", and what was there before is printed. Then it goes on touching a byte before the second mark.
 */
payload spm
	leaq spm_address(%rip), %r8
	movl $2, %r9d
	movabsq $0x313030302d4d5053, %r10  /* "SPM-0001" */
	movl $0x40000, %edi                /* room for page tables, in the command line's neighbourhood but behind it */
1:	movq (%r8), %rax
	/* page directory at RDI: every entry is the same page, so the address's bits 21..29 do not matter */
	movq %rdi, %r11
	movq %rax, %rdx
	orq $0x83, %rdx
	movl $512, %ecx
2:	movq %rdx, (%rdi)
	addq $8, %rdi
	loop 2b
	/* page directory pointers behind it: every entry is that directory */
	movq %r11, %rdx
	orq $3, %rdx
	movl $512, %ecx
3:	movq %rdx, (%rdi)
	addq $8, %rdi
	loop 3b
	/* the root's second entry; its old translation is forgotten with CR3 */
	leaq 4096(%r11), %rdx
	orq $3, %rdx
	movq %cr3, %rcx
	movq %rdx, 8(%rcx)
	movq %rcx, %cr3
	/* 512 GiB and the last eight bytes of the page */
	movabsq $0x80001ffff8, %rsi
	movq (%rsi), %rax
	movq %r10, (%rsi)
	movabsq $0x100000000000000, %rdx
	addq %rdx, %r10
	pushq %rax
	movq %rsp, %rsi
	print_bytes $8
	popq %rax
	addq $8, %r8
	decl %r9d
	jnz 1b
	print '.'
	movabsq $0x80001ffff0, %rsi
4:	incb (%rsi)
	pause
	jmp 4b
	.balign 8
	.globl payload_spm_address
payload_spm_address:
spm_address:
	.quad 0, 0
payload_end spm

	.section .note.GNU-stack, "", @progbits
