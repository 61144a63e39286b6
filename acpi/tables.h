/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_ACPI_TABLES_H
#define SPMVM_ACPI_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "acpi/acpi.h"
#include "vmm/base/buf.h"

/*
 * The tables, one file each. Each function appends one whole table to bytes; the inputs have passed acpi_check(). Addresses are
 * guest-physical. Private to acpi/; acpi_build() says in which order they are made.
 */

/* The RSDP with no XSDT yet; rsdp_link() fills that in. Returns its offset. */
size_t rsdp_append(struct buf *bytes);
void rsdp_link(struct buf *bytes, size_t rsdp, uint64_t xsdt);

void dsdt_append(struct buf *bytes, const struct acpi_inputs *inputs);
void fadt_append(struct buf *bytes, const struct acpi_inputs *inputs, uint64_t dsdt);
void madt_append(struct buf *bytes, const struct acpi_inputs *inputs);
void srat_append(struct buf *bytes, const struct acpi_inputs *inputs);
void slit_append(struct buf *bytes, const struct acpi_inputs *inputs);
void hmat_append(struct buf *bytes, const struct acpi_inputs *inputs);
void xsdt_append(struct buf *bytes, const uint64_t *tables, size_t count);

/*
 * Processors are numbered by their place in acpi_inputs: that is their _UID, and their device is named C000 to CFFF. Those below
 * ACPI_XAPIC_ID_END are told in the old structures of MADT and SRAT, the others in those for x2APIC (§5.2.12.12 leaves no choice).
 */
enum { ACPI_CPUS_MAX = 0x1000, ACPI_XAPIC_ID_END = 255 };

/* Characters of a device's description. */
enum { ACPI_DESCRIPTION_MAX = 63 };

/*
 * The most bytes that a table takes, part by part, for acpi_size_bound(); kept beside the functions that append them in
 * the order of their fields.
 */
enum {
	RSDP_SIZE = 36,
	XSDT_SIZE_MAX = 36 + 8 * ACPI_TABLES_MAX,
	FADT_SIZE = 276,
	MADT_SIZE_FIXED = 36 + 8 + 12,
	MADT_SIZE_CPU = 16,
	SRAT_SIZE_FIXED = 36 + 12,
	SRAT_SIZE_CPU = 24,
	SRAT_SIZE_MEMORY = 40,
	SRAT_SIZE_INITIATOR = 32,
	SLIT_SIZE_FIXED = 36 + 8,
	HMAT_SIZE_FIXED = 36 + 4,
	HMAT_SIZE_MEMORY = 40,
	HMAT_SIZE_LOCALITY = 32,
	HMAT_SIZE_CACHE = 32,
	/* opcode, length, name; _HID as an EISA ID */
	DSDT_SIZE_BUTTON = (2 + 1 + 4) + (5 + 5),
	/*
	 * opcode, length, name; _HID as a string; _CRS as a buffer of interrupt and end tag; _EVT's opcode, length,
	 * name and flags; If (LEqual (Arg0, an interrupt of up to 32 bits)); Notify (PWRB, one byte)
	 */
	DSDT_SIZE_EVENTS =
		(2 + 2 + 4) + (5 + 10) + (5 + 1 + 1 + 2 + 9 + 2) + (1 + 1 + 4 + 1) + (1 + 1 + 1 + 1 + 5) + (1 + 4 + 2),
	/* header; \_S5 with four integers of two bytes; the scope's opcode, length and name; then both of those */
	DSDT_SIZE_FIXED = 36 + (5 + 3 + 4 * 2) + (1 + 4 + 4) + DSDT_SIZE_BUTTON + DSDT_SIZE_EVENTS,
	/* opcode, length, name; _HID; _UID; _PXM */
	DSDT_SIZE_CPU = (2 + 2 + 4) + (5 + 10) + (5 + 5) + (5 + 5),
	/* opcode, length, name; _HID; _UID; _CRS as a buffer of port, memory, interrupt and end tag */
	DSDT_SIZE_DEVICE = (2 + 2 + 4) + (5 + 10) + (5 + 5) + (5 + 1 + 2 + 2 + 8 + 12 + 9 + 2),
	/* what a generic initiator has beyond that: _PXM; _STR as a buffer */
	DSDT_SIZE_INITIATOR = (5 + 5) + (5 + 1 + 2 + 2 + 2 * (ACPI_DESCRIPTION_MAX + 1))
};

#endif
