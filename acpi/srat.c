/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/table.h"
#include "acpi/tables.h"

enum { CPU_ENABLED = 1 << 0, MEMORY_ENABLED = 1 << 0, MEMORY_HOTPLUGGABLE = 1 << 1, INITIATOR_ENABLED = 1 << 0 };

/* §5.2.16.1, processor local APIC/SAPIC affinity structure; the proximity domain is in two pieces */
static void local_apic_affinity(struct buf *bytes, uint8_t apic_id, uint32_t pxm)
{
	buf_u8(bytes, 0);  /* type */
	buf_u8(bytes, 16); /* length */
	buf_u8(bytes, (uint8_t)pxm);
	buf_u8(bytes, apic_id);
	buf_u32(bytes, CPU_ENABLED);
	buf_u8(bytes, 0); /* local SAPIC EID */
	buf_u8(bytes, (uint8_t)(pxm >> 8));
	buf_u8(bytes, (uint8_t)(pxm >> 16));
	buf_u8(bytes, (uint8_t)(pxm >> 24));
	buf_u32(bytes, 0); /* clock domain */
}

/* §5.2.16.3, processor local x2APIC affinity structure */
static void local_x2apic_affinity(struct buf *bytes, uint32_t apic_id, uint32_t pxm)
{
	buf_u8(bytes, 2);  /* type */
	buf_u8(bytes, 24); /* length */
	buf_u16(bytes, 0); /* reserved */
	buf_u32(bytes, pxm);
	buf_u32(bytes, apic_id);
	buf_u32(bytes, CPU_ENABLED);
	buf_u32(bytes, 0); /* clock domain */
	buf_u32(bytes, 0); /* reserved */
}

/* §5.2.16.2, memory affinity structure */
static void memory_affinity(struct buf *bytes, const struct acpi_memory *memory)
{
	buf_u8(bytes, 1);  /* type */
	buf_u8(bytes, 40); /* length */
	buf_u32(bytes, memory->pxm);
	buf_u16(bytes, 0); /* reserved */
	buf_u64(bytes, memory->range.start);
	buf_u64(bytes, memory->range.size);
	buf_u32(bytes, 0); /* reserved */
	buf_u32(bytes, memory->hotpluggable ? MEMORY_ENABLED | MEMORY_HOTPLUGGABLE : MEMORY_ENABLED);
	buf_u64(bytes, 0); /* reserved */
}

/* §5.2.16.6, generic initiator affinity structure, with an ACPI device handle: the values of its _HID and _UID */
static void initiator_affinity(struct buf *bytes, const struct acpi_device *device)
{
	buf_u8(bytes, 5);  /* type */
	buf_u8(bytes, 32); /* length */
	buf_u8(bytes, 0);  /* reserved */
	buf_u8(bytes, 0);  /* device handle type: ACPI */
	buf_u32(bytes, device->pxm);
	buf_text(bytes, device->hid);
	buf_u32(bytes, device->uid);
	buf_u32(bytes, 0); /* reserved */
	buf_u32(bytes, INITIATOR_ENABLED);
	buf_u32(bytes, 0); /* reserved */
}

/* ACPI 6.5 §5.2.16, system resource affinity table */
void srat_append(struct buf *bytes, const struct acpi_inputs *inputs)
{
	size_t start = table_begin(bytes, "SRAT", 3);

	/* §5.2.16, offset 36: "Reserved to be 1 for backward compatibility". Those in the structures are zero. */
	buf_u32(bytes, 1);
	buf_u64(bytes, 0); /* reserved */
	for (size_t i = 0; i < inputs->cpu_count; i++) {
		const struct acpi_cpu *cpu = &inputs->cpus[i];

		if (cpu->apic_id < ACPI_XAPIC_ID_END)
			local_apic_affinity(bytes, (uint8_t)cpu->apic_id, cpu->pxm);
		else
			local_x2apic_affinity(bytes, cpu->apic_id, cpu->pxm);
	}
	for (size_t i = 0; i < inputs->device_count; i++) {
		if (inputs->devices[i].is_initiator)
			initiator_affinity(bytes, &inputs->devices[i]);
	}
	for (size_t i = 0; i < inputs->memory_count; i++)
		memory_affinity(bytes, &inputs->memory[i]);
	table_end(bytes, start);
}
