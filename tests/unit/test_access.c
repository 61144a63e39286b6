/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/kvm/access.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/spmvm-access-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	/* others may look into it: the tests act as somebody else */
	return mkdtemp(folder) == NULL || chmod(folder, 0755) != 0;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* Opens a file of that mode as a user who is neither its owner nor in its group, and gives the error's text. */
static void open_as_stranger(mode_t mode, gid_t group, struct error *err, char *path, size_t size)
{
	bool root = geteuid() == 0;
	int fd;

	snprintf(path, size, "%s/kvm", folder);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	if (root)
		assert_int_equal(fchown(fd, 0, group), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	err->status = EXIT_STATUS_OK;
	fd = kvm_device_open(path, err);
	if (root)
		assert_int_equal(seteuid(0), 0);
	unlink(path);
	assert_int_equal(fd, -EACCES);
	assert_int_equal(err->status, EXIT_STATUS_HOST);
}

static const char *stranger(void)
{
	static char name[32];
	uid_t uid = geteuid() == 0 ? 65534 : geteuid();
	const struct passwd *user = getpwuid(uid);

	snprintf(name, sizeof(name), "%s", user != NULL ? user->pw_name : "65534");
	return name;
}

static void not_there(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(kvm_device_open("/nowhere/kvm", &err), -ENOENT);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text,
			    "/nowhere/kvm: No such file or directory: load KVM with modprobe kvm_amd or modprobe "
			    "kvm_intel; if that fails, turn on virtualization in the firmware or in the "
			    "hypervisor around this machine");
}

static void group_may(void **state)
{
	char path[128], want[600];
	struct error err;
	const struct group *group;
	gid_t gid;

	(void)state;
	if (geteuid() != 0)
		skip(); /* the owner's rights, not the group's, count for a file of one's own */
	group = getgrnam("daemon");
	assert_non_null(group);
	gid = group->gr_gid;
	open_as_stranger(0660, gid, &err, path, sizeof(path));
	snprintf(
		want, sizeof(want),
		"%s: Permission denied for user %s; it belongs to group daemon: add yourself to group daemon (adduser %s "
		"daemon) and log in again",
		path, stranger(), stranger());
	assert_string_equal(err.text, want);
}

static void group_without_name(void **state)
{
	char path[128], want[600];
	struct error err;

	(void)state;
	if (geteuid() != 0)
		skip();
	open_as_stranger(0660, 1234567, &err, path, sizeof(path));
	snprintf(
		want, sizeof(want),
		"%s: Permission denied for user %s; it belongs to group 1234567, which has no name here: run with that "
		"group",
		path, stranger());
	assert_string_equal(err.text, want);
}

static void only_owner_may(void **state)
{
	char path[128], want[600];
	struct error err;
	bool root = geteuid() == 0;
	const char *owner = root ? "root" : stranger();

	(void)state;
	open_as_stranger(root ? 0600 : 0000, 0, &err, path, sizeof(path));
	snprintf(
		want, sizeof(want),
		"%s: Permission denied for user %s; its mode %s lets only %s use it: run as %s, or as root chgrp kvm %s "
		"and chmod 660 %s",
		path, stranger(), root ? "0600" : "0000", owner, owner, path, path);
	assert_string_equal(err.text, want);
}

static void folder_is_closed(void **state)
{
	char path[128], inner[160], want[600];
	struct error err;

	(void)state;
	snprintf(path, sizeof(path), "%s/closed", folder);
	snprintf(inner, sizeof(inner), "%s/kvm", path);
	assert_int_equal(mkdir(path, 0000), 0);
	if (geteuid() == 0) {
		assert_int_equal(seteuid(65534), 0);
		assert_int_equal(kvm_device_open(inner, &err), -EACCES);
		assert_int_equal(seteuid(0), 0);
	} else {
		assert_int_equal(kvm_device_open(inner, &err), -EACCES);
	}
	rmdir(path);
	snprintf(want, sizeof(want), "%s: Permission denied: run as root, or give your user access to it", inner);
	assert_string_equal(err.text, want);
}

static void other_errors(void **state)
{
	char want[600];
	struct error err;

	(void)state;
	assert_int_equal(kvm_device_open(folder, &err), -EISDIR);
	snprintf(want, sizeof(want), "%s: Is a directory", folder);
	assert_string_equal(err.text, want);
}

static void opens(void **state)
{
	struct error err;
	int fd = kvm_device_open("/dev/null", &err);

	(void)state;
	assert_true(fd >= 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	close(fd);
}

static bool backend_among(const char *const *modules, char *name, size_t size)
{
	char path[128];
	bool hardware;

	for (size_t i = 0; modules[i] != NULL; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, modules[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	hardware = kvm_backend_find(folder, name, size);
	for (size_t i = 0; modules[i] != NULL; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, modules[i]);
		rmdir(path);
	}
	return hardware;
}

static void backends(void **state)
{
	char name[32];

	(void)state;
	assert_true(backend_among((const char *const[]){"ccp", "kvm", "kvm_amd", NULL}, name, sizeof(name)));
	assert_string_equal(name, "kvm_amd");
	assert_true(backend_among((const char *const[]){"kvm_intel", "kvm", "kvm_pvm", NULL}, name, sizeof(name)));
	assert_string_equal(name, "kvm_intel");
	assert_false(backend_among((const char *const[]){"kvm", "kvm_pvm", NULL}, name, sizeof(name)));
	assert_string_equal(name, "kvm_pvm");
	assert_false(backend_among((const char *const[]){"kvm", "kvmgt", NULL}, name, sizeof(name)));
	assert_string_equal(name, "unknown");
	assert_false(kvm_backend_find("/nowhere", name, sizeof(name)));
	assert_string_equal(name, "unknown");
	assert_false(backend_among((const char *const[]){"kvm_pvm", NULL}, name, 6));
	assert_string_equal(name, "kvm_p");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(not_there),
		cmocka_unit_test(group_may),
		cmocka_unit_test(group_without_name),
		cmocka_unit_test(only_owner_may),
		cmocka_unit_test(folder_is_closed),
		cmocka_unit_test(other_errors),
		cmocka_unit_test(opens),
		cmocka_unit_test(backends),
	};

	return cmocka_run_group_tests_name("access", tests, make_folder, remove_folder);
}
