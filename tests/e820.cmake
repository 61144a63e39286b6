# SPDX-License-Identifier: Apache-2.0
unit_test(e820 e820)
