/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_GUEST_INIT_H
#define SPMVM_GUEST_INIT_H

/*
 * The program of guest/init, a static x86-64 executable, as bytes inside of spmvm: the first process of the initramfs that spmvm makes.
 * guest_init_end is the first byte behind it.
 */
extern const unsigned char guest_init_start[];
extern const unsigned char guest_init_end[];

#endif
