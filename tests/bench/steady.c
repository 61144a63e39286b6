/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bandwidth and latency of a block's memory for a guest, beside the same loops on the same pages in this process: what spmvm's backends and
 * memslots, and KVM's second translation, cost once everything is touched. The memory is made by the library that spmvm makes it with.
 *
 * The guest is nothing but the loops, in ring 3: a software KVM runs that, and no other ring, on the processor itself, so it says something on
 * any host. The two take turns.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/base/range.h"
#include "vmm/kvm/kvm.h"
#include "vmm/memory/backend.h"
#include "vmm/memory/huge_tmpfs.h"
#include "vmm/memory/placement.h"

enum {
	PASSES = 2, /* over the block, in one call of a loop */
	LINE = 64,
	STEPS = 1000000, /* of a chase */
	/* the guest's first memslot */
	TABLES = 0x1000, /* PML4, PDPT, a page directory for each GiB */
	GDT = 0x8000,
	CODE = 0x9000,
	STACK = 0x10000,
	RAM = 0x10000,
	GIBS = 4,
};
#define BLOCK_GPA GIB            /* the block's */
#define EXIT_GPA  (3 * GIB)      /* nothing is there */
#define USER_PAGE UINT64_C(0x67) /* present, writable, ring 3's, accessed and dirty (Intel SDM vol. 3 §4.5) */
#define LARGE     UINT64_C(0x80)

typedef uint64_t loop(uint64_t base, uint64_t count, uint64_t rounds);
extern loop steady_read, steady_write, steady_copy, steady_chase;
extern const uint8_t steady_loops[], steady_stop[], steady_loops_end[];

struct guest {
	struct kvm_vm vm;
	struct kvm_vcpu vcpu;
	uint8_t *ram;
};

struct block {
	struct mem_backend backend;
	uint8_t *at;
	uint64_t size, huge;
};

struct row {
	const char *name;
	loop *function;
	uint64_t count, rounds, bytes; /* bytes: moved by one call; 0 for a chase */
	json_t *guest, *host;          /* a figure for each round */
};

_Noreturn static void fail(const struct error *error)
{
	errx(1, "%s", error->text);
}

/* ---- the guest */

static void put(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* The first GiBs, one to one, open to ring 3. */
static void make_tables(uint8_t *ram)
{
	const uint64_t pdpt = TABLES + 0x1000, directories = pdpt + 0x1000;

	put(ram + TABLES, pdpt | USER_PAGE);
	for (uint64_t i = 0; i < GIBS; i++)
		put(ram + pdpt + i * 8, (directories + i * 0x1000) | USER_PAGE);
	for (uint64_t i = 0; i < GIBS * 512; i++)
		put(ram + directories + i * 8, i * 2 * MIB | USER_PAGE | LARGE);
}

static void enter_ring_3(const struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		err(1, "KVM_GET_SREGS");
	sregs.cr4 |= 1 << 9 | 1 << 10; /* OSFXSR, OSXMMEXCPT: SSE */
	sregs.cs.dpl = sregs.ss.dpl = sregs.ds.dpl = sregs.es.dpl = 3;
	sregs.cs.selector |= 3;
	sregs.ss.selector |= 3;
	sregs.ds.selector |= 3;
	sregs.es.selector |= 3;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
		err(1, "KVM_SET_SREGS");
}

static void make_guest(struct guest *guest, const struct block *block)
{
	static const struct kvm_topology one = {.core_bits = 0, .package_cores = 1, .cpus = 1};
	const struct kvm_start start = {.long_mode = true,
					.entry = CODE,
					.stack = STACK,
					.page_table = TABLES,
					.gdt = GDT,
					.gdt_limit = sizeof(KVM_BOOT_GDT) - 1};
	struct error error = {0};

	kvm_init(&guest->vm);
	kvm_vcpu_init(&guest->vcpu);
	guest->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->ram == MAP_FAILED)
		err(1, "mmap");
	make_tables(guest->ram);
	memcpy(guest->ram + GDT, KVM_BOOT_GDT, sizeof(KVM_BOOT_GDT));
	memcpy(guest->ram + CODE, steady_loops, (size_t)(steady_loops_end - steady_loops));
	if (kvm_open(&guest->vm, NULL, &error) < 0 || kvm_create_vm(&guest->vm, &error) < 0 ||
	    kvm_add_memslot(&guest->vm, (struct range){0, RAM}, guest->ram, &error) < 0 ||
	    kvm_add_memslot(&guest->vm, (struct range){BLOCK_GPA, block->size}, block->at, &error) < 0 ||
	    kvm_create_irqchip(&guest->vm, &error) < 0 ||
	    kvm_vcpu_create(&guest->vcpu, &guest->vm, 0, &one, &error) < 0 ||
	    kvm_vcpu_set_start(&guest->vcpu, &start, &error) < 0)
		fail(&error);
	enter_ring_3(&guest->vcpu);
}

static void end_guest(struct guest *guest)
{
	kvm_vcpu_release(&guest->vcpu);
	kvm_release(&guest->vm);
	munmap(guest->ram, RAM);
}

static uint64_t place_in_guest(uintptr_t code)
{
	return CODE + (uint64_t)(code - (uintptr_t)steady_loops);
}

static uint64_t run_guest(struct guest *guest, loop *function, uint64_t base, uint64_t count, uint64_t rounds)
{
	const struct kvm_regs registers = {.rip = place_in_guest((uintptr_t)steady_stop),
					   .rbx = place_in_guest((uintptr_t)function),
					   .rdi = base,
					   .rsi = count,
					   .rdx = rounds,
					   .r15 = EXIT_GPA,
					   .rsp = STACK,
					   .rflags = 2};
	struct error error = {0};
	struct kvm_exit exit;
	uint64_t ticks;

	if (ioctl(guest->vcpu.fd, KVM_SET_REGS, &registers) < 0)
		err(1, "KVM_SET_REGS");
	if (kvm_vcpu_run(&guest->vcpu, &exit, &error) < 0)
		fail(&error);
	if (exit.kind != KVM_EXIT_KIND_MMIO || exit.address != EXIT_GPA || !exit.is_write || exit.size != sizeof(ticks))
		errx(1, "the guest left in an unexpected way (%d): %s", exit.kind, exit.text);
	memcpy(&ticks, exit.data, sizeof(ticks));
	return ticks;
}

/* ---- its memory */

static void add_huge(void *context, uint64_t start, uint64_t bytes)
{
	struct block *block = context;

	if (start >= (uintptr_t)block->at && start < (uintptr_t)block->at + block->size)
		block->huge += bytes;
}

/* 0, or -errno where the host has no such pages. */
static int make_block(struct block *block, uint64_t size, uint64_t hugetlb, bool tmpfs)
{
	const struct backend_source source = {.hugetlb = hugetlb, .prealloc = true};
	const struct log log = {.level = LOG_WARN, .fd = STDERR_FILENO};
	const uint64_t align = 2 * MIB;
	int folder = tmpfs ? huge_tmpfs_open() : -1, code;
	struct error error = {0};
	uint8_t *space;

	*block = (struct block){.size = size, .backend.fd = -1};
	if (tmpfs && folder < 0)
		return folder;
	code = backend_open(&block->backend, "steady", "the block", size, &source, folder, &error);
	io_close(&folder);
	if (code < 0) {
		warnx("%s", error.text);
		return code;
	}
	space = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space == MAP_FAILED)
		err(1, "mmap");
	block->at = space + (align - (uintptr_t)space % align) % align;
	if (backend_map(&block->backend, 0, size, block->at, &error) < 0 ||
	    backend_populate(&block->backend, block->at, size, &log, &error) < 0)
		fail(&error);
	memset(block->at, 1, size);
	placement_huge("", add_huge, block);
	if (hugetlb != 0)
		block->huge = size;
	return 0;
}

static void end_block(struct block *block)
{
	munmap(block->at, block->size);
	backend_release(&block->backend);
}

/* One ring through every line of the block, in an order that no prefetcher sees through; addresses begin at base. */
static void make_ring(const struct block *block, const uint32_t *order, uint64_t base)
{
	const uint64_t lines = block->size / LINE;

	for (uint64_t i = 0; i < lines; i++)
		put(block->at + (uint64_t)order[i] * LINE, base + (uint64_t)order[(i + 1) % lines] * LINE);
}

static uint32_t *make_order(uint64_t lines)
{
	uint32_t *order = malloc(lines * sizeof(*order));
	uint64_t seed = 1;

	if (order == NULL)
		err(1, "malloc");
	for (uint64_t i = 0; i < lines; i++)
		order[i] = (uint32_t)i;
	for (uint64_t i = lines - 1; i > 0; i--) {
		uint64_t other;
		uint32_t saved = order[i];

		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		other = (seed >> 33) % (i + 1);
		order[i] = order[other];
		order[other] = saved;
	}
	return order;
}

/* ---- measuring */

/* Ticks of the time stamp counter in a ns. */
static double tick_rate(void)
{
	uint64_t ns = clock_ns(CLOCK_MONOTONIC), ticks = __builtin_ia32_rdtsc();

	usleep(200000);
	ticks = __builtin_ia32_rdtsc() - ticks;
	return (double)ticks / (double)(clock_ns(CLOCK_MONOTONIC) - ns);
}

/* MB/s, or ns a step. */
static json_t *figure(const struct row *row, uint64_t ticks, double rate)
{
	double ns = (double)ticks / rate;

	return json_real(row->bytes > 0 ? (double)row->bytes * 1000 / ns : ns / (double)row->count);
}

static void measure(struct guest *guest, const struct block *block, struct row *rows, size_t count, unsigned rounds,
		    double rate)
{
	uint32_t *order = make_order(block->size / LINE);

	for (unsigned round = 0; round < rounds; round++) {
		for (size_t i = 0; i < count; i++) {
			struct row *row = &rows[i];
			uint64_t ticks;

			if (row->bytes == 0)
				make_ring(block, order, BLOCK_GPA);
			ticks = run_guest(guest, row->function, BLOCK_GPA, row->count, row->rounds);
			json_array_append_new(row->guest, figure(row, ticks, rate));
			if (row->bytes == 0)
				make_ring(block, order, (uintptr_t)block->at);
			ticks = row->function((uintptr_t)block->at, row->count, row->rounds);
			json_array_append_new(row->host, figure(row, ticks, rate));
		}
	}
	free(order);
}

static json_t *measure_kind(const char *kind, uint64_t size, uint64_t hugetlb, bool tmpfs, unsigned rounds, double rate)
{
	struct row rows[] = {
		{.name = "read", .function = steady_read, .count = size, .rounds = PASSES, .bytes = size * PASSES},
		{.name = "write", .function = steady_write, .count = size, .rounds = PASSES, .bytes = size * PASSES},
		{.name = "copy", .function = steady_copy, .count = size, .rounds = PASSES, .bytes = size / 2 * PASSES},
		{.name = "chase", .function = steady_chase, .count = STEPS, .rounds = 1},
	};
	const size_t count = sizeof(rows) / sizeof(rows[0]);
	json_t *figures = json_array();
	struct guest guest;
	struct block block;

	if (make_block(&block, size, hugetlb, tmpfs) < 0) {
		fprintf(stderr, "steady: %s: the host has none for us\n", kind);
		return figures;
	}
	make_guest(&guest, &block);
	for (size_t i = 0; i < count; i++) {
		rows[i].guest = json_array();
		rows[i].host = json_array();
	}
	measure(&guest, &block, rows, count, rounds, rate);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(figures, json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "pages", kind, "loop",
							 rows[i].name, "unit", rows[i].bytes > 0 ? "MB/s" : "ns",
							 "guest", rows[i].guest, "host", rows[i].host, "size",
							 (json_int_t)size, "huge", (json_int_t)block.huge));
	end_guest(&guest);
	end_block(&block);
	return figures;
}

int main(int argc, char **argv)
{
	static const struct option OPTIONS[] = {{"rounds", required_argument, NULL, 'r'},
						{"size", required_argument, NULL, 's'},
						{"json", required_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	static const struct {
		const char *name;
		uint64_t hugetlb;
		bool tmpfs;
	} KINDS[] = {{"4K", 0, false}, {"transparent 2M", 0, true}, {"hugetlb 2M", 2 * MIB, false}};
	uint64_t size = 256 * MIB;
	const char *json = NULL;
	unsigned rounds = 11;
	json_t *all = json_array();
	double rate;
	int option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		if (option == 'r')
			rounds = (unsigned)atoi(optarg);
		else if (option == 's')
			size = strtoull(optarg, NULL, 10) * MIB;
		else if (option == 'j')
			json = optarg;
		else
			errx(2, "usage: bench_steady [--rounds N] [--size MIB] [--json FILE]");
	}
	if (rounds == 0 || rounds > 999 || size == 0 || size > GIB)
		errx(2, "--rounds is 1 to 999, --size 1 to 1024");
	rate = tick_rate();
	for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
		json_t *figures = measure_kind(KINDS[i].name, size, KINDS[i].hugetlb, KINDS[i].tmpfs, rounds, rate);

		json_array_extend(all, figures);
		json_decref(figures);
	}
	if (json_dump_file(all, json != NULL ? json : "/dev/stdout", JSON_INDENT(1)) < 0)
		errx(1, "cannot write the figures");
	json_decref(all);
	return 0;
}
