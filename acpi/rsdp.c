/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/table.h"
#include "acpi/tables.h"

/* The first checksum is of ACPI 1.0, over the fields of that time; the second is over all. */
enum { CHECKSUM_AT = 8, CHECKSUM_SPAN = 20, XSDT_AT = 24, EXTENDED_CHECKSUM_AT = 32 };

/* ACPI 6.5 §5.2.5.3, root system description pointer */
size_t rsdp_append(struct buf *bytes)
{
	size_t rsdp = bytes->size;

	buf_text(bytes, "RSD PTR ");
	buf_u8(bytes, 0); /* checksum: rsdp_link() */
	buf_text(bytes, TABLE_OEM_ID);
	buf_u8(bytes, 2);  /* revision */
	buf_u32(bytes, 0); /* RSDT: none, the XSDT is enough */
	buf_u32(bytes, RSDP_SIZE);
	buf_u64(bytes, 0);   /* XSDT: rsdp_link() */
	buf_u8(bytes, 0);    /* extended checksum: rsdp_link() */
	buf_zeros(bytes, 3); /* reserved */
	return rsdp;
}

void rsdp_link(struct buf *bytes, size_t rsdp, uint64_t xsdt)
{
	buf_set_u64(bytes, rsdp + XSDT_AT, xsdt);
	buf_set_u8(bytes, rsdp + CHECKSUM_AT, table_checksum(bytes, rsdp, CHECKSUM_SPAN));
	buf_set_u8(bytes, rsdp + EXTENDED_CHECKSUM_AT, table_checksum(bytes, rsdp, RSDP_SIZE));
}
