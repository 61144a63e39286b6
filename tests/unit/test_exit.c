/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/kvm/exit.h"

static struct kvm_exit decode(struct kvm_run *run)
{
	struct kvm_exit exit;

	memset(&exit, 0xa5, sizeof(exit));
	kvm_exit_decode(run, &exit);
	return exit;
}

static void assert_crash(struct kvm_run *run, const char *text)
{
	struct kvm_exit exit = decode(run);

	assert_int_equal(exit.kind, KVM_EXIT_KIND_CRASH);
	assert_string_equal(exit.text, text);
}

static void port_write(void **state)
{
	struct kvm_run run = {
		.exit_reason = KVM_EXIT_IO,
		.io = {.direction = KVM_EXIT_IO_OUT, .size = 2, .port = 0xcf8, .count = 5, .data_offset = 4096},
	};
	struct kvm_exit exit = decode(&run);

	(void)state;
	assert_int_equal(exit.kind, KVM_EXIT_KIND_IO);
	assert_int_equal(exit.address, 0xcf8);
	assert_int_equal(exit.size, 2);
	assert_int_equal(exit.count, 5);
	assert_true(exit.is_write);
	assert_ptr_equal(exit.data, (uint8_t *)&run + 4096);
	assert_string_equal(exit.text, "");
}

static void port_read(void **state)
{
	struct kvm_run run = {
		.exit_reason = KVM_EXIT_IO,
		.io = {.direction = KVM_EXIT_IO_IN, .size = 1, .port = 0x3fd, .count = 1, .data_offset = 4096},
	};

	(void)state;
	assert_false(decode(&run).is_write);
}

static void memory_access(void **state)
{
	struct kvm_run run = {
		.exit_reason = KVM_EXIT_MMIO,
		.mmio = {.phys_addr = 0xd0000010, .len = 8, .is_write = 1},
	};
	struct kvm_exit exit = decode(&run);

	(void)state;
	assert_int_equal(exit.kind, KVM_EXIT_KIND_MMIO);
	assert_int_equal(exit.address, 0xd0000010);
	assert_int_equal(exit.size, 8);
	assert_int_equal(exit.count, 1);
	assert_true(exit.is_write);
	assert_ptr_equal(exit.data, run.mmio.data);
	run.mmio.is_write = 0;
	assert_false(decode(&run).is_write);
}

static void simple_kinds(void **state)
{
	static const struct {
		uint32_t reason;
		enum kvm_exit_kind kind;
	} kinds[] = {
		{KVM_EXIT_INTR, KVM_EXIT_KIND_INTERRUPTED},
		{KVM_EXIT_HLT, KVM_EXIT_KIND_HALTED},
		{KVM_EXIT_SHUTDOWN, KVM_EXIT_KIND_SHUTDOWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct kvm_run run = {.exit_reason = kinds[i].reason};
		struct kvm_exit exit = decode(&run);

		assert_int_equal(exit.kind, kinds[i].kind);
		assert_null(exit.data);
		assert_string_equal(exit.text, "");
	}
}

static void system_events(void **state)
{
	struct kvm_run run = {.exit_reason = KVM_EXIT_SYSTEM_EVENT};

	(void)state;
	run.system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	assert_int_equal(decode(&run).kind, KVM_EXIT_KIND_RESET);
	run.system_event.type = KVM_SYSTEM_EVENT_RESET;
	assert_int_equal(decode(&run).kind, KVM_EXIT_KIND_RESET);
	run.system_event.type = KVM_SYSTEM_EVENT_CRASH;
	assert_crash(&run, "the guest reported a crash to KVM");
	run.system_event.type = 77;
	assert_crash(&run, "unexpected KVM system event 77");
}

static void internal_errors(void **state)
{
	static const char *const texts[] = {
		"KVM internal error 0: unknown",
		"KVM internal error 1: KVM cannot emulate the instruction",
		"KVM internal error 2: two exceptions at once",
		"KVM internal error 3: an exit while an event was delivered",
		"KVM internal error 4: an exit that KVM does not know",
		"KVM internal error 5: unknown",
	};
	struct kvm_run run = {.exit_reason = KVM_EXIT_INTERNAL_ERROR};

	(void)state;
	for (uint32_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		run.internal.suberror = i;
		assert_crash(&run, texts[i]);
	}
}

static void emulation_failure(void **state)
{
	struct kvm_run run = {.exit_reason = KVM_EXIT_INTERNAL_ERROR};

	(void)state;
	run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run.emulation_failure.ndata = 4;
	run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run.emulation_failure.insn_size = 4;
	memcpy(run.emulation_failure.insn_bytes, "\x48\x0f\xc7\x0f", 4);
	assert_crash(&run, "KVM internal error 1: KVM cannot emulate the instruction: 48 0f c7 0f");
	/* the longest instruction, and a size that cannot be */
	run.emulation_failure.insn_size = 200;
	memset(run.emulation_failure.insn_bytes, 0xcc, 15);
	assert_crash(&run,
		     "KVM internal error 1: KVM cannot emulate the instruction: cc cc cc cc cc cc cc cc cc cc cc cc "
		     "cc cc cc");
	/* bytes that KVM did not say are there */
	run.emulation_failure.ndata = 1;
	assert_crash(&run, "KVM internal error 1: KVM cannot emulate the instruction");
	run.emulation_failure.ndata = 4;
	run.emulation_failure.flags = 0;
	assert_crash(&run, "KVM internal error 1: KVM cannot emulate the instruction");
}

static void entry_and_unknown(void **state)
{
	struct kvm_run run = {.exit_reason = KVM_EXIT_FAIL_ENTRY};

	(void)state;
	run.fail_entry.hardware_entry_failure_reason = 0x80000021;
	assert_crash(&run, "the processor refused to enter the guest: hardware reason 0x80000021");
	run.exit_reason = KVM_EXIT_UNKNOWN;
	run.hw.hardware_exit_reason = 0x4e;
	assert_crash(&run, "KVM does not know why the guest left: hardware reason 0x4e");
	run.exit_reason = KVM_EXIT_DEBUG;
	assert_crash(&run, "unexpected KVM exit 4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_write),        cmocka_unit_test(port_read),
		cmocka_unit_test(memory_access),     cmocka_unit_test(simple_kinds),
		cmocka_unit_test(system_events),     cmocka_unit_test(internal_errors),
		cmocka_unit_test(emulation_failure), cmocka_unit_test(entry_and_unknown),
	};

	return cmocka_run_group_tests_name("exit", tests, NULL, NULL);
}
