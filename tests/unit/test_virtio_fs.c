/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "devices/virtio/fs.h"
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "vmm/base/io.h"

/* The device with Debian 12's virtiofsd (package qemu-system-common) behind it, and with scripts that only pretend. */
#define VIRTIOFSD "/usr/lib/qemu/virtiofsd"

enum { TEXT = 4096 };

struct fixture {
	char folder[64]; /* shared/ is in it */
	char shared[128], script[128];
	struct virtio_fs fs;
	struct virtio_driver driver;
	struct vhost_user_region region;
	bool driving;
	struct log log;
	int logged[2];
	int open_fds;
	uint64_t unique;
	struct error err;
};

static int open_count(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void write_text(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[256];

	assert_non_null(f);
	f->open_fds = open_count();
	strcpy(f->folder, "/tmp/spmvm-test-fs-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(chmod(f->folder, 0755), 0);
	/* a name that has everything which could go wrong in an option */
	snprintf(f->shared, sizeof(f->shared), "%s/a, b\\c,sandbox=none", f->folder);
	snprintf(f->script, sizeof(f->script), "%s/virtiofsd", f->folder);
	assert_int_equal(mkdir(f->shared, 0755), 0);
	snprintf(path, sizeof(path), "%s/hello", f->shared);
	write_text(path, "from the host", 0644);
	assert_int_equal(pipe2(f->logged, O_CLOEXEC | O_NONBLOCK), 0);
	f->log = (struct log){.level = LOG_DEBUG, .fd = f->logged[1]};
	*state = f;
	return 0;
}

/* No process of ours is left, running or not reaped. */
static void nobody_is_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	virtio_fs_release(&f->fs);
	virtio_fs_release(&f->fs);
	if (f->driving)
		driver_release(&f->driver);
	nobody_is_left();
	close(f->logged[0]);
	close(f->logged[1]);
	assert_int_equal(open_count(), f->open_fds);
	snprintf(command, sizeof(command), "rm -r %s", f->folder);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static struct virtio_fs_options good_options(const struct fixture *f)
{
	return (struct virtio_fs_options){
		.option = "--share /srv,tag=srv", .log = &f->log, .tag = "srv", .path = f->shared, .timeout_ms = 5000};
}

/* With the driver's memory as the guest's. */
static int init(struct fixture *f, const struct virtio_fs_options *options)
{
	int code;

	driver_init(&f->driver, NULL);
	f->driving = true;
	f->region = (struct vhost_user_region){.gpa = DRIVER_GPA,
					       .size = DRIVER_MEMORY,
					       .fd = f->driver.memfd,
					       .hva = f->driver.mem.runs[0].hva,
					       .id = "ram0"};
	code = virtio_fs_init(&f->fs, options, &f->region, 1, &f->err);
	driver_attach(&f->driver, &f->fs.device);
	return code;
}

static bool have_virtiofsd(void)
{
	if (access(VIRTIOFSD, X_OK) == 0)
		return true;
	print_message("SKIPPED: there is no " VIRTIOFSD " (package qemu-system-common)\n");
	return false;
}

static void log_text(struct fixture *f, char *text)
{
	ssize_t got = read(f->logged[0], text, TEXT - 1);

	text[got > 0 ? got : 0] = '\0';
}

/* ---- FUSE over the ring */

/* Sends a request with up to 256 bytes of arguments; the error of the reply (0, or -errno), whose body goes to out. */
static int fuse(struct fixture *f, uint32_t opcode, uint64_t node, const void *in, size_t in_size, void *out,
		size_t out_size)
{
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + in_size), .opcode = opcode, .unique = ++f->unique, .nodeid = node};
	struct fuse_out_header answer;
	uint64_t request = driver_alloc(&f->driver, 512, 16), response = driver_alloc(&f->driver, 8192, 16);
	uint32_t written;
	int head;

	memcpy(driver_at(&f->driver, request), &header, sizeof(header));
	memcpy(driver_at(&f->driver, request + sizeof(header)), in, in_size);
	head = driver_add(&f->driver, 1,
			  (struct driver_buffer[]){{request, header.len, false},
						   {response, (uint32_t)(sizeof(answer) + out_size), true}},
			  2);
	assert_true(head >= 0);
	driver_kick_always(&f->driver, 1);
	for (int i = 0; i < 50 && !driver_has_used(&f->driver, 1); i++)
		driver_wait_interrupt(&f->driver, 100);
	assert_int_equal(driver_take(&f->driver, 1, &written), head);
	memcpy(&answer, driver_at(&f->driver, response), sizeof(answer));
	assert_int_equal(answer.unique, f->unique);
	if (out_size > 0)
		memcpy(out, driver_at(&f->driver, response + sizeof(answer)), out_size);
	return answer.error;
}

static void fuse_init(struct fixture *f)
{
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = 36, .max_readahead = 4096};
	struct fuse_init_out out;

	assert_int_equal(fuse(f, FUSE_INIT, 0, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(out.major, FUSE_KERNEL_VERSION);
}

/* Reads the file "hello". */
static void read_hello(struct fixture *f)
{
	struct fuse_open_in open_in = {.flags = O_RDONLY};
	struct fuse_read_in read_in = {.size = 13};
	struct fuse_entry_out entry;
	struct fuse_open_out opened;
	char text[16] = "";

	assert_int_equal(fuse(f, FUSE_LOOKUP, FUSE_ROOT_ID, "hello", 6, &entry, sizeof(entry)), 0);
	assert_int_equal(entry.attr.size, 13);
	assert_int_equal(fuse(f, FUSE_OPEN, entry.nodeid, &open_in, sizeof(open_in), &opened, sizeof(opened)), 0);
	read_in.fh = opened.fh;
	assert_int_equal(fuse(f, FUSE_READ, entry.nodeid, &read_in, sizeof(read_in), text, 13), 0);
	assert_string_equal(text, "from the host");
}

/* 0, or what mkdir("new") gives. */
static int make_folder(struct fixture *f)
{
	struct {
		struct fuse_mkdir_in in;
		char name[4];
	} request = {{.mode = 0755}, "new"};
	struct fuse_entry_out entry;

	return fuse(f, FUSE_MKDIR, FUSE_ROOT_ID, &request, sizeof(request), &entry, sizeof(entry));
}

/* ---- with virtiofsd */

static void shares_a_folder(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options = good_options(f);
	char config[40], path[256], text[TEXT];
	struct stat status;
	glob_t found;

	if (!have_virtiofsd())
		return;
	assert_int_equal(init(f, &options), 0);
	log_text(f, text);
	assert_non_null(strstr(text, "debug: --share /srv,tag=srv: virtiofsd: "));
	assert_int_equal(driver_read(&f->driver, DRIVER_REG_DEVICE_ID), 26);
	driver_read_config(&f->driver, 0, config, sizeof(config));
	assert_memory_equal(config, "srv\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0",
			    40);
	assert_int_equal(driver_offered(&f->driver) & 0xffffff, 0);
	assert_int_equal(driver_offered(&f->driver) & ~f->fs.vhost.features, 0);
	/* the name of the socket is gone already */
	snprintf(path, sizeof(path), "/tmp/spmvm-share-%d-*", (int)getpid());
	assert_int_equal(glob(path, 0, NULL, &found), GLOB_NOMATCH);
	/* the guest resets and starts anew, as a reboot would */
	for (int i = 0; i < 3; i++) {
		assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 64));
		fuse_init(f);
		read_hello(f);
	}
	assert_int_equal(make_folder(f), 0);
	snprintf(path, sizeof(path), "%s/new", f->shared);
	assert_int_equal(stat(path, &status), 0);
	driver_work(&f->driver, 0);
	assert_false(driver_needs_reset(&f->driver));
}

static void a_read_only_share_is_one(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options = good_options(f);
	char path[256];
	struct stat status;

	if (!have_virtiofsd())
		return;
	options.ro = true;
	if (init(f, &options) < 0) {
		/* a container without CAP_SYS_ADMIN: refused in clear words, and never writable */
		assert_non_null(strstr(f->err.text, "cannot make the folder read-only"));
		return;
	}
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 64));
	fuse_init(f);
	read_hello(f);
	assert_int_equal(make_folder(f), -EROFS);
	snprintf(path, sizeof(path), "%s/new", f->shared);
	assert_int_equal(stat(path, &status), -1);
	/* only there: not here */
	assert_int_equal(mkdir(path, 0755), 0);
}

static pid_t status_field(pid_t pid, const char *field)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtol(line + strlen(field), NULL, 10);
	}
	if (file != NULL)
		fclose(file);
	return (pid_t)value;
}

/* As a user that is not root and is in more groups than one, in a process of its own. */
static int as_a_user(struct fixture *f, bool ro)
{
	struct virtio_fs_options options = good_options(f);
	const gid_t groups[] = {27, 44};
	char path[256];
	struct stat status;

	assert_int_equal(chown(f->shared, 65534, 65534), 0);
	assert_int_equal(setgroups(2, groups), 0);
	assert_int_equal(setresgid(65534, 65534, 65534), 0);
	assert_int_equal(setresuid(65534, 65534, 65534), 0);
	/* as after a login: /proc/self is the user's */
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
	options.ro = ro;
	if (init(f, &options) < 0) {
		fprintf(stderr, "%s\n", f->err.text);
		return strstr(f->err.text, ": cannot ") != NULL ? 2 : 1;
	}
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 64));
	fuse_init(f);
	read_hello(f);
	assert_int_equal(make_folder(f), ro ? -EROFS : 0);
	snprintf(path, sizeof(path), "%s/new", f->shared);
	assert_int_equal(stat(path, &status), ro ? -1 : 0);
	if (!ro)
		assert_int_equal(status.st_uid, 65534);
	virtio_fs_release(&f->fs);
	nobody_is_left();
	return 0;
}

static void works_without_root(void **state)
{
	struct fixture *f = *state;
	int status;

	if (!have_virtiofsd())
		return;
	if (geteuid() != 0) {
		print_message("SKIPPED: becoming an ordinary user takes root\n");
		return;
	}
	for (int ro = 1; ro >= 0; ro--) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(as_a_user(f, ro != 0));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 2)
			print_message("SKIPPED: no user namespaces here\n");
		else
			assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void a_killed_virtiofsd_leaves_the_guest_alive(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options = good_options(f);
	char text[TEXT];

	if (!have_virtiofsd())
		return;
	assert_int_equal(init(f, &options), 0);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 64));
	fuse_init(f);
	driver_work(&f->driver, 0);
	log_text(f, text);
	kill(-f->fs.child.pid, SIGKILL);
	/* a busy host takes its time over a process's end */
	for (int round = 0; round < 40 && (!driver_needs_reset(&f->driver) || f->fs.child.pid != 0); round++)
		driver_work(&f->driver, 250);
	assert_true(driver_needs_reset(&f->driver));
	assert_int_equal(f->fs.child.pid, 0);
	log_text(f, text);
	assert_non_null(strstr(text, "virtiofsd has closed the connection; the device waits for a reset\n"));
	assert_non_null(strstr(text, "virtiofsd was ended by signal 9\n"));
	for (int i = 0; i < VIRTIO_WATCH_MAX; i++)
		assert_true(f->fs.device.watch_fds[i] == -1 || i == VHOST_USER_WATCH_ERROR);
	nobody_is_left();
	assert_false(driver_start(&f->driver, DRIVER_ALL_FEATURES, 64));
}

/* One that hangs is killed when the guest takes its memory back. */
static void a_stopped_virtiofsd_is_killed_at_the_reset(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options = good_options(f);
	struct timespec start, end;
	pid_t pid;

	if (!have_virtiofsd())
		return;
	options.timeout_ms = 500;
	assert_int_equal(init(f, &options), 0);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 64));
	pid = f->fs.child.pid;
	assert_int_equal(kill(-pid, SIGSTOP), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	driver_reset(&f->driver);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(end.tv_sec - start.tv_sec < 3);
	assert_true(f->fs.vhost.dead);
	driver_work(&f->driver, 200);
	assert_int_equal(f->fs.child.pid, 0);
	assert_int_equal(status_field(pid, "PPid:"), -1);
}

/* kill -9 of the VMM: virtiofsd's whole family goes. */
static void goes_with_the_vmm(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options = good_options(f);
	pid_t vmm, *daemon;
	bool gone = false;

	if (!have_virtiofsd())
		return;
	daemon = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(daemon, MAP_FAILED);
	vmm = fork();
	if (vmm == 0) {
		if (init(f, &options) == 0)
			*daemon = f->fs.child.pid;
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(vmm, NULL, 0), vmm);
	assert_true(*daemon > 0);
	for (int i = 0; i < 100 && !gone; i++) {
		gone = kill(-*daemon, 0) < 0; /* nobody in its group */
		if (!gone && status_field(*daemon, "Threads:") <= 1 && kill(*daemon, 0) == 0) {
			char path[64], line[128] = "";
			FILE *file;

			/* dead, and whoever adopts orphans here does not reap them */
			snprintf(path, sizeof(path), "/proc/%d/stat", (int)*daemon);
			file = fopen(path, "re");
			gone = file != NULL && fgets(line, sizeof(line), file) != NULL && strstr(line, ") Z ") != NULL;
			if (file != NULL)
				fclose(file);
		}
		usleep(50000);
	}
	assert_true(gone);
	munmap(daemon, 4096);
}

static void uses_a_virtiofsd_that_runs(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options = good_options(f);
	char path[256], socket_option[280];
	pid_t pid;

	if (!have_virtiofsd())
		return;
	if (geteuid() != 0) {
		print_message("SKIPPED: virtiofsd by itself takes root\n");
		return;
	}
	snprintf(path, sizeof(path), "%s/socket", f->folder);
	snprintf(socket_option, sizeof(socket_option), "--socket-path=%s", path);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 2);
		execl(VIRTIOFSD, "virtiofsd", socket_option, "-o", "source=/usr", "-o", "sandbox=chroot", NULL);
		_exit(127);
	}
	options.path = NULL;
	options.socket = path;
	for (int i = 0; i < 100 && access(path, F_OK) < 0; i++)
		usleep(20000);
	usleep(50000); /* bind() comes before listen() */
	assert_int_equal(init(f, &options), 0);
	assert_int_equal(f->fs.child.pid, 0);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 64));
	fuse_init(f);
	virtio_fs_release(&f->fs);
	assert_int_equal(waitpid(pid, NULL, 0), pid); /* it ends by itself */
}

/* ---- without virtiofsd */

/* A script in virtiofsd's place, as QEMU's or as the Rust one. */
static struct virtio_fs_options scripted(struct fixture *f, const char *text, bool qemu)
{
	struct virtio_fs_options options = good_options(f);
	char folder[128];

	if (qemu) {
		snprintf(folder, sizeof(folder), "%s/qemu", f->folder);
		assert_int_equal(mkdir(folder, 0755), 0);
		snprintf(f->script, sizeof(f->script), "%s/qemu/virtiofsd", f->folder);
	}
	write_text(f->script, text, 0755);
	options.program = f->script;
	return options;
}

static void an_early_end_is_an_error_with_the_last_word(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options =
		scripted(f, "#!/bin/sh\necho starting; echo >&2 no luck today; exit 3\n", false);

	assert_int_equal(init(f, &options), -ENOTCONN);
	assert_string_equal(f->err.text, "--share /srv,tag=srv: virtiofsd ended with status 3: no luck today");
	assert_int_equal(f->err.status, EXIT_STATUS_HOST);
}

static void one_that_says_nothing_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options options = scripted(f, "#!/bin/sh\nexec sleep 1000\n", false);

	options.timeout_ms = 200;
	assert_int_equal(init(f, &options), -ETIMEDOUT);
	assert_string_equal(f->err.text,
			    "--share /srv,tag=srv: virtiofsd gives no answer to GET_FEATURES within 200 ms");
}

/* What both kinds are started with, in both attempts. */
static void has_the_right_command_line(void **state)
{
	struct fixture *f = *state;
	char text[TEXT], expected[TEXT];

	for (int qemu = 0; qemu < 2; qemu++) {
		struct virtio_fs_options options = scripted(
			f, "#!/bin/sh\nfor word; do printf '[%s]\\n' \"$word\"; done; readlink /proc/$$/fd/3; exit 1\n",
			qemu != 0);

		options.overlaid = true;
		assert_true(init(f, &options) < 0);
		driver_release(&f->driver);
		f->driving = false;
		log_text(f, text);
		if (qemu)
			snprintf(expected, sizeof(expected),
				 "virtiofsd: [-osource=%s/a\\, b\\\\c\\,sandbox=none]\nspmvm: debug: --share "
				 "/srv,tag=srv: virtiofsd: [-osandbox=namespace]\n",
				 f->folder);
		else
			snprintf(expected, sizeof(expected),
				 "virtiofsd: [--shared-dir=%s]\nspmvm: debug: --share /srv,tag=srv: virtiofsd: "
				 "[--sandbox=namespace]\n",
				 f->shared);
		assert_non_null(strstr(text, expected));
		assert_non_null(strstr(text, "virtiofsd: [--fd=3]\n"));
		assert_non_null(strstr(text, "virtiofsd: socket:["));
		assert_non_null(strstr(text, qemu ? "[-osandbox=chroot]" : "[--sandbox=chroot]"));
		assert_non_null(strstr(text, qemu ? "[-ocache=always]" : "[--cache=always]"));
		assert_true((strstr(text, "[--no-announce-submounts]") != NULL) == !qemu);
	}
}

static void bad_options_are_errors(void **state)
{
	struct fixture *f = *state;
	struct virtio_fs_options good = good_options(f), bad;
	struct vhost_user_region none = {0};
	char file[256];

	bad = good;
	bad.tag = "";
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -EINVAL);
	assert_int_equal(f->err.status, EXIT_STATUS_CONFIG);
	bad.tag = "1234567890123456789012345678901234567";
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -EINVAL);
	assert_string_equal(f->err.text,
			    "--share /srv,tag=srv: a tag of 37 bytes; the guest mounts by it, and it has 1 to 36");
	bad = good;
	bad.socket = "/run/socket";
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -EINVAL);
	bad.path = NULL;
	bad.ro = true;
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "ro=on"));
	bad.ro = false;
	bad.socket = "/nowhere/socket";
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -ENOENT);
	bad = good;
	bad.path = "/nowhere";
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -ENOENT);
	assert_string_equal(f->err.text, "--share /srv,tag=srv: cannot share /nowhere: No such file or directory");
	assert_int_equal(f->err.status, EXIT_STATUS_CONFIG);
	snprintf(file, sizeof(file), "%s/hello", f->shared);
	bad.path = file;
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -ENOTDIR);
	assert_non_null(strstr(f->err.text, "/hello is not a folder; share the one that it is in"));
	bad = good;
	bad.program = "/nowhere/virtiofsd";
	assert_int_equal(virtio_fs_init(&f->fs, &bad, &none, 1, &f->err), -ENOENT);
	assert_string_equal(f->err.text,
			    "--share /srv,tag=srv: cannot start /nowhere/virtiofsd: No such file or directory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shares_a_folder),
		TEST(a_read_only_share_is_one),
		TEST(works_without_root),
		TEST(a_killed_virtiofsd_leaves_the_guest_alive),
		TEST(a_stopped_virtiofsd_is_killed_at_the_reset),
		TEST(goes_with_the_vmm),
		TEST(uses_a_virtiofsd_that_runs),
		TEST(an_early_end_is_an_error_with_the_last_word),
		TEST(one_that_says_nothing_is_given_up),
		TEST(has_the_right_command_line),
		TEST(bad_options_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
