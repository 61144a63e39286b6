/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that goes away under a running machine: a file that somebody makes smaller, a file system or a pool that is
 * empty, a memory cell that breaks. The guest's access ends KVM_RUN with EFAULT, or, where KVM emulates the
 * instruction, with an MMIO exit in the middle of memory; an access of ours (a device's, the loader's) is a SIGBUS,
 * which would end this process without a word. A guest that can wait for pages (KVM's asynchronous page faults) makes
 * none of them and waits for ever, so files are watched too. In each case one line names the --mem or --spm and the
 * machine ends: what the guest had there is lost, and going on with zeros in its place could reach its disks.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/console.h"
#include "vmm/loop.h"
#include "vmm/machine_state.h"

/* ------------------------------------------------------------------------------------------- what has happened */

/* A place in a backend, and where the guest sees it. */
struct place {
	const struct mem_backend *backend;
	uint64_t offset, gpa;
};

/* The i-th region, the room for hotplug being the last; false behind that. */
static bool region_at(const struct machine *machine, size_t i, struct range *gpa, struct place *start)
{
	const struct board *board = machine->board;

	if (i < board->layout.region_count) {
		const struct mem_region *region = &board->layout.regions[i];

		*gpa = region->gpa;
		*start = (struct place){machine_backend_of(machine, region), region->offset, region->gpa.start};
		return true;
	}
	*gpa = board->hotplug;
	*start = (struct place){&machine->hotplug, 0, board->hotplug.start};
	return i == board->layout.region_count && board->hotplug.size > 0;
}

static bool place_of_address(const struct machine *machine, uint64_t address, struct place *place)
{
	struct range gpa;

	for (size_t i = 0; region_at(machine, i, &gpa, place); i++) {
		uint64_t hva = (uintptr_t)guest_mem_at(&machine->memory, gpa.start, gpa.size);

		if (hva != 0 && range_holds((struct range){hva, gpa.size}, address)) {
			place->offset += address - hva;
			place->gpa += address - hva;
			return true;
		}
	}
	return false;
}

/* How much of it is left, when it is a file that has become smaller. */
static bool is_shorter(const struct mem_backend *backend, uint64_t *size)
{
	struct stat status;

	if (backend->size == 0 || io_status(backend->fd, &status) < 0 || !S_ISREG(status.st_mode))
		return false;
	*size = (uint64_t)status.st_size;
	return *size < backend->size;
}

static bool is_full(const struct mem_backend *backend)
{
	struct statvfs space;

	return backend_is_named(&backend->source) && fstatvfs(backend->fd, &space) == 0 && space.f_blocks > 0 &&
	       space.f_bavail == 0;
}

/* The first region whose file has become smaller, where that begins. */
static bool find_shorter(const struct machine *machine, struct place *place)
{
	struct range gpa;
	uint64_t left;

	for (size_t i = 0; region_at(machine, i, &gpa, place); i++) {
		if (is_shorter(place->backend, &left) && left < place->offset + gpa.size) {
			uint64_t skip = left > place->offset ? left - place->offset : 0;

			place->offset += skip;
			place->gpa += skip;
			return true;
		}
	}
	return false;
}

/* The same, or else the first region whose file system is full. */
static bool find_broken(const struct machine *machine, struct place *place)
{
	struct range gpa;

	if (find_shorter(machine, place))
		return true;
	for (size_t i = 0; region_at(machine, i, &gpa, place); i++) {
		if (is_full(place->backend))
			return true;
	}
	return false;
}

/* Says what is wrong there. poisoned: the host's kernel has said why. */
static void explain(const struct place *place, bool poisoned, struct error *err)
{
	const struct mem_backend *backend = place->backend;
	uint64_t left;

	if (poisoned)
		error_set(err, EXIT_STATUS_BACKING, EHWPOISON,
			  "%s: a memory cell of the host is broken at offset 0x%" PRIx64 " (guest address 0x%" PRIx64
			  "); see the host's kernel log",
			  backend->option, place->offset, place->gpa);
	else if (is_shorter(backend, &left))
		error_set(err, EXIT_STATUS_BACKING, EFAULT,
			  "%s: its file was made smaller under the machine, to %" PRIu64 " of %" PRIu64
			  " MiB: no memory at offset 0x%" PRIx64 " (guest address 0x%" PRIx64
			  "); start again, and leave the file alone",
			  backend->option, left / MIB, backend->size / MIB, place->offset, place->gpa);
	else if (is_full(backend))
		error_set(err, EXIT_STATUS_BACKING, ENOSPC,
			  "%s: its file system is full: no memory at offset 0x%" PRIx64 " (guest address 0x%" PRIx64
			  ") or behind; make room there and start again, best with prealloc=on",
			  backend->option, place->offset, place->gpa);
	else
		error_set(err, EXIT_STATUS_BACKING, EFAULT,
			  "%s: the host has no memory for it at offset 0x%" PRIx64 " (guest address 0x%" PRIx64
			  "); see that huge pages, memory and limits suffice, or use prealloc=on",
			  backend->option, place->offset, place->gpa);
}

static bool place_of_gpa(const struct machine *machine, uint64_t address, struct place *place)
{
	struct range gpa;

	if (guest_mem_at(&machine->memory, address, 1) == NULL)
		return false;
	for (size_t i = 0; region_at(machine, i, &gpa, place); i++) {
		if (range_holds(gpa, address)) {
			place->offset += address - gpa.start;
			place->gpa = address;
			return true;
		}
	}
	return false;
}

bool machine_is_memory(const struct machine *machine, uint64_t address)
{
	struct place place;

	return place_of_gpa(machine, address, &place);
}

void machine_blame_address(const struct machine *machine, uint64_t address, struct error *err)
{
	struct place place;

	if (place_of_gpa(machine, address, &place))
		explain(&place, false, err);
}

void machine_blame(const struct machine *machine, int code, struct error *err)
{
	struct place place;

	if (code == -EFAULT && find_broken(machine, &place))
		explain(&place, false, err);
}

/* ---------------------------------------------------------------------------------------- files, before an access */

static void on_file_change(void *context, int fd)
{
	struct machine *machine = context;
	char events[4096]; /* of whichever file: all are looked at */
	struct place place;
	struct error err;

	(void)!read(fd, events, sizeof(events));
	if (!find_shorter(machine, &place))
		return;
	explain(&place, false, &err);
	if (machine_stop(machine, STOP_FAULT, 0))
		machine->fault = err;
}

int machine_watch_files(struct machine *machine, struct loop *loop)
{
	for (size_t i = 0; i < machine->backend_count; i++) {
		const struct mem_backend *backend = &machine->backends[i];
		char path[40];

		if (!backend_is_named(&backend->source) || backend->kind == BACKEND_DAX)
			continue;
		if (machine->files_fd < 0)
			machine->files_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", backend->fd);
		if (machine->files_fd < 0 || inotify_add_watch(machine->files_fd, path, IN_MODIFY) < 0)
			log_debug(machine->log, "%s: its file cannot be watched (inotify): %s", backend->option,
				  strerror(errno));
	}
	return machine->files_fd < 0 ? 0 : loop_add(loop, machine->files_fd, on_file_change, machine);
}

/* ------------------------------------------------------------------------------------------- accesses of ours */

/* The machine whose memory a SIGBUS may be about; a handler has no other way to know. */
static struct machine *_Atomic watched;
static atomic_flag ending = ATOMIC_FLAG_INIT;

/* The vcpu whose thread this is. */
static _Thread_local struct machine_vcpu *own_vcpu;

/*
 * KVM sends its thread a SIGBUS for a broken cell that the guest has met (BUS_MCEERR_AR), and KVM_RUN returns with
 * EINTR; the instruction would be tried again.
 */
int machine_run_vcpu(struct machine_vcpu *self, struct kvm_exit *exit, struct error *err)
{
	int code;

	own_vcpu = self;
	self->in_guest = true;
	code = kvm_vcpu_run(&self->vcpu, exit, err);
	self->in_guest = false;
	if (code < 0 || !self->poisoned)
		return code;
	self->poisoned = false;
	return kvm_vcpu_machine_check(&self->vcpu, self->poison, err);
}

/*
 * The fault of an instruction of this thread, in no call of the library's that the ones here could disturb. The process
 * ends right here: the thread cannot go on without the bytes, and no other can wait for it.
 */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
	const bool poisoned = info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO;
	struct machine *machine = atomic_load(&watched);
	struct place place;
	struct error err;

	(void)context;
	if (machine == NULL || info->si_code <= 0 || /* kill(2) */
	    !place_of_address(machine, (uintptr_t)info->si_addr, &place)) {
		signal(number, SIG_DFL); /* not the guest's memory: what it would have been without us */
		raise(number);
		return;
	}
	explain(&place, poisoned, &err);
	if (info->si_code == BUS_MCEERR_AO) { /* nobody has asked for the bytes yet */
		log_warn(machine->log, "%s", err.text);
		return;
	}
	if (info->si_code == BUS_MCEERR_AR && own_vcpu != NULL && own_vcpu->in_guest) {
		log_warn(machine->log, "%s; vcpu %" PRIu32 " has met it", err.text, own_vcpu->vcpu.index);
		own_vcpu->poison = place.gpa;
		own_vcpu->poisoned = true;
		return;
	}
	while (atomic_flag_test_and_set(&ending))
		poll(NULL, 0, -1); /* another thread is at it */
	console_stop(machine->console);
	log_error(machine->log, "%s", err.text);
	_exit(EXIT_STATUS_BACKING);
}

void machine_watch_memory(struct machine *machine)
{
	const struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};

	atomic_store(&watched, machine);
	sigaction(SIGBUS, &action, NULL);
}

void machine_unwatch_memory(const struct machine *machine)
{
	if (atomic_load(&watched) != machine)
		return;
	signal(SIGBUS, SIG_DFL);
	atomic_store(&watched, NULL);
}
