/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_CONFIG_FIGURES_H
#define SPMVM_CONFIG_FIGURES_H

#include "vmm/config.h"

/*
 * How fast memory is, for config.c only: the part of config_from() after nodes and distances are known. Fills figures,
 * or leaves them NULL when nothing was said about any; warns of what Linux's memory tiers would not use.
 * EXIT_STATUS_CONFIG for figures that contradict each other, belong to no node, or have no unit in common.
 */
int config_fill_figures(struct config *config, const struct config_raw *raw, struct error *err);

/* A figure as a person types it: "60ns", "60500ps", "100G". */
struct figure_text {
	char text[24];
};
struct figure_text figure_text(enum acpi_figure kind, uint32_t figure);

/* The option's key for it: "read-latency". */
const char *figure_name(enum acpi_figure kind);

#endif
