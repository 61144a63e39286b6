/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/kvm/dump.h"

static void assert_text(struct buf *text, const char *want)
{
	buf_u8(text, 0);
	assert_false(buf_failed(text));
	assert_string_equal((const char *)text->data, want);
	buf_release(text);
}

static void registers(void **state)
{
	const struct kvm_regs regs = {
		.rax = 0xa,
		.rbx = 0xb,
		.rcx = 0xc,
		.rdx = 0xd,
		.rsi = 0x51,
		.rdi = 0xd1,
		.rsp = 0x59,
		.rbp = 0xb9,
		.r8 = 8,
		.r9 = 9,
		.r10 = 0x10,
		.r11 = 0x11,
		.r12 = 0x12,
		.r13 = 0x13,
		.r14 = 0x14,
		.r15 = 0x15,
		.rip = 0xffffffff81000000,
		.rflags = 0x10046,
	};
	struct buf text = {0};

	(void)state;
	kvm_dump_registers(&text, &regs);
	assert_text(
		&text,
		"     rip=ffffffff81000000    rsp=0000000000000059    rbp=00000000000000b9 rflags=0000000000010046\n"
		"     rax=000000000000000a    rbx=000000000000000b    rcx=000000000000000c    rdx=000000000000000d\n"
		"     rsi=0000000000000051    rdi=00000000000000d1     r8=0000000000000008     r9=0000000000000009\n"
		"     r10=0000000000000010    r11=0000000000000011    r12=0000000000000012    r13=0000000000000013\n"
		"     r14=0000000000000014    r15=0000000000000015\n");
}

static void system_registers(void **state)
{
	const struct kvm_sregs sregs = {
		.cs = {.selector = 0x10, .limit = 0xffffffff, .type = 0xb, .s = 1, .present = 1, .l = 1, .g = 1},
		.ds = {.selector = 0x18, .base = 0x1234, .type = 3, .s = 1, .dpl = 3, .present = 1, .db = 1},
		.tr = {.limit = 0xffff, .type = 0xb, .present = 1},
		.gdt = {.base = 0x500, .limit = 0x1f},
		.idt = {.base = 0xfffffe0000000000, .limit = 0xfff},
		.cr0 = 0x80050033,
		.cr2 = 0xdeadbeef000,
		.cr3 = 0x9000,
		.cr4 = 0x20,
		.cr8 = 2,
		.efer = 0x500,
		.apic_base = 0xfee00900,
	};
	struct buf text = {0};

	(void)state;
	kvm_dump_system(&text, &sregs);
	assert_text(&text,
		    "     cr0=80050033 cr2=00000deadbeef000 cr3=0000000000009000 cr4=00000020 cr8=2\n"
		    "    efer=500 apic_base=fee00900\n"
		    "      cs=0010 base=0000000000000000 limit=ffffffff type=b s=1 dpl=0 present=1 l=1 db=0 g=1\n"
		    "      ds=0018 base=0000000000001234 limit=00000000 type=3 s=1 dpl=3 present=1 l=0 db=1 g=0\n"
		    "      es=0000 base=0000000000000000 limit=00000000 type=0 s=0 dpl=0 present=0 l=0 db=0 g=0\n"
		    "      fs=0000 base=0000000000000000 limit=00000000 type=0 s=0 dpl=0 present=0 l=0 db=0 g=0\n"
		    "      gs=0000 base=0000000000000000 limit=00000000 type=0 s=0 dpl=0 present=0 l=0 db=0 g=0\n"
		    "      ss=0000 base=0000000000000000 limit=00000000 type=0 s=0 dpl=0 present=0 l=0 db=0 g=0\n"
		    "      tr=0000 base=0000000000000000 limit=0000ffff type=b s=0 dpl=0 present=1 l=0 db=0 g=0\n"
		    "     ldt=0000 base=0000000000000000 limit=00000000 type=0 s=0 dpl=0 present=0 l=0 db=0 g=0\n"
		    "     gdt base=0000000000000500 limit=001f, idt base=fffffe0000000000 limit=0fff\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers),
		cmocka_unit_test(system_registers),
	};

	return cmocka_run_group_tests_name("dump", tests, NULL, NULL);
}
