/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call that is left to a machine that runs, one line each, with who makes it. Looked through from the top, so
 * the frequent ones stand first. What is not here ends the process.
 */
#include "vmm/sandbox_rules.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* linux/io_uring.h, which cannot be included beside fcntl.h everywhere */
enum { UNREGISTER_FILES = 3 };

static const uint32_t VCPU_IOCTLS[] = {
	KVM_RUN,           KVM_GET_SREGS, KVM_X86_SET_MCE, /* a broken memory cell */
	KVM_KVMCLOCK_CTRL,                                 /* it was paused */
	TCSETSW,                                           /* the terminal, when the process ends at once */
};
static const uint32_t MAIN_IOCTLS[] = {
	TCGETS,       TCSETSW,       TIOCGWINSZ,   /* the terminal */
	KVM_GET_REGS, KVM_GET_SREGS, KVM_TRANSLATE /* a crash report */
};
static const uint32_t PAUSE_IOCTLS[] = {KVM_GET_CLOCK, KVM_SET_CLOCK};
static const uint32_t VRING_IOCTLS[] = {
	VHOST_SET_FEATURES,  VHOST_SET_VRING_NUM,  VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK,
};
static const uint32_t NET_IOCTLS[] = {TUNSETOFFLOAD, VHOST_NET_SET_BACKEND};
static const uint32_t VSOCK_IOCTLS[] = {VHOST_VSOCK_SET_RUNNING};
static const uint32_t BLK_IOCTLS[] = {BLKDISCARD};
static const uint32_t EXECUTABLE[] = {PROT_EXEC};
static const uint32_t OURSELF[] = {0};
static const uint32_t UNREGISTER[] = {UNREGISTER_FILES};
/* what malloc and the end of a thread use */
static const uint32_t ADVICE[] = {MADV_DONTNEED};
static const uint32_t ENDING_SIGNALS[] = {SIGTERM, SIGKILL};
/* glibc's locks and conditions, and waiting for a thread's end */
static const uint32_t FUTEX_CALLS[] = {
	FUTEX_WAKE_PRIVATE,
	FUTEX_WAIT_PRIVATE,
	FUTEX_WAIT_BITSET_PRIVATE,
	FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME,
	FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME,
};

#define MAIN       (1u << SANDBOX_MAIN)
#define VCPU       (1u << SANDBOX_VCPU)
#define BOTH       (MAIN | VCPU)
#define WITH(kind) (1u << CONFIG_##kind)
/* virtiofsd and passt */
#define WITH_PROCESS (WITH(SHARE) | WITH(NET))

#define ANY                      SANDBOX_ANY, 0, 0, NULL
#define ONE_OF(argument, values) SANDBOX_ONE_OF, argument, sizeof(values) / sizeof((values)[0]), values

const struct sandbox_rule SANDBOX_RULES[] = {
	/* ---- the guest, devices and the event loop */
	{SYS_ioctl, VCPU, 0, ONE_OF(1, VCPU_IOCTLS)},
	{SYS_write, BOTH, 0, ANY}, /* eventfds, the console, the log, pipes */
	{SYS_epoll_wait, MAIN, 0, ANY},
	{SYS_read, MAIN, 0, ANY}, /* eventfds, timers, signals, the terminal, pipes */
	{SYS_io_uring_enter, MAIN, WITH(BLK), ANY},
	{SYS_readv, MAIN, WITH(PORT), ANY},
	{SYS_writev, MAIN, WITH(PORT) | WITH(NET), ANY},
	{SYS_sendmmsg, MAIN, WITH(NET), ANY},
	{SYS_preadv, MAIN, SANDBOX_PLAIN_IO, ANY},
	{SYS_pwritev, MAIN, SANDBOX_PLAIN_IO, ANY},
	{SYS_fdatasync, MAIN, SANDBOX_PLAIN_IO, ANY},
	{SYS_fallocate, MAIN, SANDBOX_PLAIN_IO | WITH(MEM), ANY}, /* discards, and memory that the guest gives back */
	{SYS_getrandom, MAIN, WITH(RNG), ANY},
	{SYS_futex, BOTH, 0, ONE_OF(1, FUTEX_CALLS)},
	{SYS_poll, BOTH, 0, ANY}, /* a pipe that is full, a process's end */
	{SYS_epoll_ctl, MAIN, 0, ANY},
	{SYS_timerfd_settime, MAIN, 0, ANY}, /* a command that was asked to end */

	/* ---- a device starts, stops or is reset */
	{SYS_ioctl, MAIN, 0, ONE_OF(1, MAIN_IOCTLS)},
	{SYS_ioctl, MAIN, WITH(NET) | WITH(VSOCK), ONE_OF(1, VRING_IOCTLS)},
	{SYS_ioctl, MAIN, WITH(NET), ONE_OF(1, NET_IOCTLS)},
	{SYS_ioctl, MAIN, WITH(VSOCK), ONE_OF(1, VSOCK_IOCTLS)},
	{SYS_ioctl, MAIN, WITH(BLK), ONE_OF(1, BLK_IOCTLS)},
	{SYS_sendmsg, MAIN, WITH_PROCESS, ANY}, /* vhost-user: descriptors of queues */
	{SYS_shutdown, MAIN, WITH_PROCESS, ANY},
	{SYS_io_uring_register, MAIN, WITH(BLK), ONE_OF(1, UNREGISTER)},
	{SYS_kill, MAIN, WITH_PROCESS, ONE_OF(1, ENDING_SIGNALS)},
	{SYS_waitid, MAIN, WITH_PROCESS, ANY},

	/* ---- a machine's control socket */
	{SYS_accept4, MAIN, SANDBOX_CONTROL, ANY},
	{SYS_getsockopt, MAIN, SANDBOX_CONTROL, ANY}, /* who the client is */
	{SYS_ioctl, MAIN, SANDBOX_CONTROL, ONE_OF(1, PAUSE_IOCTLS)},

	/* ---- what has been counted: of the process, of KVM, of its memory; and the file that it goes to */
	{SYS_pread64, MAIN, SANDBOX_METRICS | SANDBOX_CONTROL, ANY},
	{SYS_move_pages, MAIN, SANDBOX_METRICS | SANDBOX_CONTROL, ONE_OF(0, OURSELF)},
	{SYS_pwrite64, MAIN, SANDBOX_METRICS, ANY},
	{SYS_ftruncate, MAIN, SANDBOX_METRICS, ANY},

	/* ---- the C library: memory, signals, clocks */
	{SYS_brk, MAIN, 0, ANY},
	{SYS_mmap, MAIN, 0, SANDBOX_WITHOUT, 2, 1, EXECUTABLE},
	{SYS_mremap, MAIN, 0, ANY},
	{SYS_munmap, MAIN, 0, ANY},
	{SYS_madvise, BOTH, 0, ONE_OF(2, ADVICE)}, /* of a vcpu: its stack, at the end of the thread */
	{SYS_rt_sigreturn, BOTH, 0, ANY},
	{SYS_rt_sigprocmask, BOTH, 0, ANY},
	{SYS_rt_sigaction, MAIN, 0, ANY},
	{SYS_restart_syscall, BOTH, 0, ANY}, /* poll() after SIGSTOP and SIGCONT */
	{SYS_clock_gettime, BOTH, 0, ANY},   /* where the vDSO cannot tell */
	{SYS_getpid, MAIN, 0, ANY},          /* pthread_kill(), abort() */
	{SYS_gettid, MAIN, 0, ANY},          /* abort() */
	{SYS_tgkill, MAIN, 0, SANDBOX_OURSELF, 0, 0, NULL},

	/* ---- the end */
	{SYS_close, MAIN, 0, ANY},
	{SYS_fstat, MAIN, 0, ANY},                   /* memory that went away under the guest */
	{SYS_flock, MAIN, WITH(BLK), ANY},           /* the image is anybody else's */
	{SYS_newfstatat, MAIN, SANDBOX_FOLDER, ANY}, /* whether the control socket is still ours */
	{SYS_unlinkat, MAIN, SANDBOX_FOLDER, ANY},
	{SYS_exit, VCPU, 0, ANY},
	{SYS_exit_group, BOTH, 0, ANY},
};
const unsigned SANDBOX_RULE_COUNT = sizeof(SANDBOX_RULES) / sizeof(SANDBOX_RULES[0]);
