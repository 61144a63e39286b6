/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/plan.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/device_tree.h"

enum {
	VMEMMAP_2M_PER_GIB = 4,  /* MiB of struct pages for a GiB of device-dax at 2 MiB alignment (shared pages) ... */
	VMEMMAP_4K_PER_GIB = 16, /* ... and at 4 KiB: 64 bytes for each 4096 */
};

static uint64_t gib_up(uint64_t bytes)
{
	return (bytes + GIB - 1) / GIB;
}

struct plan_block plan_block_at(const struct board *board, size_t index)
{
	size_t seen = 0;

	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];

		if (region->kind != MEM_SPM || seen++ != index)
			continue;
		return (struct plan_block){
			.memory = board_owner(board, region),
			.gpa = region->gpa,
			.node = region->node,
			.dax = index,
			.onlinable = board_onlinable(board, region->gpa),
			.vmemmap_2m = gib_up(region->gpa.size * VMEMMAP_2M_PER_GIB) * MIB,
			.vmemmap_4k = gib_up(region->gpa.size * VMEMMAP_4K_PER_GIB) * MIB,
		};
	}
	abort(); /* the caller counts the blocks of the same board */
}

static void warn_of_block(const struct board *board, const struct plan_block *block, uint64_t ram,
			  void (*tell)(void *context, const char *text), void *context)
{
	struct buf text = {0};
	uint64_t unit = board->layout.block_size / MIB;

	if (block->onlinable < block->gpa.size) {
		buf_printf(
			&text,
			"%s: Linux can put %llu of its %llu MiB online, as whole memory blocks of %llu MiB; make base and "
			"size multiples of %llu MiB to use all",
			block->memory->option, (unsigned long long)(block->onlinable / MIB),
			(unsigned long long)(block->gpa.size / MIB), (unsigned long long)unit,
			(unsigned long long)unit);
		buf_u8(&text, 0);
		if (!buf_failed(&text))
			tell(context, (const char *)text.data);
		text.size = 0;
	}
	if (block->vmemmap_2m > ram / 2) {
		buf_printf(
			&text,
			"%s: device-dax needs %llu MiB of the guest's %llu MiB of RAM for its struct pages; give the guest "
			"more RAM (--mem)",
			block->memory->option, (unsigned long long)(block->vmemmap_2m / MIB),
			(unsigned long long)(ram / MIB));
		buf_u8(&text, 0);
		if (!buf_failed(&text))
			tell(context, (const char *)text.data);
	}
	buf_release(&text);
}

void plan_warnings(const struct board *board, void (*tell)(void *context, const char *text), void *context)
{
	uint64_t ram = 0;

	for (size_t i = 0; i < board->config->warning_count; i++)
		tell(context, board->config->warnings[i]);
	for (size_t i = 0; i < board->config->mem_count; i++)
		ram += board->config->mem[i].size;
	for (size_t i = 0; i < board->config->spm_count; i++) {
		struct plan_block block = plan_block_at(board, i);

		warn_of_block(board, &block, ram, tell, context);
	}
}

/* ---------------------------------------------------------------------------------------------- tables */

static int write_file(const char *path, const uint8_t *bytes, size_t size, struct error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int code = fd < 0 ? -errno : io_write_all(fd, bytes, size);

	if (fd >= 0 && close(fd) < 0 && code == 0)
		code = -errno;
	if (code < 0)
		return error_set(err, EXIT_STATUS_CONFIG, -code, "--tables: cannot write %s: %s", path,
				 strerror(-code));
	return 0;
}

/* SRAT to "srat.dat", as iasl and acpidump name them. */
static int write_table(const struct acpi_blob *blob, const struct acpi_table *table, const char *folder,
		       struct error *err)
{
	char name[sizeof(table->signature)] = "";
	char path[PATH_MAX];

	for (size_t i = 0; table->signature[i] != '\0'; i++)
		name[i] = (char)(table->signature[i] | 0x20);
	if (snprintf(path, sizeof(path), "%s/%s.dat", folder, name) >= (int)sizeof(path))
		return error_set(err, EXIT_STATUS_CONFIG, ENAMETOOLONG, "--tables %s: the path is too long", folder);
	return write_file(path, blob->bytes.data + table->offset, table->size, err);
}

static int write_tables(const struct board *board, const char *folder, struct error *err)
{
	struct acpi_blob blob;
	int code;

	if (mkdir(folder, 0777) < 0 && errno != EEXIST)
		return error_set(err, EXIT_STATUS_CONFIG, errno, "--tables %s: cannot make the folder: %s", folder,
				 strerror(errno));
	code = board_build_acpi(board, &blob, err);
	if (code < 0)
		return code;
	for (size_t i = 0; code == 0 && i < blob.table_count; i++)
		code = write_table(&blob, &blob.tables[i], folder, err);
	acpi_blob_release(&blob);
	return code;
}

/* --------------------------------------------------------------------------------------------- command */

/* What this processor maps (Intel SDM vol. 2, CPUID leaf 0x80000008). A guest under KVM gets the same or a little less. */
static unsigned host_phys_bits(void)
{
	const unsigned WITHOUT_THE_LEAF = 36;
	unsigned eax, ebx, ecx, edx;

	if (!__get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx))
		return WITHOUT_THE_LEAF;
	return eax & 0xff;
}

static int show_tree(const struct board *board, enum plan_format format, FILE *out, struct error *err)
{
	struct buf tree = {0};
	int code = device_tree_build(board, &tree, err);

	if (code < 0)
		return code;
	if (format == PLAN_DTB)
		fwrite(tree.data, 1, tree.size, out);
	else
		device_tree_print(&tree, out);
	buf_release(&tree);
	return 0;
}

static int show(const struct board *board, enum plan_format format, FILE *out, struct error *err)
{
	switch (format) {
	case PLAN_TEXT:
		plan_text(board, out);
		return 0;
	case PLAN_JSON:
		return plan_json(board, out, err);
	case PLAN_SVG:
		return plan_svg(board, out, err);
	case PLAN_DTS:
	case PLAN_DTB:
		return show_tree(board, format, out, err);
	}
	return 0;
}

int plan_machine(const struct config *config, enum plan_format format, const char *tables, FILE *out, struct error *err)
{
	struct board *board = malloc(sizeof(*board));
	int code;

	if (board == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while planning the machine");
	code = board_make(board, config, config->phys_bits != 0 ? config->phys_bits : host_phys_bits(), err);
	if (code < 0) {
		free(board);
		return code;
	}
	if (tables != NULL)
		code = write_tables(board, tables, err);
	if (code == 0)
		code = show(board, format, out, err);
	board_release(board);
	free(board);
	return code;
}
