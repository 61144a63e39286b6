/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/initramfs.h"
#include "vmm/boot/linux_boot.h"
#include "vmm/console.h"
#include "vmm/device_tree.h"
#include "vmm/kernel_features.h"
#include "vmm/kernel_files.h"
#include "vmm/kernel_unpack.h"
#include "vmm/machine.h"
#include "vmm/metrics_file.h"
#include "vmm/workbench.h"

enum { OWN_MODULES_MAX = 32 }; /* what choose_modules() finds without the user */

/* Everything that a run holds, so that one function undoes it, however far it came. */
struct run {
	const struct config *config;
	const struct machine_control *control; /* NULL without one */
	struct log log;
	struct stages *stages;
	struct console console;
	struct workbench workbench; /* of a command */
	struct kvm_vm kvm;
	struct board *board;
	struct bzimage kernel;
	struct kernel_unpack unpack;
	char kernel_path[PATH_MAX];
	struct archive initramfs;
	struct linux_initrd initrd;
	struct buf cmdline;
	struct metrics_file metrics;
	struct machine *machine;
};

static int open_kernel(struct run *run, struct error *err)
{
	int code = 0;

	if (run->config->kernel != NULL)
		snprintf(run->kernel_path, sizeof(run->kernel_path), "%s", run->config->kernel);
	else
		code = kernel_find_newest("/boot", run->kernel_path, err);
	if (code == 0)
		code = bzimage_open(&run->kernel, run->kernel_path, err);
	if (code == 0)
		log_debug(&run->log, "kernel %s, release %s", run->kernel_path, run->kernel.release);
	return code;
}

/* A software backend interprets the guest's kernel and lacks instructions that every stock kernel uses. */
static int check_backend(const struct run *run, struct error *err)
{
	if (run->kvm.limits.hardware)
		return 0;
	if (!run->config->force)
		return error_set(
			err, EXIT_STATUS_HOST, ENODEV,
			"/dev/kvm is a software backend (%s), which cannot run a stock Linux kernel; use a host with "
			"kvm_intel or kvm_amd, or tests/lab/run -- spmvm ..., or go on with --force",
			run->kvm.limits.backend);
	log_warn(&run->log, "/dev/kvm is a software backend (%s): expect the guest to crash", run->kvm.limits.backend);
	return 0;
}

static int open_initrd(struct run *run, struct error *err)
{
	const char *path = run->config->initrd;
	struct stat status;

	run->initrd.option = "--initrd";
	run->initrd.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* do not wait for a FIFO */
	if (run->initrd.fd < 0)
		return error_set(err, EXIT_STATUS_IMAGE, errno, "--initrd %s: %s", path, strerror(errno));
	if (fstat(run->initrd.fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
		return error_set(err, EXIT_STATUS_IMAGE, EINVAL, "--initrd %s: not a regular file with something in it",
				 path);
	run->initrd.size = (uint64_t)status.st_size;
	return 0;
}

/* The mission's own modules come first, the drivers of the devices that the machine has follow, then what the user asks for. */
static size_t choose_modules(const struct config *config, struct module_wish *wishes)
{
	static const char *const DRIVERS[] = {
		[CONFIG_BLK] = "virtio_blk",      [CONFIG_NET] = "virtio_net",
		[CONFIG_SHARE] = "virtiofs",      [CONFIG_VSOCK] = "vmw_vsock_virtio_transport",
		[CONFIG_PORT] = "virtio_console", [CONFIG_MEM] = "virtio_mem",
		[CONFIG_RNG] = "virtio-rng",
	};
	bool wanted[sizeof(DRIVERS) / sizeof(DRIVERS[0])] = {false};
	size_t count = 0;

	for (size_t i = 0; i < INITRAMFS_MODULE_COUNT; i++)
		wishes[count++].name = INITRAMFS_MODULES[i];
	if (config->command != NULL)
		wishes[count++].name = "overlay";
	/* without a socket, nobody presses the power button; evdev tells programs of it */
	if (config->qmp != NULL) {
		wishes[count++].name = "button";
		wishes[count++].name = "evdev";
	}
	if (config->device_count > 0)
		wishes[count++].name = "virtio_mmio";
	for (size_t i = 0; i < config->device_count; i++)
		wanted[config->devices[i].kind] = true;
	for (size_t i = 0; i < sizeof(DRIVERS) / sizeof(DRIVERS[0]); i++) {
		if (wanted[i])
			wishes[count++].name = DRIVERS[i];
	}
	for (size_t i = 0; i < config->extra_module_count; i++)
		wishes[count++] = (struct module_wish){config->extra_modules[i], .required = true};
	return count;
}

/* The folder of the kernel's modules; NULL, with a warning, when there is none and the machine can do without. */
static int find_modules(struct run *run, char *path, const char **folder, struct error *err)
{
	const struct config *config = run->config;

	*folder = config->modules;
	if (*folder != NULL)
		return 0;
	if (kernel_find_modules(run->kernel_path, run->kernel.release, path) == 0) {
		*folder = path;
		return 0;
	}
	if (config->extra_module_count > 0)
		return error_set(err, EXIT_STATUS_IMAGE, ENOENT,
				 "--module %s: no modules of kernel %s found; name their folder with --modules DIR",
				 config->extra_modules[0], run->kernel.release);
	log_warn(&run->log,
		 "no modules of kernel %s found: the guest will have no dax devices; name their folder with "
		 "--modules DIR",
		 run->kernel.release);
	return 0;
}

static int build_initrd(struct run *run, struct error *err)
{
	const struct config *config = run->config;
	struct module_wish *wishes = calloc(OWN_MODULES_MAX + config->extra_module_count, sizeof(*wishes));
	char modules[PATH_MAX];
	struct buf command = {0};
	struct initramfs_request request = {
		.wishes = wishes,
		.busybox = config->command == NULL ? busybox_find() : NULL,
		.script = config->script,
		.files = config->files,
		.file_count = config->file_count,
	};
	int code = 0;

	if (wishes == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the initramfs");
	request.wish_count = choose_modules(config, wishes);
	code = find_modules(run, modules, &request.modules, err);
	if (code == 0)
		code = kernel_check_for(config, &run->kernel, request.modules, &run->log, err);
	if (code < 0)
		goto out;
	if (config->command != NULL) {
		code = workbench_describe(&run->workbench, config, request.modules, &command, err);
		request.command = &command;
	} else if (request.busybox == NULL && config->script == NULL) {
		log_warn(&run->log, "no busybox on this host: the guest will have no shell; install busybox-static");
	}
	if (code == 0)
		code = initramfs_build(&run->initramfs, &request, &run->log, err);
	buf_release(&command);
	run->initrd = (struct linux_initrd){
		.option = "the built-in initramfs",
		.fd = -1,
		.archive = &run->initramfs,
		.size = archive_size(&run->initramfs),
	};
out:
	free(wishes);
	return code;
}

/*
 * Ours comes first and the user's last, because Linux lets the later of two win. panic=-1 makes a panic end in a reset,
 * and panic_warm tells it from a reset that was asked for (see machine_run.c). swiotlb=512, in slabs of 2 KiB, is the
 * least that Linux takes as bounce buffers for devices that cannot reach all of memory. No device here needs any, but
 * with anything above 4 GiB, as blocks are, Linux would set 64 MiB aside and clear them.
 */
static int make_cmdline(struct run *run, struct error *err)
{
	const struct config *config = run->config;
	const char *terminal = getenv("TERM");

	if (config->serial != SERIAL_NONE)
		buf_text(&run->cmdline, "console=ttyS0 ");
	if (!config->console)
		buf_text(&run->cmdline, "quiet ");
	buf_text(&run->cmdline, "swiotlb=512 panic=-1 reboot=panic_warm");
	if (config->initrd == NULL && config->serial == SERIAL_STDIO && terminal != NULL && terminal[0] != '\0' &&
	    strpbrk(terminal, " \t\"'") == NULL)
		buf_printf(&run->cmdline, " TERM=%s", terminal);
	if (config->append != NULL)
		buf_printf(&run->cmdline, " %s", config->append);
	buf_u8(&run->cmdline, 0);
	if (buf_failed(&run->cmdline))
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the command line");
	return 0;
}

static int make_board(struct run *run, struct error *err)
{
	run->board = malloc(sizeof(*run->board));
	if (run->board == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while planning the machine");
	return board_make(run->board, run->config, run->kvm.limits.phys_bits, err);
}

static void log_unpacked(const struct run *run, const struct linux_boot *boot)
{
	if (boot->no_unpack != NULL)
		log_debug(&run->log, "the kernel unpacks itself: %s", boot->no_unpack);
	if (boot->virtual != 0)
		log_debug(&run->log, "kernel unpacked to 0x%llx (%s), virtual address 0x%llx (%s)",
			  (unsigned long long)boot->kernel.start, boot->random_physical ? "random" : "fixed",
			  (unsigned long long)boot->virtual, boot->random ? "random" : "fixed");
}

/* What a file or a passed descriptor has in it is kept. */
static bool is_new_memory(const struct config *config)
{
	for (size_t i = 0; i < config->mem_count; i++) {
		if (backend_is_named(&config->mem[i].source))
			return false;
	}
	return true;
}

static int load(struct run *run, struct error *err)
{
	struct buf tree = {0};
	struct linux_boot_request request = {
		.kernel = &run->kernel,
		.initrd = &run->initrd,
		.cmdline = (const char *)run->cmdline.data,
		.e820 = &run->board->e820,
		.rsdp = run->board->layout.acpi.start,
		.device_tree = &tree,
		.window = run->board->layout.window.span,
		.zeroed = is_new_memory(run->board->config),
	};
	struct linux_boot boot;
	int code = device_tree_build(run->board, &tree, err);

	if (code < 0)
		return code;
	if (getrandom(request.random, sizeof(request.random), 0) == (ssize_t)sizeof(request.random))
		request.vmlinux = kernel_unpack_wait(&run->unpack);
	code = linux_boot_load(&boot, &request, machine_memory(run->machine), err);
	kernel_unpack_release(&run->unpack);
	buf_release(&tree);
	if (code < 0)
		return code;
	log_unpacked(run, &boot);
	log_debug(&run->log, "kernel at 0x%llx, device tree at 0x%llx (%llu bytes), initrd at 0x%llx (%llu bytes)",
		  (unsigned long long)boot.kernel.start, (unsigned long long)boot.device_tree.start,
		  (unsigned long long)boot.device_tree.size, (unsigned long long)boot.initrd.start,
		  (unsigned long long)boot.initrd.size);
	/* the guest has its copy */
	archive_release(&run->initramfs);
	io_close(&run->initrd.fd);
	bzimage_release(&run->kernel);
	/* what building the initramfs took goes back to the host for as long as the guest runs */
	malloc_trim(0);
	return machine_set_start(run->machine, &boot, err);
}

/* The console, and the command's streams when there is one. */
static int open_streams(struct run *run, struct error *err)
{
	int code = console_open(&run->console, run->config->serial, run->config->serial_path, err);

	if (code == 0 && run->config->command != NULL)
		code = workbench_open(&run->workbench, err);
	if (code == 0 && run->workbench.terminal)
		console_take_keys(&run->console);
	return code;
}

static int run_all(struct run *run, int *status, struct error *err)
{
	int code;

	for (size_t i = 0; i < run->config->warning_count; i++)
		log_warn(&run->log, "%s", run->config->warnings[i]);
	/* cheap checks of the user's files first: they fail before any memory is asked for */
	code = open_kernel(run, err);
	if (code == 0) {
		stages_mark(run->stages, STAGE_KERNEL);
		code = kvm_open(&run->kvm, NULL, err);
	}
	if (code == 0) {
		stages_mark(run->stages, STAGE_KVM);
		code = check_backend(run, err);
	}
	if (code == 0)
		code = make_board(run, err);
	if (code == 0)
		code = make_cmdline(run, err);
	if (code == 0)
		code = open_streams(run, err);
	if (code == 0)
		code = metrics_file_open(&run->metrics, &run->config->metrics, err);
	if (code == 0 && !run->config->keep_packed)
		code = kernel_unpack_start(&run->unpack, &run->kernel, run->config->kernel_cache, &run->log, err);
	if (code == 0) {
		stages_mark(run->stages, STAGE_BOARD);
		code = run->config->initrd != NULL ? open_initrd(run, err) : build_initrd(run, err);
	}
	if (code == 0) {
		stages_mark(run->stages, STAGE_INITRAMFS);
		code = machine_new(&run->machine, run->board, &run->kvm, &run->console,
				   run->config->command != NULL ? &run->workbench : NULL, run->stages, &run->log, err);
	}
	if (code == 0 && (run->metrics.fd >= 0 || run->control != NULL))
		code = machine_open_metrics(run->machine, run->metrics.fd >= 0 ? &run->metrics : NULL, err);
	if (code == 0)
		code = load(run, err);
	if (code == 0) {
		stages_mark(run->stages, STAGE_LOADED);
		code = machine_run(run->machine, run->control, status, err);
	}
	return code;
}

int run_machine(const struct config *config, const struct machine_control *control, struct stages *stages, int *status,
		struct error *err)
{
	struct run run = {
		.config = config,
		.stages = stages,
		.control = control,
		.log = {.level = config->log_level, .fd = STDERR_FILENO, .raw_terminal = &run.console.raw},
		.console = {.in = -1, .out = -1},
		.kernel = {.fd = -1},
		.initrd = {.fd = -1},
		.metrics = {.fd = -1},
	};
	int code;

	kvm_init(&run.kvm);
	workbench_init(&run.workbench);
	code = run_all(&run, status, err);
	kernel_unpack_release(&run.unpack);
	machine_free(run.machine);
	metrics_file_release(&run.metrics);
	workbench_release(&run.workbench);
	console_release(&run.console);
	kvm_release(&run.kvm);
	board_release(run.board);
	free(run.board);
	bzimage_release(&run.kernel);
	io_close(&run.initrd.fd);
	archive_release(&run.initramfs);
	buf_release(&run.cmdline);
	return code;
}
