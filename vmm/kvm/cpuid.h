/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KVM_CPUID_H
#define SPMVM_KVM_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "vmm/kvm/kvm.h"

/*
 * What CPUID tells the guest: KVM's table with this processor's place in the machine written in. Pure; no call to KVM.
 * Inside vmm/kvm only.
 */

/*
 * Makes the table of one vcpu from what KVM supports. The caller frees it; NULL when memory runs out.
 *
 * Changed are the APIC id and the topology and cache sharing leaves of both vendors, so that each package is one of
 * topology->package_cores single-threaded cores which share the L3 cache; the TSC-deadline bit, which KVM leaves to the
 * VMM; and the performance counters, which are hidden. All else is as KVM gave it, kvmclock's leaves and the address
 * sizes too.
 */
struct kvm_cpuid2 *kvm_cpuid_make(const struct kvm_cpuid2 *supported, const struct kvm_topology *topology,
				  bool tsc_deadline);

/* How many bits a guest-physical address may have that the guest can also use. */
unsigned kvm_cpuid_phys_bits(const struct kvm_cpuid2 *supported);

#endif
