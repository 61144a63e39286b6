/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_LE_H
#define SPMVM_BASE_LE_H

#include <stdint.h>

/* The little-endian number in four bytes that may lie at any address. */
static inline uint32_t le32_at(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

#endif
