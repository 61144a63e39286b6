/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine's parts have counted, gathered into one report; and the reports of --metrics. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "guest/protocol.h"
#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/kvm/stats.h"
#include "vmm/loop.h"
#include "vmm/machine_state.h"
#include "vmm/metrics_file.h"

/* What reports need beside the counters. */
struct machine_metrics {
	struct metrics_file *file; /* borrowed; NULL when nobody writes any */
	int timer_fd;              /* of the interval; -1 when unset */
	int stat, smaps;           /* this process's in /proc, open from the start on; -1 when they cannot be */
	struct kvm_stats vm;
	struct kvm_stats *vcpus; /* [vcpu_count] */
};

/* --------------------------------------------------------------------------- the process, the start, the vcpus */

static const struct counter_field MINOR_FAULTS = {
	"process_minor_faults", 0, COUNTER_TOTAL, UNIT_NONE,
	"Page faults of the whole process that needed no reading; those on the guest's behalf are among them"};
static const struct counter_field MAJOR_FAULTS = {"process_major_faults", 0, COUNTER_TOTAL, UNIT_NONE,
						  "Page faults of the whole process that had to read"};
static const struct counter_field CPU_TIME = {"process_cpu", 0, COUNTER_TOTAL, UNIT_NANOSECONDS,
					      "CPU time of the whole process, the guest's included"};

static void add_kvm(struct metrics *metrics, const struct kvm_stats *stats)
{
	if (stats->fd < 0 || kvm_stats_read(stats) < 0)
		return;
	for (size_t i = 0; i < stats->count; i++)
		metrics_kvm(metrics, stats->stats[i].name, stats->stats[i].kind, kvm_stats_value(stats, i));
}

/* Fields 10 and 12 of proc(5)'s /proc/PID/stat; the second one, the program's name, ends at the last bracket. */
static bool read_faults(int stat, uint64_t *minor, uint64_t *major)
{
	char text[1024];
	ssize_t size = pread(stat, text, sizeof(text) - 1, 0);
	const char *name_end;

	text[size > 0 ? size : 0] = '\0';
	name_end = strrchr(text, ')');
	return name_end != NULL &&
	       sscanf(name_end, ") %*c %*s %*s %*s %*s %*s %*s %" SCNu64 " %*s %" SCNu64, minor, major) == 2;
}

/* Not by getrusage(), which would be one more system call for the sandbox to leave open. */
static void collect_process(const struct machine *machine, struct metrics *metrics)
{
	uint64_t minor, major;

	metrics_object(metrics, METRICS_MACHINE, NULL, NULL, NULL);
	if (machine->metrics != NULL && read_faults(machine->metrics->stat, &minor, &major)) {
		metrics_value(metrics, &MINOR_FAULTS, minor);
		metrics_value(metrics, &MAJOR_FAULTS, major);
	}
	metrics_value(metrics, &CPU_TIME, clock_ns(CLOCK_PROCESS_CPUTIME_ID));
	if (machine->metrics != NULL)
		add_kvm(metrics, &machine->metrics->vm);
}

static const struct counter_field FIRST_RUN = {"first_run", 0, COUNTER_GAUGE, UNIT_NANOSECONDS,
					       "When the guest first ran, on CLOCK_MONOTONIC"};
static const struct counter_field MARK = {
	"mark", 0, COUNTER_GAUGE, UNIT_NANOSECONDS,
	"When the guest said that it had come to this point of its start, since it first ran"};

static const struct counter_field STAGE = {"stage", 0, COUNTER_GAUGE, UNIT_NANOSECONDS,
					   "How long this stage of the start took, from main() to the first KVM_RUN"};

static void collect_boot(const struct machine *machine, struct metrics *metrics)
{
	static const char *const MARKS[DEBUG_EXIT_MARKS + 1] = {
		[GUEST_MARK_INIT] = "init", [GUEST_MARK_COMMAND] = "command"};
	uint64_t start = machine->stages->at[STAGE_RUN];

	metrics_object(metrics, METRICS_BOOT, NULL, NULL, NULL);
	for (enum stage stage = STAGE_MAIN + 1; stage < STAGE_COUNT; stage++) {
		if (machine->stages->at[stage] != 0)
			metrics_labelled(metrics, &STAGE, "stage", stage_name(stage),
					 stages_took(machine->stages, stage));
	}
	if (start == 0)
		return;
	metrics_value(metrics, &FIRST_RUN, start);
	for (unsigned i = 1; i <= DEBUG_EXIT_MARKS; i++) {
		uint64_t at = debug_exit_mark(&machine->debug_exit, i);
		char number[16];

		snprintf(number, sizeof(number), "%u", i);
		if (at > start)
			metrics_labelled(metrics, &MARK, "mark", MARKS[i] != NULL ? MARKS[i] : number, at - start);
	}
}

static const struct counter_field EXITS = {"exits", 0, COUNTER_TOTAL, UNIT_NONE,
					   "Returns of KVM_RUN to this process, by reason"};
static const struct counter_field VCPU_TIME = {"cpu", 0, COUNTER_TOTAL, UNIT_NANOSECONDS,
					       "CPU time of the vcpu's thread: the guest, KVM and this process for it"};

/* A thread that has been joined has left its time behind. */
static uint64_t cpu_time_of(const struct machine_vcpu *vcpu)
{
	clockid_t clock;
	uint64_t time = 0;

	if (vcpu->started && pthread_getcpuclockid(vcpu->thread, &clock) == 0)
		time = clock_ns(clock);
	return time != 0 ? time : counter_read(&vcpu->cpu_time);
}

static void collect_vcpu(const struct machine *machine, size_t index, struct metrics *metrics)
{
	static const char *const REASONS[] = {
		[KVM_EXIT_KIND_IO] = "io",
		[KVM_EXIT_KIND_MMIO] = "mmio",
		[KVM_EXIT_KIND_INTERRUPTED] = "interrupted",
		[KVM_EXIT_KIND_HALTED] = "halted",
		[KVM_EXIT_KIND_SHUTDOWN] = "shutdown",
		[KVM_EXIT_KIND_RESET] = "reset",
		[KVM_EXIT_KIND_CRASH] = "crash",
	};
	const struct machine_vcpu *vcpu = &machine->vcpus[index];
	char id[24];

	snprintf(id, sizeof(id), "%zu", index);
	metrics_object(metrics, METRICS_VCPU, NULL, id, NULL);
	for (size_t i = 0; i < sizeof(REASONS) / sizeof(REASONS[0]); i++)
		metrics_labelled(metrics, &EXITS, "reason", REASONS[i], counter_read(&vcpu->exits[i]));
	metrics_value(metrics, &VCPU_TIME, cpu_time_of(vcpu));
	if (machine->metrics != NULL)
		add_kvm(metrics, &machine->metrics->vcpus[index]);
}

/* --------------------------------------------------------------------------------------------------- memory */

enum { SAMPLES = 4096 }; /* pages of a region that are looked at for a report */

static const struct counter_field SIZE = {"size", 0, COUNTER_GAUGE, UNIT_BYTES, "Size of the memory"};
static const struct counter_field ALLOCATED = {
	"allocated", 0, COUNTER_GAUGE, UNIT_BYTES,
	"Host memory behind it, whoever has touched it, swapped or not; of a memfd, tmpfs or hugetlbfs"};
static const struct counter_field RESIDENT = {
	"resident", 0, COUNTER_GAUGE, UNIT_BYTES,
	"What this process has mapped of it now; an estimate by 4096 pages when it has more"};
static const struct counter_field ON_NODE = {"on_host_node", 0, COUNTER_GAUGE, UNIT_BYTES,
					     "Of what is resident, where it is: by NUMA node of the host"};
static const struct counter_field HUGE = {"huge", 0, COUNTER_GAUGE, UNIT_BYTES,
					  "Of what is resident, what is mapped with huge pages"};

static void collect_resident(const struct machine *machine, const struct mem_backend *backend, const uint64_t *huge,
			     struct metrics *metrics)
{
	struct placement placement = {0};
	uint64_t resident;

	if (machine_look(machine, backend, SAMPLES, &placement) < 0)
		return; /* a host without NUMA, a container: absent rather than wrong */
	resident = placement.size - placement.absent;
	metrics_value(metrics, &RESIDENT, resident);
	for (unsigned node = 0; node < NODES_MAX; node++) {
		char number[16];

		snprintf(number, sizeof(number), "%u", node);
		if (placement.on_node[node] > 0)
			metrics_labelled(metrics, &ON_NODE, "host_node", number, placement.on_node[node]);
	}
	if (backend->source.hugetlb != 0)
		metrics_value(metrics, &HUGE, resident);
	else if (huge != NULL)
		metrics_value(metrics, &HUGE, *huge);
}

static void collect_backend(const struct mem_backend *backend, const char *id, struct metrics *metrics)
{
	struct stat status;

	metrics_object(metrics, METRICS_MEMORY, NULL, id, backend->option);
	metrics_value(metrics, &SIZE, backend->size);
	if (backend->kind == BACKEND_MEMORY && io_status(backend->fd, &status) == 0)
		metrics_value(metrics, &ALLOCATED, (uint64_t)status.st_blocks * 512);
}

static void collect_memory(const struct machine *machine, struct metrics *metrics)
{
	const struct config *config = machine->board->config;
	uint64_t *huge = calloc(machine->backend_count + 1, sizeof(*huge));
	int code = huge == NULL               ? -ENOMEM
		   : machine->metrics != NULL ? machine_count_huge(machine, machine->metrics->smaps, huge)
					      : -ENOENT;
	bool known = code == 0;

	metrics->failed |= code == -ENOMEM;
	for (size_t i = 0; i < machine->backend_count; i++) {
		const struct mem_backend *backend = &machine->backends[i];

		collect_backend(backend,
				i < config->mem_count ? config->mem[i].id : config->spm[i - config->mem_count].id,
				metrics);
		if (backend->kind != BACKEND_DAX)
			collect_resident(machine, backend, known ? &huge[i] : NULL, metrics);
	}
	if (machine->hotplug.fd >= 0)
		collect_backend(&machine->hotplug, "hotplug", metrics);
	free(huge);
}

/* -------------------------------------------------------------------------------------------------- devices */

/* "blk0", "blk1", "net0": the devices of a kind in the order of the command line. */
static void collect_virtio(const struct machine *machine, size_t index, struct metrics *metrics)
{
	const struct virtio_device *device = machine->virtio[index];
	const struct counter_sink sink = metrics_sink(metrics);
	char id[METRICS_ID_SIZE];
	unsigned number = 0;

	for (size_t i = 0; i < index; i++)
		number += machine->virtio[i]->class->id == device->class->id;
	snprintf(id, sizeof(id), "%s%u", device->class->name, number);
	metrics_object(metrics, METRICS_DEVICE, device->class->name, id, device->option);
	virtio_show_counters(device, &sink);
}

static void collect_devices(const struct machine *machine, struct metrics *metrics)
{
	const struct counter_sink sink = metrics_sink(metrics);

	if (machine->serial_ready) {
		metrics_object(metrics, METRICS_DEVICE, "serial", "serial0", NULL);
		counter_show(&sink, &SERIAL_COUNTERS, &machine->serial, NULL);
	}
	for (size_t i = 0; i < machine->virtio_count; i++)
		collect_virtio(machine, i, metrics);
}

void machine_collect(const struct machine *machine, struct metrics *metrics)
{
	metrics->time = clock_ns(CLOCK_REALTIME);
	collect_process(machine, metrics);
	collect_boot(machine, metrics);
	for (size_t i = 0; i < machine->vcpu_count; i++)
		collect_vcpu(machine, i, metrics);
	collect_memory(machine, metrics);
	collect_devices(machine, metrics);
}

/* ------------------------------------------------------------------------------------------------- --metrics */

static void release_stats(struct machine_metrics *self, size_t vcpu_count)
{
	kvm_stats_release(&self->vm);
	for (size_t i = 0; i < vcpu_count; i++)
		kvm_stats_release(&self->vcpus[i]);
}

int machine_open_metrics(struct machine *machine, struct metrics_file *file, struct error *err)
{
	struct machine_metrics *self = calloc(1, sizeof(*self));
	int code;

	if (self != NULL)
		self->vcpus = calloc(machine->vcpu_count, sizeof(self->vcpus[0]));
	if (self == NULL || self->vcpus == NULL) {
		free(self);
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the machine's metrics");
	}
	self->file = file;
	self->timer_fd = -1;
	self->stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	self->smaps = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	code = kvm_stats_open(&self->vm, machine->kvm->vm_fd);
	for (size_t i = 0; i < machine->vcpu_count; i++) {
		kvm_stats_init(&self->vcpus[i]);
		if (code == 0)
			code = kvm_stats_open(&self->vcpus[i], machine->vcpus[i].vcpu.fd);
	}
	if (code < 0) {
		/* all of them or none */
		release_stats(self, machine->vcpu_count);
		log_debug(machine->log, "KVM_GET_STATS_FD: %s: metrics are without KVM's own", strerror(-code));
	}
	machine->metrics = self;
	return 0;
}

bool machine_writes_metrics(const struct machine *machine)
{
	return machine->metrics != NULL && machine->metrics->file != NULL;
}

static void report(const struct machine *machine, bool final)
{
	struct metrics metrics = {.final = final};

	machine_collect(machine, &metrics);
	metrics_file_write(machine->metrics->file, &metrics, machine->log);
	metrics_release(&metrics);
}

static void on_interval(void *context, int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		report(context, false);
}

int machine_watch_metrics(struct machine *machine, struct loop *loop)
{
	struct machine_metrics *self = machine->metrics;
	uint64_t interval = machine_writes_metrics(machine) ? self->file->config->interval : 0;
	const struct timespec time = {.tv_sec = (time_t)(interval / 1000),
				      .tv_nsec = (long)(interval % 1000) * 1000 * 1000};

	if (interval == 0)
		return 0;
	self->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (self->timer_fd < 0 || timerfd_settime(self->timer_fd, 0, &(struct itimerspec){time, time}, NULL) < 0)
		return -errno;
	return loop_add(loop, self->timer_fd, on_interval, machine);
}

void machine_finish_metrics(const struct machine *machine)
{
	if (machine_writes_metrics(machine))
		report(machine, true);
}

void machine_release_metrics(struct machine *machine)
{
	struct machine_metrics *self = machine->metrics;

	if (self == NULL)
		return;
	io_close(&self->timer_fd);
	io_close(&self->stat);
	io_close(&self->smaps);
	release_stats(self, machine->vcpu_count);
	free(self->vcpus);
	free(self);
	machine->metrics = NULL;
}
