/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KVM_DUMP_H
#define SPMVM_KVM_DUMP_H

#include <linux/kvm.h>

#include "vmm/base/buf.h"

/*
 * Registers as text, the pure parts of kvm_vcpu_dump(). Inside vmm/kvm only.
 */
void kvm_dump_registers(struct buf *text, const struct kvm_regs *regs);
void kvm_dump_system(struct buf *text, const struct kvm_sregs *sregs);

#endif
