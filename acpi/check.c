/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "acpi/aml.h"
#include "acpi/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int check_processors(const struct acpi_inputs *inputs, struct error *err)
{
	if (inputs->cpu_count < 1 || inputs->cpu_count > ACPI_CPUS_MAX)
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
				 "ACPI: %zu processors; from 1 to %d can be described", inputs->cpu_count,
				 ACPI_CPUS_MAX);
	for (size_t i = 0; i < inputs->cpu_count; i++) {
		uint32_t apic_id = inputs->cpus[i].apic_id;

		/* an x2APIC message to this id goes to all (Intel SDM, volume 3, §11.12.9) */
		if (apic_id == UINT32_MAX)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI: processor %zu: APIC id 0x%" PRIx32
					 " means all processors; give it a lower one",
					 i, apic_id);
		/* the old MADT structure has one byte for the _UID, and 255 there means all processors (§5.2.12.7) */
		if (apic_id < ACPI_XAPIC_ID_END && i >= ACPI_XAPIC_ID_END)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI: processor %zu: APIC id %" PRIu32
					 " is below %d, so it must be among the first %d processors",
					 i, apic_id, ACPI_XAPIC_ID_END, ACPI_XAPIC_ID_END);
		for (size_t j = 0; j < i; j++) {
			if (inputs->cpus[j].apic_id == apic_id)
				return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
						 "ACPI: processor %zu: APIC id %" PRIu32
						 " is that of processor %zu; it must be unique",
						 i, apic_id, j);
		}
	}
	return 0;
}

static int check_memory(const struct acpi_inputs *inputs, struct error *err)
{
	for (size_t i = 0; i < inputs->memory_count; i++) {
		const struct acpi_memory *memory = &inputs->memory[i];

		if (memory->range.size == 0)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI SRAT: memory entry %zu at 0x%" PRIx64 " is empty; leave it out", i,
					 memory->range.start);
		if (!range_is_valid(memory->range))
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI SRAT: memory entry %zu at 0x%" PRIx64 ", 0x%" PRIx64
					 " bytes, reaches behind 2^64",
					 i, memory->range.start, memory->range.size);
		if (i > 0 && memory->pxm < inputs->memory[i - 1].pxm)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI SRAT: memory entry %zu: proximity domain %" PRIu32
					 " comes after %" PRIu32 "; sort the entries by domain",
					 i, memory->pxm, inputs->memory[i - 1].pxm);
		for (size_t j = 0; j < i; j++) {
			const struct range other = inputs->memory[j].range;

			if (range_overlaps(memory->range, other))
				return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
						 "ACPI SRAT: memory entry %zu, 0x%" PRIx64 "-0x%" PRIx64
						 ", overlaps entry %zu, 0x%" PRIx64 "-0x%" PRIx64
						 "; each byte belongs to one domain",
						 i, memory->range.start, range_end(memory->range) - 1, j, other.start,
						 range_end(other) - 1);
		}
	}
	return 0;
}

/*
 * Linux numbers its nodes in the order in which it meets the proximity domains. So that the user's node N is the guest's node N, each
 * domain is either known already or the next one. *next is the lowest domain that was not met yet.
 */
static int meet(uint32_t pxm, uint32_t *next, const char *what, size_t index, struct error *err)
{
	if (pxm > *next)
		return error_set(
			err, EXIT_STATUS_INTERNAL, EINVAL,
			"ACPI SRAT: %s %zu: proximity domain %" PRIu32 " is met before domain %" PRIu32
			"; domains must be first met in the order 0, 1, 2, ..., processors and generic initiators "
			"before memory",
			what, index, pxm, *next);
	if (pxm == *next)
		(*next)++;
	return 0;
}

static int check_domains(const struct acpi_inputs *inputs, struct error *err)
{
	uint32_t next = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < inputs->cpu_count; i++)
		rc = meet(inputs->cpus[i].pxm, &next, "processor", i, err);
	for (size_t i = 0; rc == 0 && i < inputs->device_count; i++) {
		if (inputs->devices[i].is_initiator)
			rc = meet(inputs->devices[i].pxm, &next, "generic initiator", i, err);
	}
	if (rc == 0 && inputs->hmat && inputs->initiators != next)
		rc = error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
			       "ACPI HMAT: %" PRIu32 " initiators, but SRAT has %" PRIu32
			       " domains with processors or generic initiators; the two must agree",
			       inputs->initiators, next);
	for (size_t i = 0; rc == 0 && i < inputs->memory_count; i++)
		rc = meet(inputs->memory[i].pxm, &next, "memory entry", i, err);
	if (rc == 0 && next != inputs->localities)
		rc = error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
			       "ACPI SLIT: %" PRIu32 " localities, but the highest proximity domain of SRAT is %" PRIu32
			       "; the two must agree",
			       inputs->localities, next - 1);
	return rc;
}

/* §5.2.17: 10 is the distance to itself, 0 to 9 are reserved, 255 is unreachable. */
static int check_distances(const struct acpi_inputs *inputs, struct error *err)
{
	for (uint32_t from = 0; from < inputs->localities; from++) {
		for (uint32_t to = 0; to < inputs->localities; to++) {
			uint8_t distance = inputs->distances[(size_t)from * inputs->localities + to];

			if (from == to && distance != 10)
				return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
						 "ACPI SLIT: distance from domain %" PRIu32
						 " to itself is %d; it must be 10",
						 from, distance);
			if (from != to && distance < 11)
				return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
						 "ACPI SLIT: distance from domain %" PRIu32 " to %" PRIu32
						 " is %d; it must be from 11 to 255",
						 from, to, distance);
		}
	}
	return 0;
}

static bool has_memory(const struct acpi_inputs *inputs, uint32_t pxm)
{
	for (size_t i = 0; i < inputs->memory_count; i++) {
		if (inputs->memory[i].pxm == pxm)
			return true;
	}
	return false;
}

/*
 * Linux drops the whole table for one domain that SRAT does not have, and an entry that the unit does not divide would
 * lie.
 */
static int check_figures(const struct acpi_inputs *inputs, struct error *err)
{
	size_t count = (size_t)inputs->initiators * inputs->localities;

	for (uint32_t to = 0; to < inputs->localities; to++) {
		bool target = has_memory(inputs, to);

		for (size_t i = to; !target && i < count; i += inputs->localities) {
			for (int kind = 0; kind < ACPI_FIGURES; kind++) {
				if (inputs->figures[kind][i] != 0)
					return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
							 "ACPI HMAT: domain %" PRIu32
							 " has figures but no memory; leave them out",
							 to);
			}
		}
		if (inputs->attached[to] >= inputs->initiators && inputs->attached[to] != ACPI_NOT_ATTACHED)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI HMAT: domain %" PRIu32 " is attached to %" PRIu32
					 ", which is no initiator; these are below %" PRIu32,
					 to, inputs->attached[to], inputs->initiators);
	}
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		if (acpi_figure_unit(inputs->figures[kind], count) == 0)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI HMAT: figures of kind %d have no unit that leaves entries up to %d; use "
					 "rounder ones",
					 kind, ACPI_ENTRY_MAX);
	}
	return 0;
}

/* §5.2.28.5: a domain has up to three levels of caches; the fields have four bits, and sixteen for the line. */
static int check_caches(const struct acpi_inputs *inputs, struct error *err)
{
	for (size_t i = 0; i < inputs->cache_count; i++) {
		const struct acpi_cache *cache = &inputs->caches[i];

		if (!has_memory(inputs, cache->pxm))
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI HMAT: cache %zu: domain %" PRIu32 " has no memory", i, cache->pxm);
		if (cache->level < 1 || cache->level > cache->levels || cache->levels > 3 || cache->mapping > 2 ||
		    cache->policy > 2)
			return error_set(
				err, EXIT_STATUS_INTERNAL, EINVAL,
				"ACPI HMAT: cache %zu: level %d of %d, mapping %d, policy %d; there are levels "
				"1 to 3, mappings 0 to 2 and policies 0 to 2",
				i, cache->level, cache->levels, cache->mapping, cache->policy);
	}
	return 0;
}

/*
 * §20.2.2: A-Z 0-9 _, not a digit first. Names that start with an underscore belong to the specification (§5.3), and those of the form C0FF
 * to our processors, PWRB and GED_ to the power button.
 */
static bool is_device_name(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", hex[] = "0123456789ABCDEF";

	if (name == NULL || strlen(name) != 4 || strspn(name, allowed) != 4)
		return false;
	if (strcmp(name, "PWRB") == 0 || strcmp(name, "GED_") == 0)
		return false;
	if (name[0] == '_' || (name[0] >= '0' && name[0] <= '9'))
		return false;
	return name[0] != 'C' || strspn(name + 1, hex) != 3;
}

static int check_resources(const struct acpi_device *device, struct error *err)
{
	/* §6.4.2.5: 16 bits for a port, 8 for their number */
	if (device->io.size > UINT8_MAX || !range_is_valid(device->io) || range_end(device->io) > UINT16_MAX + 1)
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
				 "ACPI DSDT: device %s: 0x%" PRIx64 " ports at 0x%" PRIx64
				 "; at most 255 ports below 0x10000 can be described",
				 device->name, device->io.size, device->io.start);
	if (!range_is_valid(device->mmio) || range_end(device->mmio) > UINT64_C(1) << 32)
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
				 "ACPI DSDT: device %s: 0x%" PRIx64 " bytes at 0x%" PRIx64
				 "; its registers must lie below 4 GiB",
				 device->name, device->mmio.size, device->mmio.start);
	return 0;
}

/* §6.1.12: two devices with one _HID must differ in their _UID. */
static int check_twins(const struct acpi_inputs *inputs, size_t index, struct error *err)
{
	const struct acpi_device *device = &inputs->devices[index];

	for (size_t j = 0; j < index; j++) {
		const struct acpi_device *other = &inputs->devices[j];

		if (strcmp(device->name, other->name) == 0)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI DSDT: devices %zu and %zu are both named %s; names must be unique", j,
					 index, device->name);
		if (strcmp(device->hid, other->hid) == 0 && device->uid == other->uid)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI DSDT: devices %s and %s are both %s with _UID %" PRIu32
					 "; give each its own",
					 other->name, device->name, device->hid, device->uid);
	}
	return 0;
}

static int check_devices(const struct acpi_inputs *inputs, struct error *err)
{
	for (size_t i = 0; i < inputs->device_count; i++) {
		const struct acpi_device *device = &inputs->devices[i];
		int rc;

		if (!is_device_name(device->name))
			return error_set(
				err, EXIT_STATUS_INTERNAL, EINVAL,
				"ACPI DSDT: device %zu: name '%s' must be 4 characters of A-Z 0-9 _, start with a "
				"letter and not be C and three digits 0-9 A-F, PWRB or GED_",
				i, device->name != NULL ? device->name : "");
		if (device->hid == NULL || (!aml_is_eisa_id(device->hid) && !aml_is_acpi_id(device->hid)))
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI DSDT: device %s: id '%s' must look like PNP0501 or ACPI0007",
					 device->name, device->hid != NULL ? device->hid : "");
		/* the handle in SRAT has eight characters for it (§5.2.16.6) */
		if (device->is_initiator && !aml_is_acpi_id(device->hid))
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI SRAT: generic initiator %s: id '%s' must look like ACPI0007",
					 device->name, device->hid);
		if (device->description != NULL && strlen(device->description) > ACPI_DESCRIPTION_MAX)
			return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
					 "ACPI DSDT: device %s: its description has more than %d characters",
					 device->name, ACPI_DESCRIPTION_MAX);
		rc = check_resources(device, err);
		if (rc == 0)
			rc = check_twins(inputs, i, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int acpi_check(const struct acpi_inputs *inputs, struct error *err)
{
	int rc;

	/* §4.8.3.7: SLP_TYP has three bits */
	if (inputs->sleep_type_s5 > 7)
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL, "ACPI: sleep type %d of S5; it must be from 0 to 7",
				 inputs->sleep_type_s5);
	rc = check_processors(inputs, err);
	if (rc == 0)
		rc = check_memory(inputs, err);
	if (rc == 0)
		rc = check_domains(inputs, err);
	if (rc == 0)
		rc = check_distances(inputs, err);
	if (rc == 0)
		rc = check_devices(inputs, err);
	if (rc == 0 && inputs->hmat)
		rc = check_figures(inputs, err);
	if (rc == 0 && inputs->hmat)
		rc = check_caches(inputs, err);
	return rc;
}
