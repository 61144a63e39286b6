/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_FAKE_KVM_H
#define SPMVM_TESTS_UNIT_FAKE_KVM_H

#include <stdatomic.h>

#include "vmm/kvm/kvm.h"

/*
 * A KVM behind the real header (vmm/kvm/kvm.h), linked in the place of the library: a vcpu does what a test wrote down, step by step. It
 * holds a descriptor for each thing that KVM would, so that what is not released is seen.
 */
enum { FAKE_MEMSLOTS_MAX = 64, FAKE_IRQFDS_MAX = 64, FAKE_KICKS_MAX = 512 };

/* One exit of vcpu 0. After the last, and on every other vcpu from the start, KVM_RUN blocks until it is kicked. */
struct fake_step {
	struct kvm_exit exit; /* data: what the guest writes, or NULL for a read */
	int code;             /* -errno: KVM_RUN fails */
	uint8_t answer[16];   /* of a read, filled in when the next step begins */
};

struct fake_kvm {
	struct kvm_limits limits;
	struct fake_step *steps;
	size_t step_count;
	atomic_size_t step; /* how many were done */
	struct {
		struct range gpa;
		uint8_t *hva;
		bool readonly;
	} memslots[FAKE_MEMSLOTS_MAX];
	size_t memslot_count;
	struct range pre_faulted[FAKE_MEMSLOTS_MAX];
	size_t pre_faulted_count;
	bool irqchip; /* made; memslots come before (see kvm_create_irqchip()) */
	struct {
		int eventfd;
		uint32_t gsi;
	} irqfds[FAKE_IRQFDS_MAX];
	size_t irqfd_count;
	struct {
		int eventfd;
		uint64_t gpa;
		uint32_t value;
	} kicks[FAKE_KICKS_MAX]; /* ioeventfds */
	size_t kick_count;
	struct kvm_topology topologies[256]; /* of each vcpu */
	struct kvm_start start;              /* of vcpu 0 */
	/* asked before every call of KVM that can fail: 0, or -errno that it shall fail with. May be NULL. */
	int (*fails)(const char *call);
	uint64_t clock;      /* of the guest: what was set last */
	unsigned clock_sets; /* how often it was */
	atomic_uint pauses;  /* times a vcpu was told that it stood still */
	unsigned machine_checks;
	uint64_t broken;           /* the address of the last one */
	void (*before_step)(void); /* called on the vcpu's thread; may be NULL */
};

/* The one KVM of the process. */
extern struct fake_kvm fake_kvm;

/* Hardware with 46 bits and room for everything, and nothing done yet. */
void fake_kvm_reset(void);

#endif
