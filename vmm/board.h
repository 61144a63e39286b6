/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BOARD_H
#define SPMVM_BOARD_H

#include <stddef.h>
#include <stdint.h>

#include "acpi/acpi.h"
#include "devices/device.h"
#include "e820/e820.h"
#include "vmm/base/error.h"
#include "vmm/config.h"
#include "vmm/memory/layout.h"

/*
 * The board: every fact that a guest could find out about its machine, worked out once from the configuration, with no KVM, no memory and no
 * privileges. The machine is built from it, and the tables, the plan and its drawings are views of it.
 */
enum board_device_kind {
	BOARD_SERIAL,
	BOARD_POWER,
	BOARD_PCI_HOST,
	BOARD_PVPANIC,
	BOARD_DEBUG_EXIT, /* only when a script's status is to become ours */
	BOARD_VIRTIO,     /* one for each virtio device of the configuration */
	BOARD_DEVICE_KINDS
};

/*
 * The _HID of every accelerator, for its driver to match. Vendor ids of four characters are ACPI's; this one is ours by
 * use only.
 */
#define BOARD_ACCEL_HID "SPMV0001"

/*
 * Virtio devices have a page of registers each, in the 32-bit hole, and share the interrupts from BOARD_VIRTIO_GSI on when there are more devices than pins.
 */
#define BOARD_VIRTIO_BASE UINT64_C(0xd0000000)
#define BOARD_VIRTIO_GSI  5u
#define BOARD_VIRTIO_GSIS 19u

enum { BOARD_DEVICES_MAX = BOARD_VIRTIO + CONFIG_VIRTIO_MAX };

struct board_device {
	enum board_device_kind kind;
	const struct config_device *config; /* of BOARD_VIRTIO */
	char name[5];                       /* of BOARD_VIRTIO: its ACPI name */
	struct dev_wants wants;
};

/* A processor: its place in the package of its NUMA node. */
struct board_cpu {
	uint32_t node;
	uint32_t apic_id;
	uint32_t package_cores; /* in its package */
};

struct board {
	const struct config *config; /* borrowed, outlives the board */
	unsigned phys_bits;          /* the guest's MAXPHYADDR */
	struct mem_layout layout;
	struct e820_table e820; /* sealed */
	struct range hotplug;   /* virtio-mem's region in the window; empty without --maxmem */
	struct board_cpu *cpus;
	unsigned core_bits; /* bits of an APIC id that number the cores of a package */
	struct board_device devices[BOARD_DEVICES_MAX];
	size_t device_count;
	struct acpi_inputs acpi; /* points into the arrays below */
	struct acpi_cpu *acpi_cpus;
	struct acpi_memory *acpi_memory;
	struct acpi_device *acpi_devices;
	uint32_t *acpi_attached;
	struct acpi_cache *acpi_caches;
	char (*accel_names)[5];
};

/*
 * Works the board out. On success the caller owns *board (large: keep it on the heap) and calls board_release().
 */
int board_make(struct board *board, const struct config *config, unsigned phys_bits, struct error *err);

void board_release(struct board *board);

/* The ACPI tables, linked for board->layout.acpi.start, where their first byte (the RSDP) goes. */
int board_build_acpi(const struct board *board, struct acpi_blob *blob, struct error *err);

/* What a person calls a device: "COM1", "--blk disk.img". Borrowed from the board's configuration. */
const char *board_device_name(const struct board_device *device);

/* The configuration's entry behind a region. */
const struct config_memory *board_owner(const struct board *board, const struct mem_region *region);

/* The node whose CPUs or accelerator a node's memory belongs to; ACPI_NOT_ATTACHED when no initiator stands out. */
uint32_t board_attached(const struct board *board, uint32_t node);

/* How much of a block Linux can put online as system RAM: whole memory blocks only (the kmem driver rounds inwards). */
uint64_t board_onlinable(const struct board *board, struct range block);

#endif
