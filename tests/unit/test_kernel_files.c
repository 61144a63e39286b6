/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/kernel_files.h"

/* A folder of its own for each test: *state is its path. */
static int make_folder(void **state)
{
	char *folder = strdup("/tmp/test_kernel_files.XXXXXX");

	*state = folder;
	return folder != NULL && mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
	(void)status;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int remove_folder(void **state)
{
	int code = nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);

	free(*state);
	return code;
}

static void make_path(char path[PATH_MAX], const char *folder, const char *name)
{
	assert_true(snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX);
}

static void add_file(const char *folder, const char *name)
{
	char path[PATH_MAX];
	int fd;

	make_path(path, folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	assert_true(fd >= 0);
	close(fd);
}

/* Makes the folders of a path below folder, one by one. */
static void add_folders(const char *folder, const char *name)
{
	char path[PATH_MAX];

	make_path(path, folder, name);
	for (char *slash = strchr(path + strlen(folder) + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash != NULL)
			*slash = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		if (slash == NULL)
			return;
		*slash = '/';
	}
}

static void assert_newest(const char *folder, const char *name)
{
	char path[PATH_MAX], expected[PATH_MAX];
	struct error err = {0};

	if (kernel_find_newest(folder, path, &err) < 0)
		fail_msg("%s", err.text);
	make_path(expected, folder, name);
	assert_string_equal(path, expected);
}

/* By number, not by letter: 9 is before 10. */
static void the_newest_kernel_is_found(void **state)
{
	(void)state;
	add_file(*state, "vmlinuz-6.1.0-9-amd64");
	assert_newest(*state, "vmlinuz-6.1.0-9-amd64");
	add_file(*state, "vmlinuz-6.1.0-10-amd64");
	assert_newest(*state, "vmlinuz-6.1.0-10-amd64");
	add_file(*state, "vmlinuz-5.10.0-99-amd64");
	assert_newest(*state, "vmlinuz-6.1.0-10-amd64");
	add_file(*state, "vmlinuz-6.12.95+deb12-cloud-amd64");
	assert_newest(*state, "vmlinuz-6.12.95+deb12-cloud-amd64");
	add_file(*state, "vmlinuz-6.9.1");
	assert_newest(*state, "vmlinuz-6.12.95+deb12-cloud-amd64");
}

static void other_files_are_no_kernels(void **state)
{
	add_file(*state, "vmlinuz-6.1.0-9-amd64");
	add_file(*state, "config-6.1.0-10-amd64");
	add_file(*state, "initrd.img-6.1.0-10-amd64");
	add_file(*state, "xvmlinuz-9");
	add_file(*state, "vmlinuz");
	assert_newest(*state, "vmlinuz-6.1.0-9-amd64");
}

static void assert_none(const char *folder)
{
	char path[PATH_MAX], text[PATH_MAX + 200];
	struct error err = {0};

	assert_int_equal(kernel_find_newest(folder, path, &err), -ENOENT);
	snprintf(text, sizeof(text),
		 "no --kernel given and no %s/vmlinuz-* found; install a kernel (Debian: linux-image-cloud-amd64) or "
		 "name one with --kernel FILE",
		 folder);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, EXIT_STATUS_IMAGE);
}

static void no_kernel_is_an_error_with_a_remedy(void **state)
{
	assert_none(*state);
	add_file(*state, "config-6.1.0-10-amd64");
	assert_none(*state);
	assert_none("/nowhere");
}

static void assert_modules(const char *kernel, const char *release, const char *expected)
{
	char path[PATH_MAX];

	assert_int_equal(kernel_find_modules(kernel, release, path), 0);
	assert_string_equal(path, expected);
}

/* An unpacked package has boot/ and lib/ side by side. */
static void modules_beside_the_kernel_come_first(void **state)
{
	char kernel[PATH_MAX], expected[PATH_MAX];

	add_folders(*state, "boot");
	add_folders(*state, "usr/lib/modules/6.1.0-test");
	make_path(kernel, *state, "boot/vmlinuz-6.1.0-test");
	make_path(expected, *state, "boot/../usr/lib/modules/6.1.0-test");
	assert_modules(kernel, "6.1.0-test", expected);
	add_folders(*state, "lib/modules/6.1.0-test");
	make_path(expected, *state, "boot/../lib/modules/6.1.0-test");
	assert_modules(kernel, "6.1.0-test", expected);
}

/* A name without a folder is in the current one. */
static void a_bare_kernel_name_is_in_the_current_folder(void **state)
{
	int before = open(".", O_RDONLY | O_DIRECTORY);

	add_folders(*state, "boot");
	add_folders(*state, "lib/modules/6.1.0-test");
	assert_int_equal(chdir(*state), 0);
	assert_int_equal(chdir("boot"), 0);
	assert_modules("vmlinuz", "6.1.0-test", "./../lib/modules/6.1.0-test");
	assert_modules("./vmlinuz", "6.1.0-test", "./../lib/modules/6.1.0-test");
	assert_int_equal(fchdir(before), 0);
	close(before);
}

static void no_modules_say_where_they_would_be(void **state)
{
	char kernel[PATH_MAX], path[PATH_MAX];

	make_path(kernel, *state, "vmlinuz");
	assert_int_equal(kernel_find_modules(kernel, "6.1.0-not-there", path), -ENOENT);
	assert_string_equal(path, "/lib/modules/6.1.0-not-there");
	/* a kernel without a release has none, whatever /lib/modules holds */
	assert_int_equal(kernel_find_modules(kernel, "", path), -ENOENT);
	assert_int_equal(kernel_find_modules("/vmlinuz", "", path), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_newest_kernel_is_found, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(other_files_are_no_kernels, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(no_kernel_is_an_error_with_a_remedy, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(modules_beside_the_kernel_come_first, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_bare_kernel_name_is_in_the_current_folder, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(no_modules_say_where_they_would_be, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
