/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KVM_STATS_H
#define SPMVM_KVM_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/counter.h"

/*
 * What KVM itself counts about a VM or a vcpu (KVM_GET_STATS_FD, Linux 5.14; api.rst §4.133): a descriptor that tells
 * names and places once, and is read at any time after. The names are the kernel's and differ with its version.
 * Histograms are left out.
 */
enum { KVM_STAT_NAME_SIZE = 64 };

struct kvm_stat {
	char name[KVM_STAT_NAME_SIZE]; /* of [a-z0-9_] */
	enum counter_kind kind;
	size_t offset; /* in the data */
};

struct kvm_stats {
	int fd;                 /* owned; -1 when unset */
	struct kvm_stat *stats; /* heap, owned */
	size_t count;
	uint8_t *data;        /* as read last; heap, owned */
	size_t data_size;     /* as far as the last of stats */
	uint64_t data_offset; /* in the file */
};

/* Nothing open; the state before kvm_stats_open() and after kvm_stats_release(). */
void kvm_stats_init(struct kvm_stats *stats);

/*
 * Asks the VM's or vcpu's descriptor fd for its statistics. -errno: -ENOTTY or -EINVAL from a kernel that has none;
 * -EPROTO when what it says breaks the format. *stats is then as kvm_stats_init() leaves it.
 */
int kvm_stats_open(struct kvm_stats *stats, int fd);

/* The same with the descriptor that KVM_GET_STATS_FD gave; taken over, also on failure. */
int kvm_stats_load(struct kvm_stats *stats, int stats_fd);

void kvm_stats_release(struct kvm_stats *stats);

/* Reads all of them anew. -errno; kvm_stats_value() is good after success. */
int kvm_stats_read(const struct kvm_stats *stats);
uint64_t kvm_stats_value(const struct kvm_stats *stats, size_t index);

#endif
