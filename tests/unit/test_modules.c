/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/boot/modules.h"

/* A log into a pipe's end that is never written at this level. */
static const struct log QUIET = {.level = LOG_ERROR, .fd = STDERR_FILENO};

struct result {
	struct module_order order;
	struct error err;
	int code;
};

#define FOLDER "/lib/modules/6.1"
#define TEXT(text)                                                                                                     \
	{                                                                                                              \
		text, strlen(text)                                                                                     \
	}

/* names: separated by blanks; what is behind a '!' is required. */
static void order_of(struct result *result, const struct module_tables *tables, const char *names)
{
	struct module_wish list[16];
	char copy[256];
	size_t count = 0;
	char *state;

	snprintf(copy, sizeof(copy), "%s", names);
	for (char *name = strtok_r(copy, " ", &state); name != NULL; name = strtok_r(NULL, " ", &state))
		list[count++] = (struct module_wish){name + (*name == '!'), *name == '!'};
	*result = (struct result){.err.text = "untouched"};
	result->code = module_order_from(&result->order, tables, list, count, &QUIET, &result->err);
}

/* wanted: paths, each followed by a blank. */
static void expect_of(const struct module_tables *tables, const char *names, const char *wanted)
{
	char got[1024] = "";
	struct result result;

	order_of(&result, tables, names);
	assert_int_equal(result.code, 0);
	assert_string_equal(result.err.text, "untouched");
	for (size_t i = 0; i < result.order.count; i++) {
		strcat(got, result.order.paths[i]);
		strcat(got, " ");
	}
	assert_string_equal(got, wanted);
	module_order_release(&result.order);
}

static void expect(const char *dependencies, const char *builtin, const char *names, const char *wanted)
{
	const struct module_tables tables = {
		.folder = FOLDER, .dependencies = TEXT(dependencies), .builtin = TEXT(builtin)};

	expect_of(&tables, names, wanted);
}

static void expect_error(const char *dependencies, const char *names, int code, const char *text)
{
	const struct module_tables tables = {.folder = FOLDER, .dependencies = TEXT(dependencies)};
	struct result result;

	order_of(&result, &tables, names);
	assert_int_equal(result.code, code);
	assert_string_equal(result.err.text, text);
	assert_int_equal(result.err.status, EXIT_STATUS_IMAGE);
	assert_null(result.order.paths);
}

static void dependencies_come_first_and_once(void **state)
{
	static const char tree[] = "k/a.ko: k/b.ko k/c.ko\n"
				   "k/b.ko: k/c.ko\n"
				   "k/c.ko:\n"
				   "k/d.ko: k/c.ko k/b.ko k/a.ko\n"
				   "k/e.ko:\n";

	(void)state;
	expect(tree, "", "a", "k/c.ko k/b.ko k/a.ko ");
	expect(tree, "", "d a b", "k/c.ko k/b.ko k/a.ko k/d.ko ");
	expect(tree, "", "e c", "k/e.ko k/c.ko ");
	expect(tree, "", "", "");
}

static void dash_and_underscore_are_the_same(void **state)
{
	static const char tree[] = "x/pvpanic-mmio.ko.xz: x/pv-panic.ko.zst\nx/pv_panic.ko.zst:\ny/dax_hmem.ko.gz:\n";

	(void)state;
	expect(tree, "", "pvpanic_mmio dax-hmem", "x/pv_panic.ko.zst x/pvpanic-mmio.ko.xz y/dax_hmem.ko.gz ");
}

static void names_match_as_a_whole(void **state)
{
	static const char tree[] = "x/kmem2.ko:\nx/kme.ko:\nkmem.ko:\nkmem/other.ko:\n";

	(void)state;
	expect(tree, "", "kmem", "kmem.ko ");
	expect(tree, "", "km", "");
}

static void builtin_is_satisfied(void **state)
{
	(void)state;
	expect("k/a.ko: k/dax.ko\n", "kernel/dax.ko\nkernel/x.ko\n", "a dax", "k/a.ko ");
}

static void unknown_is_skipped_with_a_debug_line(void **state)
{
	const struct module_wish wishes[] = {{"nothing", false}, {"dax", false}};
	const struct module_tables tables = {.folder = FOLDER, .builtin = TEXT("k/dax.ko")};
	struct module_order order;
	struct error err;
	char text[256] = "";
	int ends[2];
	struct log log = {.level = LOG_DEBUG};

	(void)state;
	assert_int_equal(pipe(ends), 0);
	log.fd = ends[1];
	assert_int_equal(module_order_from(&order, &tables, wishes, 2, &log, &err), 0);
	assert_int_equal(order.count, 0);
	module_order_release(&order);
	close(ends[1]);
	for (size_t used = 0; used < sizeof(text) - 1;) {
		ssize_t got = read(ends[0], text + used, sizeof(text) - 1 - used);

		if (got <= 0)
			break;
		used += (size_t)got;
	}
	close(ends[0]);
	assert_non_null(strstr(text, "kernel module nothing: this kernel has none, skipped"));
	assert_non_null(strstr(text, "kernel module dax: built in, or an alias"));
}

static void unknown_is_an_error_when_it_is_required(void **state)
{
	(void)state;
	expect("k/a.ko:\n", "k/dax.ko\n", "!a !dax nothing", "k/a.ko ");
	expect_error("k/a.ko:\n", "a !nothing", -ENOENT,
		     "--module nothing: kernel 6.1 has no such module; their names are in " FOLDER "/modules.dep");
}

static struct module_text as_it_is(void *context)
{
	return *(struct module_text *)context;
}

static void aliases_name_all_that_have_them(void **state)
{
	const struct module_tables tables = {
		.folder = FOLDER,
		.dependencies = TEXT("k/crc32c-intel.ko:\nk/crc32c_generic.ko: k/hash.ko\nk/hash.ko:\n"),
		.builtin = TEXT("k/sha256.ko\n"),
		.read_aliases = as_it_is,
		.context = &(struct module_text)TEXT(
			"# a remark\nalias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\n"
			"alias sha sha256\nalias gone nowhere\nalias crc* hash\nalias"),
	};
	struct result result;

	(void)state;
	expect_of(&tables, "!crypto_crc32c", "k/crc32c-intel.ko k/hash.ko k/crc32c_generic.ko ");
	expect_of(&tables, "!sha", "");
	order_of(&result, &tables, "!gone");
	assert_int_equal(result.code, -ENOENT);
	order_of(&result, &tables, "!crc"); /* wildcards are for devices */
	assert_int_equal(result.code, -ENOENT);
}

static void soft_dependencies_come_first_too(void **state)
{
	const struct module_tables tables = {
		.folder = FOLDER,
		.dependencies = TEXT("k/ext4.ko: k/jbd2.ko\nk/jbd2.ko:\nk/crc32c-intel.ko:\nk/late.ko:\nk/odd.ko:\n"),
		.builtin = TEXT("k/nls.ko\n"),
		.read_aliases = as_it_is,
		.context = &(struct module_text)TEXT("alias crypto-crc32c crc32c_intel\n"),
		.softdeps = TEXT("# Soft dependencies\nsoftdep ext4 post: late pre: nls gone crypto-crc32c\n"
				 "softdep jbd2 pre: ext4 odd\nsoftdep odd late\nsoftdep late post: odd\nsoftdep"),
	};

	(void)state;
	/* what comes after, or is only named, does not; nor what waits for the one that asks */
	expect_of(&tables, "ext4", "k/crc32c-intel.ko k/odd.ko k/jbd2.ko k/ext4.ko ");
	expect_of(&tables, "late", "k/late.ko ");
}

static void odd_text_is_tolerated(void **state)
{
	(void)state;
	expect("", "", "a", "");
	expect("\n\n:\nk/a.ko:", "\n\n", "a", "k/a.ko ");
	expect("k/a.ko:   k/b.ko  \nk/b.ko", "", "a", "k/b.ko k/a.ko ");
}

static void cycle_is_refused(void **state)
{
	(void)state;
	expect_error("a.ko: b.ko\nb.ko: a.ko\n", "a", -ELOOP,
		     FOLDER "/modules.dep: a needs itself, or 128 others in a row; run depmod again");
	expect_error("a.ko: a.ko\n", "a", -ELOOP,
		     FOLDER "/modules.dep: a needs itself, or 128 others in a row; run depmod again");
}

static void endless_chain_is_refused(void **state)
{
	char tree[8192];
	size_t used = 0;
	struct result result;

	(void)state;
	for (int i = 0; i < 200; i++)
		used += (size_t)snprintf(tree + used, sizeof(tree) - used, "m%03d.ko: m%03d.ko\n", i, i + 1);
	snprintf(tree + used, sizeof(tree) - used, "m200.ko:\n");
	expect_error(tree, "m000", -ELOOP,
		     FOLDER "/modules.dep: m129 needs itself, or 128 others in a row; run depmod again");
	order_of(&result, &(struct module_tables){.folder = FOLDER, .dependencies = TEXT(tree)},
		 "m100"); /* a hundred in a row are fine */
	assert_int_equal(result.code, 0);
	assert_int_equal(result.order.count, 101);
	assert_string_equal(result.order.paths[0], "m200.ko");
	module_order_release(&result.order);
}

static void unlisted_dependency_is_refused(void **state)
{
	(void)state;
	expect_error("k/a.ko: k/gone.ko\n", "a", -ENOENT,
		     FOLDER "/modules.dep: a needs gone, which is not listed; run depmod again");
}

static void paths_stay_in_the_folder(void **state)
{
	(void)state;
	expect_error("../../etc/a.ko:\n", "a", -EINVAL,
		     FOLDER "/modules.dep: '../../etc/a.ko' is not a path below that folder; run depmod again");
	expect_error("/etc/a.ko:\n", "a", -EINVAL,
		     FOLDER "/modules.dep: '/etc/a.ko' is not a path below that folder; run depmod again");
	expect_error("x/../../a.ko:\n", "a", -EINVAL,
		     FOLDER "/modules.dep: 'x/../../a.ko' is not a path below that folder; run depmod again");
	expect("x..y/a.ko:\n", "", "a", "x..y/a.ko ");
}

static void other_files_are_refused(void **state)
{
	(void)state;
	expect_error("k/a:\n", "a", -EINVAL,
		     FOLDER "/modules.dep: 'k/a' does not end in .ko, .ko.xz, .ko.zst or .ko.gz; run depmod again");
}

static void packing_is_what_follows_ko(void **state)
{
	(void)state;
	assert_string_equal(module_packing("k/a.ko"), "");
	assert_string_equal(module_packing("k/a.ko.xz"), ".xz");
	assert_string_equal(module_packing("a.ko.zst"), ".zst");
	assert_null(module_packing("x.ko/a"));
	assert_null(module_packing("k/a.kobold"));
	assert_null(module_packing(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dependencies_come_first_and_once),
		cmocka_unit_test(dash_and_underscore_are_the_same),
		cmocka_unit_test(names_match_as_a_whole),
		cmocka_unit_test(builtin_is_satisfied),
		cmocka_unit_test(unknown_is_skipped_with_a_debug_line),
		cmocka_unit_test(unknown_is_an_error_when_it_is_required),
		cmocka_unit_test(aliases_name_all_that_have_them),
		cmocka_unit_test(soft_dependencies_come_first_too),
		cmocka_unit_test(odd_text_is_tolerated),
		cmocka_unit_test(cycle_is_refused),
		cmocka_unit_test(endless_chain_is_refused),
		cmocka_unit_test(unlisted_dependency_is_refused),
		cmocka_unit_test(paths_stay_in_the_folder),
		cmocka_unit_test(other_files_are_refused),
		cmocka_unit_test(packing_is_what_follows_ko),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
