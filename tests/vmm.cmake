# SPDX-License-Identifier: Apache-2.0
unit_test(config options config base)
unit_test(config_figures board options config base)
unit_test(host_nodes board options config base)
unit_test(measure measure_figures board options config base)
unit_test(options options config base)
unit_test(config_json plan board options config base jansson)
unit_test(option_devices options config base)
unit_test(board board options config base)
unit_test(device_tree device_tree board options config base fdt)
unit_test(init_tree device_tree board options config base)
target_sources(test_init_tree PRIVATE ${CMAKE_SOURCE_DIR}/guest/init/tree.c)
unit_test(metrics metrics base)
unit_test(plan plan board options config base jansson)
unit_test(plan_diff plan board options config base)
unit_test(plan_svg plan board options config base)
unit_test(kernel_files kernel_files)
unit_test(kernel_features kernel_files)
unit_test(doctor doctor jansson)
unit_test(sandbox sandbox)
unit_test(console machine)
unit_test(loop machine)
unit_test(workbench machine)
unit_test(kernel_unpack machine zlib)

# The machine on a fake KVM that answers behind vmm/kvm/kvm.h: it comes first, so the library is not taken.
unit_test(machine machine board options config base Threads::Threads)
target_sources(test_machine PRIVATE unit/fake_kvm.c)
target_link_options(test_machine PRIVATE -Wl,--wrap=inotify_init1)
unit_test(machine_control machine board options config base Threads::Threads)
target_sources(test_machine_control PRIVATE unit/fake_kvm.c)
target_link_options(test_machine_control PRIVATE -Wl,--wrap=sandbox_enter,--wrap=kvm_stats_open)
unit_test(fail_nth machine board options config base Threads::Threads)
target_sources(test_fail_nth PRIVATE unit/fake_kvm.c)
foreach(name malloc calloc realloc reallocarray free mmap munmap madvise memfd_create ftruncate eventfd signalfd
        epoll_create1 epoll_ctl pthread_create pthread_mutex_init)
  target_link_options(test_fail_nth PRIVATE -Wl,--wrap=${name})
endforeach()

# The control socket, with a machine that only says what it was told.
unit_test(qmp qmp board options config base jansson)
target_sources(test_qmp PRIVATE unit/fake_machine.c)
unit_test(qmp_ctl qmp_ctl qmp board options config base Threads::Threads)
target_sources(test_qmp_ctl PRIVATE unit/fake_machine.c)

# The executable itself, with guests of a few bytes.
kvm_test(machine jansson)
target_sources(kvm_machine PRIVATE kvm/payloads.S)
target_compile_definitions(kvm_machine PRIVATE SPMVM_PATH="$<TARGET_FILE:spmvm>")
target_compile_definitions(kvm_machine PRIVATE $<TARGET_PROPERTY:sandbox,INTERFACE_COMPILE_DEFINITIONS>)
add_dependencies(kvm_machine spmvm)

# The guests of tests/survive/run.
add_executable(tiny_kernel survive/tiny_kernel.c kvm/payloads.S)
target_link_libraries(tiny_kernel PRIVATE base cmocka)

# What a user sees of mistakes.
add_test(NAME cli.run COMMAND ${CMAKE_SOURCE_DIR}/tests/cli/run $<TARGET_FILE:spmvm>)
set_tests_properties(cli.run PROPERTIES LABELS cli TIMEOUT 300)
