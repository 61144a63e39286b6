/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/aml.h"
#include "acpi/table.h"
#include "acpi/tables.h"

#include <stdio.h>

/*
 * §7.4.2: the package of a sleeping state. Hardware-reduced ACPI writes its first element to SLP_TYP of the sleep control register
 * (§4.8.3.7); the second belongs to PM1b, and two are reserved.
 */
static void power_off(struct buf *aml, uint8_t sleep_type)
{
	size_t package;

	aml_name(aml, "_S5");
	package = aml_package_begin(aml, 4);
	aml_integer(aml, sleep_type);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_end(aml, package);
}

/* §8.4: a processor as a device; _UID leads to its structure in the MADT, _PXM (§6.2) says again what SRAT says. */
static void processor(struct buf *aml, uint32_t uid, uint32_t pxm)
{
	char name[sizeof("Cffffffff")];
	size_t device;

	snprintf(name, sizeof(name), "C%03X", uid);
	device = aml_device_begin(aml, name);
	aml_name(aml, "_HID");
	aml_hid(aml, "ACPI0007");
	aml_name(aml, "_UID");
	aml_integer(aml, uid);
	aml_name(aml, "_PXM");
	aml_integer(aml, pxm);
	aml_end(aml, device);
}

/* §6.2.2: _CRS; left out when the device has no resources */
static void current_resources(struct buf *aml, const struct acpi_device *device)
{
	struct buf resources = {0};

	if (device->io.size > 0)
		aml_resource_io(&resources, (uint16_t)device->io.start, (uint8_t)device->io.size);
	if (device->mmio.size > 0)
		aml_resource_memory32(&resources, (uint32_t)device->mmio.start, (uint32_t)device->mmio.size);
	if (device->has_irq)
		aml_resource_interrupt(&resources, device->gsi, device->level);
	if (resources.size > 0 || buf_failed(&resources)) {
		aml_resource_end(&resources);
		aml_name(aml, "_CRS");
		aml_buffer(aml, &resources);
	}
	buf_release(&resources);
}

/* §6.1.10: _STR, a buffer of UTF-16 with a zero behind it */
static void described_as(struct buf *aml, const char *description)
{
	struct buf text = {0};

	for (const char *c = description; *c != '\0'; c++)
		buf_u16(&text, (uint8_t)*c);
	buf_u16(&text, 0);
	aml_name(aml, "_STR");
	aml_buffer(aml, &text);
	buf_release(&text);
}

static void described_device(struct buf *aml, const struct acpi_device *description)
{
	size_t device = aml_device_begin(aml, description->name);

	aml_name(aml, "_HID");
	aml_hid(aml, description->hid);
	aml_name(aml, "_UID");
	aml_integer(aml, description->uid);
	if (description->is_initiator) {
		aml_name(aml, "_PXM");
		aml_integer(aml, description->pxm);
	}
	if (description->description != NULL)
		described_as(aml, description->description);
	current_resources(aml, description);
	aml_end(aml, device);
}

/*
 * The power button (§4.8.3.3.1.2, a control method button) and the generic event device (§5.6.9), which on
 * hardware-reduced ACPI stands for the missing general-purpose events: it is called with the interrupt that came, and
 * tells whom it is for. 0x80 is "pressed" (§5.6.6, device class specific).
 */
static void power_button(struct buf *aml, uint32_t gsi)
{
	enum { PRESSED = 0x80 };
	struct buf resources = {0};
	size_t device, method, equal;

	device = aml_device_begin(aml, "PWRB");
	aml_name(aml, "_HID");
	aml_hid(aml, "PNP0C0C");
	aml_end(aml, device);

	device = aml_device_begin(aml, "GED");
	aml_name(aml, "_HID");
	aml_hid(aml, "ACPI0013");
	aml_resource_interrupt(&resources, gsi, false);
	aml_resource_end(&resources);
	aml_name(aml, "_CRS");
	aml_buffer(aml, &resources);
	buf_release(&resources);
	method = aml_method_begin(aml, "_EVT", 1, true);
	equal = aml_if_equal_begin(aml);
	aml_arg0(aml);
	aml_integer(aml, gsi);
	aml_notify(aml, "PWRB", PRESSED);
	aml_end(aml, equal);
	aml_end(aml, method);
	aml_end(aml, device);
}

/* ACPI 6.5 §5.2.11.1, differentiated system description table; revision 2: integers have 64 bits */
void dsdt_append(struct buf *bytes, const struct acpi_inputs *inputs)
{
	size_t start = table_begin(bytes, "DSDT", 2), scope;

	power_off(bytes, inputs->sleep_type_s5);
	scope = aml_scope_begin(bytes, "_SB");
	for (size_t i = 0; i < inputs->cpu_count; i++)
		processor(bytes, (uint32_t)i, inputs->cpus[i].pxm);
	for (size_t i = 0; i < inputs->device_count; i++)
		described_device(bytes, &inputs->devices[i]);
	power_button(bytes, inputs->button_gsi);
	aml_end(bytes, scope);
	table_end(bytes, start);
}
