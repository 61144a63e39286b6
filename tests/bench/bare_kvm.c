/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor that spmvm's start is compared with: the same KVM calls in the same order for the same memory, the same files read
 * into it, and nothing else. It plans nothing, makes no tables, checks nothing of the user's and stops before the first KVM_RUN,
 * saying when as spmvm --log debug does. tests/bench/run compares the calls of both, so that a call that only one makes is seen.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { REGIONS_MAX = 2048, CPUID_ENTRIES = 256, PINS = 24, FIRST_GSI = 4, PAGE = 4096, FIRST_REGION = 5 };

#define GIB          (UINT64_C(1) << 30)
#define KERNEL_START UINT64_C(0x1000000)
#define MMIO         UINT64_C(0xd0000000) /* in the 32-bit hole */

struct region {
	uint64_t start, size;
};

/* KVM's tables end in an array without a size; room says how long ours are. */
union cpuid {
	struct kvm_cpuid2 table;
	uint8_t room[sizeof(struct kvm_cpuid2) + CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
};

union msrs {
	struct kvm_msrs table;
	uint8_t room[sizeof(struct kvm_msrs) + 2 * sizeof(struct kvm_msr_entry)];
};

union routing {
	struct kvm_irq_routing table;
	uint8_t room[sizeof(struct kvm_irq_routing) + PINS * sizeof(struct kvm_irq_routing_entry)];
};

static int call(int fd, unsigned long request, uintptr_t argument, const char *name)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		err(1, "%s", name);
	return result;
}

#define CALL(fd, request, argument) call(fd, request, (uintptr_t)(argument), #request)

static int open_kvm(union cpuid *cpuid, size_t *run_size)
{
	static const int capabilities[] = {
		KVM_CAP_USER_MEMORY, KVM_CAP_EXT_CPUID,          KVM_CAP_SET_TSS_ADDR, KVM_CAP_SET_IDENTITY_MAP_ADDR,
		KVM_CAP_IRQCHIP,     KVM_CAP_IRQ_ROUTING,        KVM_CAP_IRQFD,        KVM_CAP_IMMEDIATE_EXIT,
		KVM_CAP_NR_VCPUS,    KVM_CAP_MAX_VCPUS,          KVM_CAP_MAX_VCPU_ID,  KVM_CAP_NR_MEMSLOTS,
		KVM_CAP_X2APIC_API,  KVM_CAP_TSC_DEADLINE_TIMER, KVM_CAP_READONLY_MEM,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		err(1, "/dev/kvm");
	CALL(kvm, KVM_GET_API_VERSION, 0);
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		CALL(kvm, KVM_CHECK_EXTENSION, capabilities[i]);
	*run_size = (size_t)CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	cpuid->table.nent = CPUID_ENTRIES;
	CALL(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	return kvm;
}

static int create_vm(int kvm)
{
	uint64_t identity_map = 0xfeffc000;
	int vm = CALL(kvm, KVM_CREATE_VM, 0);

	CALL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	CALL(vm, KVM_SET_TSS_ADDR, 0xfeffd000);
	return vm;
}

static void create_irqchip(int vm)
{
	static union routing routing;
	struct kvm_enable_cap x2apic = {
		.cap = KVM_CAP_X2APIC_API,
		.args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK},
	};

	CALL(vm, KVM_ENABLE_CAP, &x2apic);
	CALL(vm, KVM_CREATE_IRQCHIP, 0);
	for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_PIC_SLAVE; id++) {
		struct kvm_irqchip chip = {.chip_id = id};

		CALL(vm, KVM_GET_IRQCHIP, &chip);
		chip.chip.pic.imr = 0xff;
		CALL(vm, KVM_SET_IRQCHIP, &chip);
	}
	routing.table.nr = PINS;
	for (uint32_t pin = 0; pin < PINS; pin++) {
		routing.table.entries[pin] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin},
		};
	}
	CALL(vm, KVM_SET_GSI_ROUTING, &routing);
}

/* One memfd a region, mapped side by side; one memslot for regions that touch. HVA and GPA agree below 1 GiB. */
static uint8_t *add_run(int vm, uint32_t slot, const struct region *regions, size_t count)
{
	uint64_t start = regions[0].start, size = regions[count - 1].start + regions[count - 1].size - start;
	uint8_t *reservation = mmap(NULL, size + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *at = reservation + ((start - (uintptr_t)reservation) & (GIB - 1));
	struct kvm_userspace_memory_region memslot = {
		.slot = slot,
		.guest_phys_addr = start,
		.memory_size = size,
		.userspace_addr = (uintptr_t)at,
	};

	if (reservation == MAP_FAILED)
		err(1, "reserving %" PRIu64 " bytes", size);
	for (size_t i = 0; i < count; i++) {
		int fd = memfd_create("spmvm-bare", MFD_CLOEXEC);

		if (fd < 0 || ftruncate(fd, (off_t)regions[i].size) < 0 ||
		    mmap(at + (regions[i].start - start), regions[i].size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
			err(1, "memory of %" PRIu64 " bytes", regions[i].size);
	}
	CALL(vm, KVM_SET_USER_MEMORY_REGION, &memslot);
	return at;
}

/* Returns where guest-physical 0 is mapped. */
static uint8_t *add_memory(int vm, const struct region *regions, size_t count)
{
	uint8_t *ram = NULL;
	size_t first = 0;

	for (uint32_t slot = 0; first < count; slot++) {
		size_t next = first + 1;
		uint8_t *at;

		while (next < count && regions[next].start == regions[next - 1].start + regions[next - 1].size)
			next++;
		at = add_run(vm, slot, &regions[first], next - first);
		if (slot == 0)
			ram = at;
		first = next;
	}
	return ram;
}

/* As many as spmvm's devices have. */
static void add_events(int vm, uint32_t irqfds, uint32_t ioeventfds)
{
	for (uint32_t i = 0; i < irqfds; i++) {
		struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .gsi = FIRST_GSI + i};

		CALL(vm, KVM_IRQFD, &irqfd);
	}
	for (uint32_t i = 0; i < ioeventfds; i++) {
		struct kvm_ioeventfd event = {
			.addr = MMIO + UINT64_C(4096) * i, .len = 4, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

		CALL(vm, KVM_IOEVENTFD, &event);
	}
}

/* The page of their registers, which the guest reads without an exit. */
static void add_registers(int vm)
{
	struct kvm_userspace_memory_region memslot = {
		.slot = REGIONS_MAX,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = MMIO,
		.memory_size = 4096,
	};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		err(1, "registers");
	memslot.userspace_addr = (uintptr_t)page;
	CALL(vm, KVM_SET_USER_MEMORY_REGION, &memslot);
}

static int create_vcpu(int kvm, int vm, const union cpuid *cpuid, size_t run_size)
{
	union msrs msrs = {.table.nmsrs = 2};
	struct kvm_lapic_state lapic;
	uint64_t machine_checks;
	int vcpu = CALL(vm, KVM_CREATE_VCPU, 0);

	msrs.table.entries[0] = (struct kvm_msr_entry){.index = 0x1a0, .data = 1};
	msrs.table.entries[1] = (struct kvm_msr_entry){.index = 0x2ff, .data = 0x806};
	if (mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0) == MAP_FAILED)
		err(1, "struct kvm_run");
	CALL(vcpu, KVM_SET_CPUID2, cpuid);
	CALL(vcpu, KVM_SET_MSRS, &msrs);
	if (CALL(kvm, KVM_CHECK_EXTENSION, KVM_CAP_MCE) > 0) {
		CALL(kvm, KVM_X86_GET_MCE_CAP_SUPPORTED, &machine_checks);
		machine_checks = 2; /* banks */
		CALL(vcpu, KVM_X86_SETUP_MCE, &machine_checks);
	}
	CALL(vcpu, KVM_GET_LAPIC, &lapic);
	CALL(vcpu, KVM_SET_LAPIC, &lapic);
	return vcpu;
}

static void read_all(int fd, uint8_t *to, uint64_t size, uint64_t offset, const char *path)
{
	while (size > 0) {
		ssize_t got = pread(fd, to, size, (off_t)offset);

		if (got <= 0)
			err(1, "%s", path);
		to += got;
		size -= (uint64_t)got;
		offset += (uint64_t)got;
	}
}

/* The protected-mode part of the bzImage (boot.rst: setup_sects at 0x1f1) and the initramfs at the end of the first region. */
static void load(uint8_t *ram, const struct region *region, const char *kernel, const char *initrd)
{
	int fd = open(kernel, O_RDONLY | O_CLOEXEC);
	struct stat status;
	uint8_t sectors;
	uint64_t skip;

	if (fd < 0 || fstat(fd, &status) < 0)
		err(1, "%s", kernel);
	read_all(fd, &sectors, 1, 0x1f1, kernel);
	skip = (sectors + UINT64_C(1)) * 512;
	read_all(fd, ram + KERNEL_START, (uint64_t)status.st_size - skip, skip, kernel);
	close(fd);
	fd = open(initrd, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		err(1, "%s", initrd);
	read_all(fd, ram + region->size - (((uint64_t)status.st_size + 2 * PAGE) & ~(uint64_t)(PAGE - 1)),
		 (uint64_t)status.st_size, 0, initrd);
	close(fd);
}

int main(int argc, char *argv[])
{
	static struct region regions[REGIONS_MAX];
	static union cpuid cpuid;
	struct kvm_regs regs = {.rip = KERNEL_START + 0x200, .rflags = 2};
	struct kvm_sregs sregs;
	struct timespec now;
	size_t count = 0, run_size;
	int kvm, vm, vcpu;
	uint8_t *ram;

	if (argc < FIRST_REGION + 1 || argc - FIRST_REGION > REGIONS_MAX)
		errx(2, "usage: bench_bare_kvm KERNEL INITRD IRQFDS IOEVENTFDS START:SIZE... "
			"(in bytes, ascending, the first one RAM at 0)");
	for (int i = FIRST_REGION; i < argc; i++, count++) {
		if (sscanf(argv[i], "%" SCNu64 ":%" SCNu64, &regions[count].start, &regions[count].size) != 2)
			errx(2, "no START:SIZE: %s", argv[i]);
	}
	kvm = open_kvm(&cpuid, &run_size);
	vm = create_vm(kvm);
	ram = add_memory(vm, regions, count);
	add_registers(vm);
	create_irqchip(vm);
	add_events(vm, (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]));
	vcpu = create_vcpu(kvm, vm, &cpuid, run_size);
	load(ram, &regions[0], argv[1], argv[2]);
	CALL(vcpu, KVM_GET_SREGS, &sregs);
	CALL(vcpu, KVM_SET_SREGS, &sregs);
	CALL(vcpu, KVM_SET_REGS, &regs);
	clock_gettime(CLOCK_MONOTONIC, &now);
	dprintf(STDERR_FILENO, "bare: first KVM_RUN at %" PRIu64 " ns of CLOCK_MONOTONIC\n",
		(uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec);
	/* for bench_calls, which ends a program at its first KVM_RUN; nobody runs the guest here */
	if (getenv("BENCH_CALLS") != NULL)
		(void)!ioctl(vcpu, KVM_RUN, 0);
	for (;;)
		pause();
}
