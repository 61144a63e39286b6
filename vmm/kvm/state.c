/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/state.h"

#include <string.h>

/* Control registers (Intel SDM vol. 3A §2.5; AMD64 APM vol. 2 §3.1). */
#define CR0_PE   (1u << 0)
#define CR0_MP   (1u << 1)
#define CR0_ET   (1u << 4)
#define CR0_NE   (1u << 5)
#define CR0_WP   (1u << 16)
#define CR0_PG   (1u << 31)
#define CR4_PAE  (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

#define RFLAGS_ALWAYS_ONE 0x2

/* SDM vol. 4, table 2-2. */
#define MSR_IA32_MISC_ENABLE     0x1a0
#define MISC_ENABLE_FAST_STRINGS 0x1
#define MSR_IA32_MTRR_DEF_TYPE   0x2ff
#define MTRR_DEF_TYPE_ENABLED    0x800
#define MTRR_DEF_TYPE_WRITE_BACK 0x6

/* Local vector table entries and the delivery mode in them (SDM vol. 3A §11.5.1). */
#define LAPIC_LVT_LINT0   0x350
#define LAPIC_LVT_LINT1   0x360
#define DELIVERY_NMI      (4u << 8)
#define DELIVERY_EXTINT   (7u << 8)
#define DELIVERY_AND_MASK (7u << 8 | 1u << 16)

/* Flat, present, accessed, limit 4 GiB: 64-bit code (type 0xb, L) and data (type 3, D/B). */
const uint64_t KVM_BOOT_GDT[4] = {0, 0, UINT64_C(0x00af9b000000ffff), UINT64_C(0x00cf93000000ffff)};

struct kvm_regs kvm_state_regs(const struct kvm_start *start)
{
	return (struct kvm_regs){
		.rip = start->entry,
		.rsp = start->stack,
		.rsi = start->rsi,
		.rflags = RFLAGS_ALWAYS_ONE,
	};
}

/* What the processor would load from entry index of a GDT that starts with KVM_BOOT_GDT (SDM vol. 3A §3.4.5). */
static struct kvm_segment segment_of(unsigned index)
{
	uint64_t entry = KVM_BOOT_GDT[index];

	return (struct kvm_segment){
		.base = 0,
		.limit = UINT32_MAX,
		.selector = (uint16_t)(index * 8),
		.type = entry >> 40 & 0xf,
		.s = entry >> 44 & 1,
		.dpl = entry >> 45 & 3,
		.present = entry >> 47 & 1,
		.avl = entry >> 52 & 1,
		.l = entry >> 53 & 1,
		.db = entry >> 54 & 1,
		.g = entry >> 55 & 1,
	};
}

static void long_mode(const struct kvm_start *start, struct kvm_sregs *sregs)
{
	struct kvm_segment data = segment_of(3);

	sregs->cs = segment_of(2);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	/*
	 * Intel enters a 64-bit guest only with a busy 64-bit TSS in TR (SDM vol. 3C §27.3.1.2). Nothing uses it before
	 * Linux sets its own.
	 */
	sregs->tr = (struct kvm_segment){.limit = 0xffff, .type = 0xb, .present = 1};
	sregs->ldt = (struct kvm_segment){.unusable = 1};
	sregs->gdt = (struct kvm_dtable){.base = start->gdt, .limit = start->gdt_limit};
	/* No exception can be handled before Linux loads its own table: the first one is a triple fault. */
	sregs->idt = (struct kvm_dtable){.limit = 0};
	sregs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs->cr3 = start->page_table;
	sregs->cr4 = CR4_PAE;
	sregs->efer = EFER_LME | EFER_LMA;
}

static void real_mode(struct kvm_sregs *sregs)
{
	struct kvm_segment *segments[] = {&sregs->cs, &sregs->ds, &sregs->es, &sregs->fs, &sregs->gs, &sregs->ss};

	/* After reset, CS is at 0xffff0000; the other segments and all limits are those of real mode already. */
	for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		segments[i]->base = 0;
		segments[i]->selector = 0;
	}
}

void kvm_state_sregs(const struct kvm_start *start, struct kvm_sregs *sregs)
{
	if (start->long_mode)
		long_mode(start, sregs);
	else
		real_mode(sregs);
}

void kvm_state_msrs(struct kvm_msr_entry msrs[KVM_STATE_MSR_COUNT])
{
	msrs[0] = (struct kvm_msr_entry){.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRINGS};
	/*
	 * Firmware's work: all memory is write-back. The fixed ranges stay off: they are zero after reset, and zero
	 * means that the first MiB is uncached (SDM vol. 3A §12.11.2).
	 */
	msrs[1] = (struct kvm_msr_entry){
		.index = MSR_IA32_MTRR_DEF_TYPE,
		.data = MTRR_DEF_TYPE_ENABLED | MTRR_DEF_TYPE_WRITE_BACK,
	};
}

static void set_delivery(struct kvm_lapic_state *lapic, size_t offset, uint32_t delivery)
{
	uint32_t entry;

	memcpy(&entry, lapic->regs + offset, sizeof(entry));
	entry = (entry & ~DELIVERY_AND_MASK) | delivery;
	memcpy(lapic->regs + offset, &entry, sizeof(entry));
}

void kvm_state_lapic(struct kvm_lapic_state *lapic)
{
	set_delivery(lapic, LAPIC_LVT_LINT0, DELIVERY_EXTINT);
	set_delivery(lapic, LAPIC_LVT_LINT1, DELIVERY_NMI);
}
