/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/payload.h"

#include <errno.h>
#include <string.h>

#include "vmm/base/io.h"
#include "vmm/base/le.h"
#include "vmm/boot/decompress.h"

enum {
	SIZE_BYTES = 4, /* of the unpacked size, the payload's last bytes */
	SMALLEST = 16,
	LAST_BLOCK = 8 << 20, /* lz4 is unpacked by such blocks, of which the last one is mostly empty */
};

static int bad_payload(const struct bzimage *image, int code, struct error *err)
{
	const char *why = code == -EBADMSG ? "is damaged"
			  : code == -EFBIG ? "is larger than what the header has room for"
					   : strerror(-code);

	return error_set(err, EXIT_STATUS_IMAGE, -code, "--kernel %s: the packed kernel in it: %s; take a good copy",
			 image->path, why);
}

static int unpack(const struct bzimage *image, const struct buf *packed, struct buf *out, struct error *err)
{
	enum packing packing = packing_of(packed->data, packed->size);
	uint32_t told = le32_at(packed->data + packed->size - SIZE_BYTES);
	size_t start = out->size;
	int code;

	if (packing == PACKING_NONE)
		return error_set(err, EXIT_STATUS_IMAGE, ENOTSUP,
				 "--kernel %s: its payload is packed by a program that spmvm does not know",
				 image->path);
	/* what is unpacked has to fit where the kernel itself would unpack it */
	if (told > PAYLOAD_UNPACKED_MAX || told > image->init_size)
		return bad_payload(image, -EFBIG, err);
	buf_reserve(out, told + LAST_BLOCK);
	/*
	 * gzip ends with the unpacked size itself (RFC 1952 §2.3.1); behind the others the kernel's build puts it
	 * (scripts/Makefile.lib, size_append), and their unpackers would take it for damage
	 */
	code = decompress(packed->data, packed->size - (packing == PACKING_GZIP ? 0 : SIZE_BYTES), told, out);
	/* more than was told is as wrong as less */
	if (code == -EFBIG || (code == 0 && out->size - start != told))
		code = -EBADMSG;
	return code < 0 ? bad_payload(image, code, err) : 0;
}

int payload_read(const struct bzimage *image, struct buf *packed, struct error *err)
{
	int code = 0;

	if (image->payload_size < SMALLEST)
		return error_set(err, EXIT_STATUS_IMAGE, ENOENT, "--kernel %s: its header names no payload",
				 image->path);
	buf_reserve(packed, (size_t)image->payload_size);
	if (buf_extend(packed, (size_t)image->payload_size) == NULL)
		code = -ENOMEM;
	else
		code = io_pread_all(image->fd, packed->data, packed->size, image->payload_offset);
	return code < 0 ? bad_payload(image, code, err) : 0;
}

int payload_unpack_read(const struct bzimage *image, const struct buf *packed, struct buf *out, struct error *err)
{
	size_t before = out->size;
	int code;

	if (packed->data == NULL || packed->size < SMALLEST)
		return bad_payload(image, -EBADMSG, err);
	code = unpack(image, packed, out, err);
	if (code < 0)
		out->size = before;
	return code;
}

int payload_unpack(const struct bzimage *image, struct buf *out, struct error *err)
{
	struct buf packed = {0};
	int code = payload_read(image, &packed, err);

	if (code == 0)
		code = payload_unpack_read(image, &packed, out, err);
	buf_release(&packed);
	return code;
}
