/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_OPTION_VALUES_H
#define SPMVM_OPTION_VALUES_H

#include "vmm/base/parse.h"
#include "vmm/options.h"

/*
 * What stands behind each option's name, for options.c only: one function an option, which enters argument into options. argument
 * is never NULL (empty for an option without a value) and lives as long as argv. Errors are EXIT_STATUS_USAGE and name the
 * value, its column and the remedy; options.c puts the option before them.
 */
int option_mem(struct options *options, const char *argument, struct error *err);
int option_spm(struct options *options, const char *argument, struct error *err);
int option_cpus(struct options *options, const char *argument, struct error *err);
int option_numa(struct options *options, const char *argument, struct error *err);
int option_distance(struct options *options, const char *argument, struct error *err);
int option_perf(struct options *options, const char *argument, struct error *err);
int option_hmat(struct options *options, const char *argument, struct error *err);
int option_accel(struct options *options, const char *argument, struct error *err);
int option_maxmem(struct options *options, const char *argument, struct error *err);
int option_hotplug(struct options *options, const char *argument, struct error *err);
int option_kernel(struct options *options, const char *argument, struct error *err);
int option_kernel_cache(struct options *options, const char *argument, struct error *err);
int option_initrd(struct options *options, const char *argument, struct error *err);
int option_append(struct options *options, const char *argument, struct error *err);
int option_modules(struct options *options, const char *argument, struct error *err);
int option_module(struct options *options, const char *argument, struct error *err);
int option_script(struct options *options, const char *argument, struct error *err);
int option_file(struct options *options, const char *argument, struct error *err);
int option_rw(struct options *options, const char *argument, struct error *err);
int option_timeout(struct options *options, const char *argument, struct error *err);
int option_console(struct options *options, const char *argument, struct error *err);
int option_serial(struct options *options, const char *argument, struct error *err);
int option_blk(struct options *options, const char *argument, struct error *err);
int option_net(struct options *options, const char *argument, struct error *err);
int option_share(struct options *options, const char *argument, struct error *err);
int option_vsock(struct options *options, const char *argument, struct error *err);
int option_port(struct options *options, const char *argument, struct error *err);
int option_qmp(struct options *options, const char *argument, struct error *err);
int option_rng(struct options *options, const char *argument, struct error *err);
int option_metrics(struct options *options, const char *argument, struct error *err);
int option_log(struct options *options, const char *argument, struct error *err);
int option_sandbox(struct options *options, const char *argument, struct error *err);
int option_phys_bits(struct options *options, const char *argument, struct error *err);
int option_kernel_unpack(struct options *options, const char *argument, struct error *err);
int option_force(struct options *options, const char *argument, struct error *err);
int option_format(struct options *options, const char *argument, struct error *err);
int option_config(struct options *options, const char *argument, struct error *err);
int option_diff(struct options *options, const char *argument, struct error *err);
int option_tables(struct options *options, const char *argument, struct error *err);

/* Copies a text to the heap, for the caller to own. In option_values.c. */
int option_text(char **place, const char *text, struct error *err);

/* Checks an id and copies it; id has CONFIG_ID_MAX + 1 characters. In option_memory.c. */
int option_id(char *id, struct token value, struct error *err);

/*
 * The keys of --mem, --spm and --perf that say how fast memory is: "latency", "read-latency" and so on.
 * option_is_figure() knows their names; option_figure() enters one, and refuses to enter a figure twice. In
 * option_figures.c.
 */
#define OPTION_FIGURES "latency, read-latency, write-latency, bandwidth, read-bandwidth or write-bandwidth"
bool option_is_figure(const char *key);
int option_figure(uint32_t figures[ACPI_FIGURES], struct token key, struct token value, struct error *err);

/*
 * Makes room for one more element behind count in a heap array, and returns its zeroed place; the caller counts it. NULL with err
 * set when memory runs out. array is the address of the array's pointer.
 */
void *option_grow(void *array, size_t count, size_t element_size, struct error *err);

#endif
