/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/exit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static void crash(struct kvm_exit *exit, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void crash(struct kvm_exit *exit, const char *format, ...)
{
	va_list args;

	exit->kind = KVM_EXIT_KIND_CRASH;
	va_start(args, format);
	vsnprintf(exit->text, sizeof(exit->text), format, args);
	va_end(args);
}

static const char *name_of_suberror(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "KVM cannot emulate the instruction";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "two exceptions at once";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an exit while an event was delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an exit that KVM does not know";
	default:
		return "unknown";
	}
}

static void internal_error(const struct kvm_run *run, struct kvm_exit *exit)
{
	uint32_t suberror = run->internal.suberror, bytes = 0;
	char code[3 * sizeof(run->emulation_failure.insn_bytes) + 1] = "";

	/* ndata counts the words behind it: flags, and two with the instruction when the flag says so (linux/kvm.h). */
	if (suberror == KVM_INTERNAL_ERROR_EMULATION && run->emulation_failure.ndata >= 3 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0)
		bytes = run->emulation_failure.insn_size;
	if (bytes > sizeof(run->emulation_failure.insn_bytes))
		bytes = sizeof(run->emulation_failure.insn_bytes);
	for (uint32_t i = 0; i < bytes; i++)
		snprintf(code + 3 * i, 4, " %02x", run->emulation_failure.insn_bytes[i]);
	crash(exit, "KVM internal error %" PRIu32 ": %s%s%s", suberror, name_of_suberror(suberror),
	      bytes > 0 ? ":" : "", code);
}

static void system_event(const struct kvm_run *run, struct kvm_exit *exit)
{
	uint32_t type = run->system_event.type;

	if (type == KVM_SYSTEM_EVENT_SHUTDOWN || type == KVM_SYSTEM_EVENT_RESET)
		exit->kind = KVM_EXIT_KIND_RESET;
	else if (type == KVM_SYSTEM_EVENT_CRASH)
		crash(exit, "the guest reported a crash to KVM");
	else
		crash(exit, "unexpected KVM system event %" PRIu32, type);
}

static void port_access(struct kvm_run *run, struct kvm_exit *exit)
{
	exit->kind = KVM_EXIT_KIND_IO;
	exit->address = run->io.port;
	exit->data = (uint8_t *)run + run->io.data_offset;
	exit->size = run->io.size;
	exit->count = run->io.count;
	exit->is_write = run->io.direction == KVM_EXIT_IO_OUT;
}

static void memory_access(struct kvm_run *run, struct kvm_exit *exit)
{
	exit->kind = KVM_EXIT_KIND_MMIO;
	exit->address = run->mmio.phys_addr;
	exit->data = run->mmio.data;
	exit->size = run->mmio.len;
	exit->count = 1;
	exit->is_write = run->mmio.is_write != 0;
}

void kvm_exit_decode(struct kvm_run *run, struct kvm_exit *exit)
{
	exit->data = NULL;
	exit->text[0] = '\0';
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		port_access(run, exit);
		break;
	case KVM_EXIT_MMIO:
		memory_access(run, exit);
		break;
	case KVM_EXIT_INTR:
		exit->kind = KVM_EXIT_KIND_INTERRUPTED;
		break;
	case KVM_EXIT_HLT:
		exit->kind = KVM_EXIT_KIND_HALTED;
		break;
	case KVM_EXIT_SHUTDOWN:
		exit->kind = KVM_EXIT_KIND_SHUTDOWN;
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		system_event(run, exit);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(run, exit);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		crash(exit, "the processor refused to enter the guest: hardware reason 0x%" PRIx64,
		      (uint64_t)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_UNKNOWN:
		crash(exit, "KVM does not know why the guest left: hardware reason 0x%" PRIx64,
		      (uint64_t)run->hw.hardware_exit_reason);
		break;
	default:
		crash(exit, "unexpected KVM exit %" PRIu32, run->exit_reason);
		break;
	}
}
