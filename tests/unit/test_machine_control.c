/* SPDX-License-Identifier: Apache-2.0 */
/* What a control may do with a running machine, on the fake KVM. */
#include "tests/unit/fake_run.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/kvm/stats.h"
#include "vmm/machine.h"
#include "vmm/sandbox.h"

enum { EVENTS_MAX = 8 };

/* A control that is ready all the time, and what it was told. */
static struct {
	void (*act)(struct machine *machine);
	struct machine_event events[EVENTS_MAX];
	char device[64];
	size_t count;
} control;

static void (*before_step)(void); /* of vcpu 0 */

static void on_ready(void *context, struct machine *machine)
{
	(void)context;
	control.act(machine);
}

static void on_event(void *context, const struct machine_event *event)
{
	(void)context;
	assert_true(control.count < EVENTS_MAX);
	if (event->device != NULL)
		snprintf(control.device, sizeof(control.device), "%s", event->device);
	control.events[control.count++] = *event;
}

static int controlled_run(const struct config *config, struct stages *stages, int *status, struct error *err)
{
	struct machine_control functions = {eventfd(1, EFD_CLOEXEC), on_ready, on_event, NULL, -1};
	int code;

	assert_true(functions.fd >= 0);
	code = run_machine(config, &functions, stages, status, err);
	close(functions.fd);
	return code;
}

/* Runs a machine whose vcpu 0 takes these steps, with act() called by turns. Returns the exit status. */
static int end_of(const char *line, struct fake_step *steps, size_t count, void (*act)(struct machine *machine))
{
	struct machine_line machine = {0};
	struct run run;

	memset(&control, 0, sizeof(control));
	control.act = act;
	fake_kvm_reset();
	fake_kvm.clock = 12345;
	fake_kvm.before_step = before_step;
	fake_kvm.steps = steps;
	fake_kvm.step_count = count;
	run_init(&run);
	line_config(&machine, run_text(&run, "error", line));
	run_config(&run, machine.config, controlled_run);
	if (run.code < 0)
		fail_msg("%s", run.err.text);
	line_release(&machine);
	run_release(&run);
	return run.status;
}

static void run_with(const char *line, struct fake_step *steps, size_t count, void (*act)(struct machine *machine))
{
	assert_int_equal(end_of(line, steps, count, act), 0);
}

static void assert_events(const enum machine_event_kind *kinds, size_t count)
{
	assert_int_equal(control.count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(control.events[i].kind, kinds[i]);
}

static void wait_ms(long ms)
{
	const struct timespec time = {.tv_nsec = ms * 1000000};

	nanosleep(&time, NULL);
}

/* ------------------------------------------------------------------------------------------------ pause */

enum { ROUNDS = 20 };
static int round_number;
static atomic_uint done; /* instructions of vcpu 0, so to speak: each takes a while, and counts at its end */

static void take_a_while(void)
{
	wait_ms(1);
	atomic_fetch_add(&done, 1);
}

/* No vcpu takes a step between a pause and what ends it, whenever the pause comes. */
static void pause_and_go_on(struct machine *machine)
{
	unsigned before;

	if (round_number == ROUNDS)
		machine_stop(machine, STOP_CONTROL_QUIT, 0);
	if (round_number++ >= ROUNDS)
		return;
	assert_int_equal(machine_state(machine), MACHINE_RUNNING);
	assert_false(machine_resume(machine));
	assert_true(machine_pause(machine));
	assert_false(machine_pause(machine));
	assert_int_equal(machine_state(machine), MACHINE_PAUSED);
	before = atomic_load(&done);
	wait_ms(5);
	assert_int_equal(atomic_load(&done), before);
	fake_kvm.clock += 1000; /* the host's time goes on */
	assert_true(machine_resume(machine));
	control.count = 0;
}

static void a_paused_machine_stands_still(void **state)
{
	static struct fake_step steps[2000];
	const struct fake_step nothing = {
		.exit = {.kind = KVM_EXIT_KIND_MMIO, .address = 0xe0000000, .size = 4, .count = 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		steps[i] = nothing;
	round_number = 0;
	atomic_store(&done, 0);
	before_step = take_a_while;
	run_with("--cpus 3", steps, sizeof(steps) / sizeof(steps[0]), pause_and_go_on);
	before_step = NULL;
	assert_true(atomic_load(&done) > 0);
	assert_int_equal(fake_kvm.clock, 12345);
	assert_int_equal(fake_kvm.clock_sets, ROUNDS);
	assert_true(atomic_load(&fake_kvm.pauses) >= 3);
}

static void pause_and_quit(struct machine *machine)
{
	if (machine_vcpu_thread(machine, 1) == 0)
		return;
	assert_true(machine_vcpu_thread(machine, 0) != machine_vcpu_thread(machine, 1));
	assert_true(machine_pause(machine));
	assert_true(machine_stop(machine, STOP_CONTROL_QUIT, 0));
	assert_int_equal(machine_state(machine), MACHINE_ENDING);
	assert_false(machine_resume(machine));
}

static void a_paused_machine_can_end(void **state)
{
	static const enum machine_event_kind KINDS[] = {MACHINE_EVENT_PAUSED, MACHINE_EVENT_ENDED};

	(void)state;
	run_with("--cpus 2", NULL, 0, pause_and_quit);
	assert_events(KINDS, 2);
	assert_int_equal(control.events[1].cause, STOP_CONTROL_QUIT);
}

/* ---------------------------------------------------------------------------------------------- devices */

static void press(struct machine *machine)
{
	uint64_t pulses = 0;

	machine_press_power_button(machine);
	assert_int_equal(fake_kvm.irqfds[1].gsi, 3);
	assert_int_equal(read(fake_kvm.irqfds[1].eventfd, &pulses, sizeof(pulses)), sizeof(pulses));
	assert_int_equal(pulses, 1);
	machine_stop(machine, STOP_CONTROL_RESET, 0);
}

static void the_power_button_is_an_interrupt(void **state)
{
	static const enum machine_event_kind KINDS[] = {MACHINE_EVENT_POWERDOWN, MACHINE_EVENT_ENDED};

	(void)state;
	run_with("", NULL, 0, press);
	assert_events(KINDS, 2);
	assert_int_equal(control.events[1].cause, STOP_CONTROL_RESET);
}

static void ask_for_memory(struct machine *machine)
{
	struct machine_hotplug hotplug;
	struct error err;

	assert_true(machine_hotplug(machine, &hotplug));
	assert_int_equal(hotplug.region.size, 1024 * 1024 * 1024);
	assert_int_equal(hotplug.requested, 512 * 1024 * 1024);
	assert_int_equal(hotplug.plugged, 0);
	assert_int_equal(machine_set_hotplug(machine, hotplug.block_size, &err), 0);
	assert_int_equal(machine_set_hotplug(machine, 1, &err), -EINVAL);
	assert_int_equal(machine_set_hotplug(machine, hotplug.region.size + hotplug.block_size, &err), -ERANGE);
	assert_true(machine_hotplug(machine, &hotplug));
	assert_int_equal(hotplug.requested, hotplug.block_size);
	machine_stop(machine, STOP_CONTROL_QUIT, 0);
}

static void ask_without_room(struct machine *machine)
{
	struct machine_hotplug hotplug;
	struct error err;

	assert_false(machine_hotplug(machine, &hotplug));
	assert_int_equal(machine_set_hotplug(machine, 0, &err), -ENODEV);
	machine_stop(machine, STOP_CONTROL_QUIT, 0);
}

static void memory_is_asked_for(void **state)
{
	(void)state;
	run_with("--mem 1G --maxmem 2G --hotplug 512M", NULL, 0, ask_for_memory);
	run_with("", NULL, 0, ask_without_room);
}

static void quit_when_told(struct machine *machine)
{
	if (control.count > 0)
		machine_stop(machine, STOP_CONTROL_QUIT, 0);
}

/* The driver puts a queue of the random number generator where there is no memory. */
static void a_broken_device_is_told(void **state)
{
	static const enum machine_event_kind KINDS[] = {MACHINE_EVENT_NEEDS_RESET, MACHINE_EVENT_ENDED};
	struct fake_step steps[] = {
		register_write(0xd0000070, "\1\0\0\0"),  register_write(0xd0000070, "\3\0\0\0"),
		register_write(0xd0000024, "\1\0\0\0"),  register_write(0xd0000020, "\1\0\0\0"),
		register_write(0xd0000070, "\13\0\0\0"), register_write(0xd0000030, "\0\0\0\0"),
		register_write(0xd0000038, "\10\0\0\0"), register_write(0xd0000084, "\0\1\0\0"),
		register_write(0xd0000044, "\1\0\0\0"),  register_write(0xd0000070, "\17\0\0\0"),
	};

	(void)state;
	run_with("", steps, sizeof(steps) / sizeof(steps[0]), quit_when_told);
	assert_events(KINDS, 2);
	assert_string_equal(control.device, "--rng");
}

static void do_nothing(struct machine *machine)
{
	(void)machine;
	wait_ms(1);
}

static void the_guests_own_end_is_told(void **state)
{
	static const enum machine_event_kind KINDS[] = {MACHINE_EVENT_PANICKED, MACHINE_EVENT_ENDED};
	struct fake_step step = port_write(0x600, 1, "\x34");

	(void)state;
	run_with("", &step, 1, do_nothing);
	assert_events(&KINDS[1], 1);
	assert_int_equal(control.events[0].cause, STOP_POWEROFF);

	step = port_write(0x505, 1, "\x01");
	assert_int_equal(end_of("", &step, 1, do_nothing), EXIT_STATUS_GUEST_CRASH);
	assert_events(KINDS, 2);
	assert_int_equal(control.events[1].cause, STOP_PANIC);
}

/* As Linux before a reset. */
static void say_warm(void)
{
	assert_int_equal(fake_kvm.memslots[0].gpa.start, 0);
	memcpy(fake_kvm.memslots[0].hva + 0x472, "\x34\x12", 2);
}

/* To who controls the machine and in the exit status alike. */
static void a_warm_reset_is_a_panics(void **state)
{
	static const enum machine_event_kind KINDS[] = {MACHINE_EVENT_PANICKED, MACHINE_EVENT_ENDED};
	struct fake_step step = {.exit = {.kind = KVM_EXIT_KIND_RESET}};

	(void)state;
	assert_int_equal(end_of("", &step, 1, do_nothing), 0);
	assert_events(&KINDS[1], 1);
	assert_int_equal(control.events[0].cause, STOP_RESET);

	before_step = say_warm;
	assert_int_equal(end_of("", &step, 1, do_nothing), EXIT_STATUS_GUEST_CRASH);
	before_step = NULL;
	assert_events(KINDS, 2);
	assert_int_equal(control.events[1].cause, STOP_PANIC);
}

/* ----------------------------------------------------------------------------------------------- sandbox */

static unsigned sandbox_needs; /* of the machine that ran last */

int __real_sandbox_enter(struct sandbox *sandbox, const struct sandbox_options *options, struct error *err);
int __wrap_sandbox_enter(struct sandbox *sandbox, const struct sandbox_options *options, struct error *err);

int __wrap_sandbox_enter(struct sandbox *sandbox, const struct sandbox_options *options, struct error *err)
{
	sandbox_needs = options->needs;
	return __real_sandbox_enter(sandbox, options, err);
}

static void quit(struct machine *machine)
{
	machine_stop(machine, STOP_CONTROL_QUIT, 0);
}

/* Who asks for reports by the control's socket needs no system calls for a file of them. */
static void the_sandbox_gives_what_is_needed(void **state)
{
	(void)state;
	run_with("", NULL, 0, quit);
	assert_int_equal(sandbox_needs & (SANDBOX_CONTROL | SANDBOX_METRICS), SANDBOX_CONTROL);
	run_with("--metrics metrics.tmp", NULL, 0, quit);
	assert_int_equal(sandbox_needs & (SANDBOX_CONTROL | SANDBOX_METRICS), SANDBOX_CONTROL | SANDBOX_METRICS);
	unlink("metrics.tmp");
}

/* ----------------------------------------------------------------------------------------------- metrics */

static struct {
	unsigned good, calls; /* how many kvm_stats_open() succeed, and how many there were */
	int pipes[3][2];      /* what they opened is the end for writing */
} stats;

int __wrap_kvm_stats_open(struct kvm_stats *self, int fd);

int __wrap_kvm_stats_open(struct kvm_stats *self, int fd)
{
	(void)fd;
	kvm_stats_init(self);
	if (stats.calls++ >= stats.good)
		return -ENOTTY;
	self->fd = stats.pipes[stats.calls - 1][1];
	return 0;
}

static void look_at_stats(struct machine *machine)
{
	const unsigned all = 3;
	char byte;

	assert_int_equal(stats.calls, stats.good < all ? stats.good + 1 : all);
	for (unsigned i = 0; i < stats.good; i++)
		assert_int_equal(read(stats.pipes[i][0], &byte, 1), stats.good < all ? 0 : -1);
	machine_stop(machine, STOP_CONTROL_QUIT, 0);
}

/* Of the VM and of each vcpu: when one of them cannot be had, the others are closed. */
static void statistics_of_kvm_are_all_or_none(void **state)
{
	char byte;

	(void)state;
	for (unsigned good = 0; good <= 3; good++) {
		memset(&stats, 0, sizeof(stats));
		stats.good = good;
		for (unsigned i = 0; i < good; i++)
			assert_int_equal(pipe2(stats.pipes[i], O_CLOEXEC | O_NONBLOCK), 0);
		run_with("--cpus 2", NULL, 0, look_at_stats);
		for (unsigned i = 0; i < good; i++) {
			assert_int_equal(read(stats.pipes[i][0], &byte, 1), 0);
			close(stats.pipes[i][0]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_paused_machine_stands_still),     cmocka_unit_test(a_paused_machine_can_end),
		cmocka_unit_test(the_power_button_is_an_interrupt),  cmocka_unit_test(memory_is_asked_for),
		cmocka_unit_test(a_broken_device_is_told),           cmocka_unit_test(the_guests_own_end_is_told),
		cmocka_unit_test(a_warm_reset_is_a_panics),          cmocka_unit_test(the_sandbox_gives_what_is_needed),
		cmocka_unit_test(statistics_of_kvm_are_all_or_none),
	};

	return cmocka_run_group_tests_name("machine_control", tests, NULL, NULL);
}
