#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: syscall_names.sh COMPILER: the names of the kernel's system calls by number, as initializers of an array in C.
echo '#include <asm/unistd_64.h>' | "$1" -E -dM - | sed -nE 's/^#define __NR_([a-z0-9_]+) ([0-9]+)$/[\2] = "\1",/p'
