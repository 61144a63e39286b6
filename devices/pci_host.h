/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_PCI_HOST_H
#define SPMVM_DEVICES_PCI_HOST_H

#include <pthread.h>
#include <stdint.h>

#include "devices/device.h"

/*
 * PCI configuration mechanism #1 (PCI Local Bus 3.0 §3.2.2.3.2) with nothing behind it but a host bridge at 00:00.0. There are no PCI devices
 * here: the bridge is what makes Linux publish Soft Reserved ranges as resources (e820__reserve_resources_late() runs from
 * pcibios_resource_survey(), and that only with PCI configuration access).
 *
 * CONFIG_ADDRESS answers accesses of 32 bits only; so the PC's reset register at port 0xcf9, inside of it, does not exist here.
 */
#define PCI_HOST_ADDRESS_PORT UINT64_C(0xcf8)
#define PCI_HOST_DATA_PORT    UINT64_C(0xcfc)

struct pci_host {
	pthread_mutex_t lock;
	uint32_t address; /* CONFIG_ADDRESS as written, its reserved bits included; under lock */
};

/* 0, or -errno of pthread_mutex_init(). */
int pci_host_init(struct pci_host *host);
/* Takes NULL, a zeroed host and one released before. */
void pci_host_release(struct pci_host *host);
void pci_host_wants(struct dev_wants *wants);

#endif
