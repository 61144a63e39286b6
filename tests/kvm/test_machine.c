/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real executable on a real KVM: guests of a few bytes (payloads.S) that each end in their own way, in a bzImage made here. What
 * spmvm prints and its exit status are all that a caller of spmvm sees, so they are all that is looked at. Runs on a software backend too
 * (--force), because the payloads are so small.
 */
#include "tests/unit/kernel_image.h"
#include "tests/unit/report.h"

#include <asm/bootparam.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include "vmm/base/range.h"

#define PAYLOAD(name) payload_##name, (size_t)(payload_##name##_end - payload_##name)
#define DECLARE(name) extern const uint8_t payload_##name[], payload_##name##_end[]

DECLARE(hello);
DECLARE(reset);
DECLARE(keyboard);
DECLARE(warm_reset);
DECLARE(cold_reset);
DECLARE(pvpanic);
DECLARE(debug_exit);
DECLARE(count);
DECLARE(triple_fault);
DECLARE(spin);
DECLARE(halt);
DECLARE(chatter);
DECLARE(boot_params);
DECLARE(ones);
DECLARE(pci);
DECLARE(echo);
DECLARE(spm);
extern const uint8_t payload_spm_address[];

enum {
	ARGUMENTS_MAX = 32,
	SECONDS_MAX = 60, /* for one guest: a software backend interprets it */
	INITRD_SIZE = 5000
};

/* A guest that runs, its descriptors, and what came out of them. */
struct run {
	struct memory_file kernel, initrd;
	uint8_t initrd_bytes[INITRD_SIZE];
	const char *arguments[ARGUMENTS_MAX];
	pid_t pid;
	int in, out, err; /* our ends; -1 when closed */
	uint8_t *printed; /* its stdout */
	size_t printed_size;
	char *told; /* its stderr, a text */
	size_t told_size;
	int status; /* as waitpid() gives it */
};

/* ------------------------------------------------------------------------------------------ running it */

static uint64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Without a /dev/kvm the tests fail; only who says so may skip them. */
static void need_kvm(void)
{
	const char *no_kvm = getenv("SPMVM_NO_KVM");

	if (no_kvm == NULL || strcmp(no_kvm, "1") != 0)
		return;
	print_message("SKIPPED, nothing was tested: SPMVM_NO_KVM=1 says that there is no KVM here\n");
	skip();
}

/* Makes a run of the payload; further arguments end with NULL. Its own initrd makes kernel modules unnecessary. */
static struct run *run_new(const uint8_t *code, size_t code_size, const char *first, ...)
{
	struct run *run;
	struct kernel_image image;
	size_t count = 0;
	va_list args;

	need_kvm();
	run = calloc(1, sizeof(*run));
	assert_non_null(run);
	image = image_new(code, code_size);
	run->in = run->out = run->err = -1;
	run->kernel = memory_file_new(image.bytes, image.size);
	image_free(&image);
	for (size_t i = 0; i < INITRD_SIZE; i++)
		run->initrd_bytes[i] = (uint8_t)(i * 11 + 5);
	run->initrd = memory_file_new(run->initrd_bytes, INITRD_SIZE);
	run->arguments[count++] = "spmvm";
	run->arguments[count++] = "--force";
	run->arguments[count++] = "--log=warn";
	run->arguments[count++] = "--kernel";
	run->arguments[count++] = run->kernel.path;
	va_start(args, first);
	for (const char *argument = first; argument != NULL; argument = va_arg(args, const char *)) {
		assert_true(count + 3 < ARGUMENTS_MAX);
		run->arguments[count++] = argument;
	}
	va_end(args);
	return run;
}

static void run_add(struct run *run, const char *argument)
{
	size_t count = 0;

	while (run->arguments[count] != NULL)
		count++;
	assert_true(count + 1 < ARGUMENTS_MAX);
	run->arguments[count] = argument;
}

static void run_free(struct run *run)
{
	assert_int_equal(run->pid, 0);
	close(run->kernel.fd);
	close(run->initrd.fd);
	free(run->printed);
	free(run->told);
	free(run);
}

/* In the child, which has its three descriptors already. */
static void become_spmvm(const struct run *run)
{
	char *arguments[ARGUMENTS_MAX];

	memcpy(arguments, run->arguments, sizeof(arguments));
	signal(SIGPIPE, SIG_DFL);
	execv(SPMVM_PATH, arguments);
	_exit(99);
}

static void run_start(struct run *run)
{
	int in[2], out[2], err[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	run->pid = fork();
	assert_true(run->pid >= 0);
	if (run->pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		become_spmvm(run);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	run->in = in[1];
	run->out = out[0];
	run->err = err[0];
}

/* Ends what hangs and fails the test with what was seen of it. */
static void give_up(struct run *run, const char *what)
{
	kill(run->pid, SIGKILL);
	waitpid(run->pid, NULL, 0);
	fail_msg("%s after %d s; printed %zu bytes '%.80s', told '%s'", what, SECONDS_MAX, run->printed_size,
		 run->printed != NULL ? (char *)run->printed : "", run->told != NULL ? run->told : "");
}

/* Appends what can be read, with a zero behind it; closes at the end. */
static void take(int *fd, uint8_t **bytes, size_t *size)
{
	uint8_t page[4096];
	ssize_t got = read(*fd, page, sizeof(page));

	if (got <= 0) {
		close(*fd);
		*fd = -1;
		return;
	}
	*bytes = realloc(*bytes, *size + (size_t)got + 1);
	assert_non_null(*bytes);
	memcpy(*bytes + *size, page, (size_t)got);
	*size += (size_t)got;
	(*bytes)[*size] = '\0';
}

/* Reads until stdout has so many bytes, or until both have ended (SIZE_MAX). */
static void run_read(struct run *run, size_t until)
{
	uint64_t deadline = now_ms() + SECONDS_MAX * 1000;

	while (run->printed_size < until && (run->out >= 0 || run->err >= 0)) {
		struct pollfd fds[] = {{.fd = run->out, .events = POLLIN}, {.fd = run->err, .events = POLLIN}};

		if (now_ms() > deadline)
			give_up(run, "no end");
		if (poll(fds, 2, 1000) <= 0)
			continue;
		if (fds[0].revents != 0)
			take(&run->out, &run->printed, &run->printed_size);
		if (fds[1].revents != 0)
			take(&run->err, (uint8_t **)&run->told, &run->told_size);
	}
}

static void run_join(struct run *run)
{
	assert_int_equal(waitpid(run->pid, &run->status, 0), run->pid);
	run->pid = 0;
}

static void run_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Reads the rest, waits, and checks the status. */
static void run_end(struct run *run, int status)
{
	run_read(run, SIZE_MAX);
	run_join(run);
	run_close(&run->in);
	if (!WIFEXITED(run->status) || WEXITSTATUS(run->status) != status)
		fail_msg("wait status 0x%x instead of exit status %d; told '%s'", run->status, status,
			 run->told != NULL ? run->told : "");
}

/* What was told on stderr, less the one line that --force costs on a software backend. */
static const char *told(struct run *run)
{
	static const char WARNING[] = "spmvm: warning: /dev/kvm is a software backend (";
	char *text = run->told;

	if (text == NULL)
		return "";
	if (strncmp(text, WARNING, strlen(WARNING)) != 0)
		return text;
	text = strchr(text, '\n');
	assert_non_null(text);
	return text + 1;
}

/* The whole of it: runs the guest to its end, which must have this status, this output and this on stderr. */
static void expect(struct run *run, int status, const char *printed, const char *told_text)
{
	run_add(run, "--initrd");
	run_add(run, run->initrd.path);
	run_start(run);
	run_end(run, status);
	assert_string_equal(run->printed != NULL ? (char *)run->printed : "", printed);
	assert_string_equal(told(run), told_text);
	run_free(run);
}

/* Starts a guest and waits until it has printed its first byte. */
static void start_and_wait(struct run *run, char first)
{
	run_add(run, "--initrd");
	run_add(run, run->initrd.path);
	run_start(run);
	run_read(run, 1);
	if (run->printed_size == 0 || run->printed[0] != (uint8_t)first)
		fail_msg("printed '%s', told '%s'", run->printed != NULL ? (char *)run->printed : "",
			 run->told != NULL ? run->told : "");
}

/* ----------------------------------------------------------------------------------------- confinement */

/* The text behind a name in a file of /proc; empty when it has no such line. */
static void line_of(pid_t pid, const char *file, const char *name, char *value, size_t size)
{
	char path[300], line[300];
	FILE *text;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	text = fopen(path, "r");
	assert_non_null(text);
	value[0] = '\0';
	while (fgets(line, sizeof(line), text) != NULL) {
		if (strncmp(line, name, strlen(name)) == 0)
			snprintf(value, size, "%s", line + strlen(name));
	}
	fclose(text);
	value[strcspn(value, "\n")] = '\0';
}

static void expect_line(pid_t pid, const char *file, const char *name, const char *expected)
{
	char value[64];

	line_of(pid, file, name, value, sizeof(value));
	if (strcmp(value, expected) != 0)
		fail_msg("/proc/PID/%s: %s '%s', not '%s'", file, name, value, expected);
}

/* Whatever thread there is, KVM's own too. */
static size_t check_threads(pid_t pid)
{
	char path[300];
	const struct dirent *entry;
	size_t count = 0;
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	threads = opendir(path);
	assert_non_null(threads);
	while ((entry = readdir(threads)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "task/%.20s/status", entry->d_name);
		expect_line(pid, path, "NoNewPrivs:\t", "1");
		expect_line(pid, path, "Seccomp:\t", "2");
		expect_line(pid, path, "CapEff:\t", "0000000000000000");
		expect_line(pid, path, "CapPrm:\t", "0000000000000000");
		count++;
	}
	closedir(threads);
	return count;
}

static void assert_other_namespace(pid_t pid, const char *name)
{
	char path[64], theirs[64] = "", ours[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	assert_true(readlink(path, theirs, sizeof(theirs) - 1) > 0);
	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	assert_true(readlink(path, ours, sizeof(ours) - 1) > 0);
	assert_string_not_equal(theirs, ours);
}

/* With every kind of device that needs no other program, so that their ends are under the filter too. */
static void the_sandbox_holds_while_the_guest_runs(void **state)
{
	static const char DISK[4096];
	struct memory_file disk = memory_file_new(DISK, sizeof(DISK));
	struct run *run;
	char option[80], path[64];
	int stray = dup(STDERR_FILENO); /* not O_CLOEXEC */

	(void)state;
	snprintf(option, sizeof(option), "path=%s", disk.path);
	run = run_new(PAYLOAD(chatter), "--sandbox", "on", "--cpus", "2", "--blk", option, "--maxmem", "2G", NULL);
#ifdef SPMVM_INSTRUMENTED
	close(stray);
	expect(run, 4, "",
	       "spmvm: --sandbox on: this is a build for tests (sanitizers, coverage), which cannot be confined; build it "
	       "without, or use --sandbox off\n");
	close(disk.fd);
	return;
#endif
	start_and_wait(run, 'c');
	assert_true(check_threads(run->pid) >= 3);
	assert_other_namespace(run->pid, "mnt");
	assert_other_namespace(run->pid, "net");
	assert_other_namespace(run->pid, "ipc");
	expect_line(run->pid, "limits", "Max core file size        ",
		    "0                    0                    bytes     ");
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", run->pid, stray);
	assert_int_equal(access(path, F_OK), -1);
	close(stray);
	kill(run->pid, SIGTERM);
	run_end(run, 128 + SIGTERM);
	assert_string_equal(told(run), "");
	run_free(run);
	close(disk.fd);
}

static void off_is_off(void **state)
{
	struct run *run = run_new(PAYLOAD(chatter), "--sandbox=off", NULL);

	(void)state;
	start_and_wait(run, 'c');
	expect_line(run->pid, "status", "NoNewPrivs:\t", "0");
	expect_line(run->pid, "status", "Seccomp:\t", "0");
	kill(run->pid, SIGTERM);
	run_end(run, 128 + SIGTERM);
	run_free(run);
}

/* ------------------------------------------------------------------------------------------------- ends */

static void a_guest_prints_and_powers_off(void **state)
{
	(void)state;
	expect(run_new(PAYLOAD(hello), NULL), 0, "hello from 64-bit code\n", "");
}

static void several_processors_end_together(void **state)
{
	(void)state;
	/* three of them wait for a wake-up that never comes */
	expect(run_new(PAYLOAD(hello), "--cpus", "4", "--numa", "node=0,cpus=0-1", "--numa", "node=1,cpus=2-3", NULL),
	       0, "hello from 64-bit code\n", "");
}

static void resets_end_the_machine(void **state)
{
	(void)state;
	expect(run_new(PAYLOAD(reset), NULL), 0, "R", "");
	expect(run_new(PAYLOAD(keyboard), NULL), 0, "", "");
	expect(run_new(PAYLOAD(cold_reset), NULL), 0, "", "");
}

static void panics_are_told(void **state)
{
	(void)state;
	expect(run_new(PAYLOAD(warm_reset), NULL), 6, "", "spmvm: the guest's kernel panicked\n");
	expect(run_new(PAYLOAD(pvpanic), NULL), 6, "", "spmvm: the guest's kernel panicked\n");
}

/* The built-in initramfs replaces ours here; there are no modules of this kernel's release. */
static void a_script_opens_the_debug_exit_port(void **state)
{
	struct memory_file script = memory_file_new("true\n", 5);
	struct run *run = run_new(PAYLOAD(debug_exit), "--log=error", "--script", script.path, NULL);

	(void)state;
	run->arguments[2] = "--mem=1G"; /* in the place of --log=warn: given once */
	run_start(run);
	run_end(run, 42);
	assert_int_equal(run->printed_size, 0);
	assert_string_equal(told(run), "");
	run_free(run);
	close(script.fd);
}

static void without_a_script_there_is_no_such_port(void **state)
{
	(void)state;
	expect(run_new(PAYLOAD(debug_exit), NULL), 0, "N", "");
}

/* Every exit that the guest makes is in the report of --metrics, and none more. */
static void exits_and_marks_are_counted(void **state)
{
	struct memory_file script = memory_file_new("true\n", 5), report = memory_file_new("", 0);
	struct run *run = run_new(PAYLOAD(count), "--script", script.path, "--metrics", report.path, NULL);
	json_t *json;
	char text[65536];
	ssize_t got;

	(void)state;
	run->arguments[2] = "--log=error"; /* in the place of --log=warn: there are no modules */
	run_start(run);
	run_end(run, 0);
	assert_string_equal((char *)run->printed, "C");
	got = pread(report.fd, text, sizeof(text) - 1, 0);
	assert_true(got > 0 && text[got - 1] == '\n');
	text[got] = '\0';
	assert_ptr_equal(strchr(text, '\n'), text + got - 1);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_true(json_is_true(json_object_get(json, "final")));
	/* with them four marks, a byte for the console and the power-off */
	assert_int_equal(report_number(json, "vcpus", 0, "exits", "io"), 3000 + 4 + 1 + 1);
	assert_int_equal(report_number(json, "vcpus", 0, "exits", "mmio"), 50);
	assert_int_equal(report_number(json, "vcpus", 0, "exits", "shutdown"), 0);
	assert_true(report_number(json, "vcpus", 0, "cpu_ns", NULL) > 0);
	assert_int_equal(report_number(json, "devices", 0, "out_bytes", NULL), 1);
	assert_int_equal(report_number(json, "memory", 0, "size_bytes", NULL), 1 << 30);
	assert_true(report_number(json, "memory", 0, "allocated_bytes", NULL) > 0);
	assert_true(report_number(json, "memory", 0, "huge_bytes", NULL) >= 0);
	assert_true(report_number(json, "boot", 0, "first_run_ns", NULL) > 0);
	assert_true(report_number(json, "boot", 0, "mark_ns", "command") > 0);
	assert_true(report_number(json, "boot", 0, "mark_ns", "init") >=
		    report_number(json, "boot", 0, "mark_ns", "command"));
	assert_int_equal(json_object_size(json_object_get(json_object_get(json, "boot"), "mark_ns")), 2);
	json_decref(json);
	run_free(run);
	close(script.fd);
	close(report.fd);
}

static void a_triple_fault_is_a_crash_with_a_dump(void **state)
{
	struct run *run = run_new(PAYLOAD(triple_fault), "--initrd", NULL);
	const char *text;

	(void)state;
	run_add(run, run->initrd.path);
	run_start(run);
	run_end(run, 6);
	assert_string_equal((char *)run->printed, "T");
	text = told(run);
	assert_int_equal(strncmp(text, "spmvm: the guest crashed\nvcpu 0: ", 32), 0);
	assert_non_null(strcasestr(text, "rip"));
	assert_non_null(strcasestr(text, "cr3"));
	assert_int_equal(text[strlen(text) - 1], '\n');
	run_free(run);
}

/* ---------------------------------------------------------------------------------------------- signals */

static void end_by_signal(const uint8_t *code, size_t size, char first, int signal_number)
{
	struct run *run = run_new(code, size, "--cpus=2", NULL);
	uint64_t sent;

	start_and_wait(run, first);
	sent = now_ms();
	assert_int_equal(kill(run->pid, signal_number), 0);
	run_end(run, 128 + signal_number);
	assert_true(now_ms() - sent < 5000);
	assert_int_equal(run->printed_size, 1);
	assert_string_equal(told(run), "");
	run_free(run);
}

static void signals_end_any_guest(void **state)
{
	(void)state;
	end_by_signal(PAYLOAD(spin), 'S', SIGTERM);
	end_by_signal(PAYLOAD(spin), 'S', SIGINT);
	end_by_signal(PAYLOAD(spin), 'S', SIGHUP);
	end_by_signal(PAYLOAD(halt), 'H', SIGTERM);
}

/* A vcpu that waits for room in a pipe that nobody empties is no reason not to end. */
static void a_full_pipe_does_not_hold_the_machine(void **state)
{
	struct run *run = run_new(PAYLOAD(chatter), NULL);
	struct pollfd fd;
	uint64_t sent;
	int before = -1, now = 0;

	(void)state;
	start_and_wait(run, 'c');
	assert_true(fcntl(run->out, F_SETPIPE_SZ, 4096) > 0);
	fd = (struct pollfd){.fd = run->out, .events = POLLIN};
	assert_int_equal(poll(&fd, 1, 10000), 1);
	/* until it is full: no more comes in */
	while (now != before) {
		before = now;
		usleep(300000);
		assert_int_equal(ioctl(run->out, FIONREAD, &now), 0);
	}
	sent = now_ms();
	assert_int_equal(kill(run->pid, SIGTERM), 0);
	run_end(run, 128 + SIGTERM);
	assert_true(now_ms() - sent < 5000);
	run_free(run);
}

static void a_reader_that_goes_away_ends_the_machine(void **state)
{
	struct run *run = run_new(PAYLOAD(chatter), NULL);

	(void)state;
	start_and_wait(run, 'c');
	run_close(&run->out);
	run_end(run, 128 + SIGPIPE);
	assert_string_equal(told(run), "spmvm: --serial: nobody reads the guest's console any more: Broken pipe\n");
	run_free(run);
}

/* --------------------------------------------------------------------------------------- what it starts with */

static void check_e820(const struct boot_params *params)
{
	assert_int_equal(params->e820_entries, 4);
	assert_true(params->e820_table[0].addr == 0 && params->e820_table[0].size == 0xa0000);
	assert_true(params->e820_table[1].addr == MIB);
	assert_int_equal(params->e820_table[2].type, 3);
	assert_true(params->e820_table[2].addr == params->acpi_rsdp_addr);
	assert_true(params->e820_table[2].addr + params->e820_table[2].size == 256 * MIB);
	assert_true(params->e820_table[3].addr == 4 * GIB && params->e820_table[3].size == 2 * GIB);
	assert_int_equal(params->e820_table[3].type, 0xefffffffu);
}

/* What RSI points to, and what it points to, as the guest reads it: with one string instruction each, so this is string I/O too. */
static void the_guest_finds_its_boot_parameters(void **state)
{
	struct run *run = run_new(PAYLOAD(boot_params), "--mem=256M", "--spm=size=2G,node=1", "--append",
				  "the end of the line", "--initrd", NULL);
	struct boot_params params;
	const uint8_t *rsdp;
	const char *line;
	uint8_t sum = 0;

	(void)state;
	run_add(run, run->initrd.path);
	run_start(run);
	run_end(run, 0);
	assert_int_equal(run->printed_size, 4096 + 36 + 256 + INITRD_SIZE);
	memcpy(&params, run->printed, sizeof(params));
	check_e820(&params);
	assert_int_equal(params.hdr.header, 0x53726448);
	assert_int_equal(params.hdr.ramdisk_size, INITRD_SIZE);
	rsdp = run->printed + 4096;
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	for (int i = 0; i < 36; i++)
		sum = (uint8_t)(sum + rsdp[i]);
	assert_int_equal(sum, 0);
	line = (const char *)rsdp + 36;
	assert_string_equal(line, "console=ttyS0 quiet swiotlb=512 panic=-1 reboot=panic_warm the end of the line");
	assert_memory_equal(rsdp + 36 + 256, run->initrd_bytes, INITRD_SIZE);
	run_free(run);
}

static void what_is_not_there_reads_as_ones(void **state)
{
	(void)state;
	expect(run_new(PAYLOAD(ones), NULL), 0, "yyyyyyyy", "");
}

static void there_is_a_host_bridge_and_no_other_device(void **state)
{
	struct run *run = run_new(PAYLOAD(pci), "--initrd", NULL);
	uint64_t ids[2];

	(void)state;
	run_add(run, run->initrd.path);
	run_start(run);
	run_end(run, 0);
	assert_int_equal(run->printed_size, sizeof(ids));
	memcpy(ids, run->printed, sizeof(ids)); /* the stack: the last first */
	assert_int_equal((uint32_t)ids[0], 0xffffffffu);
	assert_true((uint32_t)ids[1] != 0xffffffffu && (uint32_t)ids[1] != 0);
	run_free(run);
}

/* -------------------------------------------------------------------------------------------- SPM slots */

/* A descriptor of the process's memfd of that name. */
static int open_memfd_of(pid_t pid, const char *name)
{
	char folder[64], path[400], target[64], expected[64];
	struct dirent *entry;
	int fd = -1;
	DIR *dir;

	snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)pid);
	snprintf(expected, sizeof(expected), "/memfd:%s (deleted)", name);
	dir = opendir(folder);
	assert_non_null(dir);
	while (fd < 0 && (entry = readdir(dir)) != NULL) {
		ssize_t length;

		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		length = readlink(path, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		if (strcmp(target, expected) == 0)
			fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

static size_t lines_with(pid_t pid, const char *file, const char *text)
{
	char path[64], line[512];
	size_t count = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	in = fopen(path, "r");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in) != NULL)
		count += strstr(line, text) != NULL;
	fclose(in);
	return count;
}

static void assert_mark(int fd, uint64_t offset, const char *mark)
{
	char bytes[9] = "";

	assert_int_equal(pread(fd, bytes, 8, (off_t)offset), 8);
	assert_string_equal(bytes, mark);
}

/* The guest writes into the pages at first and second; the runs's SPM options are spm. */
static struct run *write_marks(uint64_t first, uint64_t second, const char *spm0, const char *spm1)
{
	size_t size = (size_t)(payload_spm_end - payload_spm), at = (size_t)(payload_spm_address - payload_spm);
	uint8_t *code = malloc(size);
	struct run *run;

	assert_non_null(code);
	memcpy(code, payload_spm, size);
	memcpy(code + at, &first, 8);
	memcpy(code + at + 8, &second, 8);
	run = run_new(code, size, "--mem=256M", "--spm", spm0, spm1, NULL);
	free(code);
	run_add(run, "--initrd");
	run_add(run, run->initrd.path);
	run_start(run);
	run_read(run, 17);
	if (run->printed_size != 17 || run->printed[16] != '.')
		fail_msg("printed %zu bytes, told '%s'", run->printed_size, run->told != NULL ? run->told : "");
	return run;
}

static void end_marks(struct run *run)
{
	assert_int_equal(kill(run->pid, SIGTERM), 0);
	run_end(run, 128 + SIGTERM);
	run_free(run);
}

/* Each slot is a memfd of its own, named after its id: what the guest writes at a slot's addresses is there, and nowhere else. */
static void slots_are_memfds_of_their_own(void **state)
{
	/* adjacent, and not in the order of the command line */
	struct run *run = write_marks(12 * GIB, 8 * GIB, "size=4G,node=1,addr=0x300000000,id=high",
				      "--spm=size=4G,node=2,addr=0x200000000,id=low");
	int high = open_memfd_of(run->pid, "spmvm-high"), low = open_memfd_of(run->pid, "spmvm-low");
	int ram = open_memfd_of(run->pid, "spmvm-ram0");

	(void)state;
	/* fresh memory is zero */
	for (int i = 0; i < 16; i++)
		assert_int_equal(run->printed[i], 0);
	assert_true(high >= 0 && low >= 0 && ram >= 0);
	assert_mark(high, 2 * MIB - 8, "SPM-0001");
	assert_mark(low, 2 * MIB - 8, "SPM-0002");
	assert_mark(ram, 2 * MIB - 8, "");
	assert_true(lseek(high, 0, SEEK_END) == 4 * GIB && lseek(low, 0, SEEK_END) == 4 * GIB);
	assert_int_equal(lines_with(run->pid, "maps", "memfd:spmvm-high"), 1);
	assert_int_equal(lines_with(run->pid, "maps", "memfd:spmvm-low"), 1);
	close(high);
	close(low);
	close(ram);
	end_marks(run);
}

/* The width of this processor's addresses, as Linux tells it. */
static unsigned physical_bits(void)
{
	FILE *in = fopen("/proc/cpuinfo", "r");
	char line[4096];
	unsigned bits = 0;

	assert_non_null(in);
	while (bits == 0 && fgets(line, sizeof(line), in) != NULL) {
		if (strncmp(line, "address sizes", 13) == 0)
			assert_int_equal(sscanf(line, "address sizes : %u bits physical", &bits), 1);
	}
	fclose(in);
	return bits;
}

static uint64_t huge_slot(void)
{
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
	/* what its shadow leaves of the address space has a whole TiB free only now and then */
	return 64 * GIB;
#endif
#endif
	return physical_bits() >= 42 ? TIB : TIB / 4;
}

/*
 * The first and the last page of a slot of 1 TiB, or of a quarter of it where addresses have no room for more. Only what is touched
 * takes memory.
 */
static void a_huge_slot_is_sparse(void **state)
{
	uint64_t size = huge_slot(), start = physical_bits() >= 42 ? 2 * TIB : TIB / 2;
	char option[80];
	struct run *run;
	struct stat status;
	int fd;

	(void)state;
	print_message("a slot of %" PRIu64 " GiB\n", size / GIB);
	snprintf(option, sizeof(option), "size=%" PRIu64 "G,node=1,addr=%#" PRIx64, size / GIB, start);
	run = write_marks(start, start + size - 2 * MIB, option, NULL);
	fd = open_memfd_of(run->pid, "spmvm-spm0");
	assert_true(fd >= 0);
	assert_mark(fd, 2 * MIB - 8, "SPM-0001");
	assert_mark(fd, size - 8, "SPM-0002");
	assert_int_equal(fstat(fd, &status), 0);
	assert_true((uint64_t)status.st_size == size);
	assert_true((uint64_t)status.st_blocks * 512 <= 4 * MIB);
	close(fd);
	end_marks(run);
}

/* A file behind a slot, another behind a descriptor that was passed; both keep what the guest wrote. */
static void files_hold_what_the_guest_writes(void **state)
{
	char path[] = "/tmp/spmvm-memory-XXXXXX", passed[100], file[100];
	int fd = mkstemp(path), inherited = memfd_create("theirs", 0);
	struct run *run, *second;

	(void)state;
	assert_true(fd >= 0 && inherited >= 0);
	snprintf(passed, sizeof(passed), "size=4M,node=1,addr=0x200000000,fd=%d", inherited);
	snprintf(file, sizeof(file), "--spm=size=4M,node=2,addr=0x300000000,id=kept,mem-path=%s", path);
	run = write_marks(8 * GIB, 12 * GIB + 2 * MIB, passed, file);
	assert_mark(inherited, 2 * MIB - 8, "SPM-0001");
	assert_mark(fd, 4 * MIB - 8, "SPM-0002");

	second = run_new(PAYLOAD(hello), "--mem=256M", file, NULL);
	run_add(second, "--spm=size=2M,node=1");
	run_add(second, "--initrd");
	run_add(second, second->initrd.path);
	run_start(second);
	run_end(second, 4);
	assert_non_null(strstr(told(second), ": it is in use: another spmvm or another option has locked it; "));
	run_free(second);

	end_marks(run);
	assert_mark(inherited, 2 * MIB - 8, "SPM-0001");
	assert_mark(fd, 4 * MIB - 8, "SPM-0002");
	close(inherited);
	close(fd);
	unlink(path);
}

/* Somebody makes the file smaller while the guest touches what was there: a line and a status, and no crash. */
static void a_file_made_smaller_ends_the_machine(void **state)
{
	static const char LINE[] = "spmvm: --spm id=gone: its file was made smaller under the machine, to 2 of 4 MiB: "
				   "no memory at ";
	char path[] = "/tmp/spmvm-memory-XXXXXX", file[100];
	int fd = mkstemp(path);
	const char *text;
	struct run *run;

	(void)state;
	assert_true(fd >= 0);
	snprintf(file, sizeof(file), "--spm=size=4M,node=2,addr=0x300000000,id=gone,mem-path=%s", path);
	run = write_marks(8 * GIB, 12 * GIB + 2 * MIB, "size=4M,node=1,addr=0x200000000", file);
	assert_int_equal(ftruncate(fd, 2 * MIB), 0);
	run_end(run, 8);
	/* KVM tells the address where it emulates the guest's instruction; otherwise the line has the file's new end */
	text = told(run);
	assert_memory_equal(text, LINE, sizeof(LINE) - 1);
	assert_non_null(strstr(text, "offset 0x"));
	assert_non_null(strstr(text, "(guest address 0x300"));
	assert_true(strchr(text, '\n') == text + strlen(text) - 1);
	run_free(run);
	close(fd);
	unlink(path);
}

/* It need not be touched for that. */
static void a_file_made_smaller_is_noticed(void **state)
{
	char path[] = "/tmp/spmvm-memory-XXXXXX", file[100];
	int fd = mkstemp(path);
	struct run *run;

	(void)state;
	assert_true(fd >= 0);
	snprintf(file, sizeof(file), "--spm=size=4M,node=1,addr=0x300000000,mem-path=%s", path);
	run = run_new(PAYLOAD(spin), "--mem=256M", file, NULL);
	start_and_wait(run, 'S');
	assert_int_equal(ftruncate(fd, 0), 0);
	run_end(run, 8);
	assert_string_equal(told(run),
			    "spmvm: --spm: its file was made smaller under the machine, to 0 of 4 MiB: no memory at "
			    "offset 0x0 (guest address 0x300000000); start again, and leave the file alone\n");
	run_free(run);
	close(fd);
	unlink(path);
}

/* ---------------------------------------------------------------------------------------------- console */

/* Far more than the FIFO's 16 bytes, all at once: nothing is lost, nothing changes places. */
static void what_is_typed_reaches_the_guest(void **state)
{
	struct run *run = run_new(PAYLOAD(echo), NULL);
	char text[1500];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('A' + i % 16 + i / 16 % 13); /* no 'q' */
	start_and_wait(run, '>');
	assert_int_equal(write(run->in, text, sizeof(text)), sizeof(text));
	assert_int_equal(write(run->in, "q", 1), 1);
	run_end(run, 0);
	assert_int_equal(run->printed_size, 1 + sizeof(text));
	assert_memory_equal(run->printed + 1, text, sizeof(text));
	run_free(run);
}

/* The end of input is not the end of the guest. */
static void a_guest_outlives_its_input(void **state)
{
	struct run *run = run_new(PAYLOAD(echo), NULL);

	(void)state;
	start_and_wait(run, '>');
	assert_int_equal(write(run->in, "ab", 2), 2);
	run_close(&run->in);
	run_read(run, 3);
	assert_int_equal(kill(run->pid, 0), 0);
	assert_int_equal(kill(run->pid, SIGTERM), 0);
	run_end(run, 128 + SIGTERM);
	assert_string_equal((char *)run->printed, ">ab");
	run_free(run);
}

static void serial_goes_where_it_is_sent(void **state)
{
	struct memory_file file = memory_file_new("old and long: to be overwritten by the guest", 44);
	char option[64], text[64] = "";

	(void)state;
	snprintf(option, sizeof(option), "--serial=file:%s", file.path);
	expect(run_new(PAYLOAD(hello), option, NULL), 0, "", "");
	assert_int_equal(pread(file.fd, text, sizeof(text), 0), 23);
	assert_string_equal(text, "hello from 64-bit code\n");
	close(file.fd);
	expect(run_new(PAYLOAD(hello), "--serial=none", NULL), 0, "", "");
}

/* Reads from a terminal until the text was there. */
static void read_until(int master, char *screen, size_t size, const char *text)
{
	uint64_t deadline = now_ms() + SECONDS_MAX * 1000;
	size_t used = strlen(screen);

	while (strstr(screen, text) == NULL) {
		struct pollfd fd = {.fd = master, .events = POLLIN};

		if (now_ms() > deadline || used + 1 >= size)
			fail_msg("no '%s' on the terminal: '%s'", text, screen);
		if (poll(&fd, 1, 1000) > 0) {
			ssize_t got = read(master, screen + used, size - used - 1);

			if (got <= 0)
				fail_msg("the terminal was closed before '%s': '%s'", text, screen);
			used += (size_t)got;
			screen[used] = '\0';
		}
	}
}

static int run_on_terminal(struct run *run)
{
	int master;

	run_add(run, "--initrd");
	run_add(run, run->initrd.path);
	run->pid = forkpty(&master, NULL, NULL, NULL);
	assert_true(run->pid >= 0);
	if (run->pid == 0)
		become_spmvm(run);
	return master;
}

/* Keys go to the guest one by one; Ctrl-C too; the escape ends the machine and leaves the terminal as it was. */
static void a_terminal_is_lent_and_given_back(void **state)
{
	struct run *run = run_new(PAYLOAD(echo), NULL);
	struct termios before, during, after;
	char screen[2000] = "";
	int master = run_on_terminal(run), slave = open(ptsname(master), O_RDWR | O_NOCTTY);

	(void)state;
	assert_true(slave >= 0); /* keeps the settings alive when spmvm has gone */
	assert_int_equal(tcgetattr(slave, &before), 0);
	read_until(master, screen, sizeof(screen), ">");
	assert_non_null(strstr(screen, "spmvm: the guest's console; Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A\r\n"));
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_true((during.c_lflag & (ICANON | ECHO | ISIG)) == 0);
	assert_int_equal(write(master, "k\003\001\001!", 5), 5);
	read_until(master, screen, sizeof(screen), "k\003\001!");
	assert_int_equal(write(master, "\001x", 2), 2);
	run_join(run);
	assert_true(WIFEXITED(run->status) && WEXITSTATUS(run->status) == 0);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(before.c_lflag, after.c_lflag);
	assert_int_equal(before.c_iflag, after.c_iflag);
	assert_int_equal(before.c_oflag, after.c_oflag);
	close(slave);
	close(master);
	run_free(run);
}

/* A guest that crashes gives the terminal back before the dump is written. */
static void a_crash_gives_the_terminal_back(void **state)
{
	struct run *run = run_new(PAYLOAD(triple_fault), NULL);
	struct termios after;
	char screen[8000] = "";
	int master = run_on_terminal(run), slave = open(ptsname(master), O_RDWR | O_NOCTTY);

	(void)state;
	assert_true(slave >= 0);
	read_until(master, screen, sizeof(screen), "the guest crashed\r\n");
	read_until(master, screen, sizeof(screen), "cr3");
	run_join(run);
	assert_true(WIFEXITED(run->status) && WEXITSTATUS(run->status) == 6);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_true((after.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG));
	close(slave);
	close(master);
	run_free(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sandbox_holds_while_the_guest_runs),
		cmocka_unit_test(off_is_off),
		cmocka_unit_test(a_guest_prints_and_powers_off),
		cmocka_unit_test(several_processors_end_together),
		cmocka_unit_test(resets_end_the_machine),
		cmocka_unit_test(panics_are_told),
		cmocka_unit_test(a_script_opens_the_debug_exit_port),
		cmocka_unit_test(exits_and_marks_are_counted),
		cmocka_unit_test(without_a_script_there_is_no_such_port),
		cmocka_unit_test(a_triple_fault_is_a_crash_with_a_dump),
		cmocka_unit_test(signals_end_any_guest),
		cmocka_unit_test(a_full_pipe_does_not_hold_the_machine),
		cmocka_unit_test(a_reader_that_goes_away_ends_the_machine),
		cmocka_unit_test(the_guest_finds_its_boot_parameters),
		cmocka_unit_test(what_is_not_there_reads_as_ones),
		cmocka_unit_test(there_is_a_host_bridge_and_no_other_device),
		cmocka_unit_test(slots_are_memfds_of_their_own),
		cmocka_unit_test(a_huge_slot_is_sparse),
		cmocka_unit_test(files_hold_what_the_guest_writes),
		cmocka_unit_test(a_file_made_smaller_ends_the_machine),
		cmocka_unit_test(a_file_made_smaller_is_noticed),
		cmocka_unit_test(what_is_typed_reaches_the_guest),
		cmocka_unit_test(a_guest_outlives_its_input),
		cmocka_unit_test(serial_goes_where_it_is_sent),
		cmocka_unit_test(a_terminal_is_lent_and_given_back),
		cmocka_unit_test(a_crash_gives_the_terminal_back),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
