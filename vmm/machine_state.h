/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MACHINE_STATE_H
#define SPMVM_MACHINE_STATE_H

/* The inside of struct machine, for vmm/machine*.c only. */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "devices/debug_exit.h"
#include "devices/pci_host.h"
#include "devices/power.h"
#include "devices/pvpanic.h"
#include "devices/serial.h"
#include "devices/virtio/vhost_user.h"
#include "devices/virtio/virtio.h"
#include "vmm/base/buf.h"
#include "vmm/base/counter.h"
#include "vmm/machine.h"
#include "vmm/memory/backend.h"
#include "vmm/memory/guest_mem.h"
#include "vmm/memory/placement.h"
#include "vmm/sandbox.h"
#include "vmm/workbench.h"

struct machine_vcpu {
	struct machine *machine;
	struct kvm_vcpu vcpu;
	pthread_t thread;
	bool started;
	atomic_int thread_id;                          /* gettid(2); 0 before it runs */
	atomic_bool runs;                              /* from machine_enter_guest() to machine_leave_guest() */
	volatile sig_atomic_t in_guest;                /* its thread is in KVM_RUN; what SIGBUS's handler looks at */
	volatile sig_atomic_t poisoned;                /* it has met broken memory there ... */
	uint64_t poison;                               /* ... at this guest-physical address */
	struct counter exits[KVM_EXIT_KIND_CRASH + 1]; /* by enum kvm_exit_kind; its thread counts */
	struct counter cpu_time;                       /* ns of the thread, when it has ended */
};

/* A write to a device's register that its vcpu has handed to the main thread, and waits for. */
struct errand {
	struct virtio_device *device;
	uint64_t offset;
	uint32_t value;
	bool done;
	struct errand *next;
};

struct machine {
	const struct board *board;
	struct kvm_vm *kvm;
	struct console *console;
	struct workbench *workbench; /* of a command; NULL without one */
	struct stages *stages;
	const struct log *log;
	const struct machine_control *control; /* NULL without one */

	struct mem_backend *backends; /* of every --mem, then of every --spm */
	size_t backend_count;
	struct mem_backend hotplug; /* behind board->hotplug */
	struct guest_mem memory;
	struct vhost_user_region
		*shared; /* the same memory for processes that work for us: RAM first, then blocks; heap */
	size_t shared_count;

	struct bus buses[2]; /* by enum bus_space */
	struct serial serial;
	struct power power;
	struct pci_host pci_host;
	struct pvpanic pvpanic;
	struct debug_exit debug_exit;
	bool serial_ready, pci_host_ready; /* they hold a lock to be released */
	struct virtio_device *virtio[CONFIG_VIRTIO_MAX];
	size_t virtio_count;
	uint8_t *
		registers; /* a page for each of them, which the guest reads without an exit; NULL when KVM cannot do that */
	int swallow_fd;                 /* eventfd that nobody reads: what KVM writes to it is dropped */
	int irq_fds[BOARD_DEVICES_MAX]; /* eventfds behind KVM_IRQFD, by the board's devices; -1 when unset */

	struct sandbox sandbox;
	struct machine_vcpu *vcpus;
	size_t vcpu_count;

	struct machine_metrics *metrics; /* of machine_metrics.c; NULL when nobody has asked for any */

	struct errand *errands; /* those that nobody has begun; under errand_lock */
	pthread_mutex_t errand_lock;
	pthread_cond_t errand_done;
	pthread_mutex_t start_lock;
	pthread_cond_t start_changed;
	size_t vcpus_confined; /* threads that the sandbox holds; under start_lock, as go is */
	bool go;               /* all of them are, and the main thread: the guest may run, unless a cause is set */
	int errand_fd;         /* eventfd: there are some */

	int wake_fd;      /* eventfd: the stop cause is set */
	int files_fd;     /* inotify: a file behind guest memory has changed; -1 when unset */
	int room_fd;      /* eventfd: the guest has read from a full serial FIFO */
	atomic_int cause; /* enum stop_cause */
	uint32_t stop_value;
	atomic_bool paused; /* no vcpu enters the guest; main thread writes */
	pthread_mutex_t park_lock;
	pthread_cond_t unparked;                 /* paused vcpus may go on, or are to end */
	bool has_clock;                          /* while paused: */
	uint64_t clock;                          /* what the guest's clock goes on from */
	int broken_fd;                           /* eventfd: a device needs a reset */
	uint64_t broken_told[CONFIG_VIRTIO_MAX]; /* how often each did so far */

	/* What a vcpu's thread leaves behind at its end, for the main thread to look into; of the one that set the cause. */
	struct error fault;                 /* of STOP_FAULT ... */
	int fault_code;                     /* ... its -errno, or 0 */
	bool fault_at_address;              /* ... and whether it is about the memory at ... */
	uint64_t fault_address;             /* ... this guest-physical address */
	const struct machine_vcpu *crashed; /* of STOP_CRASH ... */
	char crash_reason[160];             /* ... and why */
};

/* Whether a cause has been set. Any thread. */
static inline bool machine_is_stopping(const struct machine *machine)
{
	return atomic_load(&machine->cause) != STOP_NONE;
}

/* The backend that serves a region of the layout. */
struct mem_backend *machine_backend_of(const struct machine *machine, const struct mem_region *region);

/* ---- machine_run.c */

/* Interrupts whatever system call the vcpu's thread is in, and its next KVM_RUN. Main thread. */
void machine_kick(struct machine_vcpu *vcpu);

/* ---- machine_control.c */

/* Around KVM_RUN: the first waits for as long as the machine is paused and does not end. The vcpu's own thread. */
void machine_enter_guest(struct machine_vcpu *self);
void machine_leave_guest(struct machine_vcpu *self);

/* Wakes the vcpus that wait there, for another look at paused and the stop cause. */
void machine_unpark(struct machine *machine);

/* Tells who controls the machine, if anyone does. Main thread. */
void machine_tell(const struct machine *machine, const struct machine_event *event);

struct loop;
/* The main thread looks after the control and what is to be told to it from here on. -errno. */
int machine_watch_control(struct machine *machine, struct loop *loop);

/* ---- machine_placement.c */

/*
 * One line for each populated backend: where its pages are, with a warning where that is not what was asked for.
 * -ENOMEM is the only failure.
 */
int machine_report_placement(const struct machine *machine, struct error *err);

/* placement_look() at all that the guest has of the backend. */
int machine_look(const struct machine *machine, const struct mem_backend *backend, uint64_t samples,
		 struct placement *placement);

/*
 * Counts the bytes of each backend (backend_count of them, zeroed) that are mapped with transparent huge pages; smaps
 * is this process's. 0 or -errno.
 */
int machine_count_huge(const struct machine *machine, int smaps, uint64_t *huge);

/* ---- machine_metrics.c */

/* Whether there is a file that reports go to; who controls the machine gets them without. */
bool machine_writes_metrics(const struct machine *machine);

struct loop;
/* The main thread writes reports from here on, when an interval is wanted. -errno. */
int machine_watch_metrics(struct machine *machine, struct loop *loop);
/* The last report. No vcpu runs any more. */
void machine_finish_metrics(const struct machine *machine);
/* Before vcpus and VM are released. */
void machine_release_metrics(struct machine *machine);

/* ---- machine_broken.c */

/*
 * From here on a SIGBUS in guest memory is one line that names the --mem or --spm, and the process ends with
 * EXIT_STATUS_BACKING; but a vcpu that meets a broken cell goes on, with a machine check. Once its memory is mapped;
 * one machine a process. Undone before it is unmapped.
 */
void machine_watch_memory(struct machine *machine);
void machine_unwatch_memory(const struct machine *machine);

/*
 * The main thread looks after files behind guest memory from here on: one that is made smaller ends the machine.
 * -errno.
 */
int machine_watch_files(struct machine *machine, struct loop *loop);

/* kvm_vcpu_run(), and where the host's memory is broken a machine check for the guest. The vcpu's own thread. */
int machine_run_vcpu(struct machine_vcpu *self, struct kvm_exit *exit, struct error *err);

/*
 * KVM_RUN has failed with code: puts into err which memory is broken, when that can be found out, with
 * EXIT_STATUS_BACKING; leaves err alone otherwise. Main thread.
 */
void machine_blame(const struct machine *machine, int code, struct error *err);

/* An MMIO exit: whether its address is guest memory, which KVM then could not reach. Any thread, no system calls. */
bool machine_is_memory(const struct machine *machine, uint64_t address);

/* What is wrong with the guest memory there, in err as above. */
void machine_blame_address(const struct machine *machine, uint64_t address, struct error *err);

/* ---- machine_errands.c */

/* For struct virtio_device's hand_over; context is the machine. Any vcpu thread. */
void machine_hand_over(void *context, struct virtio_device *device, uint64_t offset, uint32_t value);

/* Does what was handed over so far. Main thread: when errand_fd is readable, and while it waits for vcpus to end. */
void machine_run_errands(struct machine *machine);

/* ---- machine_sandbox.c */

/* The process gives up all that the machine has no need of from here on (vmm/sandbox.h). Main thread, alone. */
int machine_enter_sandbox(struct machine *machine, struct error *err);

/* ---- machine_virtio.c */

/* Begins with what the kernel works for in this process, in its sandbox (struct virtio_class). Main thread, once. */
int machine_begin_virtio(const struct machine *machine, struct error *err);

/* Whether a disk reads and writes by system calls of its own: the host has no io_uring for it. */
bool machine_has_plain_disk(const struct machine *machine);

/* Makes the device that the configuration asks for, on the machine's memory. *device is it, in machine->virtio, owned there. */
int machine_create_virtio(struct machine *machine, const struct config_device *config, struct virtio_device **device,
			  struct error *err);

/*
 * Has KVM turn the device's kicks into its eventfds, gives it its interrupt, and shows its registers where they have a
 * page.
 */
int machine_connect_virtio(struct machine *machine, struct virtio_device *device, struct range registers,
			   struct dev_irq irq, struct error *err);

/*
 * Lets the guest read the registers of all of them without an exit, where KVM can do that. Once, when all are made and
 * none is connected.
 */
int machine_map_registers(struct machine *machine, struct error *err);

/* The first device of this kind (VIRTIO_ID_...), or NULL: the first member of the kind's struct. */
struct virtio_device *machine_find_virtio(const struct machine *machine, uint32_t id);

/* Asks the guest for bytes of hotplug memory, rounded down to what there can be. Main thread. */
void machine_request_memory(struct machine *machine, uint64_t bytes);

/* Whether the guest has come as far as listening to the command's control port. Main thread. */
bool machine_command_listens(struct machine *machine);

/*
 * Hands over what the guest has sent through console ports, waiting for pipes that are full, until it is done or one of the two is readable. No vcpu runs any
 * more. Main thread.
 */
void machine_flush_ports(struct machine *machine, int signal_fd, int timeout_fd);

/* The main thread looks after the device's kicks and descriptors from here on. -errno. */
int machine_watch_virtio(struct machine *machine, struct loop *loop);

/* Releases all of them, in reverse order. No vcpu runs any more. */
void machine_release_virtio(struct machine *machine);

#endif
