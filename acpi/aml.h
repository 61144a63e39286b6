/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_ACPI_AML_H
#define SPMVM_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

/*
 * A small encoder of the ACPI Machine Language (ACPI 6.5 §20.2): as much as a DSDT that describes, and computes nothing, needs. Each
 * function appends to a buffer whose failure is sticky. The shortest encoding is always taken, so that the same description gives
 * the same bytes as iasl makes of it.
 *
 * Names are one to four characters ("_S5" is padded to "_S5_"), paths are names with dots, from the root after a backslash.
 */

/*
 * A package length counts what follows it and itself, in one to four bytes (§20.2.4). X_begin() returns where it goes; aml_end() puts it
 * there when the content is complete, innermost first.
 */
size_t aml_scope_begin(struct buf *aml, const char *path);
size_t aml_device_begin(struct buf *aml, const char *name);
/* arguments: 0 to 7 */
size_t aml_method_begin(struct buf *aml, const char *name, unsigned int arguments, bool serialized);
size_t aml_package_begin(struct buf *aml, uint8_t elements);
void aml_end(struct buf *aml, size_t length_at);

/* Name(path, ...): the data object is what the caller appends next (§20.2.5.1). */
void aml_name(struct buf *aml, const char *path);

/* The first argument of the method (§20.2.6.1), where a term argument goes. */
void aml_arg0(struct buf *aml);

/*
 * If (LEqual (...)): both sides are what the caller appends next, then what is done when they agree, and aml_end()
 * (§20.2.5.3).
 */
size_t aml_if_equal_begin(struct buf *aml);

/* Notify (path, value) (§20.2.5.3). */
void aml_notify(struct buf *aml, const char *path, uint8_t value);

void aml_integer(struct buf *aml, uint64_t value);
void aml_string(struct buf *aml, const char *text);
/* A buffer of what is in content, whose failure it inherits. */
void aml_buffer(struct buf *aml, const struct buf *content);

/* Whether text is an EISA id: three letters A-Z and four digits 0-9 A-F (§6.1.5). */
bool aml_is_eisa_id(const char *text);
/* Whether text is an ACPI id: four characters of A-Z 0-9 and four digits 0-9 A-F. */
bool aml_is_acpi_id(const char *text);
/* The value of a _HID: an EISA id is packed into an integer, any other becomes a string. */
void aml_hid(struct buf *aml, const char *id);

/*
 * Resource descriptors, collected in a buffer of their own that goes to aml_buffer() after the end tag.
 */

/* §6.4.2.5: ports from first, all 16 address lines decoded, nowhere else to go. */
void aml_resource_io(struct buf *resources, uint16_t first, uint8_t count);
/* §6.4.3.4: writable. */
void aml_resource_memory32(struct buf *resources, uint32_t start, uint32_t size);
/* §6.4.3.6: one interrupt, consumed, exclusive, active high. */
void aml_resource_interrupt(struct buf *resources, uint32_t gsi, bool level);
/* §6.4.2.9. */
void aml_resource_end(struct buf *resources);

#endif
