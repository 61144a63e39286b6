/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer: a kernel file of any bytes; when its header passes, loaded into a small guest, packed and unpacked. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/boot/linux_boot.h"
#include "vmm/boot/payload.h"

enum { RAM_SIZE = 32 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const struct bzimage *image, const struct vmlinux *vmlinux)
{
	static uint8_t ram[RAM_SIZE];
	static struct e820_table e820;
	const struct linux_initrd initrd = {.option = "--initrd", .fd = -1, .bytes = "initrd", .size = 6};
	const struct linux_boot_request request = {.kernel = image,
						   .initrd = &initrd,
						   .cmdline = "quiet",
						   .e820 = &e820,
						   .vmlinux = vmlinux,
						   .random = {3, 5}};
	struct guest_mem_run run = {.gpa = {0, RAM_SIZE}, .hva = ram};
	const struct guest_mem mem = {.runs = &run, .count = 1, .capacity = 1};
	struct linux_boot boot;
	struct error err;

	e820 = (struct e820_table){0};
	e820_add(&e820, (struct range){0, 0xa0000}, E820_RAM);
	e820_add(&e820, range_between(MIB, RAM_SIZE), E820_RAM);
	e820_seal(&e820);
	if (linux_boot_load(&boot, &request, &mem, &err) == 0) {
		assert(range_end(boot.kernel) <= RAM_SIZE && boot.kernel.start >= MIB);
		assert(!range_overlaps(boot.kernel, boot.initrd));
	}
}

static void unpack(const struct bzimage *image)
{
	struct buf kernel = {0};
	struct vmlinux vmlinux;
	struct error err;
	int code = payload_unpack(image, &kernel, &err);

	assert(code == 0 ? kernel.size <= PAYLOAD_UNPACKED_MAX : kernel.size == 0);
	if (code == 0 && vmlinux_parse(&vmlinux, kernel.data, kernel.size, image->init_size, &err) == 0)
		load(image, &vmlinux);
	buf_release(&kernel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct bzimage image;
	struct error err;
	char path[64];

	if (fd < 0 || io_write_all(fd, data, size) < 0)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (bzimage_open(&image, path, &err) == 0) {
		assert(strlen(image.release) < sizeof(image.release));
		load(&image, NULL);
		unpack(&image);
		bzimage_release(&image);
	}
	close(fd);
	return 0;
}
