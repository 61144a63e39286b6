/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile COMMAND GPA SIZE [SEED STEPS]: a driver that breaks every rule of virtio, and the machine's registers beyond.
 * The virtio drivers must have been unbound from all devices, /dev/dax0.0 is an SPM block of SIZE bytes at GPA, and the
 * kernel runs with iomem=relaxed.
 *
 *	works      each device, reset and set up well, serves a request
 *	registers  every register in every width, aligned and not, with all kinds of values; then works
 *	status     the order of the device status, features, queues and configuration writes; then works
 *	rings      rings in bad places, then chains of every broken kind; then works
 *	reset      a disk is reset while it reads: what comes after the reset does not change
 *	fuzz       STEPS random steps of all of these, by two processes at once, from SEED; then works
 *	ports      every port that does not end the machine, and string instructions
 *	holes      addresses that nobody answers
 *
 * A broken ring must end in DEVICE_NEEDS_RESET where the VMM itself serves the device; a device with another process or
 * the host's kernel behind it may just stand still. Nothing here lets a device write outside of the block, as that
 * would only harm this guest itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmio_driver.h"

enum { NET = 1, BLOCK = 2, CONSOLE = 3, RNG = 4, VSOCK = 19, MEM = 24, FS = 26, DEVICES_MAX = 40 };

#define BASE    UINT64_C(0xd0000000) /* vmm/board.h */
#define MAGIC   0x74726976u
#define NOWHERE UINT64_C(0xc0000000) /* between RAM and the devices */
#define ALL     UINT64_MAX           /* as far as it is offered */

static struct memory memory;
static struct device devices[DEVICES_MAX];
static unsigned device_count;
static unsigned failures;
static int mem_fd;

static void failed(const struct device *d, const char *what, const char *why)
{
	printf("hostile: device %u (id %u): %s: %s\n", d->number, d->id, what, why);
	failures++;
}

/* ---- a small generator: xorshift64* (Vigna 2016) */

static uint64_t random_state;

static uint64_t any(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t below(uint64_t bound)
{
	return any() % bound;
}

/* ---- a request to each kind of device, as a good driver makes it */

/* A disk that can be written is written first, or the next test would find what the last one has left. */
static bool block_works(const struct device *d)
{
	const struct {
		uint32_t type, reserved;
		uint64_t sector;
	} in = {0, 0, 0}, out = {1, 0, 0};
	uint8_t request[16 + 512];
	uint16_t count = 0;

	if ((offered(d) >> 5 & 1) == 0) {
		memcpy(request, &out, 16);
		memcpy(request + 16, "hostile", 8);
		memset(request + 24, 0x33, 504);
		ask(d, 0, request, sizeof(request), 1);
		if (!wait_used(d, 0, ++count) || at(d, 0, 4)[0] != 0)
			return false;
	}
	memset(at(d, 0, 4), 0xff, PAGE);
	ask(d, 0, &in, 16, 513);
	return wait_used(d, 0, ++count) && at(d, 0, 4)[512] == 0 && memcmp(at(d, 0, 4), "hostile", 8) == 0;
}

static bool rng_works(const struct device *d)
{
	ask(d, 0, "", 0, 64);
	return wait_used(d, 0, 1) && written(d, 0, 0) > 0;
}

/* Somebody answers to ARP for 10.78.0.1: passt for every address, the host for that of its tap. */
static bool net_works(const struct device *d)
{
	static const uint8_t arp[12 + 42] = {
		[12] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0,  6,  4, 0,
		1,           0x52, 0x54, 0,    0,    0,    1,    0,    0, 0, 0, 0, 0,    0,    0, 0, 0, 10, 78, 0, 1};

	describe(at(d, 0, 0), 0, gpa(d, 0, 3), PAGE, DESC_WRITE, 0);
	publish(d, 0, 0);
	ask(d, 1, arp, sizeof(arp), 0);
	return wait_used(d, 1, 1) && wait_used(d, 0, 1);
}

/* §5.3.6.2: the device is told that the driver is ready, and tells of its first port. */
static bool console_works(const struct device *d)
{
	static const uint8_t ready[8] = {[6] = 1};

	describe(at(d, 2, 0), 0, gpa(d, 2, 3), PAGE, DESC_WRITE, 0);
	publish(d, 2, 0);
	ask(d, 3, ready, sizeof(ready), 0);
	return wait_used(d, 3, 1) && wait_used(d, 2, 1) && get16(at(d, 2, 3) + 4) == 1;
}

/* §5.15.6.2: the state of the first block; ACK is 0. */
static bool mem_works(const struct device *d)
{
	uint8_t request[24] = {[0] = 3, [16] = 1};
	uint32_t address[2] = {get(d, REG_CONFIG + 16), get(d, REG_CONFIG + 20)};

	memcpy(request + 8, address, 8);
	memset(at(d, 0, 4), 0xff, 16);
	ask(d, 0, request, sizeof(request), 16);
	return wait_used(d, 0, 1) && written(d, 0, 0) == 10 && get16(at(d, 0, 4)) == 0;
}

/* §5.10.6: a connection to a port where nobody listens is answered with a reset (3). */
static bool vsock_works(const struct device *d)
{
	uint8_t header[44] = {[8] = 2, [16] = 0xe8, [17] = 3, [20] = 0x39, [21] = 0xd4, [28] = 1, [30] = 1};
	uint32_t cid = get(d, REG_CONFIG);

	memcpy(header, &cid, 4);
	describe(at(d, 0, 0), 0, gpa(d, 0, 3), PAGE, DESC_WRITE, 0);
	publish(d, 0, 0);
	ask(d, 1, header, sizeof(header), 0);
	return wait_used(d, 0, 1) && get16(at(d, 0, 3) + 30) == 3;
}

/* FUSE_INIT; a second one is refused, and that is an answer too. */
static bool fs_works(const struct device *d)
{
	static const uint32_t init[14] = {56, 26, 1, 0, 1, 0, 0, 0, 0, 0, 7, 31};

	ask(d, 1, init, sizeof(init), 256);
	return wait_used(d, 1, 1) && written(d, 1, 0) >= 16;
}

static void check_works(const struct device *d, const char *after)
{
	static const struct {
		uint32_t id;
		bool (*works)(const struct device *d);
	} kinds[] = {{NET, net_works}, {BLOCK, block_works}, {CONSOLE, console_works},
		     {RNG, rng_works}, {VSOCK, vsock_works}, {MEM, mem_works},
		     {FS, fs_works}};
	bool works = false;

	if (!start(d, ALL)) {
		failed(d, after, "it cannot be started any more");
		return;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].id == d->id)
			works = kinds[i].works(d);
	}
	if (!works)
		failed(d, after, "it does not serve a request any more");
	if (!reset(d))
		failed(d, after, "it cannot be reset any more");
}

/* Those that an ill-treated back end does not take away for good. */
static void all_work(const char *after, bool with_fs)
{
	for (unsigned i = 0; i < device_count; i++) {
		if (with_fs || devices[i].id != FS)
			check_works(&devices[i], after);
	}
}

/* ---- registers */

static void poke(volatile uint8_t *address, unsigned width, uint64_t value)
{
	volatile void *wide = address;

	switch (width) {
	case 1:
		*address = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)wide = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)wide = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)wide = value;
		break;
	}
}

static uint64_t peek(const volatile uint8_t *address, unsigned width)
{
	const volatile void *wide = address;

	switch (width) {
	case 1:
		return *address;
	case 2:
		return *(const volatile uint16_t *)wide;
	case 4:
		return *(const volatile uint32_t *)wide;
	default:
		return *(const volatile uint64_t *)wide;
	}
}

/* No features are accepted, so the device never runs, and never touches the addresses that it is given. */
static void test_registers(void)
{
	static const uint64_t values[] = {0, 1, 0x7f, 0x80000000, 0xffffffff, ALL};

	for (unsigned n = 0; n < device_count; n++) {
		const struct device *d = &devices[n];

		reset(d);
		for (unsigned offset = 0; offset < PAGE; offset += offset < 0x180 ? 1 : 61) {
			for (unsigned width = 1; width <= 8; width *= 2) {
				if (offset + width > PAGE)
					continue;
				(void)peek(d->registers + offset, width);
				for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
					if (offset == REG_STATUS)
						accept_features(d, 0);
					poke(d->registers + offset, width, values[v]);
				}
			}
		}
		if (get(d, REG_MAGIC) != MAGIC || get(d, REG_DEVICE_ID) != d->id)
			failed(d, "registers", "what it is has changed");
	}
	all_work("after its registers were poked", true);
}

/* ---- status, features, queues */

static void expect(const struct device *d, const char *what, uint32_t mask, uint32_t status)
{
	if ((get(d, REG_STATUS) & mask) != status) {
		printf("hostile: status 0x%x\n", get(d, REG_STATUS));
		failed(d, what, "the status is wrong");
	}
}

static void wrong_order(const struct device *d)
{
	reset(d);
	set(d, REG_STATUS, DRIVER_OK);
	expect(d, "DRIVER_OK first", DRIVER_OK | FEATURES_OK, 0);
	reset(d);
	set(d, REG_STATUS, 0xff);
	expect(d, "all bits at once", DRIVER_OK | FEATURES_OK | NEEDS_RESET, 0);
	reset(d);
	set(d, REG_STATUS, 3);
	accept_features(d, ALL);
	set(d, REG_STATUS, SET_UP);
	expect(d, "features that were not offered", FEATURES_OK, 0);
	set(d, REG_STATUS, RUNS);
	expect(d, "DRIVER_OK without FEATURES_OK", DRIVER_OK, 0);
	reset(d);
	set(d, REG_STATUS, 3);
	accept_features(d, 0);
	set(d, REG_STATUS, SET_UP);
	expect(d, "without VERSION_1", FEATURES_OK, 0);
	/* frozen */
	prepare(d, F_VERSION_1);
	accept_features(d, ALL);
	set(d, REG_STATUS, RUNS);
	expect(d, "features after FEATURES_OK", 0xff, RUNS);
	set(d, REG_STATUS, ACKNOWLEDGE);
	expect(d, "bits taken back", 0xff, RUNS);
}

static void test_status(void)
{
	for (unsigned n = 0; n < device_count; n++) {
		const struct device *d = &devices[n];

		wrong_order(d);
		start(d, ALL);
		for (unsigned queue = d->queues; queue < 70000; queue += queue < 300 ? 1 : 977)
			notify(d, queue);
		notify(d, UINT32_MAX);
		for (unsigned offset = REG_CONFIG; offset < REG_CONFIG + 0x80; offset++) {
			for (unsigned width = 1; width <= 8; width *= 2)
				poke(d->registers + offset, width, any());
		}
		expect(d, "queues that do not exist, and configuration writes", 0xff, RUNS);
		/* a queue of a running device keeps its place, and when it is stopped everything is */
		set(d, REG_QUEUE_SEL, 0);
		set_address(d, REG_QUEUE_DESC, NOWHERE);
		set(d, REG_QUEUE_NUM, 1);
		set(d, REG_QUEUE_READY, 1);
		expect(d, "a queue set up again", 0xff, RUNS);
		set(d, REG_QUEUE_READY, 0);
		expect(d, "a queue stopped", NEEDS_RESET, NEEDS_RESET);
		set(d, REG_STATUS, RUNS);
		expect(d, "no way out but a reset", NEEDS_RESET, NEEDS_RESET);
		for (unsigned i = 0; i < 200; i++)
			start(d, i % 2 == 0 ? ALL : F_VERSION_1);
		expect(d, "started over and over", 0xff, RUNS);
	}
	all_work("after the wrong order", true);
}

/* ---- rings */

static uint64_t end(void)
{
	return memory.gpa + memory.size;
}

/* Where an area of queue 0 must not be. */
static void test_places(const struct device *d)
{
	static const unsigned areas[] = {REG_QUEUE_DESC, REG_QUEUE_DRIVER, REG_QUEUE_DEVICE};
	const uint64_t places[] = {NOWHERE,        BASE, end() - 16, end() - 128, UINT64_MAX - 15, UINT64_MAX - 4095,
				   memory.gpa + 1, 3,    ALL,        1ull << 39,  1ull << 52};
	static const uint32_t sizes[] = {0, 3, 63, 512, 32768, 65536, 65535, UINT32_MAX};

	for (unsigned a = 0; a < 3; a++) {
		for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			prepare(d, ALL);
			set(d, REG_QUEUE_SEL, 0);
			set(d, REG_QUEUE_READY, 0);
			set_address(d, areas[a], places[i]);
			set(d, REG_QUEUE_READY, 1);
			set(d, REG_STATUS, RUNS);
			notify(d, 0);
			expect(d, "a queue in a bad place", NEEDS_RESET, NEEDS_RESET);
		}
	}
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		prepare(d, ALL);
		set(d, REG_QUEUE_SEL, 0);
		set(d, REG_QUEUE_READY, 0);
		set(d, REG_QUEUE_NUM, sizes[i]);
		set(d, REG_QUEUE_READY, 1);
		if (get(d, REG_QUEUE_READY) != 0)
			failed(d, "a queue of a bad size", "it is ready");
		set(d, REG_STATUS, RUNS);
		notify(d, 0);
	}
}

/* Chains of zero-sized buffers in an indirect table, as many as the buffer pages hold. */
static void fill_table(const struct device *d, unsigned queue, uint16_t flags)
{
	for (unsigned i = 0; i < DATA_PAGES * PAGE / 16; i++)
		describe(at(d, queue, 3), i, gpa(d, queue, 3), 0, flags, (uint16_t)(i + 1));
}

/*
 * The broken chains; each makes what it needs and is then published as head 0, unless it says otherwise. NULL after the
 * last.
 */
static const char *break_chain(const struct device *d, unsigned queue, unsigned number)
{
	uint8_t *table = at(d, queue, 0), *ring = at(d, queue, 1), *indirect = at(d, queue, 3);
	uint64_t good = gpa(d, queue, 4), inner = gpa(d, queue, 3);
	uint16_t head = 0;
	const char *what;

	switch (number) {
	case 0:
		what = "next is out of the table";
		describe(table, 0, good, 16, DESC_NEXT, SIZE);
		break;
	case 1:
		what = "a link to itself";
		describe(table, 0, good, 16, DESC_NEXT, 0);
		break;
	case 2:
		what = "a loop";
		describe(table, 0, good, 16, DESC_NEXT, 1);
		describe(table, 1, good, 16, DESC_NEXT, 0);
		break;
	case 3:
		what = "readable behind writable";
		describe(table, 0, good, 16, DESC_NEXT | DESC_WRITE, 1);
		describe(table, 1, good, 16, 0, 0);
		break;
	case 4:
		what = "indirect in indirect";
		describe(table, 0, inner, 16, DESC_INDIRECT, 0);
		describe(indirect, 0, inner, 16, DESC_INDIRECT, 0);
		break;
	case 5:
		what = "indirect with a next";
		describe(table, 0, inner, 16, DESC_INDIRECT | DESC_NEXT, 1);
		break;
	case 6:
		what = "an empty indirect table";
		describe(table, 0, inner, 0, DESC_INDIRECT, 0);
		break;
	case 7:
		what = "an indirect table of one descriptor and a byte";
		describe(table, 0, inner, 17, DESC_INDIRECT, 0);
		break;
	case 8:
		what = "an indirect table nowhere";
		describe(table, 0, NOWHERE, 16, DESC_INDIRECT, 0);
		break;
	case 9:
		what = "an indirect table of 4 GiB";
		describe(table, 0, inner, 0xfffffff0, DESC_INDIRECT, 0);
		break;
	case 10:
		what = "a loop in an indirect table";
		describe(table, 0, inner, 32, DESC_INDIRECT, 0);
		describe(indirect, 0, good, 0, DESC_NEXT, 1);
		describe(indirect, 1, good, 0, DESC_NEXT, 0);
		break;
	case 11:
		what = "thousands of empty buffers";
		fill_table(d, queue, DESC_NEXT);
		describe(table, 0, inner, DATA_PAGES * PAGE, DESC_INDIRECT, 0);
		break;
	case 12:
		what = "a buffer nowhere";
		describe(table, 0, NOWHERE, 16, 0, 0);
		break;
	case 13:
		what = "a buffer to write to nowhere";
		describe(table, 0, NOWHERE, 16, DESC_WRITE, 0);
		break;
	case 14:
		what = "a buffer in a device's registers";
		describe(table, 0, BASE, 16, DESC_WRITE, 0);
		break;
	case 15:
		what = "a buffer across the block's end";
		describe(table, 0, end() - 8, 16, DESC_WRITE, 0);
		break;
	case 16:
		what = "a buffer that wraps";
		describe(table, 0, UINT64_MAX - 7, 16, DESC_WRITE, 0);
		break;
	case 17:
		what = "a buffer of 4 GiB";
		describe(table, 0, memory.gpa, UINT32_MAX, 0, 0);
		break;
	case 18:
		what = "a head that is out of the table";
		head = SIZE;
		break;
	case 19:
		what = "the head 0xffff";
		head = UINT16_MAX;
		break;
	case 20:
		what = "more heads than the ring has";
		describe(table, 0, good, 16, 0, 0);
		put16(ring + 2, SIZE + 1);
		break;
	case 21:
		what = "an index that goes back";
		put16(ring + 2, UINT16_MAX - 1);
		break;
	default:
		return NULL;
	}
	publish(d, queue, head);
	return what;
}

/* The queue that each kind of device takes requests from at once, and whether the VMM itself does. */
static unsigned request_queue(const struct device *d)
{
	return d->id == CONSOLE ? 3 : d->id == NET || d->id == VSOCK || d->id == FS ? 1 : 0;
}

static bool is_ours(const struct device *d)
{
	return d->id == BLOCK || d->id == CONSOLE || d->id == RNG || d->id == MEM;
}

static void wait_for_needs_reset(const struct device *d, const char *what)
{
	uint64_t limit = milliseconds() + (is_ours(d) ? 3000 : 30);

	while ((get(d, REG_STATUS) & NEEDS_RESET) == 0 && milliseconds() < limit)
		;
	if (is_ours(d))
		expect(d, what, NEEDS_RESET, NEEDS_RESET);
}

static void test_rings(void)
{
	static const uint64_t features[] = {ALL, ~(F_EVENT_IDX | F_INDIRECT)};
	const char *what;

	for (unsigned n = 0; n < device_count; n++)
		test_places(&devices[n]);
	all_work("after its rings were in bad places", true);
	for (unsigned n = 0; n < device_count; n++) {
		const struct device *d = &devices[n];

		for (unsigned i = 0; i < 2; i++) {
			what = "";
			for (unsigned number = 0; what != NULL; number++) {
				/* virtiofsd does not bear a broken ring, and goes */
				if (!start(d, features[i]) && d->id != FS)
					failed(d, what, "it cannot be started after it");
				what = break_chain(d, request_queue(d), number);
				if (what != NULL)
					wait_for_needs_reset(d, what);
			}
			/* every queue, whoever serves it: the machine must bear it */
			for (unsigned queue = 0; queue < d->queues; queue++) {
				what = "";
				for (unsigned number = 0; what != NULL; number++) {
					start(d, features[i]);
					what = break_chain(d, queue, number);
					(void)get(d, REG_STATUS);
				}
			}
		}
		if (d->id != FS)
			check_works(d, "after broken rings");
	}
}

/* ---- a reset with reads under way */

static void test_reset(void)
{
	enum { READS = 32, BYTES = PAGE };

	for (unsigned n = 0; n < device_count; n++) {
		const struct device *d = &devices[n];
		uint8_t *data = at(d, 0, 5);

		if (d->id != BLOCK)
			continue;
		for (unsigned round = 0; round < 20; round++) {
			start(d, ALL);
			memset(at(d, 0, 3), 0, 16); /* a read of sector 0 on, for all of them */
			for (unsigned i = 0; i < READS; i++) {
				uint8_t *table = at(d, 0, 0);

				describe(table, 2 * i, gpa(d, 0, 3), 16, DESC_NEXT, (uint16_t)(2 * i + 1));
				describe(table, 2 * i + 1, gpa(d, 0, 5) + i * BYTES, 512 + 1, DESC_WRITE, 0);
				publish(d, 0, (uint16_t)(2 * i));
			}
			if (!reset(d))
				failed(d, "a reset with reads under way", "it is not reset");
			memset(data, 0x5a, READS * BYTES);
			usleep(20000);
			for (unsigned i = 0; i < READS * BYTES; i++) {
				if (data[i] != 0x5a) {
					failed(d, "a reset with reads under way", "it wrote after the reset");
					break;
				}
			}
		}
		check_works(d, "after resets with reads under way");
	}
}

/* ---- random steps */

/*
 * A device may be told to write anywhere in the block's second half, and the first one has all that it takes for
 * descriptors: what it has written, taken for one, could point into the kernel's own memory.
 */
static uint64_t half(void)
{
	return memory.gpa + memory.size / 2;
}

static uint64_t mostly(uint64_t good)
{
	const uint64_t bad[] = {NOWHERE, BASE, end() - 8, UINT64_MAX - 15, half() + 1, 1ull << 39};

	return below(8) == 0 ? bad[below(sizeof(bad) / sizeof(bad[0]))] : good;
}

static uint64_t some_buffer(void)
{
	return mostly(half() + below(SHARE / 16) * 16);
}

/* An area (part 0 to 2) or an indirect table (3); it may be another queue's too. */
static uint64_t some_area(const struct device *d, unsigned part)
{
	return mostly(gpa(d, (unsigned)below(QUEUES), part));
}

static uint32_t some_length(void)
{
	static const uint32_t lengths[] = {0, 1, 8, 12, 16, 17, 24, 44, 512, 513, 4096, 65536, 0x7fffffff, UINT32_MAX};

	return below(3) == 0 ? (uint32_t)below(8192) : lengths[below(sizeof(lengths) / sizeof(lengths[0]))];
}

static bool is_address_register(unsigned offset)
{
	return offset >= REG_QUEUE_DESC - 8 && offset < 0xa8;
}

/*
 * Steps that write addresses, or that make the device forget those of its queues, are one process's at a time: one half
 * of an address without the other, or the address 0 with somebody's length, would be the kernel's own memory.
 */
static void random_step(const struct device *d, pthread_mutex_t *setting_up)
{
	static const unsigned areas[] = {REG_QUEUE_DESC, REG_QUEUE_DRIVER, REG_QUEUE_DEVICE};
	unsigned queue = (unsigned)below(d->queues), area = (unsigned)below(3), offset, width = 1u << below(4);
	uint64_t word = any();
	uint16_t flags;

	switch (below(16)) {
	case 0:
	case 1:
	case 2:
	case 3:
		flags = (uint16_t)below(8);
		pthread_mutex_lock(setting_up);
		describe(at(d, queue, below(4) == 0 ? 3 : 0), (unsigned)below(SIZE),
			 (flags & DESC_INDIRECT) != 0 ? some_area(d, 3) : some_buffer(), some_length(), flags,
			 (uint16_t)below(SIZE + 1));
		pthread_mutex_unlock(setting_up);
		break;
	case 4:
	case 5:
	case 6:
		publish(d, queue, (uint16_t)below(SIZE + (below(20) == 0)));
		break;
	case 7:
		put16(at(d, queue, 1) + 2 * below(SIZE + 3), (uint16_t)any());
		break;
	case 8:
		memcpy(at(d, queue, 4 + (unsigned)below(DATA_PAGES - 1)), &word, 8);
		break;
	case 9:
		notify(d, below(4) == 0 ? (uint32_t)any() : queue);
		break;
	case 10:
		offset = (unsigned)below(below(2) == 0 ? 0x140 : PAGE - 8);
		if (is_address_register(offset))
			break;
		pthread_mutex_lock(setting_up);
		poke(d->registers + offset, width, below(2) == 0 ? below(16) : any());
		pthread_mutex_unlock(setting_up);
		break;
	case 11:
		(void)peek(d->registers + below(PAGE - 8), width);
		break;
	case 12:
		pthread_mutex_lock(setting_up);
		set(d, REG_QUEUE_SEL, queue);
		set_address(d, areas[area], some_area(d, area));
		pthread_mutex_unlock(setting_up);
		break;
	case 13:
		pthread_mutex_lock(setting_up);
		set(d, REG_STATUS, (uint32_t)below(256));
		pthread_mutex_unlock(setting_up);
		break;
	case 14:
		/* small messages of the kinds that devices take */
		memset(at(d, queue, 4), 0, 64);
		put16(at(d, queue, 4), (uint16_t)below(8));
		put16(at(d, queue, 4) + 4, (uint16_t)below(8));
		put16(at(d, queue, 4) + 6, (uint16_t)below(2));
		pthread_mutex_lock(setting_up);
		describe(at(d, queue, 0), 0, gpa(d, queue, 4), some_length(), DESC_NEXT, 1);
		describe(at(d, queue, 0), 1, half(), some_length(), DESC_WRITE, 0);
		pthread_mutex_unlock(setting_up);
		publish(d, queue, 0);
		break;
	default:
		pthread_mutex_lock(setting_up);
		start(d, below(2) == 0 ? ALL : any() | F_VERSION_1);
		pthread_mutex_unlock(setting_up);
		break;
	}
}

static void random_steps(uint64_t seed, unsigned steps, pthread_mutex_t *setting_up)
{
	random_state = seed;
	for (unsigned i = 0; i < steps; i++) {
		unsigned n = (unsigned)below(device_count);

		random_step(&devices[n], &setting_up[n]);
	}
}

/* A mutex for each device, in memory that a child shares. */
static pthread_mutex_t *shared_mutexes(void)
{
	pthread_mutex_t *mutexes =
		mmap(NULL, DEVICES_MAX * sizeof(*mutexes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t shared;

	if (mutexes == MAP_FAILED) {
		perror("hostile: mmap");
		exit(2);
	}
	pthread_mutexattr_init(&shared);
	pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	for (unsigned i = 0; i < DEVICES_MAX; i++)
		pthread_mutex_init(&mutexes[i], &shared);
	return mutexes;
}

static void test_fuzz(uint64_t seed, unsigned steps)
{
	pthread_mutex_t *setting_up = shared_mutexes();
	pid_t other = fork();
	int status = 1;

	if (other == 0) {
		random_steps(seed ^ ALL, steps, setting_up);
		_exit(0);
	}
	random_steps(seed, steps, setting_up);
	if (other < 0 || waitpid(other, &status, 0) != other || status != 0) {
		printf("hostile: the second process did not end well\n");
		failures++;
	}
	all_work("after random steps", false);
}

/* ---- beyond virtio */

/* What would end the machine, garble its console, or take the interrupt controller and the timer from the kernel. */
static bool is_spared(unsigned port, unsigned width)
{
	static const struct {
		unsigned first, last;
	} spared[] = {{0x20, 0x21}, {0x40, 0x43},   {0x61, 0x61},   {0x64, 0x64},   {0xa0, 0xa1},
		      {0xf4, 0xf7}, {0x3f8, 0x3ff}, {0x4d0, 0x4d1}, {0x505, 0x505}, {0x600, 0x602}};

	for (size_t i = 0; i < sizeof(spared) / sizeof(spared[0]); i++) {
		if (port <= spared[i].last && port + width > spared[i].first)
			return true;
	}
	return false;
}

static void write_port(unsigned port, unsigned width, uint32_t value)
{
	if (width == 1)
		outb((unsigned char)value, (unsigned short)port);
	else if (width == 2)
		outw((unsigned short)value, (unsigned short)port);
	else
		outl(value, (unsigned short)port);
}

static void read_port(unsigned port, unsigned width)
{
	if (width == 1)
		(void)inb((unsigned short)port);
	else if (width == 2)
		(void)inw((unsigned short)port);
	else
		(void)inl((unsigned short)port);
}

static void test_ports(void)
{
	static uint8_t bytes[2 * PAGE];

	if (iopl(3) < 0) {
		perror("hostile: iopl");
		failures++;
		return;
	}
	/* all of those that an old PC has, and a sample of the others */
	for (unsigned port = 0; port < 65536; port += port < 0x1000 ? 1 : 37) {
		for (unsigned width = 1; width <= 4; width *= 2) {
			if (port + width > 65536)
				continue;
			read_port(port, width);
			if (!is_spared(port, width))
				write_port(port, width, (uint32_t)any());
		}
	}
	for (unsigned i = 0; i < 50; i++) {
		unsigned port = (unsigned)below(65000);

		if (is_spared(port, 4))
			continue;
		outsb((unsigned short)port, bytes, 1 + below(sizeof(bytes)));
		outsl((unsigned short)port, bytes, 1 + below(sizeof(bytes) / 4));
		insw((unsigned short)port, bytes, 1 + below(sizeof(bytes) / 2));
		insl((unsigned short)port, bytes, 1 + below(sizeof(bytes) / 4));
	}
	outl(0, 0xcf8);
}

static void test_holes(void)
{
	const uint64_t limits[][2] = {
		{NOWHERE, BASE}, {BASE + device_count * PAGE, 0xfec00000}, {1ull << 39, 1ull << 40}};

	for (unsigned i = 0; i < 300; i++) {
		const uint64_t *limit = limits[below(3)];
		uint64_t address = limit[0] + below((limit[1] - limit[0]) / PAGE) * PAGE;
		volatile uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, (off_t)address);

		if (page == MAP_FAILED) {
			printf("hostile: cannot map 0x%llx: %s\n", (unsigned long long)address, strerror(errno));
			failures++;
			return;
		}
		for (unsigned width = 1; width <= 8; width *= 2) {
			unsigned offset = (unsigned)below(PAGE - 8);

			poke(page + offset, width, any());
			if (peek(page + offset, width) != ALL >> (64 - 8 * width)) {
				printf("hostile: somebody answers at 0x%llx\n", (unsigned long long)address + offset);
				failures++;
			}
		}
		munmap((void *)(uintptr_t)page, PAGE);
	}
}

/* ---- */

static int find_devices(void)
{
	for (device_count = 0; device_count < DEVICES_MAX; device_count++) {
		struct device *d = &devices[device_count];
		void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd,
				  (off_t)(BASE + device_count * PAGE));

		if (page == MAP_FAILED)
			return -1;
		*d = (struct device){.registers = page, .memory = &memory, .number = device_count};
		if (get(d, REG_MAGIC) != MAGIC)
			break;
		d->id = get(d, REG_DEVICE_ID);
		for (unsigned i = 0; i < QUEUES; i++) {
			set(d, REG_QUEUE_SEL, i);
			d->queues += get(d, REG_QUEUE_NUM_MAX) > 0;
		}
	}
	return device_count > 0 ? 0 : -1;
}

int main(int argc, char *argv[])
{
	uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
	unsigned steps = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 0) : 0;
	const char *command = argc > 3 ? argv[1] : "";
	int dax = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);

	setvbuf(stdout, NULL, _IOLBF, 0);
	mem_fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
	if (argc < 4 || dax < 0 || mem_fd < 0) {
		perror("hostile COMMAND GPA SIZE [SEED STEPS]: /dev/dax0.0, /dev/mem");
		return 2;
	}
	memory.gpa = strtoull(argv[2], NULL, 0);
	memory.size = strtoull(argv[3], NULL, 0);
	memory.at = mmap(NULL, memory.size, PROT_READ | PROT_WRITE, MAP_SHARED, dax, 0);
	if (memory.at == MAP_FAILED || find_devices() < 0) {
		perror("hostile: cannot map the block, or finds no device");
		return 2;
	}
	random_state = seed;
	printf("hostile: %s, %u devices, seed %#llx\n", command, device_count, (unsigned long long)seed);
	if (strcmp(command, "works") == 0)
		all_work("at first", true);
	else if (strcmp(command, "registers") == 0)
		test_registers();
	else if (strcmp(command, "status") == 0)
		test_status();
	else if (strcmp(command, "rings") == 0)
		test_rings();
	else if (strcmp(command, "reset") == 0)
		test_reset();
	else if (strcmp(command, "fuzz") == 0)
		test_fuzz(seed, steps);
	else if (strcmp(command, "ports") == 0)
		test_ports();
	else if (strcmp(command, "holes") == 0)
		test_holes();
	else
		failures = 1;
	return failures == 0 ? 0 : 1;
}
