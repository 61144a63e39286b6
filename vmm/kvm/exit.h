/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KVM_EXIT_H
#define SPMVM_KVM_EXIT_H

#include <linux/kvm.h>

#include "vmm/kvm/kvm.h"

/*
 * What a finished KVM_RUN says (api.rst §5), in spmvm's words. Pure. Inside vmm/kvm only. exit->data points into run,
 * or to KVM's I/O page behind it.
 */
void kvm_exit_decode(struct kvm_run *run, struct kvm_exit *exit);

#endif
