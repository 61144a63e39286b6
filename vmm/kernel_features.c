/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kernel_features.h"

#include <errno.h>

enum {
	ANY_DEVICE = KERNEL_NEED_COMMAND | KERNEL_NEED_BLK | KERNEL_NEED_NET | KERNEL_NEED_SHARE | KERNEL_NEED_VSOCK |
		     KERNEL_NEED_PORT | KERNEL_NEED_MAXMEM
};

/*
 * Module names are those of Linux 6.1 to 7.2. Why some are here that look far away:
 *   PCI        Linux makes resources of E820 entries in pcibios_resource_survey() only, which wants PCI configuration space
 *   KVM_GUEST  there is no PIT to measure the TSC by, so the kernel waits for ever unless kvmclock tells its frequency
 *   EFI_SOFT_RESERVE, DEV_DAX_HMEM  the second depends on the first; a driver of the user's own does without the second
 */
const struct kernel_feature KERNEL_FEATURES[] = {
	{"initramfs", "the guest's first process", {{"BLK_DEV_INITRD", NULL}}, KERNEL_NEED_BOOT},
	{"ACPI",
	 "finding processors, nodes and devices",
	 {{"ACPI", NULL}, {"PCI", NULL}},
	 KERNEL_NEED_BOOT | KERNEL_NEED_SPM},
	{"kvmclock",
	 "the processor's frequency: there is no timer chip to measure it by",
	 {{"KVM_GUEST", NULL}},
	 KERNEL_NEED_BOOT},
	{"several CPUs", "--cpus", {{"SMP", NULL}}, 0},
	{"init",
	 "what the built-in init mounts and runs",
	 {{"BINFMT_ELF", NULL}, {"DEVTMPFS", NULL}, {"PROC_FS", NULL}, {"SYSFS", NULL}, {"TMPFS", NULL}},
	 KERNEL_NEED_INIT},
	{"serial console",
	 "the guest's terminal",
	 {{"SERIAL_8250", NULL}, {"SERIAL_8250_CONSOLE", NULL}},
	 KERNEL_NEED_CONSOLE},
	{"soft reserve", "--spm: Linux keeps the blocks for drivers", {{"EFI_SOFT_RESERVE", NULL}}, KERNEL_NEED_SPM},
	{"ACPI NUMA", "--spm: each block's node", {{"NUMA", NULL}, {"ACPI_NUMA", NULL}}, KERNEL_NEED_SPM},
	{"HMAT", "bandwidth and latency of the blocks' nodes", {{"ACPI_HMAT", NULL}}, 0},
	{"dax_hmem",
	 "a /dev/dax of each block; without it, only a driver of your own finds them",
	 {{"DEV_DAX_HMEM_DEVICES", NULL}, {"DEV_DAX_HMEM", "dax_hmem"}, {"DEV_DAX", "device_dax"}},
	 0},
	{"kmem",
	 "a block as ordinary memory of its node",
	 {{"DEV_DAX_KMEM", "kmem"}, {"MEMORY_HOTPLUG", NULL}, {"MEMORY_HOTREMOVE", NULL}},
	 0},
	{"virtio-mmio", "every virtio device", {{"VIRTIO_MMIO", "virtio_mmio"}}, ANY_DEVICE},
	{"virtio-console",
	 "-- COMMAND (its streams), --port",
	 {{"VIRTIO_CONSOLE", "virtio_console"}},
	 KERNEL_NEED_COMMAND | KERNEL_NEED_PORT},
	{"virtiofs",
	 "-- COMMAND (the host's files), --share",
	 {{"FUSE_FS", "fuse"}, {"VIRTIO_FS", "virtiofs"}},
	 KERNEL_NEED_COMMAND | KERNEL_NEED_SHARE},
	{"overlayfs", "-- COMMAND (what it writes)", {{"OVERLAY_FS", "overlay"}}, KERNEL_NEED_COMMAND},
	{"pseudoterminals", "-- COMMAND on a terminal", {{"UNIX98_PTYS", NULL}}, 0},
	{"virtio-blk", "--blk", {{"VIRTIO_BLK", "virtio_blk"}}, KERNEL_NEED_BLK},
	{"virtio-net", "--net", {{"INET", NULL}, {"VIRTIO_NET", "virtio_net"}}, KERNEL_NEED_NET},
	{"vsock",
	 "--vsock",
	 {{"VSOCKETS", "vsock"}, {"VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport"}},
	 KERNEL_NEED_VSOCK},
	{"virtio-mem", "--maxmem", {{"VIRTIO_MEM", "virtio_mem"}}, KERNEL_NEED_MAXMEM},
	{"virtio-rng", "random numbers from the start", {{"HW_RANDOM_VIRTIO", "virtio-rng"}}, 0},
	{"pvpanic", "telling a panic at once", {{"PVPANIC", NULL}, {"PVPANIC_MMIO", "pvpanic-mmio"}}, 0},
};
const size_t KERNEL_FEATURE_COUNT = sizeof(KERNEL_FEATURES) / sizeof(KERNEL_FEATURES[0]);

enum kernel_option kernel_feature_ask(const struct kernel_feature *feature, const struct kernel_config *config)
{
	/* a thing that is known to be missing is worse news than one that is not known */
	static const int GOODNESS[] = {[KERNEL_OPTION_NO] = 0,
				       [KERNEL_OPTION_LOST] = 1,
				       [KERNEL_OPTION_UNKNOWN] = 2,
				       [KERNEL_OPTION_MODULE] = 3,
				       [KERNEL_OPTION_YES] = 4};
	enum kernel_option worst = KERNEL_OPTION_YES;

	for (size_t i = 0; i < KERNEL_FEATURE_OPTIONS && feature->options[i].name != NULL; i++) {
		enum kernel_option option =
			kernel_config_option(config, feature->options[i].name, feature->options[i].module);

		if (GOODNESS[option] < GOODNESS[worst])
			worst = option;
	}
	return worst;
}

unsigned kernel_needs(const struct config *config)
{
	static const unsigned OF_DEVICES[] = {
		[CONFIG_BLK] = KERNEL_NEED_BLK,
		[CONFIG_NET] = KERNEL_NEED_NET,
		[CONFIG_SHARE] = KERNEL_NEED_SHARE,
		[CONFIG_VSOCK] = KERNEL_NEED_VSOCK,
		[CONFIG_PORT] = KERNEL_NEED_PORT,
		[CONFIG_MEM] = KERNEL_NEED_MAXMEM,
		[CONFIG_RNG] = 0,
	};
	unsigned needs = KERNEL_NEED_BOOT;

	if (config->initrd == NULL)
		needs |= KERNEL_NEED_INIT;
	if (config->spm_count > 0)
		needs |= KERNEL_NEED_SPM;
	if (config->command != NULL)
		needs |= KERNEL_NEED_COMMAND;
	else if (config->serial != SERIAL_NONE)
		needs |= KERNEL_NEED_CONSOLE;
	for (size_t i = 0; i < config->device_count; i++)
		needs |= OF_DEVICES[config->devices[i].kind];
	return needs;
}

int kernel_check(const char *path, const struct kernel_config *config, unsigned needs, struct error *err)
{
	struct buf missing = {0};
	int code = 0;

	for (size_t i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		const struct kernel_feature *feature = &KERNEL_FEATURES[i];

		for (size_t j = 0; (feature->needs & needs) != 0 && j < KERNEL_FEATURE_OPTIONS; j++) {
			const char *name = feature->options[j].name, *module = feature->options[j].module;
			enum kernel_option option =
				name == NULL ? KERNEL_OPTION_YES : kernel_config_option(config, name, module);

			/* an initramfs of the user's own may have modules that the host has not */
			if (option == KERNEL_OPTION_NO)
				buf_printf(&missing, "%sCONFIG_%s", missing.size > 0 ? ", " : "", name);
			else if (option == KERNEL_OPTION_LOST && (needs & KERNEL_NEED_INIT) != 0)
				buf_printf(&missing, "%sthe module %s", missing.size > 0 ? ", " : "", module);
		}
	}
	if (missing.size > 0) {
		buf_u8(&missing, 0);
		code = error_set(err, EXIT_STATUS_IMAGE, ENOTSUP,
				 "--kernel %s lacks %s: spmvm doctor --kernel %s explains", path,
				 buf_failed(&missing) ? "options" : (const char *)missing.data, path);
	}
	buf_release(&missing);
	return code;
}

int kernel_check_for(const struct config *config, const struct bzimage *image, const char *modules,
		     const struct log *log, struct error *err)
{
	struct kernel_config kernel;
	int code = kernel_config_load(&kernel, image, modules, false, log, err);

	if (code == 0)
		code = kernel_check(image->path, &kernel, kernel_needs(config), err);
	kernel_config_release(&kernel);
	return code;
}
