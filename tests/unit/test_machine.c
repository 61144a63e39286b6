/* SPDX-License-Identifier: Apache-2.0 */
/* run_machine(), from the files to the exit status, on a KVM that does what the test says (fake_kvm.c). */
#include "tests/unit/fake_run.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "devices/virtio/mmio.h"

static struct run run_steps(const char *line, struct fake_step *steps, size_t count)
{
	struct run run;

	fake_kvm.steps = steps;
	fake_kvm.step_count = count;
	run_init(&run);
	run_line(&run, line);
	run_release(&run);
	return run;
}

/* --------------------------------------------------------------------------------------- what vcpu 0 does */

static struct fake_step read_of(enum kvm_exit_kind kind, uint64_t address, uint32_t size, uint32_t count)
{
	return (struct fake_step){.exit = {.kind = kind, .address = address, .size = size, .count = count}};
}

static struct fake_step stop_of(enum kvm_exit_kind kind)
{
	return (struct fake_step){.exit = {.kind = kind, .text = "KVM internal error 1 (emulation failure)"}};
}

static void expect_end(struct fake_step step, int status, const char *told)
{
	struct run run;

	fake_kvm_reset();
	run = run_steps("--cpus 2", &step, 1);
	assert_int_equal(run.code, 0);
	assert_int_equal(run.status, status);
	assert_string_equal(run.told, told);
	assert_int_equal(run.err.text[0], '\0');
}

static void each_end_has_its_status(void **state)
{
	(void)state;
	expect_end(port_write(0x600, 1, "\x34"), 0, "");
	expect_end(port_write(0x602, 1, "\x01"), 0, "");
	expect_end(port_write(0x64, 1, "\xfe"), 0, "");
	expect_end(stop_of(KVM_EXIT_KIND_RESET), 0, "");
	expect_end(port_write(0x505, 1, "\x01"), 6, "spmvm: the guest's kernel panicked\n");
	expect_end(stop_of(KVM_EXIT_KIND_SHUTDOWN), 6,
		   "spmvm: the guest crashed\nvcpu 0: triple fault: the guest cannot handle an exception\n"
		   "the registers of vcpu 0; byte 0 read\n");
	expect_end(stop_of(KVM_EXIT_KIND_CRASH), 6,
		   "spmvm: the guest crashed\nvcpu 0: KVM internal error 1 (emulation failure)\n"
		   "the registers of vcpu 0; byte 0 read\n");
}

/* Whoever reads the stages can count on all that belong to a run, in their order. */
static void each_stage_is_marked(void **state)
{
	struct fake_step step = stop_of(KVM_EXIT_KIND_RESET);
	struct run run;

	(void)state;
	fake_kvm_reset();
	run = run_steps("--cpus 2 --spm size=2M,node=1", &step, 1);
	assert_int_equal(run.code, 0);
	assert_true(run.stages.at[STAGE_KERNEL] > 0);
	for (int i = STAGE_KERNEL + 1; i < STAGE_COUNT; i++)
		assert_true(run.stages.at[i] >= run.stages.at[i - 1]);
}

/* What ends nothing is passed over, and the first end is the one that counts. */
static void the_first_end_wins(void **state)
{
	struct fake_step steps[] = {
		stop_of(KVM_EXIT_KIND_INTERRUPTED), stop_of(KVM_EXIT_KIND_HALTED),
		port_write(0x600, 1, "\x14"),                                    /* no SLP_EN */
		port_write(0x602, 1, "\x06"),                                    /* not the reset value */
		port_write(0x64, 1, "\xd1"),        port_write(0xf4, 1, "\x07"), /* no script, no such port */
		port_write(0x505, 1, "\x02"),       port_write(0x600, 1, "\x34"),
		port_write(0x505, 1, "\x01"),
	};
	struct run run;

	(void)state;
	fake_kvm_reset();
	run = run_steps("", steps, sizeof(steps) / sizeof(steps[0]));
	assert_int_equal(run.code, 0);
	assert_int_equal(run.status, 0);
	assert_string_equal(run.told, "");
	/* the thread looks at the cause before it runs on */
	assert_int_equal(atomic_load(&fake_kvm.step), 8);
}

static void a_failing_kvm_run_is_an_error(void **state)
{
	struct fake_step step = {.code = -EFAULT};
	struct run run;

	(void)state;
	fake_kvm_reset();
	run = run_steps("--cpus 3", &step, 1);
	assert_true(run.code < 0);
	assert_string_equal(run.err.text, "KVM_RUN: Bad address");
	assert_int_equal(run.err.status, EXIT_STATUS_HOST);
	assert_string_equal(run.told, "");
}

/* ----------------------------------------------------------------------------------- memory that goes away */

int __wrap_inotify_init1(int flags);

/* No files are watched here: what is tested is that an access finds out. */
int __wrap_inotify_init1(int flags)
{
	(void)flags;
	errno = ENOSYS;
	return -1;
}

static int shrinking; /* a memfd behind guest memory */
static off_t left;

static void make_smaller(void)
{
	assert_int_equal(ftruncate(shrinking, left), 0);
}

/* A descriptor as execve() leaves it, for fd=; shrinking is another for the same file. */
static int new_memory(void)
{
	int fd = memfd_create("theirs", 0);

	shrinking = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	assert_true(fd >= 0 && shrinking >= 0);
	fake_kvm_reset();
	fake_kvm.before_step = make_smaller;
	return fd;
}

/* KVM says no more than EFAULT; the line names the slot, and where it ends now. */
static void a_file_that_shrinks_under_the_guest(void **state)
{
	struct fake_step step = {.code = -EFAULT};
	char line[100];
	struct run run;

	(void)state;
	left = 2 * MIB;
	snprintf(line, sizeof(line), "--spm size=2M,node=1 --spm size=4M,node=2,id=hbm0,fd=%d", new_memory());
	run = run_steps(line, &step, 1);
	close(shrinking);
	assert_int_equal(run.code, -EIO);
	assert_int_equal(run.err.status, EXIT_STATUS_BACKING);
	assert_string_equal(
		run.err.text,
		"--spm id=hbm0: its file was made smaller under the machine, to 2 of 4 MiB: no memory at offset "
		"0x200000 (guest address 0x180200000); start again, and leave the file alone");
}

/* As KVM says it of an instruction that it emulates. */
static void mmio_in_the_middle_of_memory(void **state)
{
	struct fake_step step = read_of(KVM_EXIT_KIND_MMIO, 0x180300000, 4, 1);
	char line[100];
	struct run run;

	(void)state;
	left = 2 * MIB;
	snprintf(line, sizeof(line), "--spm size=2M,node=1 --spm size=4M,node=2,id=hbm0,fd=%d", new_memory());
	run = run_steps(line, &step, 1);
	close(shrinking);
	assert_int_equal(run.err.status, EXIT_STATUS_BACKING);
	assert_string_equal(run.err.text,
			    "--spm id=hbm0: its file was made smaller under the machine, to 2 of 4 MiB: no memory at "
			    "offset 0x300000 (guest address 0x180300000); start again, and leave the file alone");
}

/* As KVM does it for the vcpu's thread. */
static void meet_a_broken_cell(void)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};

	if (atomic_load(&fake_kvm.step) > 1)
		return;
	info.si_addr = fake_kvm.memslots[fake_kvm.memslot_count - 2].hva + 3 * MIB + 4096;
	assert_int_equal(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info), 0);
}

static void a_broken_cell_is_a_machine_check(void **state)
{
	struct fake_step steps[] = {stop_of(KVM_EXIT_KIND_INTERRUPTED), port_write(0x600, 1, "\x34")};
	struct run run;

	(void)state;
	fake_kvm_reset();
	fake_kvm.before_step = meet_a_broken_cell;
	run = run_steps("--spm size=4M,node=1,id=hbm0", steps, 2);
	assert_int_equal(run.code, 0);
	assert_int_equal(run.status, 0);
	assert_int_equal(fake_kvm.machine_checks, 1);
	assert_int_equal(fake_kvm.broken, 0x100301000);
	assert_string_equal(run.told,
			    "spmvm: warning: --spm id=hbm0: a memory cell of the host is broken at offset "
			    "0x301000 (guest address 0x100301000); see the host's kernel log; vcpu 0 has met it\n");
}

/* Looks, at the guest's reset, where its kernel says what kind of reset it is. */
static void read_what_is_gone(int told)
{
	struct fake_step step = stop_of(KVM_EXIT_KIND_RESET);
	struct machine_line machine = {0};
	char line[64];
	struct stages stages = {0};
	struct error err;
	struct run run;
	int status;

	left = 0;
	snprintf(line, sizeof(line), "--mem size=66M,fd=%d", new_memory());
	fake_kvm.steps = &step;
	fake_kvm.step_count = 1;
	run_init(&run);
	line_config(&machine, run_text(&run, "info", line));
	dup2(told, STDERR_FILENO);
	run_machine(machine.config, NULL, &stages, &status, &err);
	_exit(99);
}

/* An access of ours is a SIGBUS: a line and a status all the same. */
static void a_file_that_shrinks_under_us(void **state)
{
	int told = memfd_create("told", MFD_CLOEXEC), status = 0;
	char text[500] = "";
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0 && told >= 0);
	if (pid == 0)
		read_what_is_gone(told);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(pread(told, text, sizeof(text) - 1, 0) >= 0);
	close(told);
	assert_string_equal(
		text, "spmvm: --mem: its file was made smaller under the machine, to 0 of 66 MiB: no memory at offset "
		      "0x472 (guest address 0x472); start again, and leave the file alone\n");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_STATUS_BACKING);
}

/* ------------------------------------------------------------------------------------------------ buses */

static void accesses_reach_the_devices(void **state)
{
	struct fake_step steps[] = {
		port_write(0x3ff, 1, "\x5a"),            /* COM1's scratch register */
		read_of(KVM_EXIT_KIND_IO, 0x3ff, 1, 1),  /* ... keeps it */
		read_of(KVM_EXIT_KIND_IO, 0x3ff, 1, 5),  /* ... five times, for a string instruction */
		read_of(KVM_EXIT_KIND_IO, 0x1234, 2, 3), /* nobody there */
		read_of(KVM_EXIT_KIND_MMIO, 0xe0000000, 8, 1),
		read_of(KVM_EXIT_KIND_MMIO, 0xc00003ff, 1, 1),
		port_write(0xcf8, 4, "\0\0\0\x80"),
		read_of(KVM_EXIT_KIND_IO, 0xcfc, 4, 1),
		port_write(0x600, 1, "\x34"),
		read_of(KVM_EXIT_KIND_IO, 0x3ff, 1, 1),
	};
	static const uint8_t ONES[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct run run;

	(void)state;
	fake_kvm_reset();
	run = run_steps("", steps, sizeof(steps) / sizeof(steps[0]));
	assert_int_equal(run.status, 0);
	assert_int_equal(steps[1].answer[0], 0x5a);
	assert_memory_equal(steps[2].answer, "\x5a\x5a\x5a\x5a\x5a", 5);
	assert_memory_equal(steps[3].answer, ONES, 6);
	assert_memory_equal(steps[4].answer, ONES, 8);
	assert_int_equal(steps[5].answer[0], 0xff);
	assert_memory_not_equal(steps[7].answer, ONES, 4);
	assert_memory_not_equal(steps[7].answer, "\0\0\0\0", 4);
}

/* The reset is the main thread's to do; the vcpu goes on when it is done, and not before. */
static void a_device_is_reset_before_the_vcpu_goes_on(void **state)
{
	const uint64_t STATUS = BOARD_VIRTIO_BASE + 0x70;
	struct fake_step steps[] = {
		register_write(STATUS, "\3\0\0"), read_of(KVM_EXIT_KIND_MMIO, STATUS, 4, 1),
		register_write(STATUS, "\0\0\0"), read_of(KVM_EXIT_KIND_MMIO, STATUS, 4, 1),
		port_write(0x600, 1, "\x34"),     read_of(KVM_EXIT_KIND_IO, 0x3ff, 1, 1),
	};
	struct run run;

	(void)state;
	fake_kvm_reset();
	run = run_steps("--rng on", steps, sizeof(steps) / sizeof(steps[0]));
	assert_int_equal(run.status, 0);
	assert_int_equal(steps[1].answer[0], 3);
	assert_int_equal(steps[3].answer[0], 0);
}

/* ----------------------------------------------------------------------------------- what KVM was told */

static void power_off_at_once(const char *line)
{
	struct fake_step step = port_write(0x600, 1, "\x34");
	struct run run = run_steps(line, &step, 1);

	if (run.code < 0)
		fail_msg("%s", run.err.text);
	assert_int_equal(run.status, 0);
}

/* Memslots are the layout's runs, and host and guest addresses agree modulo the largest page. */
static void check_memslots(const char *line, size_t expected)
{
	struct machine_line machine;
	size_t first = 0, slot = 0, count;
	struct range run;

	fake_kvm_reset();
	power_off_at_once(line);
	/* behind them the devices' registers, see registers_are_readable() */
	assert_int_equal(fake_kvm.memslot_count, expected + 1);
	assert_true(fake_kvm.memslots[expected].readonly);
	machine = line_new(line);
	for (; first < machine.board->layout.region_count; first += count) {
		count = layout_run(&machine.board->layout, first, &run);
		assert_true(fake_kvm.memslots[slot].gpa.start == run.start);
		assert_true(fake_kvm.memslots[slot].gpa.size == run.size);
		assert_true((((uintptr_t)fake_kvm.memslots[slot].hva ^ run.start) & (GIB - 1)) == 0);
		slot++;
	}
	assert_int_equal(slot, expected);
	line_release(&machine);
}

static void memslots_are_few(void **state)
{
	char line[4096] = "";
	size_t length = 0;

	(void)state;
	check_memslots("", 1);
	check_memslots("--spm size=8G,node=1", 2);
	check_memslots("--mem 4G --spm size=8G,node=1", 3);
	check_memslots("--mem 4G --spm size=8G,node=1,addr=0x140000000", 2); /* right behind RAM */
	check_memslots("--spm size=8G,node=1 --spm size=2G,node=2,addr=0x1000000000", 3);
	for (int i = 1; i <= 64; i++)
		length += (size_t)sprintf(line + length, "--spm size=2G,node=%d ", i);
	check_memslots(line, 2);
}

/* COM1 has its pin to itself; no eventfd serves two. */
/* How many memslots of registers there are, and that they have neither more nor less than the pages in the list. */
static void check_registers(const char *line, bool readonly_memory, size_t expected, const uint64_t *pages,
			    size_t count)
{
	size_t slots = 0, found = 0;

	fake_kvm_reset();
	fake_kvm.limits.readonly_memory = readonly_memory;
	power_off_at_once(line);
	for (size_t i = 0; i < fake_kvm.memslot_count; i++) {
		if (!fake_kvm.memslots[i].readonly)
			continue;
		slots++;
		for (uint64_t at = 0; at < fake_kvm.memslots[i].gpa.size; at += VIRTIO_MMIO_PAGE) {
			assert_true(found < count);
			assert_int_equal(fake_kvm.memslots[i].gpa.start + at,
					 BOARD_VIRTIO_BASE + pages[found++] * VIRTIO_MMIO_PAGE);
		}
	}
	assert_int_equal(slots, expected);
	assert_int_equal(found, count);
}

static int fail_pre_fault(const char *call)
{
	return strcmp(call, "kvm_vcpu_pre_fault") == 0 ? -EOPNOTSUPP : 0;
}

/* What was paid for in advance is in KVM's page tables, and nothing else; where that does not work, the machine runs all the same. */
static void preallocated_memory_is_entered(void **state)
{
	static const char LINE[] =
		"--mem 128M --spm size=2M,node=1 --spm size=6M,node=2,prealloc=on --spm size=258M,node=3,prealloc=on";
	static const size_t CALLS[] = {0, 3, 2};

	(void)state;
	for (int round = 0; round < 3; round++) {
		fake_kvm_reset();
		fake_kvm.limits.pre_fault = round > 0;
		fake_kvm.fails = round == 2 ? fail_pre_fault : NULL;
		power_off_at_once(LINE);
		assert_int_equal(fake_kvm.pre_faulted_count, CALLS[round]);
		if (round > 0) {
			assert_int_equal(fake_kvm.pre_faulted[0].size, 6 * MIB);
			assert_int_equal(fake_kvm.pre_faulted[1].size, 256 * MIB);
		}
		if (round == 1) {
			assert_int_equal(fake_kvm.pre_faulted[2].start, fake_kvm.pre_faulted[1].start + 256 * MIB);
			assert_int_equal(fake_kvm.pre_faulted[2].size, 2 * MIB);
		}
	}
	fake_kvm.fails = NULL;
}

/* virtio-mem's configuration would be read in halves, so its page is not among them. */
static void registers_are_readable(void **state)
{
	(void)state;
	check_registers("", true, 1, (const uint64_t[]){0}, 1);
	check_registers("", false, 0, NULL, 0);
	check_registers("--rng off", true, 0, NULL, 0);
	check_registers("--mem 1G --maxmem 2G --port name=a,in=/dev/null", true, 2, (const uint64_t[]){0, 2}, 2);
}

/* KVM drops the acknowledgement of used buffers, and nothing else. */
static void acknowledgements_are_dropped(void **state)
{
	size_t found = 0;

	(void)state;
	fake_kvm_reset();
	power_off_at_once("");
	for (size_t i = 0; i < fake_kvm.kick_count; i++) {
		if (fake_kvm.kicks[i].gpa != BOARD_VIRTIO_BASE + VIRTIO_MMIO_INTERRUPT_ACK)
			continue;
		assert_int_equal(fake_kvm.kicks[i].value, 1);
		found++;
	}
	assert_int_equal(found, 1);
}

static void interrupts_have_their_pins(void **state)
{
	(void)state;
	fake_kvm_reset();
	power_off_at_once("");
	assert_true(fake_kvm.irqfd_count > 0);
	assert_int_equal(fake_kvm.irqfds[0].gsi, 4); /* COM1 */
	assert_int_equal(fake_kvm.irqfds[1].gsi, 3); /* the power button */
	for (size_t i = 2; i < fake_kvm.irqfd_count; i++) {
		assert_in_range(fake_kvm.irqfds[i].gsi, 5, KVM_GSI_COUNT - 1);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(fake_kvm.irqfds[i].eventfd, fake_kvm.irqfds[j].eventfd);
	}
}

static void processors_are_where_the_board_says(void **state)
{
	const struct kvm_topology expected[] = {{0, 2, 3, 4}, {1, 2, 3, 4}, {4, 2, 1, 4}, {2, 2, 3, 4}};

	(void)state;
	fake_kvm_reset();
	power_off_at_once("--cpus 4 --numa node=0,cpus=0,1,3 --numa node=1,cpus=2");
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(fake_kvm.topologies[i].apic_id, expected[i].apic_id);
		assert_int_equal(fake_kvm.topologies[i].core_bits, expected[i].core_bits);
		assert_int_equal(fake_kvm.topologies[i].package_cores, expected[i].package_cores);
		assert_int_equal(fake_kvm.topologies[i].cpus, expected[i].cpus);
	}
}

static void the_boot_processor_starts_in_the_kernel(void **state)
{
	(void)state;
	fake_kvm_reset();
	power_off_at_once("");
	assert_true(fake_kvm.start.long_mode);
	assert_true(fake_kvm.start.entry == IMAGE_PREFERRED + 0x200);
	assert_true(fake_kvm.start.rsi == 0x7000 && fake_kvm.start.stack == 0x8ff0);
	assert_true(fake_kvm.start.page_table == 0x9000);
	assert_true(fake_kvm.start.gdt == 0x500 && fake_kvm.start.gdt_limit == 31);
}

/* --------------------------------------------------------------------------------------------- refusals */

static void expect_refused(const char *line, enum exit_status status, const char *text)
{
	struct run run;

	run_init(&run);
	run_line(&run, line);
	run_release(&run);
	assert_true(run.code < 0);
	assert_string_equal(run.err.text, text);
	assert_int_equal(run.err.status, status);
	assert_string_equal(run.told, "");
}

static void more_processors_than_kvm_gives_are_refused(void **state)
{
	(void)state;
	fake_kvm_reset();
	fake_kvm.limits.max_vcpus = 3;
	expect_refused("--cpus 4", EXIT_STATUS_HOST,
		       "--cpus 4: this host's KVM gives a guest at most 3; ask for fewer");
	power_off_at_once("--cpus 3");
}

static void a_software_backend_needs_force(void **state)
{
	(void)state;
	fake_kvm_reset();
	fake_kvm.limits.hardware = false;
	expect_refused("", EXIT_STATUS_HOST,
		       "/dev/kvm is a software backend (kvm_fake), which cannot run a stock Linux kernel; use a host "
		       "with kvm_intel or kvm_amd, or tests/lab/run -- spmvm ..., or go on with --force");
}

/* The guest's width is this host's, whatever the plan for another one would say. */
static void addresses_are_this_kvms(void **state)
{
	(void)state;
	fake_kvm_reset();
	fake_kvm.limits.phys_bits = 36;
	expect_refused("--spm size=62G,node=1", EXIT_STATUS_CONFIG,
		       "--spm id=spm0: its 63488 MiB do not fit: at 0x100000000 they would go beyond the end of the "
		       "guest's 36 physical address bits (0x1000000000); make the block or the RAM smaller");
	power_off_at_once("--spm size=60G,node=1");
}

/* The user's mistakes are told before KVM is asked for anything. */
static void files_are_looked_at_first(void **state)
{
	struct run run;

	(void)state;
	fake_kvm_reset();
	run_init(&run);
	assert_int_equal(ftruncate(run.kernel.fd, 100), 0);
	run_line(&run, "");
	assert_int_equal(run.err.status, EXIT_STATUS_IMAGE);
	assert_non_null(strstr(run.err.text, "not a bzImage"));
	run_release(&run);
	run_init(&run);
	assert_int_equal(ftruncate(run.initrd.fd, 0), 0);
	run_line(&run, "");
	assert_int_equal(run.err.status, EXIT_STATUS_IMAGE);
	assert_non_null(strstr(run.err.text, ": not a regular file with something in it"));
	run_release(&run);
	assert_int_equal(fake_kvm.memslot_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_end_has_its_status),
		cmocka_unit_test(each_stage_is_marked),
		cmocka_unit_test(the_first_end_wins),
		cmocka_unit_test(a_failing_kvm_run_is_an_error),
		cmocka_unit_test(a_file_that_shrinks_under_the_guest),
		cmocka_unit_test(mmio_in_the_middle_of_memory),
		cmocka_unit_test(a_broken_cell_is_a_machine_check),
		cmocka_unit_test(a_file_that_shrinks_under_us),
		cmocka_unit_test(accesses_reach_the_devices),
		cmocka_unit_test(a_device_is_reset_before_the_vcpu_goes_on),
		cmocka_unit_test(memslots_are_few),
		cmocka_unit_test(preallocated_memory_is_entered),
		cmocka_unit_test(registers_are_readable),
		cmocka_unit_test(acknowledgements_are_dropped),
		cmocka_unit_test(interrupts_have_their_pins),
		cmocka_unit_test(processors_are_where_the_board_says),
		cmocka_unit_test(the_boot_processor_starts_in_the_kernel),
		cmocka_unit_test(more_processors_than_kvm_gives_are_refused),
		cmocka_unit_test(a_software_backend_needs_force),
		cmocka_unit_test(addresses_are_this_kvms),
		cmocka_unit_test(files_are_looked_at_first),
	};

	alarm(50);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
