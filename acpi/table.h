/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_ACPI_TABLE_H
#define SPMVM_ACPI_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

/*
 * What all system description tables share: a header with a length and a checksum that are only known at the end. A table is
 * appended between table_begin() and table_end(); a buffer that runs out of memory remembers it (buf_failed).
 */

/* The header's size; a table's own fields start here (ACPI 6.5 §5.2.6). */
enum { TABLE_HEADER_SIZE = 36 };

/* §5.2.6 wants 6 and 8 characters. §5.2.8 wants the same table id in XSDT and FADT, so all tables share one. */
#define TABLE_OEM_ID       "SPMVM "
#define TABLE_OEM_TABLE_ID "SPMVM   "
#define TABLE_CREATOR_ID   "SPMV"

/* Appends the header and returns the table's offset, which table_end() wants. signature has 4 characters. */
size_t table_begin(struct buf *bytes, const char *signature, uint8_t revision);

/* Fills in the length and the checksum of the table that reaches from start to the buffer's end. */
void table_end(struct buf *bytes, size_t start);

/* The byte that makes size bytes from start sum to zero; the byte kept for it must be zero. 0 on a failed buffer. */
uint8_t table_checksum(const struct buf *bytes, size_t start, size_t size);

#endif
