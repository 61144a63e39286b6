/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_ACPI_FIGURES_H
#define SPMVM_ACPI_FIGURES_H

#include <stddef.h>
#include <stdint.h>

/*
 * How fast memory is from an initiator, a proximity domain with processors or an accelerator: the four kinds of figures
 * of HMAT (ACPI 6.5 §5.2.28.4) that a driver or Linux's memory tiers ask for. Latencies are in picoseconds, bandwidths
 * in MB/s of 2^20 bytes, and 0 stands for a figure that is not known. Linux works with 32 bits of them: latencies end
 * below 4.3 ms.
 */
enum acpi_figure { ACPI_READ_LATENCY, ACPI_WRITE_LATENCY, ACPI_READ_BANDWIDTH, ACPI_WRITE_BANDWIDTH, ACPI_FIGURES };

/*
 * The table holds each kind as a matrix of 16-bit entries, to be multiplied by one unit; 0 and 0xffff have meanings of
 * their own.
 */
enum { ACPI_ENTRY_MAX = 0xfffe };

/*
 * The largest unit of which every figure is a multiple, so that all of them come out of the table as they went in. 0
 * when there is none: the largest figure is then more than ACPI_ENTRY_MAX times that unit. Figures of 0 do not count;
 * without any other the unit is 1.
 */
uint32_t acpi_figure_unit(const uint32_t *figures, size_t count);

#endif
