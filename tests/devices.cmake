# SPDX-License-Identifier: Apache-2.0
unit_test(bus devices)
unit_test(serial devices)
unit_test(serial_driver devices)
unit_test(power devices)
unit_test(pvpanic devices)
unit_test(pci_host devices)
unit_test(debug_exit devices)
