#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The script of the guest that is measured with its built-in initramfs: says the mark and stays.
echo "bench-init: in the built-in initramfs"
exec sleep 1000
