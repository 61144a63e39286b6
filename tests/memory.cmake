# SPDX-License-Identifier: Apache-2.0
# Calls into the C library that fail on request.
unit_test(window memory)
target_link_options(test_window PRIVATE -Wl,--wrap=reallocarray)
unit_test(guest_mem memory)
target_link_options(test_guest_mem PRIVATE -Wl,--wrap=reallocarray -Wl,--wrap=mmap)
unit_test(layout memory)
target_link_options(test_layout PRIVATE -Wl,--wrap=calloc -Wl,--wrap=reallocarray)
unit_test(layout_properties memory)
unit_test(host_memory memory)
unit_test(backend memory)
foreach(function mmap memfd_create syscall host_memory_check_pool host_memory_check_nodes host_memory_is_strict
        host_memory_nodes)
  target_link_options(test_backend PRIVATE -Wl,--wrap=${function})
endforeach()
unit_test(backend_populate memory)
foreach(function madvise pthread_create clock_gettime host_memory_room)
  target_link_options(test_backend_populate PRIVATE -Wl,--wrap=${function})
endforeach()
