/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a bzImage that holds one of ring 1's payloads (tests/kvm/payloads.S) to stdout: a guest that starts in no time on any KVM, for
 * the campaign beside it.
 */
#include "tests/unit/kernel_image.h"

#include "vmm/base/io.h"

#define DECLARE(name) extern const uint8_t payload_##name[], payload_##name##_end[]
DECLARE(hello);
DECLARE(spin);
DECLARE(chatter);
DECLARE(reset);
DECLARE(triple_fault);
DECLARE(flood_ports);
DECLARE(flood_mmio);

#define PAYLOAD(name) #name, payload_##name, payload_##name##_end
static const struct {
	const char *name;
	const uint8_t *start, *end;
} PAYLOADS[] = {
	{PAYLOAD(hello)},        {PAYLOAD(spin)},        {PAYLOAD(chatter)},    {PAYLOAD(reset)},
	{PAYLOAD(triple_fault)}, {PAYLOAD(flood_ports)}, {PAYLOAD(flood_mmio)},
};

int main(int argc, char *argv[])
{
	for (size_t i = 0; argc == 2 && i < sizeof(PAYLOADS) / sizeof(PAYLOADS[0]); i++) {
		struct kernel_image image;
		int code;

		if (strcmp(argv[1], PAYLOADS[i].name) != 0)
			continue;
		image = image_new(PAYLOADS[i].start, (size_t)(PAYLOADS[i].end - PAYLOADS[i].start));
		code = io_write_all(STDOUT_FILENO, image.bytes, image.size);
		image_free(&image);
		return code < 0 ? 1 : 0;
	}
	fputs("usage: tiny_kernel PAYLOAD >FILE\n", stderr);
	return 2;
}
