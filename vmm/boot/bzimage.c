/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/bzimage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/base/io.h"
#include "vmm/base/range.h"

/* Offsets in the file, boot.rst, "Details of Header Fields". */
enum {
	SETUP_SECTS = 0x1f1,
	SYSSIZE = 0x1f4, /* in units of 16 bytes */
	BOOT_FLAG = 0x1fe,
	JUMP_LENGTH = 0x201, /* the header ends this many bytes behind 0x202 */
	HEADER_MAGIC = 0x202,
	PROTOCOL_VERSION = 0x206,
	KERNEL_VERSION = 0x20e, /* where the version's text is, less 0x200 */
	LOADFLAGS = 0x211,
	INITRD_ADDR_MAX = 0x22c,
	KERNEL_ALIGNMENT = 0x230,
	RELOCATABLE_KERNEL = 0x234,
	XLOADFLAGS = 0x236,
	CMDLINE_SIZE = 0x238,
	PAYLOAD_OFFSET = 0x248, /* from the protected-mode code's start */
	PAYLOAD_LENGTH = 0x24c,
	PREF_ADDRESS = 0x258,
	INIT_SIZE = 0x260,
};

enum {
	LOADED_HIGH = 1 << 0,   /* loadflags */
	XLF_KERNEL_64 = 1 << 0, /* xloadflags: there is a 64-bit entry at 0x200 */
	XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1,
	PROTOCOL_WITH_XLOADFLAGS = 0x020c,
	SECTOR = 512,
	START_SIZE = 0x400 /* of the file, enough for every field above */
};

static uint64_t field(const uint8_t *start, size_t offset, size_t width)
{
	uint64_t value = 0;

	for (size_t i = width; i-- > 0;)
		value = value << 8 | start[offset + i];
	return value;
}

static int bad_image(struct error *err, const char *path, const char *why)
{
	return error_set(err, EXIT_STATUS_IMAGE, EINVAL, "--kernel %s: %s", path, why);
}

static int check_kind(const uint8_t *start, const char *path, struct error *err)
{
	uint64_t version;

	if (memcmp(start, "\177ELF", 4) == 0)
		return bad_image(
			err, path,
			"this is an ELF file (a vmlinux?), not a bzImage; give the /boot/vmlinuz-* of a kernel");
	if (field(start, BOOT_FLAG, 2) != 0xaa55 || memcmp(start + HEADER_MAGIC, "HdrS", 4) != 0)
		return bad_image(err, path, "not a bzImage (no setup header); give the /boot/vmlinuz-* of a kernel");
	version = field(start, PROTOCOL_VERSION, 2);
	if (version < PROTOCOL_WITH_XLOADFLAGS)
		return error_set(err, EXIT_STATUS_IMAGE, EINVAL,
				 "--kernel %s: too old for the 64-bit entry: boot protocol %u.%02u, needed is 2.12 "
				 "(Linux 3.8); take a newer kernel",
				 path, (unsigned)(version >> 8), (unsigned)(version & 0xff));
	if ((field(start, LOADFLAGS, 1) & LOADED_HIGH) == 0)
		return bad_image(err, path, "a zImage that loads below 1 MiB, not a bzImage; take a newer kernel");
	if ((field(start, XLOADFLAGS, 2) & XLF_KERNEL_64) == 0)
		return bad_image(err, path, "a 32-bit kernel (no 64-bit entry); take an amd64 kernel");
	return 0;
}

/* The version's text ends at the first space: "6.1.0-56-cloud-amd64 (debian-kernel@...". */
static void read_release(struct bzimage *image, uint64_t setup_size, uint64_t pointer)
{
	uint64_t offset = pointer + 0x200;
	char text[sizeof(image->release)] = "";
	size_t length = sizeof(text) - 1;

	if (pointer == 0 || offset >= setup_size)
		return;
	if (length > setup_size - offset)
		length = (size_t)(setup_size - offset);
	if (io_pread_all(image->fd, text, length, offset) < 0)
		return;
	length = strcspn(text, " ");
	for (size_t i = 0; i < length; i++) {
		/* it becomes part of a path: no slash, no control characters */
		if (text[i] <= ' ' || text[i] == '/' || text[i] == 0x7f)
			return;
	}
	memcpy(image->release, text, length);
}

/* Booting needs no payload, so one that is out of bounds, or larger than what it is to unpack to, is as good as none. */
static void take_payload(struct bzimage *image, const uint8_t *start)
{
	uint64_t offset = field(start, PAYLOAD_OFFSET, 4), size = field(start, PAYLOAD_LENGTH, 4);

	if (offset >= image->code_size || size > image->code_size - offset || size > image->init_size)
		return;
	image->payload_offset = image->code_offset + offset;
	image->payload_size = size;
}

static int take_fields(struct bzimage *image, const uint8_t *start, uint64_t file_size, struct error *err)
{
	uint64_t sectors = field(start, SETUP_SECTS, 1);
	uint64_t setup_size = ((sectors == 0 ? 4 : sectors) + 1) * SECTOR;
	uint64_t code_size = field(start, SYSSIZE, 4) * 16;
	uint64_t header_end = HEADER_MAGIC + field(start, JUMP_LENGTH, 1);

	if (header_end < INIT_SIZE + 4 || header_end > BZIMAGE_HEADER_MAX)
		return bad_image(err, image->path, "damaged: the setup header's length is out of bounds");
	/* syssize counts in 16 bytes and is rounded up */
	if (code_size < 16 || file_size < setup_size || file_size - setup_size + 15 < code_size)
		return error_set(err, EXIT_STATUS_IMAGE, EINVAL,
				 "--kernel %s: truncated: its header tells of %" PRIu64 " bytes, the file has %" PRIu64,
				 image->path, setup_size + code_size, file_size);
	image->header_size = (uint32_t)header_end - BZIMAGE_HEADER_START;
	memcpy(image->header, start + BZIMAGE_HEADER_START, image->header_size);
	image->code_offset = setup_size;
	image->code_size = file_size - setup_size < code_size ? file_size - setup_size : code_size;
	image->preferred_address = field(start, PREF_ADDRESS, 8);
	image->init_size = field(start, INIT_SIZE, 4);
	image->alignment = (uint32_t)field(start, KERNEL_ALIGNMENT, 4);
	image->relocatable = field(start, RELOCATABLE_KERNEL, 1) != 0;
	image->initrd_above_4g = (field(start, XLOADFLAGS, 2) & XLF_CAN_BE_LOADED_ABOVE_4G) != 0;
	image->initrd_limit = field(start, INITRD_ADDR_MAX, 4) + 1;
	image->cmdline_max = (uint32_t)field(start, CMDLINE_SIZE, 4);
	if (image->init_size < image->code_size)
		image->init_size = image->code_size;
	take_payload(image, start);
	if (image->alignment < 4096 || (image->alignment & (image->alignment - 1)) != 0 || image->alignment > GIB ||
	    !is_aligned(image->preferred_address, 4096))
		return bad_image(err, image->path, "damaged: the header's alignment or address is out of bounds");
	read_release(image, setup_size, field(start, KERNEL_VERSION, 2));
	return 0;
}

int bzimage_open(struct bzimage *image, const char *path, struct error *err)
{
	uint8_t start[START_SIZE] = {0};
	struct stat status;
	int code;

	/* O_NONBLOCK: a FIFO is refused below and not waited for */
	*image = (struct bzimage){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .path = path};
	if (image->fd < 0)
		return error_set(err, EXIT_STATUS_IMAGE, errno, "--kernel %s: %s", path, strerror(errno));
	if (fstat(image->fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		code = bad_image(err, path, "not a regular file");
		goto fail;
	}
	if (status.st_size < START_SIZE) {
		code = bad_image(err, path, "not a bzImage: the file is shorter than a setup header");
		goto fail;
	}
	code = io_pread_all(image->fd, start, sizeof(start), 0);
	if (code < 0) {
		error_set(err, EXIT_STATUS_IMAGE, -code, "--kernel %s: cannot read: %s", path, strerror(-code));
		goto fail;
	}
	code = check_kind(start, path, err);
	if (code == 0)
		code = take_fields(image, start, (uint64_t)status.st_size, err);
	if (code == 0)
		return 0;
fail:
	bzimage_release(image);
	return code;
}

void bzimage_release(struct bzimage *image)
{
	io_close(&image->fd);
}
