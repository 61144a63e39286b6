/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer: an unpacked kernel of any bytes, relocations behind it; what passes is loaded at two addresses. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/range.h"
#include "vmm/boot/vmlinux.h"

enum { IMAGE_MAX = 4 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmlinux vmlinux;
	struct error err = {0};
	uint8_t *image;

	if (vmlinux_parse(&vmlinux, data, size, IMAGE_MAX, &err) < 0) {
		assert(err.text[0] != '\0');
		return 0;
	}
	assert(vmlinux.size > 0 && vmlinux.size <= IMAGE_MAX && vmlinux.entry < vmlinux.size);
	/* exactly as large, so that the sanitizer sees a byte too many */
	image = calloc(1, (size_t)vmlinux.size);
	if (image == NULL)
		abort();
	vmlinux_load(&vmlinux, image, true, 0);
	vmlinux_load(&vmlinux, image, false, 6 * MIB);
	free(image);
	return 0;
}
