/* SPDX-License-Identifier: Apache-2.0 */
/* The running machine: one thread a vcpu, and the event loop on the main thread. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "guest/protocol.h"
#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/loop.h"
#include "vmm/machine_state.h"

/* Interrupts whatever system call a vcpu's thread is in. Its handler does nothing; being handled is all that counts. */
static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int signal)
{
	(void)signal;
}

void machine_kick(struct machine_vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	kvm_vcpu_kick(&vcpu->vcpu);
	pthread_kill(vcpu->thread, kick_signal());
}

/* ----------------------------------------------------------------------------------------- vcpu threads */

static void dispatch(const struct bus *bus, const struct kvm_exit *exit)
{
	for (uint32_t i = 0; i < exit->count; i++) {
		uint8_t *data = exit->data + (size_t)i * exit->size;
		uint64_t value = 0;

		/* KVM and this code run on x86 only: the bytes are little-endian */
		if (exit->is_write) {
			memcpy(&value, data, exit->size);
			bus_write(bus, exit->address, exit->size, value);
		} else {
			bus_read(bus, exit->address, exit->size, &value);
			memcpy(data, &value, exit->size);
		}
	}
}

/* Kept only by the first cause. The main thread reads it, and the vcpu's registers, after this thread was joined. */
static void crash(struct machine_vcpu *self, const char *what)
{
	struct machine *machine = self->machine;

	if (!machine_stop(machine, STOP_CRASH, 0))
		return;
	machine->crashed = self;
	snprintf(machine->crash_reason, sizeof(machine->crash_reason), "%s", what);
}

/*
 * Linux writes the kind of reset to the PC's soft-reset flag at 0x472 before it resets: 0x1234 for a warm one. Our command line says
 * reboot=panic_warm, so a warm reset is a panic's and a cold one was asked for, even before the guest has a pvpanic driver.
 */
static bool reset_was_panic(const struct machine *machine)
{
	const uint64_t SOFT_RESET_FLAG = 0x472;
	const uint16_t WARM = 0x1234;
	uint16_t flag = 0;

	return guest_mem_read(&machine->memory, SOFT_RESET_FLAG, &flag, sizeof(flag)) == 0 && flag == WARM;
}

/* For who asks when this thread is gone. */
static void note_cpu_time(struct machine_vcpu *self)
{
	counter_set(&self->cpu_time, clock_ns(CLOCK_THREAD_CPUTIME_ID));
}

/* A vcpu's thread confines itself, and runs the guest when all the others have, and the main thread. */
static void wait_for_start(struct machine *machine)
{
	struct error err;

	if (sandbox_confine(&machine->sandbox, SANDBOX_VCPU, &err) < 0 && machine_stop(machine, STOP_FAULT, 0))
		machine->fault = err;
	pthread_mutex_lock(&machine->start_lock);
	machine->vcpus_confined++;
	pthread_cond_broadcast(&machine->start_changed);
	while (!machine->go)
		pthread_cond_wait(&machine->start_changed, &machine->start_lock);
	pthread_mutex_unlock(&machine->start_lock);
}

static void *vcpu_thread(void *argument)
{
	struct machine_vcpu *self = argument;
	struct machine *machine = self->machine;
	struct kvm_exit exit;
	struct error err;
	int code;

	atomic_store(&self->thread_id, gettid());
	wait_for_start(machine);
	if (self->vcpu.index == 0) {
		stages_mark(machine->stages, STAGE_RUN);
		stages_log(machine->stages, machine->log);
		log_debug(machine->log, "first KVM_RUN at %" PRIu64 " ns of CLOCK_MONOTONIC",
			  machine->stages->at[STAGE_RUN]);
	}
	while (!machine_is_stopping(machine)) {
		machine_enter_guest(self);
		code = machine_run_vcpu(self, &exit, &err);
		machine_leave_guest(self);
		if (code < 0) {
			if (machine_stop(machine, STOP_FAULT, 0)) {
				machine->fault = err;
				machine->fault_code = code;
			}
			break;
		}
		counter_add(&self->exits[exit.kind], 1);
		switch (exit.kind) {
		case KVM_EXIT_KIND_IO:
			dispatch(&machine->buses[BUS_PIO], &exit);
			break;
		case KVM_EXIT_KIND_MMIO:
			if (machine_is_memory(machine, exit.address)) {
				if (machine_stop(machine, STOP_FAULT, 0)) {
					machine->fault_at_address = true;
					machine->fault_address = exit.address;
				}
				break;
			}
			dispatch(&machine->buses[BUS_MMIO], &exit);
			break;
		case KVM_EXIT_KIND_INTERRUPTED:
		case KVM_EXIT_KIND_HALTED:
			break;
		case KVM_EXIT_KIND_RESET:
			machine_stop(machine, STOP_RESET, 0);
			break;
		case KVM_EXIT_KIND_SHUTDOWN:
			crash(self, "triple fault: the guest cannot handle an exception");
			break;
		case KVM_EXIT_KIND_CRASH:
			crash(self, exit.text);
			break;
		}
	}
	note_cpu_time(self);
	return NULL;
}

/* This thread confines itself when it has no more threads to make. After an error, those that there are find a cause to end. */
static int start_vcpus(struct machine *machine, struct error *err)
{
	size_t started = 0;
	int code = 0;

	while (code == 0 && started < machine->vcpu_count) {
		struct machine_vcpu *vcpu = &machine->vcpus[started];

		code = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
		if (code != 0)
			code = error_set(err, EXIT_STATUS_HOST, code, "cannot make the thread of vcpu %zu: %s", started,
					 strerror(code));
		else
			machine->vcpus[started++].started = true;
	}
	pthread_mutex_lock(&machine->start_lock);
	while (machine->vcpus_confined < started)
		pthread_cond_wait(&machine->start_changed, &machine->start_lock);
	if (code == 0)
		code = sandbox_confine(&machine->sandbox, SANDBOX_MAIN, err);
	if (code < 0)
		machine_stop(machine, STOP_FAULT, 0);
	machine->go = true;
	pthread_cond_broadcast(&machine->start_changed);
	pthread_mutex_unlock(&machine->start_lock);
	return code;
}

/* The guest may have written to them. */
static void keep_files(struct machine *machine)
{
	for (size_t i = 0; i < machine->backend_count; i++)
		backend_keep(&machine->backends[i]);
}

/*
 * A cause is set. immediate_exit closes the gap between a thread's look at the cause and its next KVM_RUN; a write to a full pipe has no such
 * flag, so the kick is repeated until the thread is gone. Or it waits for an errand, which is done as ever.
 */
static void join_vcpus(struct machine *machine)
{
	enum { RETRY_NS = 500 * 1000 };

	assert(machine_is_stopping(machine));
	/* first the kick: who is parked does not enter the guest once more */
	for (size_t i = 0; i < machine->vcpu_count; i++)
		machine_kick(&machine->vcpus[i]);
	machine_unpark(machine);
	for (size_t i = 0; i < machine->vcpu_count; i++) {
		while (machine->vcpus[i].started) {
			if (pthread_tryjoin_np(machine->vcpus[i].thread, NULL) == 0) {
				machine->vcpus[i].started = false;
				break;
			}
			machine_run_errands(machine);
			clock_pause(RETRY_NS);
			pthread_kill(machine->vcpus[i].thread, kick_signal());
		}
	}
}

/* ------------------------------------------------------------------------------------------- event loop */

/*
 * What was typed and the guest has not taken yet. While there is no room, a pipe is not read; a terminal is read all the same, for the
 * escape that quits a guest which listens to nothing, and what finds no room is lost, as in a terminal's own line buffer.
 */
enum { TYPED_MAX = 64 * 1024 };

struct typed {
	uint8_t bytes[TYPED_MAX];
	size_t start, count;
};

/* What the main thread looks after while the guest runs. */
struct events {
	struct machine *machine;
	struct loop loop;
	int signal_fd;
	int timeout_fd; /* --timeout */
	int grace_fd;   /* a command that was asked to end has until then */
	int grace_signal;
	bool watching_console;
	struct typed typed;
};

static void on_console(void *context, int fd);

static void watch_console(struct events *events, bool on)
{
	int fd = events->machine->console->in;

	if (fd < 0 || on == events->watching_console)
		return;
	/* epoll refuses regular files and /dev/null: nobody types there */
	if (on) {
		events->watching_console = loop_add(&events->loop, fd, on_console, events) == 0;
	} else {
		loop_remove(&events->loop, fd);
		events->watching_console = false;
	}
}

static void pass_typed(struct events *events)
{
	struct typed *typed = &events->typed;
	size_t taken = serial_receive(&events->machine->serial, typed->bytes + typed->start, typed->count);

	typed->start += taken;
	typed->count -= taken;
	watch_console(events, events->machine->console->terminal || typed->count == 0);
}

static void on_console(void *context, int fd)
{
	struct events *events = context;
	struct typed *typed = &events->typed;
	uint8_t bytes[CONSOLE_READ_MAX];
	int got = console_read(events->machine->console, bytes, sizeof(bytes));

	(void)fd;
	if (got == -ECANCELED) {
		machine_stop(events->machine, STOP_QUIT, 0);
	} else if (got >= 0 && events->machine->workbench != NULL) {
		workbench_type(events->machine->workbench, bytes, (size_t)got);
	} else if (got < 0) {
		watch_console(events, false);
		events->machine->console->in = -1;
	} else {
		memmove(typed->bytes, typed->bytes + typed->start, typed->count);
		typed->start = 0;
		if ((size_t)got > TYPED_MAX - typed->count)
			got = (int)(TYPED_MAX - typed->count);
		memcpy(typed->bytes + typed->count, bytes, (size_t)got);
		typed->count += (size_t)got;
		pass_typed(events);
	}
}

static void on_room(void *context, int fd)
{
	io_lower(fd);
	pass_typed(context);
}

/*
 * A signal that would end this process is first the command's, when it runs. True when it was handed on. A command need not end by SIGINT, but whoever sends
 * SIGTERM or SIGHUP counts on an end.
 */
static bool hand_on(struct events *events, int signal)
{
	static const struct itimerspec GRACE = {.it_value.tv_sec = 5};
	struct machine *machine = events->machine;

	if (machine->workbench == NULL || !machine_command_listens(machine) ||
	    !workbench_signal(machine->workbench, signal))
		return false;
	if (signal == SIGTERM || signal == SIGHUP) {
		events->grace_signal = signal;
		timerfd_settime(events->grace_fd, 0, &GRACE, NULL);
	}
	return true;
}

static void on_grace(void *context, int fd)
{
	const struct events *events = context;

	(void)fd;
	machine_stop(events->machine, STOP_SIGNAL, (uint32_t)events->grace_signal);
}

static void on_timeout(void *context, int fd)
{
	const struct events *events = context;

	(void)fd;
	machine_stop(events->machine, STOP_TIMEOUT, 0);
}

static void on_signal(void *context, int fd)
{
	struct events *events = context;
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1)
		machine_request_memory(events->machine, events->machine->board->hotplug.size);
	else if (info.ssi_signo == SIGUSR2)
		machine_request_memory(events->machine, events->machine->board->config->hotplug);
	else if (info.ssi_signo == SIGWINCH)
		workbench_resize(events->machine->workbench);
	else if (!hand_on(events, (int)info.ssi_signo))
		machine_stop(events->machine, STOP_SIGNAL, info.ssi_signo);
}

static void on_errand(void *context, int fd)
{
	io_lower(fd);
	machine_run_errands(context);
}

/* The stop cause is set; waking up is all that it takes. */
static void on_wake(void *context, int fd)
{
	(void)context;
	(void)fd;
}

static int wait_for_stop(struct events *events, struct error *err)
{
	int code = 0;

	while (code == 0 && !machine_is_stopping(events->machine))
		code = loop_wait(&events->loop);
	if (code < 0)
		return error_set(err, EXIT_STATUS_INTERNAL, -code, "cannot wait for events: %s", strerror(-code));
	return 0;
}

/* -errno */
static int set_up_timers(struct events *events)
{
	const struct itimerspec timeout = {.it_value.tv_sec = (time_t)events->machine->board->config->timeout};
	int code;

	events->timeout_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	events->grace_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (events->timeout_fd < 0 || events->grace_fd < 0 ||
	    timerfd_settime(events->timeout_fd, 0, &timeout, NULL) < 0)
		return -errno;
	code = loop_add(&events->loop, events->timeout_fd, on_timeout, events);
	return code < 0 ? code : loop_add(&events->loop, events->grace_fd, on_grace, events);
}

static int set_up_events(struct events *events, struct error *err)
{
	struct sigaction kick = {.sa_handler = on_kick};
	struct machine *machine = events->machine;
	sigset_t signals;
	int code;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	if (machine->workbench != NULL) {
		sigaddset(&signals, SIGQUIT);
		sigaddset(&signals, SIGWINCH);
	}
	events->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	code = events->signal_fd < 0 ? -errno : loop_init(&events->loop);
	if (code == 0)
		code = loop_add(&events->loop, events->signal_fd, on_signal, events);
	if (code == 0)
		code = set_up_timers(events);
	if (code == 0)
		code = loop_add(&events->loop, machine->wake_fd, on_wake, events);
	if (code == 0)
		code = loop_add(&events->loop, machine->room_fd, on_room, events);
	if (code == 0)
		code = loop_add(&events->loop, machine->errand_fd, on_errand, machine);
	if (code == 0)
		code = machine_watch_virtio(machine, &events->loop);
	if (code == 0)
		code = machine_watch_files(machine, &events->loop);
	if (code == 0)
		code = machine_watch_metrics(machine, &events->loop);
	if (code == 0)
		code = machine_watch_control(machine, &events->loop);
	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, -code, "cannot set up the event loop: %s", strerror(-code));
	/* blocked here and in every thread made from here on; delivered through the signalfd */
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* a disk image at RLIMIT_FSIZE is an I/O error of the guest's */
	signal(SIGXFSZ, SIG_IGN);
	sigaction(kick_signal(), &kick, NULL);
	watch_console(events, true);
	return 0;
}

/* --------------------------------------------------------------------------------------------- the end */

/* The cause, and what it means: a reset may have been a panic's. No vcpu runs any more. */
static enum stop_cause end_of(const struct machine *machine)
{
	enum stop_cause cause = (enum stop_cause)atomic_load(&machine->cause);

	return cause == STOP_RESET && reset_was_panic(machine) ? STOP_PANIC : cause;
}

/* What a guest said at the debug-exit port; the notes beside the status mean something only from our init. */
static int status_of_exit(const struct machine *machine)
{
	const struct config *config = machine->board->config;

	if (config->command != NULL && (machine->stop_value & GUEST_EXIT_NOT_STARTED) != 0) {
		log_error(machine->log, "-- %s: the guest could not start it%s", config->command[0],
			  config->console ? "" : "; --console shows the guest's messages");
		return EXIT_STATUS_IMAGE;
	}
	if (config->command != NULL && (machine->stop_value & GUEST_EXIT_OUT_OF_MEMORY) != 0) {
		log_error(
			machine->log,
			"-- %s: the guest ran out of memory and its kernel killed the command; give it more with --mem",
			config->command[0]);
		return EXIT_STATUS_GUEST_MEMORY;
	}
	return (int)(machine->stop_value & 0xff);
}

static int read_guest(void *context, uint64_t gpa, void *bytes, size_t size)
{
	return guest_mem_read(context, gpa, bytes, size);
}

/* The reason, the registers and the code bytes of the vcpu that crashed, whose thread has ended. */
static void report_crash(struct machine *machine)
{
	struct buf text = {0};

	log_error(machine->log, "the guest crashed");
	buf_printf(&text, "vcpu %" PRIu32 ": %s\n", machine->crashed->vcpu.index, machine->crash_reason);
	kvm_vcpu_dump(&machine->crashed->vcpu, read_guest, &machine->memory, &text);
	if (!buf_failed(&text))
		(void)io_write_all(machine->log->fd, text.data, text.size);
	buf_release(&text);
}

/* What has failed, and whether the host's memory is to blame. */
static void complete_fault(struct machine *machine)
{
	if (machine->fault_at_address)
		machine_blame_address(machine, machine->fault_address, &machine->fault);
	else
		machine_blame(machine, machine->fault_code, &machine->fault);
}

static int exit_status_of(struct machine *machine, enum stop_cause end)
{
	const struct config *config = machine->board->config;
	const struct log *log = machine->log;

	switch (end) {
	case STOP_POWEROFF:
	case STOP_QUIT:
	case STOP_CONTROL_QUIT:
	case STOP_CONTROL_RESET:
		return EXIT_STATUS_OK;
	case STOP_RESET:
		log_info(log, "the guest asked for a reset");
		return EXIT_STATUS_OK;
	case STOP_PANIC:
		log_error(log, "the guest's kernel panicked%s",
			  config->command != NULL && !config->console ? "; --console shows its messages" : "");
		return EXIT_STATUS_GUEST_CRASH;
	case STOP_EXIT:
		return status_of_exit(machine);
	case STOP_TIMEOUT:
		log_error(log, "--timeout %" PRIu64 ": the guest had not ended by then", config->timeout);
		return EXIT_STATUS_TIMEOUT;
	case STOP_SIGNAL:
		return EXIT_STATUS_SIGNAL + (int)machine->stop_value;
	case STOP_CONSOLE:
		log_error(log, "--serial: nobody reads the guest's console any more: %s",
			  strerror((int)machine->stop_value));
		return machine->stop_value == EPIPE ? EXIT_STATUS_SIGNAL + SIGPIPE : EXIT_STATUS_HOST;
	case STOP_CRASH:
		report_crash(machine);
		return EXIT_STATUS_GUEST_CRASH;
	case STOP_NONE:
	case STOP_FAULT:
		break;
	}
	return EXIT_STATUS_INTERNAL;
}

/* The ends after which everything that the guest has sent still reaches its place. */
static bool ended_by_itself(struct machine *machine)
{
	int cause = atomic_load(&machine->cause);

	return cause == STOP_POWEROFF || cause == STOP_RESET || cause == STOP_EXIT;
}

/* No vcpu runs any more: who controls the machine is told why. */
static void tell_end(const struct machine *machine, enum stop_cause end)
{
	if (end == STOP_PANIC)
		machine_tell(machine, &(struct machine_event){.kind = MACHINE_EVENT_PANICKED});
	machine_tell(machine, &(struct machine_event){.kind = MACHINE_EVENT_ENDED, .cause = end});
}

/* Signals that ask something of a guest that is no more: what is still to be handed over is not given up for them. */
static void forget_requests(void)
{
	static const int REQUESTS[] = {SIGUSR1, SIGUSR2, SIGWINCH};
	sigset_t signals;

	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(REQUESTS[0]); i++) {
		signal(REQUESTS[i], SIG_IGN);
		sigaddset(&signals, REQUESTS[i]);
	}
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

int machine_run(struct machine *machine, const struct machine_control *control, int *status, struct error *err)
{
	struct events events = {
		.machine = machine, .loop.epoll_fd = -1, .signal_fd = -1, .timeout_fd = -1, .grace_fd = -1};
	enum stop_cause end = STOP_NONE;
	int code;

	machine->control = control;
	code = set_up_events(&events, err);
	if (code == 0)
		code = machine_enter_sandbox(machine, err);
	if (code == 0)
		code = machine_begin_virtio(machine, err);
	if (code == 0) {
		console_start(machine->console, machine->log);
		code = start_vcpus(machine, err);
		if (code == 0) {
			keep_files(machine);
			code = wait_for_stop(&events, err);
		}
		machine_stop(machine, STOP_FAULT, 0);
		join_vcpus(machine);
		end = end_of(machine);
		if (ended_by_itself(machine)) {
			forget_requests();
			machine_flush_ports(machine, events.signal_fd, events.timeout_fd);
		}
		tell_end(machine, end);
		machine_finish_metrics(machine);
		console_stop(machine->console);
	}
	loop_release(&events.loop);
	io_close(&events.signal_fd);
	io_close(&events.timeout_fd);
	io_close(&events.grace_fd);
	if (code < 0)
		return code;
	if (end == STOP_FAULT) {
		complete_fault(machine);
		*err = machine->fault;
		return -EIO;
	}
	*status = exit_status_of(machine, end);
	return 0;
}
