# SPDX-License-Identifier: Apache-2.0
unit_test(buf base)
unit_test(error base)
unit_test(io base)
unit_test(keyval base)
unit_test(log base)
unit_test(parse base)
unit_test(range)
unit_test(stages base)
