/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/kvm.h"

enum { CODE_BEFORE = 16, CODE_AFTER = 24 };

/* Where a processor is after reset (SDM vol. 3A §10.1.4; APM vol. 2 §14.1.3). */
#define RESET_RIP     0xfff0
#define RESET_CS_BASE 0xffff0000

void kvm_dump_registers(struct buf *text, const struct kvm_regs *regs)
{
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"rip", regs->rip}, {"rsp", regs->rsp}, {"rbp", regs->rbp}, {"rflags", regs->rflags},
		{"rax", regs->rax}, {"rbx", regs->rbx}, {"rcx", regs->rcx}, {"rdx", regs->rdx},
		{"rsi", regs->rsi}, {"rdi", regs->rdi}, {"r8", regs->r8},   {"r9", regs->r9},
		{"r10", regs->r10}, {"r11", regs->r11}, {"r12", regs->r12}, {"r13", regs->r13},
		{"r14", regs->r14}, {"r15", regs->r15},
	};
	const size_t count = sizeof(all) / sizeof(all[0]);

	for (size_t i = 0; i < count; i++)
		buf_printf(text, "%s%6s=%016" PRIx64 "%s", i % 4 == 0 ? "  " : " ", all[i].name, all[i].value,
			   i % 4 == 3 || i == count - 1 ? "\n" : "");
}

void kvm_dump_system(struct buf *text, const struct kvm_sregs *sregs)
{
	const struct {
		const char *name;
		const struct kvm_segment *segment;
	} segments[] = {
		{"cs", &sregs->cs}, {"ds", &sregs->ds}, {"es", &sregs->es}, {"fs", &sregs->fs},
		{"gs", &sregs->gs}, {"ss", &sregs->ss}, {"tr", &sregs->tr}, {"ldt", &sregs->ldt},
	};

	buf_printf(text,
		   "     cr0=%08" PRIx64 " cr2=%016" PRIx64 " cr3=%016" PRIx64 " cr4=%08" PRIx64 " cr8=%" PRIx64 "\n",
		   (uint64_t)sregs->cr0, (uint64_t)sregs->cr2, (uint64_t)sregs->cr3, (uint64_t)sregs->cr4,
		   (uint64_t)sregs->cr8);
	buf_printf(text, "    efer=%" PRIx64 " apic_base=%" PRIx64 "\n", (uint64_t)sregs->efer,
		   (uint64_t)sregs->apic_base);
	for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		const struct kvm_segment *s = segments[i].segment;

		buf_printf(text,
			   "  %6s=%04x base=%016" PRIx64 " limit=%08x type=%x s=%u dpl=%u present=%u l=%u db=%u g=%u\n",
			   segments[i].name, (unsigned)s->selector, (uint64_t)s->base, s->limit, (unsigned)s->type,
			   (unsigned)s->s, (unsigned)s->dpl, (unsigned)s->present, (unsigned)s->l, (unsigned)s->db,
			   (unsigned)s->g);
	}
	buf_printf(text, "     gdt base=%016" PRIx64 " limit=%04x, idt base=%016" PRIx64 " limit=%04x\n",
		   (uint64_t)sregs->gdt.base, (unsigned)sregs->gdt.limit, (uint64_t)sregs->idt.base,
		   (unsigned)sregs->idt.limit);
}

/* Translated byte by byte: the span may cross into a page that is not there, and a crash report is in no hurry. */
static void dump_code(const struct kvm_vcpu *vcpu, uint64_t rip,
		      int (*read_guest)(void *context, uint64_t gpa, void *bytes, size_t size), void *context,
		      struct buf *text)
{
	uint64_t first = rip >= CODE_BEFORE ? rip - CODE_BEFORE : 0;

	buf_text(text, "    code");
	for (uint64_t at = first; at - first < CODE_BEFORE + CODE_AFTER; at++) {
		struct kvm_translation translation = {.linear_address = at};
		const char *open = at == rip ? " <" : " ", *close = at == rip ? ">" : "";
		uint8_t byte;

		if (ioctl(vcpu->fd, KVM_TRANSLATE, &translation) == 0 && translation.valid &&
		    read_guest(context, translation.physical_address, &byte, 1) == 0)
			buf_printf(text, "%s%02x%s", open, byte, close);
		else
			buf_printf(text, "%s--%s", open, close);
	}
	buf_text(text, "\n");
}

void kvm_vcpu_dump(const struct kvm_vcpu *vcpu,
		   int (*read_guest)(void *context, uint64_t gpa, void *bytes, size_t size), void *context,
		   struct buf *text)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) != 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) != 0) {
		buf_printf(text, "vcpu %" PRIu32 ": the registers cannot be read: %s\n", vcpu->index, strerror(errno));
		return;
	}
	buf_printf(text, "vcpu %" PRIu32 ":\n", vcpu->index);
	if (regs.rip == RESET_RIP && sregs.cs.base == RESET_CS_BASE)
		buf_text(text,
			 "  in the state after reset: KVM on AMD resets a processor at a triple fault, so the place of "
			 "the fault is not known\n");
	kvm_dump_registers(text, &regs);
	kvm_dump_system(text, &sregs);
	dump_code(vcpu, sregs.cs.base + regs.rip, read_guest, context, text);
}
