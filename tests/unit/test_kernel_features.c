/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/kernel_features.h"

/* A configuration of these lines, and modules of these names. */
static void set(struct kernel_config *config, const char *lines, const char *modules)
{
	kernel_config_release(config);
	assert_int_equal(kernel_config_from_text(config, (const uint8_t *)lines, strlen(lines)), 0);
	config->source = KERNEL_CONFIG_TEXT;
	config->has_modules = modules != NULL;
	if (modules != NULL)
		buf_text(&config->dependencies, modules);
}

static void check(const struct kernel_config *config, unsigned needs, const char *expected)
{
	struct error err = {.text = ""};
	int code = kernel_check("K", config, needs, &err);
	char text[300] = "";

	if (expected[0] != '\0')
		snprintf(text, sizeof(text), "--kernel K lacks %s: spmvm doctor --kernel K explains", expected);
	assert_string_equal(err.text, text);
	assert_int_equal(code, expected[0] != '\0' ? -ENOTSUP : 0);
	if (code < 0)
		assert_int_equal(err.status, EXIT_STATUS_IMAGE);
}

static const char COMMAND[] = "CONFIG_VIRTIO_MMIO=m\nCONFIG_VIRTIO_CONSOLE=y\nCONFIG_FUSE_FS=y\nCONFIG_VIRTIO_FS=m\n"
			      "CONFIG_OVERLAY_FS=m\n";
static const char MODULES[] = "k/virtio_mmio.ko:\nk/virtiofs.ko.xz:\nk/overlay.ko:\n";

static void what_is_lacking_is_listed(void **state)
{
	struct kernel_config config = {0};

	(void)state;
	set(&config, COMMAND, MODULES);
	check(&config, KERNEL_NEED_COMMAND | KERNEL_NEED_INIT,
	      "CONFIG_BINFMT_ELF, CONFIG_DEVTMPFS, CONFIG_PROC_FS, "
	      "CONFIG_SYSFS, CONFIG_TMPFS");
	check(&config, KERNEL_NEED_COMMAND, "");
	check(&config, KERNEL_NEED_BLK, "CONFIG_VIRTIO_BLK");
	check(&config, KERNEL_NEED_SPM,
	      "CONFIG_ACPI, CONFIG_PCI, CONFIG_EFI_SOFT_RESERVE, CONFIG_NUMA, CONFIG_ACPI_NUMA");
	check(&config, 0, "");
	set(&config, "CONFIG_VIRTIO_MMIO=y\n", MODULES);
	check(&config, KERNEL_NEED_COMMAND,
	      "CONFIG_VIRTIO_CONSOLE, CONFIG_FUSE_FS, CONFIG_VIRTIO_FS, CONFIG_OVERLAY_FS");
	kernel_config_release(&config);
}

/* Modules that the host has not cannot go into our initramfs; the user's own may have them. */
static void lost_modules_count_for_the_built_in_initramfs(void **state)
{
	struct kernel_config config = {0};
	const char *lines = "CONFIG_BINFMT_ELF=y\nCONFIG_DEVTMPFS=y\nCONFIG_PROC_FS=y\nCONFIG_SYSFS=y\nCONFIG_TMPFS=y\n"
			    "CONFIG_VIRTIO_MMIO=m\nCONFIG_VIRTIO_BLK=m\n";

	(void)state;
	set(&config, lines, "k/virtio_mmio.ko:\n");
	check(&config, KERNEL_NEED_INIT | KERNEL_NEED_BLK, "the module virtio_blk");
	check(&config, KERNEL_NEED_BLK, "");
	set(&config, lines, NULL);
	check(&config, KERNEL_NEED_INIT | KERNEL_NEED_BLK, "the module virtio_mmio, the module virtio_blk");
	kernel_config_release(&config);
}

static void the_unknown_is_not_refused(void **state)
{
	struct kernel_config config = {0};

	(void)state;
	check(&config, ~0u, "");
	/* but what the modules' tables know is */
	config.has_modules = true;
	buf_text(&config.dependencies, MODULES);
	check(&config, KERNEL_NEED_COMMAND, "CONFIG_VIRTIO_CONSOLE, CONFIG_FUSE_FS");
	check(&config, KERNEL_NEED_SPM, "");
	kernel_config_release(&config);
}

static void a_machine_needs_what_it_has(void **state)
{
	char word[] = "true";
	char *const command[] = {word, NULL};
	struct config_device devices[] = {{.kind = CONFIG_BLK}, {.kind = CONFIG_RNG}, {.kind = CONFIG_MEM}};
	struct config config = {.serial = SERIAL_STDIO};

	(void)state;
	assert_int_equal(kernel_needs(&config), KERNEL_NEED_BOOT | KERNEL_NEED_INIT | KERNEL_NEED_CONSOLE);
	config.initrd = "initrd";
	config.serial = SERIAL_NONE;
	assert_int_equal(kernel_needs(&config), KERNEL_NEED_BOOT);
	config.spm_count = 1;
	config.devices = devices;
	config.device_count = 2;
	assert_int_equal(kernel_needs(&config), KERNEL_NEED_BOOT | KERNEL_NEED_SPM | KERNEL_NEED_BLK);
	config.device_count = 3;
	assert_int_equal(kernel_needs(&config),
			 KERNEL_NEED_BOOT | KERNEL_NEED_SPM | KERNEL_NEED_BLK | KERNEL_NEED_MAXMEM);
	config = (struct config){.serial = SERIAL_STDIO, .command = command};
	assert_int_equal(kernel_needs(&config), KERNEL_NEED_BOOT | KERNEL_NEED_INIT | KERNEL_NEED_COMMAND);
}

/* What is known to be missing is told before what is not known, and that before what is there. */
static void a_feature_is_as_good_as_its_worst_option(void **state)
{
	static const struct kernel_feature feature = {.name = "f", .options = {{"A", NULL}, {"B", "b"}}};
	struct kernel_config config = {0};

	(void)state;
	assert_int_equal(kernel_feature_ask(&feature, &config), KERNEL_OPTION_UNKNOWN);
	config.has_modules = true;
	assert_int_equal(kernel_feature_ask(&feature, &config), KERNEL_OPTION_NO);
	set(&config, "CONFIG_A=y\nCONFIG_B=m\n", "b.ko:\n");
	assert_int_equal(kernel_feature_ask(&feature, &config), KERNEL_OPTION_MODULE);
	set(&config, "CONFIG_A=y\nCONFIG_B=m\n", "c.ko:\n");
	assert_int_equal(kernel_feature_ask(&feature, &config), KERNEL_OPTION_LOST);
	set(&config, "CONFIG_A=y\nCONFIG_B=y\n", NULL);
	assert_int_equal(kernel_feature_ask(&feature, &config), KERNEL_OPTION_YES);
	set(&config, "CONFIG_B=y\n", NULL);
	assert_int_equal(kernel_feature_ask(&feature, &config), KERNEL_OPTION_NO);
	kernel_config_release(&config);
}

/* The table: every option once, no gap, and its names bounded. */
static void the_table_is_well_made(void **state)
{
	(void)state;
	for (size_t i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		const struct kernel_feature *feature = &KERNEL_FEATURES[i];
		bool ended = false;

		assert_true(strlen(feature->name) <= 16);
		assert_non_null(feature->options[0].name);
		for (size_t j = 0; j < KERNEL_FEATURE_OPTIONS; j++) {
			ended = ended || feature->options[j].name == NULL;
			assert_true(ended == (feature->options[j].name == NULL));
			for (size_t k = 0; !ended && k < i; k++) {
				for (size_t m = 0;
				     m < KERNEL_FEATURE_OPTIONS && KERNEL_FEATURES[k].options[m].name != NULL; m++)
					assert_string_not_equal(feature->options[j].name,
								KERNEL_FEATURES[k].options[m].name);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_lacking_is_listed),
		cmocka_unit_test(lost_modules_count_for_the_built_in_initramfs),
		cmocka_unit_test(the_unknown_is_not_refused),
		cmocka_unit_test(a_machine_needs_what_it_has),
		cmocka_unit_test(a_feature_is_as_good_as_its_worst_option),
		cmocka_unit_test(the_table_is_well_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
