/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/pci_host.h"

/* CONFIG_ADDRESS (PCI 3.0 §3.2.2.3.2, figure 3-2). Bits 30..24 are reserved and 1..0 always zero: both read 0. */
enum { ADDRESS_REGISTER = 0xfc };
#define ADDRESS_ENABLE   UINT32_C(0x80000000)
#define ADDRESS_RESERVED UINT32_C(0x7f000000)
#define ADDRESS_FUNCTION UINT32_C(0x00ffff00) /* bus, device and function */
#define ADDRESS_READABLE (ADDRESS_ENABLE | ADDRESS_FUNCTION | ADDRESS_REGISTER)

/*
 * Red Hat's generic host bridge of virtual machines. Linux has no driver and no fixup for this id, while with a chip set's id come
 * fixups that poke at its registers (8086:1237, the 440FX: quirk_passive_release, quirk_natoma).
 */
#define HOST_BRIDGE_ID    UINT32_C(0x00081b36) /* device, vendor */
#define HOST_BRIDGE_CLASS UINT32_C(0x06000000) /* bridge, host, no interface, revision 0 (appendix D) */

/*
 * A doubleword of the configuration header (§6.1). Command and status stay zero: nothing here decodes, masters or signals.
 * Header type 0, one function, no BARs, no capabilities; a host bridge needs no subsystem ids (§6.2.4).
 */
static uint32_t host_bridge_register(uint32_t number)
{
	switch (number) {
	case 0x00:
		return HOST_BRIDGE_ID;
	case 0x08:
		return HOST_BRIDGE_CLASS;
	default:
		return 0;
	}
}

static uint32_t config_read(uint32_t address)
{
	/* Off, or a function that does not exist: master abort, all ones (§6.1). */
	if ((address & ADDRESS_ENABLE) == 0 || (address & ADDRESS_FUNCTION) != 0)
		return UINT32_MAX;
	/*
	 * AMD's processors take bits 8..11 of an extended register's number in 24..27 here, and Linux tries it on them (pci_io_ecs_init).
	 * Ones say plainly that there are no such registers, where an alias of the first 256 bytes would not.
	 */
	if ((address & ADDRESS_RESERVED) != 0)
		return UINT32_MAX;
	return host_bridge_register(address & ADDRESS_REGISTER);
}

static uint32_t address_of(struct pci_host *host)
{
	pthread_mutex_lock(&host->lock);
	uint32_t address = host->address;
	pthread_mutex_unlock(&host->lock);
	return address;
}

static uint64_t address_read(void *device, uint64_t offset, unsigned size)
{
	(void)offset;
	(void)size;
	return address_of(device) & ADDRESS_READABLE;
}

static void address_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_host *host = device;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&host->lock);
	host->address = (uint32_t)value;
	pthread_mutex_unlock(&host->lock);
}

static uint64_t data_read(void *device, uint64_t offset, unsigned size)
{
	(void)size;
	return config_read(address_of(device)) >> (8 * offset);
}

/* Every register of the bridge is read-only: a size probe of the BARs reads back zero, which means that there are none. */
static void data_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	(void)device;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct bus_ops address_ops = {.widths = 4, .read = address_read, .write = address_write};
static const struct bus_ops data_ops = {.widths = 1 | 2 | 4, .read = data_read, .write = data_write};

int pci_host_init(struct pci_host *host)
{
	*host = (struct pci_host){0};
	return -pthread_mutex_init(&host->lock, NULL);
}

void pci_host_release(struct pci_host *host)
{
	if (host == NULL)
		return;
	pthread_mutex_destroy(&host->lock);
	*host = (struct pci_host){0};
}

void pci_host_wants(struct dev_wants *wants)
{
	*wants = (struct dev_wants){
		.io = {{BUS_PIO, {PCI_HOST_ADDRESS_PORT, 4}, &address_ops},
		       {BUS_PIO, {PCI_HOST_DATA_PORT, 4}, &data_ops}},
		.io_count = 2,
	};
}
