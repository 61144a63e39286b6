/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/kvm/state.h"

static const struct kvm_start linux_start = {
	.long_mode = true,
	.entry = 0x1000200,
	.stack = 0x8ff0,
	.page_table = 0x9000,
	.rsi = 0x7000,
	.gdt = 0x500,
	.gdt_limit = sizeof(KVM_BOOT_GDT) - 1,
};

/* The sregs of a processor after reset, as KVM_GET_SREGS gives them, as far as they matter. */
static struct kvm_sregs after_reset(void)
{
	struct kvm_segment segment = {.limit = 0xffff, .type = 3, .present = 1, .s = 1};
	struct kvm_sregs sregs = {
		.ds = segment,
		.es = segment,
		.fs = segment,
		.gs = segment,
		.ss = segment,
		.cs = {.base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .type = 0xb, .present = 1, .s = 1},
		.idt = {.limit = 0xffff},
		.cr0 = 0x60000010,
		.apic_base = 0xfee00900,
	};

	return sregs;
}

static void general_registers(void **state)
{
	struct kvm_regs regs = kvm_state_regs(&linux_start);
	struct kvm_regs want = {.rip = 0x1000200, .rsp = 0x8ff0, .rsi = 0x7000, .rflags = 2};

	(void)state;
	assert_memory_equal(&regs, &want, sizeof(regs));
}

static void long_mode(void **state)
{
	struct kvm_sregs sregs = after_reset();

	(void)state;
	kvm_state_sregs(&linux_start, &sregs);
	assert_int_equal(sregs.cr0, 0x80010033);
	assert_int_equal(sregs.cr3, 0x9000);
	assert_int_equal(sregs.cr4, 0x20);
	assert_int_equal(sregs.efer, 0x500);
	assert_int_equal(sregs.gdt.base, 0x500);
	assert_int_equal(sregs.gdt.limit, 31);
	assert_int_equal(sregs.idt.limit, 0);
	assert_int_equal(sregs.apic_base, 0xfee00900);
}

static void long_mode_segments(void **state)
{
	struct kvm_sregs sregs = after_reset();
	const struct kvm_segment *data[] = {&sregs.ds, &sregs.es, &sregs.fs, &sregs.gs, &sregs.ss};

	(void)state;
	kvm_state_sregs(&linux_start, &sregs);
	assert_int_equal(sregs.cs.selector, 0x10);
	assert_int_equal(sregs.cs.base, 0);
	assert_int_equal(sregs.cs.limit, 0xffffffff);
	assert_int_equal(sregs.cs.type, 0xb);
	assert_int_equal(sregs.cs.s, 1);
	assert_int_equal(sregs.cs.present, 1);
	assert_int_equal(sregs.cs.l, 1);
	assert_int_equal(sregs.cs.db, 0);
	assert_int_equal(sregs.cs.g, 1);
	assert_int_equal(sregs.cs.dpl, 0);
	for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
		assert_int_equal(data[i]->selector, 0x18);
		assert_int_equal(data[i]->limit, 0xffffffff);
		assert_int_equal(data[i]->type, 3);
		assert_int_equal(data[i]->s, 1);
		assert_int_equal(data[i]->present, 1);
		assert_int_equal(data[i]->l, 0);
		assert_int_equal(data[i]->db, 1);
		assert_int_equal(data[i]->g, 1);
	}
	/* what Intel's VM entry checks of TR and LDTR */
	assert_int_equal(sregs.tr.type, 0xb);
	assert_int_equal(sregs.tr.s, 0);
	assert_int_equal(sregs.tr.present, 1);
	assert_int_equal(sregs.tr.g, 0);
	assert_int_equal(sregs.tr.unusable, 0);
	assert_int_equal(sregs.ldt.unusable, 1);
}

/* The descriptors, put together again from what the segment registers hold, are the GDT's. */
static void gdt_agrees_with_segments(void **state)
{
	struct kvm_sregs sregs = after_reset();
	const struct kvm_segment *segments[] = {&sregs.cs, &sregs.ds};

	(void)state;
	kvm_state_sregs(&linux_start, &sregs);
	assert_true(KVM_BOOT_GDT[0] == 0 && KVM_BOOT_GDT[1] == 0);
	for (size_t i = 0; i < 2; i++) {
		const struct kvm_segment *s = segments[i];
		uint64_t flags = s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | 0xf << 8 | s->avl << 12 |
				 s->l << 13 | s->db << 14 | s->g << 15;

		assert_true(KVM_BOOT_GDT[s->selector / 8] == (flags << 40 | 0xffff));
	}
}

static void real_mode(void **state)
{
	const struct kvm_start start = {.entry = 0x1000, .stack = 0x8000};
	struct kvm_sregs sregs = after_reset(), want = after_reset();

	(void)state;
	kvm_state_sregs(&start, &sregs);
	want.cs.base = 0;
	want.cs.selector = 0;
	assert_memory_equal(&sregs, &want, sizeof(sregs));
}

static void msrs(void **state)
{
	struct kvm_msr_entry list[KVM_STATE_MSR_COUNT];

	(void)state;
	kvm_state_msrs(list);
	assert_int_equal(list[0].index, 0x1a0);
	assert_int_equal(list[0].data, 1);
	assert_int_equal(list[1].index, 0x2ff);
	assert_int_equal(list[1].data, 0x806); /* enabled, write-back, fixed ranges off */
}

static void lapic(void **state)
{
	struct kvm_lapic_state apic, want;
	const uint32_t masked_with_level = 1u << 16 | 1u << 15;

	(void)state;
	memset(&apic, 0x5a, sizeof(apic));
	memcpy(apic.regs + 0x350, &masked_with_level, 4);
	memcpy(apic.regs + 0x360, &masked_with_level, 4);
	want = apic;
	memcpy(want.regs + 0x350, &(uint32_t){0x8700}, 4);
	memcpy(want.regs + 0x360, &(uint32_t){0x8400}, 4);
	kvm_state_lapic(&apic);
	assert_memory_equal(&apic, &want, sizeof(apic));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(general_registers),
		cmocka_unit_test(long_mode),
		cmocka_unit_test(long_mode_segments),
		cmocka_unit_test(gdt_agrees_with_segments),
		cmocka_unit_test(real_mode),
		cmocka_unit_test(msrs),
		cmocka_unit_test(lapic),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
