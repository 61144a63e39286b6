/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_KVM_ACCESS_H
#define SPMVM_KVM_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/error.h"

/*
 * How the host offers KVM. Inside vmm/kvm only.
 */

/*
 * Opens the KVM device; returns the descriptor, which the caller closes, or -errno. The error says what to do: which
 * module to load, which group to join.
 */
int kvm_device_open(const char *device, struct error *err);

/*
 * Writes the name of the module that implements KVM to name, "unknown" when there is none, by looking into modules
 * ("/sys/module"). Returns whether it is one that runs guests on the processor's own virtualization.
 */
bool kvm_backend_find(const char *modules, char *name, size_t size);

#endif
