/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of every device on the port bus, under a guest that does what the input's bytes say. Each step is six bytes: what to do,
 * where (in a range, or anywhere), and a value. The bus cuts off values and the receiver stays in its bounds.
 */
#include "devices/debug_exit.h"
#include "devices/pci_host.h"
#include "devices/power.h"
#include "devices/pvpanic.h"
#include "devices/serial.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct devices {
	struct bus bus;
	struct serial serial;
	struct power power;
	struct pvpanic pvpanic;
	struct pci_host pci_host;
	struct debug_exit debug_exit;
};

static void require(bool true_always)
{
	if (!true_always)
		abort();
}

static void on_request(void *context, enum dev_request request, uint32_t value)
{
	(void)context;
	require(request <= DEV_REQUEST_EXIT && value <= 0xffff);
}

static void on_transmit(void *context, uint8_t byte)
{
	(void)context;
	(void)byte;
}

static void on_drained(void *context)
{
	struct devices *devices = context;

	require(serial_receive(&devices->serial, (const uint8_t *)"+", 1) == 1);
}

static void plug(struct bus *bus, const struct dev_wants *wants, void *device)
{
	for (size_t i = 0; i < wants->io_count; i++)
		require(bus_add(bus, wants->io[i].range, wants->io[i].ops, device) == 0);
}

static void plug_all(struct devices *devices)
{
	struct dev_sink sink = {on_request, devices};
	struct dev_wants wants;

	require(serial_init(&devices->serial, on_transmit, on_drained, devices) == 0);
	serial_wants(&wants);
	plug(&devices->bus, &wants, &devices->serial);
	power_init(&devices->power, sink);
	power_wants(&wants);
	plug(&devices->bus, &wants, &devices->power);
	pvpanic_init(&devices->pvpanic, sink);
	pvpanic_wants(&wants);
	plug(&devices->bus, &wants, &devices->pvpanic);
	require(pci_host_init(&devices->pci_host) == 0);
	pci_host_wants(&wants);
	plug(&devices->bus, &wants, &devices->pci_host);
	debug_exit_init(&devices->debug_exit, sink);
	debug_exit_wants(&wants);
	plug(&devices->bus, &wants, &devices->debug_exit);
}

/* step[0]: bit 0 write, bits 1..2 width, bit 3 input for the UART instead, bit 4 any port at all; step[1]: where; then the value. */
static void take_step(struct devices *devices, const uint8_t step[6])
{
	uint32_t argument;

	memcpy(&argument, &step[2], sizeof(argument));

	const struct range *range = &devices->bus.entries[step[1] % devices->bus.count].range;
	uint64_t port = (step[0] & 0x10) != 0 ? (argument >> 16) : range->start + (step[1] >> 4) % range->size;
	unsigned width = 1u << (step[0] >> 1 & 3);
	uint64_t value;

	if ((step[0] & 8) != 0) {
		require(serial_receive(&devices->serial, &step[2], argument % 5) <= 4);
	} else if ((step[0] & 1) != 0) {
		bus_write(&devices->bus, port, width, argument * UINT64_C(0x100000001));
	} else {
		bus_read(&devices->bus, port, width, &value);
		require(width == 8 || value >> (8 * width) == 0);
	}
	require(devices->serial.fifo_count <= SERIAL_FIFO_SIZE && devices->serial.fifo_head < SERIAL_FIFO_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct devices devices = {0};

	plug_all(&devices);
	for (; size >= 6; data += 6, size -= 6)
		take_step(&devices, data);
	serial_release(&devices.serial);
	pci_host_release(&devices.pci_host);
	return 0;
}
