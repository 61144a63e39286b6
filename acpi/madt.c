/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/table.h"
#include "acpi/tables.h"

enum { CPU_ENABLED = 1 << 0 };

/* §5.2.12.2, processor local APIC structure */
static void local_apic(struct buf *bytes, uint8_t uid, uint8_t apic_id)
{
	buf_u8(bytes, 0); /* type */
	buf_u8(bytes, 8); /* length */
	buf_u8(bytes, uid);
	buf_u8(bytes, apic_id);
	buf_u32(bytes, CPU_ENABLED);
}

/* §5.2.12.12, processor local x2APIC structure */
static void local_x2apic(struct buf *bytes, uint32_t uid, uint32_t apic_id)
{
	buf_u8(bytes, 9);  /* type */
	buf_u8(bytes, 16); /* length */
	buf_u16(bytes, 0); /* reserved */
	buf_u32(bytes, apic_id);
	buf_u32(bytes, CPU_ENABLED);
	buf_u32(bytes, uid);
}

/* §5.2.12.3, I/O APIC structure */
static void io_apic(struct buf *bytes, uint8_t id, uint32_t address)
{
	buf_u8(bytes, 1);  /* type */
	buf_u8(bytes, 12); /* length */
	buf_u8(bytes, id);
	buf_u8(bytes, 0); /* reserved */
	buf_u32(bytes, address);
	buf_u32(bytes, 0); /* global system interrupt base */
}

/*
 * ACPI 6.5 §5.2.12, multiple APIC description table. No interrupt source overrides: without 8259s there are no ISA interrupts to move. No
 * NMI structures: they tell where an NMI line is wired to, and none is.
 */
void madt_append(struct buf *bytes, const struct acpi_inputs *inputs)
{
	size_t start = table_begin(bytes, "APIC", 6);

	buf_u32(bytes, inputs->lapic_address);
	buf_u32(bytes, 0); /* flags: PCAT_COMPAT clear, as there are no 8259s to mask */
	for (size_t i = 0; i < inputs->cpu_count; i++) {
		uint32_t apic_id = inputs->cpus[i].apic_id;

		if (apic_id < ACPI_XAPIC_ID_END)
			local_apic(bytes, (uint8_t)i, (uint8_t)apic_id);
		else
			local_x2apic(bytes, (uint32_t)i, apic_id);
	}
	io_apic(bytes, inputs->ioapic_id, inputs->ioapic_address);
	table_end(bytes, start);
}
