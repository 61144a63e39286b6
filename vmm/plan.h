/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_PLAN_H
#define SPMVM_PLAN_H

#include <stdio.h>

#include "vmm/base/error.h"
#include "vmm/board.h"
#include "vmm/config.h"
#include "vmm/options.h"

/*
 * The command "plan": shows the whole machine without KVM, memory or privileges. tables (may be NULL) is a folder that each ACPI table is
 * written to, as NAME.dat; it is made when it is not there.
 */
int plan_machine(const struct config *config, enum plan_format format, const char *tables, FILE *out,
		 struct error *err);

/*
 * Compares two plans as JSON, in files or "-" for standard input, and prints each fact that differs on a line of its
 * own: what was added, removed or changed from the first to the second. EXIT_STATUS_USAGE for files that cannot be read
 * or are no plans, whatever is in them.
 */
int plan_diff(const char *const paths[2], FILE *out, bool *differ, struct error *err);

/* As above, for files that are in memory already. */
struct plan_file {
	const char *path; /* for messages */
	const char *text;
	size_t size;
};
int plan_diff_texts(const struct plan_file files[2], FILE *out, bool *differ, struct error *err);

/* --------------------------------------------------------------- the views, each of the same facts */

/* What a person should know about one SPM block before the guest starts. */
struct plan_block {
	const struct config_memory *memory;
	struct range gpa;
	uint32_t node;
	size_t dax;                      /* Linux 6.1 calls it dax{dax}.0: blocks are numbered by address */
	uint64_t onlinable;              /* bytes that can become system RAM */
	uint64_t vmemmap_2m, vmemmap_4k; /* guest RAM that struct pages for device-dax take, by its alignment */
};

/* The block behind the index-th SPM region by address. */
struct plan_block plan_block_at(const struct board *board, size_t index);

/* Calls tell(context, text) with one line for each thing about the plan that the user may not expect. */
void plan_warnings(const struct board *board, void (*tell)(void *context, const char *text), void *context);

void plan_text(const struct board *board, FILE *out);
int plan_json(const struct board *board, FILE *out, struct error *err);
int plan_svg(const struct board *board, FILE *out, struct error *err);

/* ------------------------------------------------------------- words for facts, in plan_text.c */

/* The largest unit that keeps the figure whole: "8 GiB", "640 KiB", "1087 MiB". */
struct plan_quantity {
	char text[32];
};
struct plan_quantity plan_quantity(uint64_t bytes);

/* "CPUs 0-3,8", or "no CPU". */
void plan_print_cpus(const struct board *board, uint32_t node, FILE *out);

/* ", huge pages of 2 MiB, bound to host nodes 0 1", or nothing when the host decides. */
void plan_print_source(FILE *out, const struct config_memory *memory);

/*
 * How fast a node's memory is from an initiator, in a configuration with figures: whether anything is known, whether two
 * initiators get the same, and "latency 60ns, bandwidth 800G/s", with both directions where they differ and "?" for what
 * is not known.
 */
bool plan_knows_figures(const struct config *config, uint32_t from, uint32_t to);
bool plan_same_figures(const struct config *config, uint32_t from, uint32_t other, uint32_t to);
void plan_print_figures(const struct config *config, uint32_t from, uint32_t to, FILE *out);

#endif
