/* SPDX-License-Identifier: Apache-2.0 */
	.section .rodata
	.balign 16
	.globl guest_init_start, guest_init_end
	.type guest_init_start, @object
	.type guest_init_end, @object
guest_init_start:
	.incbin GUEST_INIT_PATH
guest_init_end:
	.byte 0
	.size guest_init_start, guest_init_end - guest_init_start
	.size guest_init_end, 1
	.section .note.GNU-stack, "", @progbits
