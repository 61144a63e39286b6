/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_KERNEL_IMAGE_H
#define SPMVM_TESTS_UNIT_KERNEL_IMAGE_H

#include "tests/unit/unit.h"

#include <sys/mman.h>
#include <unistd.h>

/*
 * A small bzImage, made from boot.rst's table of header fields, not from the code that reads it. Two sectors of setup, then the
 * protected-mode code: 0x200 bytes for a 32-bit entry that nobody uses, then what the caller gives. A test then spoils what it likes.
 */
enum {
	IMAGE_SETUP_SECTS = 2,
	IMAGE_CODE = (IMAGE_SETUP_SECTS + 1) * 512, /* where the protected-mode code is in the file */
	IMAGE_ENTRY_64 = 0x200,
	IMAGE_JUMP = 0x66, /* the header's length as of protocol 2.15: it ends at 0x268 */
	IMAGE_PAYLOAD_OFFSET = 0x248,
	IMAGE_PAYLOAD_LENGTH = 0x24c,
	IMAGE_RELEASE = 0x400,
	IMAGE_CMDLINE_MAX = 2047
};
#define IMAGE_PREFERRED UINT64_C(0x1000000)
#define IMAGE_INIT_SIZE UINT64_C(0x300000)

struct kernel_image {
	uint8_t *bytes;
	size_t size;
};

static inline void image_put(struct kernel_image *image, size_t offset, uint64_t value, size_t width)
{
	assert_true(offset + width <= image->size);
	for (size_t i = 0; i < width; i++)
		image->bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

static inline void image_text(struct kernel_image *image, size_t offset, const char *text)
{
	assert_true(offset + strlen(text) + 1 <= image->size);
	memcpy(image->bytes + offset, text, strlen(text) + 1);
}

static inline struct kernel_image image_new(const void *code, size_t code_size)
{
	struct kernel_image image = {.size = IMAGE_CODE + IMAGE_ENTRY_64 + code_size};

	image.bytes = calloc(1, image.size);
	assert_non_null(image.bytes);
	memcpy(image.bytes + IMAGE_CODE + IMAGE_ENTRY_64, code, code_size);
	image_put(&image, 0x1f1, IMAGE_SETUP_SECTS, 1);
	image_put(&image, 0x1f4, (IMAGE_ENTRY_64 + code_size + 15) / 16, 4); /* syssize */
	image_put(&image, 0x1fe, 0xaa55, 2);                                 /* boot_flag */
	image_put(&image, 0x200, 0xeb | IMAGE_JUMP << 8, 2);                 /* jump over the header */
	image_text(&image, 0x202, "HdrS");
	image_put(&image, 0x206, 0x020f, 2);                /* protocol 2.15 */
	image_put(&image, 0x20e, IMAGE_RELEASE - 0x200, 2); /* kernel_version */
	image_text(&image, IMAGE_RELEASE, "6.1.0-test-amd64 (tests@spmvm) #1 SMP");
	image_put(&image, 0x210, 0, 1);                 /* type_of_loader: for the loader to fill in */
	image_put(&image, 0x211, 0x01, 1);              /* loadflags: LOADED_HIGH */
	image_put(&image, 0x22c, 0x7fffffff, 4);        /* initrd_addr_max */
	image_put(&image, 0x230, 0x200000, 4);          /* kernel_alignment */
	image_put(&image, 0x234, 1, 1);                 /* relocatable_kernel */
	image_put(&image, 0x235, 21, 1);                /* min_alignment */
	image_put(&image, 0x236, 0x0003, 2);            /* xloadflags: KERNEL_64, CAN_BE_LOADED_ABOVE_4G */
	image_put(&image, 0x238, IMAGE_CMDLINE_MAX, 4); /* cmdline_size */
	image_put(&image, 0x258, IMAGE_PREFERRED, 8);   /* pref_address */
	image_put(&image, 0x260, IMAGE_INIT_SIZE, 4);   /* init_size */
	return image;
}

/* With these bytes as the payload, which is where the packed kernel is. */
static inline struct kernel_image image_new_payload(const void *bytes, size_t size)
{
	struct kernel_image image = image_new(bytes, size);

	image_put(&image, IMAGE_PAYLOAD_OFFSET, IMAGE_ENTRY_64, 4);
	image_put(&image, IMAGE_PAYLOAD_LENGTH, size, 4);
	return image;
}

static inline void image_free(struct kernel_image *image)
{
	free(image->bytes);
	image->bytes = NULL;
}

/* A file that goes away with its descriptor. It survives exec, so that a child can open it by the same path. */
struct memory_file {
	int fd;
	char path[32];
};

static inline struct memory_file memory_file_new(const void *bytes, size_t size)
{
	struct memory_file file = {.fd = memfd_create("test", 0)};

	assert_true(file.fd >= 0);
	assert_int_equal(ftruncate(file.fd, (off_t)size), 0);
	if (size > 0)
		assert_int_equal(pwrite(file.fd, bytes, size, 0), size);
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	return file;
}

#endif
