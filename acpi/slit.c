/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/table.h"
#include "acpi/tables.h"

/* ACPI 6.5 §5.2.17, system locality distance information table */
void slit_append(struct buf *bytes, const struct acpi_inputs *inputs)
{
	size_t start = table_begin(bytes, "SLIT", 1);

	buf_u64(bytes, inputs->localities);
	buf_add(bytes, inputs->distances, (size_t)inputs->localities * inputs->localities);
	table_end(bytes, start);
}
