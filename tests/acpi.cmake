# SPDX-License-Identifier: Apache-2.0
unit_test(aml acpi)

# The tests of tables share their machines.
foreach(name acpi acpi_check acpi_golden acpi_hmat acpi_iasl acpi_tables)
  unit_test(${name} acpi)
  target_sources(test_${name} PRIVATE unit/test_acpi_machines.c)
endforeach()
# Its realloc() fails on request.
target_link_options(test_acpi PRIVATE -Wl,--wrap=realloc)
