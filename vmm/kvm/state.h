/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KVM_STATE_H
#define SPMVM_KVM_STATE_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "vmm/kvm/kvm.h"

/*
 * The x86 registers that a vcpu starts with. Pure; no call to KVM. Inside vmm/kvm only.
 */

/* The general registers: all zero but rip, rsp, rsi and the flag that is always one. */
struct kvm_regs kvm_state_regs(const struct kvm_start *start);

/*
 * Changes sregs, which hold the state after reset, to that of the start: long mode as boot.rst's "64-bit boot protocol"
 * has it, or real mode with all segments at 0. The local APIC's base is kept.
 */
void kvm_state_sregs(const struct kvm_start *start, struct kvm_sregs *sregs);

/* The model-specific registers of every vcpu. */
enum { KVM_STATE_MSR_COUNT = 2 };
void kvm_state_msrs(struct kvm_msr_entry msrs[KVM_STATE_MSR_COUNT]);

/*
 * The boot processor's local interrupt pins (MP specification 1.4 §3.6.2.2): LINT0 takes the 8259s' line, LINT1 is NMI.

 */
void kvm_state_lapic(struct kvm_lapic_state *lapic);

#endif
