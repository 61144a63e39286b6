/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_ACPI_ACPI_H
#define SPMVM_ACPI_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi/figures.h"
#include "vmm/base/buf.h"
#include "vmm/base/error.h"
#include "vmm/base/range.h"

/*
 * ACPI tables (ACPI specification 6.5) made from a description of the machine. Pure: no system calls, no knowledge of KVM or of
 * the E820 map; the same inputs give the same bytes.
 */
struct acpi_cpu {
	uint32_t apic_id;
	uint32_t pxm; /* proximity domain */
};

/* One SRAT memory affinity structure (§5.2.16.2), always ENABLED. */
struct acpi_memory {
	struct range range;
	uint32_t pxm;
	bool hotpluggable;
};

/*
 * A device of the DSDT with what its _CRS says; unused parts are zero. An accelerator is one in a domain (_PXM) that SRAT
 * makes a generic initiator there (§5.2.16.6), which asks for a hid that is an ACPI id.
 */
struct acpi_device {
	const char *name; /* of the object, 4 characters of A-Z 0-9 _: "COM1" */
	const char *hid;  /* "PNP0501", "LNRO0005", "QEMU0001": EISA ids are packed, others stay strings (§6.1.5) */
	const char *description; /* _STR (§6.1.10): what a person calls it, up to 63 characters of ASCII, or NULL */
	struct range io;         /* an I/O port range (§6.4.2.5) */
	struct range mmio;       /* a 32-bit fixed memory range (§6.4.3.4) */
	uint32_t uid;
	uint32_t gsi; /* an extended interrupt (§6.4.3.6), exclusive, consumer */
	uint32_t pxm; /* of an accelerator */
	bool has_irq;
	bool level; /* level, active high; otherwise edge, active high */
	bool is_initiator;
};

/* A memory side cache (§5.2.28.5): the memory of a domain is behind it. */
struct acpi_cache {
	uint32_t pxm;
	uint64_t size;
	uint8_t level, levels; /* of so many before this memory, 1 to 3, this is number level */
	uint8_t mapping;       /* 0 none, 1 direct mapped, 2 complex */
	uint8_t policy;        /* of writes: 0 none, 1 write back, 2 write through */
	uint16_t line;         /* bytes */
};

/* Of a memory domain with no initiator of its own. */
#define ACPI_NOT_ATTACHED UINT32_MAX

struct acpi_inputs {
	const struct acpi_cpu *cpus; /* in the order of MADT and of the processor devices; at least one */
	size_t cpu_count;
	const struct acpi_memory *memory; /* in the order of SRAT: ascending proximity domains */
	size_t memory_count;
	const uint8_t *distances; /* SLIT: localities * localities, row by row (§5.2.17) */
	uint32_t localities;      /* highest proximity domain + 1 */
	const struct acpi_device *devices;
	size_t device_count;
	/*
	 * HMAT, which is there when hmat is true. Initiators are the domains 0 to initiators - 1: those with
	 * processors, then those with accelerators. Each kind of figures has initiators * localities of them, row by
	 * row. attached has for each domain the initiator that its memory belongs to, or ACPI_NOT_ATTACHED.
	 */
	bool hmat;
	uint32_t initiators;
	const uint32_t *figures[ACPI_FIGURES];
	const uint32_t *attached;
	const struct acpi_cache *caches;
	size_t cache_count;
	uint32_t lapic_address, ioapic_address;
	uint8_t ioapic_id; /* its first interrupt is GSI 0 */
	/* hardware-reduced ACPI (§4.1): I/O ports of the sleep and reset registers, one byte wide each */
	uint16_t sleep_control_port, sleep_status_port, reset_port;
	uint8_t reset_value, sleep_type_s5;
	uint32_t button_gsi; /* the power button is pressed: an edge there (§5.6.9) */
};

/* A table's place in the blob. */
struct acpi_table {
	char signature[5]; /* "SRAT"; the RSDP is "RSDP" */
	size_t offset, size;
};

enum { ACPI_TABLES_MAX = 16 };

struct acpi_blob {
	struct buf bytes; /* RSDP first; owned here */
	struct acpi_table tables[ACPI_TABLES_MAX];
	size_t table_count;
};

/*
 * Builds RSDP, DSDT, FADT, MADT, SRAT, SLIT, HMAT and XSDT, in this order, linked for a blob that is put at the
 * guest-physical address base (a multiple of 16). Checks the inputs first (acpi_check). Overwrites *blob, which the
 * caller then owns (acpi_blob_release); it need not be released after a failure. -EINVAL with EXIT_STATUS_INTERNAL for
 * inputs or a base that cannot be, -ENOMEM with EXIT_STATUS_HOST when memory runs out.
 */
int acpi_build(struct acpi_blob *blob, const struct acpi_inputs *inputs, uint64_t base, struct error *err);

void acpi_blob_release(struct acpi_blob *blob);

/*
 * What neither iasl nor a sleepy reader catches: -EINVAL with EXIT_STATUS_INTERNAL and one line that names the entry,
 * the value and the rule. These make Linux drop all NUMA, or its nodes differ from the user's: memory ranges that
 * overlap, are empty or wrap; SRAT memory not in ascending order of proximity domains; domains not dense from 0 to
 * localities - 1, or first met out of order (processors first); a diagonal other than 10, an entry off the diagonal
 * below 11. These cannot be encoded or are ambiguous: no processor or more than 4096; duplicate APIC ids; an APIC id
 * below 255 behind the first 255 processors; malformed or duplicate device names (C000 to CFFF are the processors',
 * PWRB and GED_ the power button's),
 * ids that are neither EISA nor ACPI ids, a _HID and _UID used twice, more than 255 ports, resources beyond 64 Ki ports
 * or 4 GiB; a sleep type above 7; figures of one kind without a common unit; figures, attachments and caches of domains
 * that have no memory or initiator. Takes time with the square of each count.
 */
int acpi_check(const struct acpi_inputs *inputs, struct error *err);

/*
 * What the size of the tables depends on. accelerators are among the devices; initiators and caches are those of HMAT,
 * 0 without one.
 */
struct acpi_counts {
	size_t cpus, memory, devices, accelerators, caches;
	uint32_t localities, initiators;
};

/* An upper bound for the blob's size, from counts alone, for a layout that must set memory aside before. Multiple of 4 KiB. */
uint64_t acpi_size_bound(const struct acpi_counts *counts);

#endif
