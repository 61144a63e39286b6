/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/table.h"
#include "acpi/tables.h"

/* ACPI 6.5 §5.2.8, extended system description table */
void xsdt_append(struct buf *bytes, const uint64_t *tables, size_t count)
{
	size_t start = table_begin(bytes, "XSDT", 1);

	for (size_t i = 0; i < count; i++)
		buf_u64(bytes, tables[i]);
	table_end(bytes, start);
}
