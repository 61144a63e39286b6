/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/gzip.h"
#include "tests/unit/kernel_image.h"
#include "tests/unit/scratch_folder.h"

#include <errno.h>
#include <zlib.h>

#include "vmm/boot/kernel_config.h"

static const struct log QUIET = {.level = LOG_ERROR, .fd = STDERR_FILENO};
static const char TEXT[] =
	"#\n# Linux/x86 6.1.0 Kernel Configuration\n#\nCONFIG_NUMA=y\nCONFIG_VIRTIO_FS=m\n"
	"CONFIG_NODES_SHIFT=10\n# CONFIG_DEV_DAX is not set\nCONFIG_ODD=n\nCONFIG_EMPTY=\nCONFIG_MNAME=\"m\"\n";

enum { ROOM = 8192 };

/* A made-up kernel, unpacked: some bytes, a marker that is none, and the configuration between its markers. */
static size_t ikconfig(const char *text, uint8_t image[ROOM])
{
	static const char BEFORE[] = "\x7f"
				     "ELF code IKCFG_ST and IKCFG_ED in a text, then IKCFG_ST";
	size_t size = sizeof(BEFORE) - 1;

	memcpy(image, BEFORE, size);
	size += gzip_pack(text, strlen(text), image + size, ROOM - size);
	memcpy(image + size, "IKCFG_ED rest", 13);
	return size + 13;
}

/* ------------------------------------------------------------------------------------------------- texts */

static void options_are_told_apart(void **state)
{
	struct kernel_config config = {.source = KERNEL_CONFIG_TEXT};

	(void)state;
	assert_int_equal(kernel_config_from_text(&config, (const uint8_t *)TEXT, strlen(TEXT)), 0);
	assert_int_equal(kernel_config_option(&config, "NUMA", NULL), KERNEL_OPTION_YES);
	assert_int_equal(kernel_config_option(&config, "VIRTIO_FS", NULL), KERNEL_OPTION_MODULE);
	assert_int_equal(kernel_config_option(&config, "VIRTIO_FS", "virtiofs"), KERNEL_OPTION_LOST); /* no modules */
	assert_int_equal(kernel_config_option(&config, "EMPTY", NULL), KERNEL_OPTION_NO);
	assert_int_equal(kernel_config_option(&config, "NODES_SHIFT", NULL), KERNEL_OPTION_YES);
	assert_int_equal(kernel_config_option(&config, "MNAME", NULL), KERNEL_OPTION_YES);
	assert_int_equal(kernel_config_option(&config, "DEV_DAX", "device_dax"), KERNEL_OPTION_NO);
	assert_int_equal(kernel_config_option(&config, "ODD", NULL), KERNEL_OPTION_NO);
	/* as a whole word only */
	assert_int_equal(kernel_config_option(&config, "NUM", NULL), KERNEL_OPTION_NO);
	assert_int_equal(kernel_config_option(&config, "UMA", NULL), KERNEL_OPTION_NO);
	assert_int_equal(kernel_config_option(&config, "VIRTIO_FS_DAX", NULL), KERNEL_OPTION_NO);
	kernel_config_release(&config);
}

static void first_line_counts_too(void **state)
{
	struct kernel_config config = {.source = KERNEL_CONFIG_TEXT};

	(void)state;
	assert_int_equal(kernel_config_from_text(&config, (const uint8_t *)"CONFIG_A=y\n", 11), 0);
	assert_int_equal(kernel_config_option(&config, "A", NULL), KERNEL_OPTION_YES);
	kernel_config_release(&config);
}

static void what_is_no_configuration_is_refused(void **state)
{
	static const struct {
		const char *text;
		size_t size;
	} WRONG[] = {{"", 0},
		     {"hello\n", 6},
		     {"CONFIG_A=y", 10},
		     {"CONFIG_A=y\nCONFIG_VIRT", 23},
		     {"# CONFIG_A\n", 11},
		     {"CONFIG_A=y\n\0\n", 13},
		     {"xCONFIG_A=y\n", 12}};

	(void)state;
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		struct kernel_config config = {0};

		assert_int_equal(kernel_config_from_text(&config, (const uint8_t *)WRONG[i].text, WRONG[i].size),
				 -EBADMSG);
		assert_null(config.text.data);
	}
}

static void ikconfig_is_found_in_a_kernel(void **state)
{
	struct kernel_config config = {.source = KERNEL_CONFIG_IN_KERNEL};
	uint8_t image[ROOM];
	size_t size = ikconfig(TEXT, image);

	(void)state;
	assert_int_equal(kernel_config_from_image(&config, image, size), 0);
	assert_int_equal(config.text.size, 1 + strlen(TEXT));
	assert_memory_equal(config.text.data + 1, TEXT, strlen(TEXT));
	assert_int_equal(kernel_config_option(&config, "NUMA", NULL), KERNEL_OPTION_YES);
	/* every cut is noticed: before the start there is none, behind it a damaged one */
	for (size_t cut = 0; cut < size - 5; cut++) {
		int code = kernel_config_from_image(&config, image, cut);

		assert_true(code == -ENOENT || code == -EBADMSG);
	}
	kernel_config_release(&config);
}

/* A few bytes that unpack to more than any configuration has. */
static void a_bomb_is_bounded(void **state)
{
	struct kernel_config config = {0};
	uint8_t *plain = calloc(1, 5 << 20), *image = malloc(1 << 16);
	z_stream stream = {.next_in = plain, .avail_in = 5 << 20, .next_out = image + 8, .avail_out = 60000};

	(void)state;
	memset(plain, '\n', 5 << 20);
	memcpy(image, "IKCFG_ST", 8);
	assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	memcpy(stream.next_out, "IKCFG_ED", 8);
	assert_int_equal(kernel_config_from_image(&config, image, 8 + stream.total_out + 8), -EFBIG);
	assert_null(config.text.data);
	deflateEnd(&stream);
	free(plain);
	free(image);
}

/* ------------------------------------------------------------------------------------------------ places */

struct fixture {
	struct scratch scratch;
	struct bzimage image;
	char path[PATH_MAX];
};

/* A kernel in the folder, its payload a packed image with or without a configuration; release: 6.1.0-test-amd64. */
static void put_kernel(struct fixture *fixture, const char *name, const char *text)
{
	uint8_t plain[ROOM], code[ROOM];
	size_t size = ikconfig(text, plain);
	struct kernel_image image;
	struct error err;

	size = gzip_pack(plain, size, code, sizeof(code));
	image = image_new_payload(code, size);
	scratch_new(&fixture->scratch);
	scratch_file(&fixture->scratch, name, image.bytes, image.size);
	snprintf(fixture->path, sizeof(fixture->path), "%s", scratch_path(&fixture->scratch, name));
	if (bzimage_open(&fixture->image, fixture->path, &err) < 0)
		fail_msg("%s", err.text);
	image_free(&image);
}

static void drop_kernel(struct fixture *fixture)
{
	bzimage_release(&fixture->image);
	scratch_remove(&fixture->scratch);
}

/* Loads it and checks which place won, by the end of its path, and what it says of CONFIG_PLACE. */
static void assert_from(struct fixture *fixture, const char *modules, bool unpack, enum kernel_config_source source,
			const char *place)
{
	char folder[PATH_MAX] = "";
	struct kernel_config config;
	struct error err;

	if (modules != NULL)
		snprintf(folder, sizeof(folder), "%s", scratch_path(&fixture->scratch, modules));
	assert_int_equal(
		kernel_config_load(&config, &fixture->image, modules == NULL ? NULL : folder, unpack, &QUIET, &err), 0);
	assert_int_equal(config.source, source);
	if (strlen(config.place) < strlen(place) ||
	    strcmp(config.place + strlen(config.place) - strlen(place), place) != 0)
		fail_msg("%s does not end in %s", config.place, place);
	kernel_config_release(&config);
}

static void texts_come_in_order(void **state)
{
	struct fixture fixture;

	(void)state;
	put_kernel(&fixture, "boot/vmlinuz-mine", "CONFIG_A=y\n");
	assert_from(&fixture, NULL, false, KERNEL_CONFIG_NONE, "");
	assert_from(&fixture, NULL, true, KERNEL_CONFIG_IN_KERNEL, "/boot/vmlinuz-mine");
	scratch_text(&fixture.scratch, "modules/build/.config", "CONFIG_A=y\n");
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_TEXT, "/modules/build/.config");
	scratch_text(&fixture.scratch, "modules/config", "CONFIG_A=y\n");
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_TEXT, "/modules/config");
	scratch_text(&fixture.scratch, "boot/config", "CONFIG_A=y\n"); /* perhaps another kernel's */
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_TEXT, "/modules/config");
	scratch_text(&fixture.scratch, "boot/config-mine", "CONFIG_A=y\n");
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_TEXT, "/boot/config-mine");
	scratch_text(&fixture.scratch, "boot/config-6.1.0-test-amd64", "CONFIG_A=y\n");
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_TEXT, "/boot/config-6.1.0-test-amd64");
	/* cut off: the next one is taken */
	scratch_text(&fixture.scratch, "boot/config-6.1.0-test-amd64", "CONFIG_A=y\nCONFIG_");
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_TEXT, "/boot/config-mine");
	drop_kernel(&fixture);
}

static void a_build_tree_has_its_own(void **state)
{
	struct fixture fixture;

	(void)state;
	put_kernel(&fixture, "linux/arch/x86/boot/bzImage", "no configuration\n");
	scratch_text(&fixture.scratch, "linux/.config", "CONFIG_A=y\n");
	assert_from(&fixture, NULL, true, KERNEL_CONFIG_TEXT, "/.config");
	scratch_text(&fixture.scratch, "linux/.config", "CONFIG_A=");
	assert_from(&fixture, NULL, true, KERNEL_CONFIG_NONE, "");
	drop_kernel(&fixture);
}

static void configs_ko_is_the_last_resort(void **state)
{
	struct fixture fixture;
	uint8_t module[ROOM], packed[ROOM];
	size_t size = ikconfig(TEXT, module);

	(void)state;
	put_kernel(&fixture, "vmlinuz", "nothing\n");
	size = gzip_pack(module, size, packed, sizeof(packed));
	scratch_file(&fixture.scratch, "modules/kernel/kernel/configs.ko.gz", packed, size);
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_IN_MODULE, "/kernel/kernel/configs.ko.gz");
	scratch_file(&fixture.scratch, "modules/kernel/kernel/configs.ko.gz", packed, size / 2);
	assert_from(&fixture, "modules", true, KERNEL_CONFIG_NONE, "");
	drop_kernel(&fixture);
}

/* --------------------------------------------------------------------------------------------- modules' tables */

static void put_table(struct buf *table, const char *text)
{
	table->size = 0;
	buf_text(table, text);
}

static void tables_tell_of_modules(void **state)
{
	struct kernel_config config = {.has_modules = true};

	(void)state;
	put_table(&config.builtin, "kernel/fs/fuse/fuse.ko\nkernel/drivers/tty/serial/8250/8250.ko\n");
	put_table(
		&config.dependencies,
		"kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko\nkernel/drivers/char/hw_random/virtio-rng.ko:\nx.ko");
	/* without a configuration they are all there is */
	assert_int_equal(kernel_config_option(&config, "FUSE_FS", "fuse"), KERNEL_OPTION_YES);
	assert_int_equal(kernel_config_option(&config, "VIRTIO_FS", "virtiofs"), KERNEL_OPTION_MODULE);
	assert_int_equal(kernel_config_option(&config, "HW_RANDOM_VIRTIO", "virtio_rng"), KERNEL_OPTION_MODULE);
	assert_int_equal(kernel_config_option(&config, "X", "x"), KERNEL_OPTION_MODULE);
	assert_int_equal(kernel_config_option(&config, "SERIAL", "825"), KERNEL_OPTION_NO);
	assert_int_equal(kernel_config_option(&config, "OVERLAY_FS", "overlay"), KERNEL_OPTION_NO);
	assert_int_equal(kernel_config_option(&config, "NUMA", NULL), KERNEL_OPTION_UNKNOWN);
	/* with one they tell what is not installed */
	config.source = KERNEL_CONFIG_TEXT;
	assert_int_equal(kernel_config_from_text(&config, (const uint8_t *)"CONFIG_VIRTIO_FS=m\nCONFIG_DAX=m\n", 32),
			 0);
	assert_int_equal(kernel_config_option(&config, "VIRTIO_FS", "virtiofs"), KERNEL_OPTION_MODULE);
	assert_int_equal(kernel_config_option(&config, "DAX", "device_dax"), KERNEL_OPTION_LOST);
	config.has_modules = false;
	assert_int_equal(kernel_config_option(&config, "VIRTIO_FS", "virtiofs"), KERNEL_OPTION_LOST);
	config.source = KERNEL_CONFIG_NONE;
	assert_int_equal(kernel_config_option(&config, "FUSE_FS", "fuse"), KERNEL_OPTION_UNKNOWN);
	kernel_config_release(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_told_apart),
		cmocka_unit_test(first_line_counts_too),
		cmocka_unit_test(what_is_no_configuration_is_refused),
		cmocka_unit_test(ikconfig_is_found_in_a_kernel),
		cmocka_unit_test(a_bomb_is_bounded),
		cmocka_unit_test(texts_come_in_order),
		cmocka_unit_test(a_build_tree_has_its_own),
		cmocka_unit_test(configs_ko_is_the_last_resort),
		cmocka_unit_test(tables_tell_of_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
