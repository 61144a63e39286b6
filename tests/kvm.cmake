# SPDX-License-Identifier: Apache-2.0
unit_test(access kvm)
unit_test(cpuid kvm)
unit_test(dump kvm)
unit_test(exit kvm)
unit_test(kvm kvm)
# A fake KVM answers in this one.
target_link_options(test_kvm PRIVATE -Wl,--wrap=ioctl)
unit_test(state kvm)
unit_test(stats kvm)

kvm_test(kvm kvm)
kvm_test(vcpu kvm Threads::Threads)
kvm_test(vm kvm)
