/* SPDX-License-Identifier: Apache-2.0 */
	.section .rodata
	.balign 16
	.globl virtiofsd_preload_start, virtiofsd_preload_end
	.type virtiofsd_preload_start, @object
	.type virtiofsd_preload_end, @object
virtiofsd_preload_start:
	.incbin VIRTIOFSD_PRELOAD_PATH
virtiofsd_preload_end:
	.byte 0
	.size virtiofsd_preload_start, virtiofsd_preload_end - virtiofsd_preload_start
	.size virtiofsd_preload_end, 1
	.section .note.GNU-stack, "", @progbits
