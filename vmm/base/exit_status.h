/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_EXIT_STATUS_H
#define SPMVM_BASE_EXIT_STATUS_H

/*
 * The exit statuses of spmvm, the one place where they are numbered; the README quotes this table and a test
 * compares the two. A process that was ended by signal n exits with 128 + n.
 */
enum exit_status {
	EXIT_STATUS_OK = 0,           /* the guest powered off or reset cleanly */
	EXIT_STATUS_INTERNAL = 1,     /* a fault of spmvm itself */
	EXIT_STATUS_USAGE = 2,        /* the command line cannot be understood */
	EXIT_STATUS_CONFIG = 3,       /* the machine asked for cannot exist */
	EXIT_STATUS_HOST = 4,         /* the host lacks something: KVM, memory, huge pages, a permission */
	EXIT_STATUS_IMAGE = 5,        /* the kernel, the initramfs or the command line cannot be booted */
	EXIT_STATUS_GUEST_CRASH = 6,  /* the guest panicked or triple-faulted, or KVM cannot go on */
	EXIT_STATUS_GUEST_MEMORY = 7, /* the guest's kernel killed the command for want of memory */
	EXIT_STATUS_BACKING = 8,      /* the host's memory behind the guest broke or was taken away */
	EXIT_STATUS_SANDBOX = 9,      /* a system call that the sandbox forbids */
	EXIT_STATUS_TIMEOUT = 124,    /* --timeout was up, as timeout(1) says it */
	EXIT_STATUS_SIGNAL = 128      /* plus the signal's number */
};

#endif
