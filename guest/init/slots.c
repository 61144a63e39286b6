/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <dirent.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Rows on the console; a machine with more slots gets a line that counts the rest. */
enum { ROWS_MAX = 64 };

/* How long the dax devices may take to appear behind their modules. */
enum { WAIT_STEPS = 40, WAIT_STEP_MS = 50 };

/* One slot: an address range that /proc/iomem or a dax device, or both, tell of. */
struct slot {
	uint64_t start, size;
	bool reserved; /* "Soft Reserved" in /proc/iomem */
	char device[24], driver[24], node[12];
};

struct slots {
	struct slot rows[ROWS_MAX];
	size_t count, reserved, devices;
};

/* The row of a start address, a new one when there is none; NULL when the table is full. */
static struct slot *row_at(struct slots *slots, uint64_t start)
{
	for (size_t i = 0; i < slots->count; i++) {
		if (slots->rows[i].start == start)
			return &slots->rows[i];
	}
	if (slots->count == ROWS_MAX)
		return NULL;
	slots->rows[slots->count] = (struct slot){.start = start, .device = "-", .driver = "-", .node = "-"};
	return &slots->rows[slots->count++];
}

/* "100000000-17fffffff : Soft Reserved", indented when it is part of something else. */
static void read_iomem(struct slots *slots)
{
	char line[256];
	FILE *iomem = fopen("/proc/iomem", "re");

	if (iomem == NULL)
		return;
	while (fgets(line, sizeof(line), iomem) != NULL) {
		uint64_t start, last;
		struct slot *slot;

		if (strstr(line, " : Soft Reserved") == NULL ||
		    sscanf(line, " %" SCNx64 "-%" SCNx64, &start, &last) != 2)
			continue;
		slots->reserved++;
		slot = row_at(slots, start);
		if (slot != NULL) {
			slot->size = last - start + 1;
			slot->reserved = true;
		}
	}
	fclose(iomem);
}

static bool device_text(const char *device, const char *name, char *text, size_t size)
{
	char path[320];

	snprintf(path, sizeof(path), DAX_DEVICES "/%.100s/%s", device, name);
	return read_text(path, text, size);
}

static void read_device(struct slots *slots, const char *device)
{
	char path[320], text[64], target[256];
	ssize_t length;
	struct slot *slot;
	uint64_t size;

	if (!device_text(device, "resource", text, sizeof(text)))
		return;
	slot = row_at(slots, strtoull(text, NULL, 0));
	if (slot == NULL)
		return;
	snprintf(slot->device, sizeof(slot->device), "%s", device);
	size = device_text(device, "size", text, sizeof(text)) ? strtoull(text, NULL, 0) : 0;
	if (size > 0) /* an idle region (dax_hmem.region_idle=1) has a device of size 0 */
		slot->size = size;
	if (device_text(device, "target_node", text, sizeof(text)))
		snprintf(slot->node, sizeof(slot->node), "%.11s", text);
	snprintf(path, sizeof(path), DAX_DEVICES "/%.100s/driver", device);
	length = readlink(path, target, sizeof(target) - 1);
	if (length > 0) {
		target[length] = '\0';
		snprintf(slot->driver, sizeof(slot->driver), "%.23s", basename(target));
	}
}

static void read_devices(struct slots *slots)
{
	const struct dirent *entry;
	DIR *folder = opendir(DAX_DEVICES);

	if (folder == NULL)
		return;
	while ((entry = readdir(folder)) != NULL) {
		if (strncmp(entry->d_name, "dax", 3) != 0)
			continue;
		slots->devices++;
		read_device(slots, entry->d_name);
	}
	closedir(folder);
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = ((const struct slot *)a)->start, y = ((const struct slot *)b)->start;

	return (x > y) - (x < y);
}

static void read_slots(struct slots *slots)
{
	*slots = (struct slots){0};
	read_iomem(slots);
	read_devices(slots);
	qsort(slots->rows, slots->count, sizeof(slots->rows[0]), by_address);
}

/* Loading dax_hmem makes the devices before it returns on the kernels we know; a driver may bind a little later. */
static void wait_for_devices(void)
{
	const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};
	struct slots slots;

	if (access("/sys/module/dax_hmem", F_OK) < 0)
		return;
	read_slots(&slots);
	for (int i = 0; i < WAIT_STEPS && slots.devices < slots.reserved; i++) {
		nanosleep(&step, NULL);
		read_slots(&slots);
	}
}

void slots_name(void)
{
	if (names_read() == 0)
		return;
	wait_for_devices();
	names_link();
}

/* The largest unit that gives a whole number: "8 GiB", "96 MiB". */
static void size_text(uint64_t size, char *text, size_t room)
{
	static const char units[] = "KMGT";
	size_t unit = 0;

	for (size /= 1024; size >= 1024 && size % 1024 == 0 && unit < 3; size /= 1024)
		unit++;
	snprintf(text, room, "%" PRIu64 " %ciB", size, units[unit]);
}

/* How many there are: those in the table, and more when it is full. */
static size_t count_all(const struct slots *slots)
{
	size_t count = slots->reserved > slots->devices ? slots->reserved : slots->devices;

	return count > slots->count ? count : slots->count;
}

static const char *name_of(const struct slot *slot)
{
	const char *name = names_of(slot->start);

	return name == NULL ? "-" : name;
}

static void show_row(const struct slot *slot, int width)
{
	char size[24];

	size_text(slot->size, size, sizeof(size));
	printf("  %-*s  0x%012" PRIx64 "-0x%012" PRIx64 "  %9s  %-13s  %-8s  %4s  %s\n", width, name_of(slot),
	       slot->start, slot->start + (slot->size > 0 ? slot->size - 1 : 0), size,
	       slot->reserved ? "soft reserved" : "-", slot->device, slot->node, slot->driver);
}

void slots_show(void)
{
	char online[128], possible[128];
	struct slots slots;
	size_t count;
	int width = 2; /* of the widest name, or the column's */

	read_slots(&slots);
	if (!read_text("/sys/devices/system/node/online", online, sizeof(online)))
		strcpy(online, "none");
	if (!read_text("/sys/devices/system/node/possible", possible, sizeof(possible)))
		strcpy(possible, "none");
	count = count_all(&slots);
	say("%zu slot%s; nodes online %s, possible %s", count, count == 1 ? "" : "s", online, possible);
	if (slots.count == 0)
		return;
	for (size_t i = 0; i < slots.count; i++) {
		int length = (int)strlen(name_of(&slots.rows[i]));

		width = length > width ? length : width;
	}
	printf("  %-*s  %-29s  %9s  %-13s  %-8s  %4s  %s\n", width, "id", "address", "size", "/proc/iomem", "device",
	       "node", "driver");
	for (size_t i = 0; i < slots.count; i++)
		show_row(&slots.rows[i], width);
	if (count > slots.count)
		printf("  and %zu more\n", count - slots.count);
	fflush(stdout);
}
