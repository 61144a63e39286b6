/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer: any bytes as a configuration's text, as an unpacked kernel with one in it, and as the modules' tables. */
#include <assert.h>
#include <stdlib.h>

#include "vmm/boot/kernel_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct kernel_config *config)
{
	static const char *const MODULES[] = {"virtiofs", "virtio-rng", NULL};

	for (size_t i = 0; i < sizeof(MODULES) / sizeof(MODULES[0]); i++) {
		enum kernel_option option = kernel_config_option(config, "VIRTIO_FS", MODULES[i]);

		assert(config->source == KERNEL_CONFIG_NONE || option != KERNEL_OPTION_UNKNOWN);
		assert(option != KERNEL_OPTION_LOST || MODULES[i] != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_config config = {.has_modules = true};

	buf_add(&config.builtin, data, size / 2);
	buf_add(&config.dependencies, data + size / 2, size - size / 2);
	ask(&config);
	if (kernel_config_from_text(&config, data, size) == 0) {
		config.source = KERNEL_CONFIG_TEXT;
		ask(&config);
	}
	if (kernel_config_from_image(&config, data, size) == 0) {
		config.source = KERNEL_CONFIG_IN_KERNEL;
		ask(&config);
	}
	kernel_config_release(&config);
	return 0;
}
