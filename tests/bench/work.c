/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work that the benchmark of devices has done in the guest, and its other end on the host (serve). One line tells how much it was and how long it
 * took: "requests=N bytes=N ns=N". The disk is driven by the kernel's asynchronous I/O with O_DIRECT, as fio's libaio engine does it: whatever is
 * complete is taken at once, and as many new requests are submitted together.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH_MAX = 64, STREAM_BUFFER = 128 * 1024 };

/* linux/aio_abi.h, which musl's headers do not come with */
struct aio_request {
	uint64_t data;
	uint32_t key, rw_flags;
	uint16_t operation, priority;
	uint32_t fd;
	uint64_t buffer, size;
	int64_t offset;
	uint64_t reserved;
	uint32_t flags, event_fd;
};

struct aio_event {
	uint64_t data, request;
	int64_t result, result2;
};

enum { AIO_READ = 0, AIO_WRITE = 1 };

_Static_assert(sizeof(struct aio_request) == 64 && sizeof(struct aio_event) == 32, "as the kernel has them");

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static void tell(uint64_t requests, uint64_t bytes, uint64_t start)
{
	printf("requests=%llu bytes=%llu ns=%llu\n", (unsigned long long)requests, (unsigned long long)bytes,
	       (unsigned long long)(now() - start));
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end != '\0')
		errx(2, "%s is no number", text);
	return value;
}

/* ---- disk */

struct disk {
	int fd;
	unsigned long context;
	bool write, random;
	uint64_t block, blocks; /* bytes of a request, how many the disk has */
	uint64_t next, seed;
	struct aio_request requests[DEPTH_MAX];
};

/* The same sequence for everybody: xorshift64. */
static uint64_t place(struct disk *disk)
{
	if (!disk->random)
		return disk->next++ % disk->blocks;
	disk->seed ^= disk->seed << 13;
	disk->seed ^= disk->seed >> 7;
	disk->seed ^= disk->seed << 17;
	return disk->seed % disk->blocks;
}

static void submit(struct disk *disk, struct aio_request **requests, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		requests[i]->offset = (int64_t)(place(disk) * disk->block);
	while (count > 0) {
		long taken = syscall(SYS_io_submit, disk->context, count, requests);

		if (taken <= 0)
			err(1, "io_submit");
		requests += taken;
		count -= (unsigned)taken;
	}
}

static void run_disk(struct disk *disk, uint64_t count, unsigned depth)
{
	struct aio_event events[DEPTH_MAX];
	struct aio_request *again[DEPTH_MAX];
	uint64_t submitted = depth < count ? depth : count, start = now();

	for (unsigned i = 0; i < submitted; i++)
		again[i] = &disk->requests[i];
	submit(disk, again, (unsigned)submitted);
	for (uint64_t done = 0; done < count;) {
		long got = syscall(SYS_io_getevents, disk->context, 1L, (long)depth, events, NULL);
		unsigned more = 0;

		if (got <= 0)
			err(1, "io_getevents");
		for (long i = 0; i < got; i++) {
			if (events[i].result != (int64_t)disk->block)
				errx(1, "a request of %llu bytes ended with %lld", (unsigned long long)disk->block,
				     (long long)events[i].result);
			if (submitted + more < count)
				again[more++] = (struct aio_request *)(uintptr_t)events[i].request;
		}
		done += (uint64_t)got;
		submitted += more;
		if (more > 0)
			submit(disk, again, more);
	}
	tell(count, count * disk->block, start);
}

static void work_on_disk(char *argv[])
{
	struct disk disk = {.write = strcmp(argv[1], "write") == 0,
			    .random = strcmp(argv[2], "random") == 0,
			    .block = number(argv[3]),
			    .seed = UINT64_C(0x9e3779b97f4a7c15)};
	uint64_t count = number(argv[4]), depth = number(argv[5]), size;

	if (depth == 0 || depth > DEPTH_MAX || disk.block == 0)
		errx(2, "a depth of 1 to %d, and blocks that are not empty", DEPTH_MAX);
	disk.fd = open(argv[0], (disk.write ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (disk.fd < 0 || ioctl(disk.fd, BLKGETSIZE64, &size) < 0 ||
	    syscall(SYS_io_setup, (unsigned)depth, &disk.context) < 0)
		err(1, "%s", argv[0]);
	disk.blocks = size / disk.block;
	for (unsigned i = 0; i < depth; i++) {
		void *buffer;

		if (posix_memalign(&buffer, 4096, disk.block) != 0)
			errx(1, "out of memory");
		memset(buffer, 0x5a, disk.block);
		disk.requests[i] = (struct aio_request){
			.operation = disk.write ? AIO_WRITE : AIO_READ,
			.fd = (uint32_t)disk.fd,
			.buffer = (uintptr_t)buffer,
			.size = disk.block,
		};
	}
	run_disk(&disk, count, (unsigned)depth);
}

/* ---- file */

static void read_file(char *argv[])
{
	uint64_t block = number(argv[1]), requests = 0, bytes = 0, start;
	char *buffer = malloc(block);
	int fd = open(argv[0], O_RDONLY);
	ssize_t got;

	if (fd < 0 || buffer == NULL)
		err(1, "%s", argv[0]);
	memset(buffer, 0, block);
	start = now();
	while ((got = read(fd, buffer, block)) > 0) {
		requests++;
		bytes += (uint64_t)got;
	}
	if (got < 0)
		err(1, "%s", argv[0]);
	tell(requests, bytes, start);
}

/* ---- streams: the client says what it does and how many bytes it will be ("s 1000"), then they come or go, and the receiver says "k" */

static void send_bytes(int fd, uint64_t size)
{
	static char buffer[STREAM_BUFFER];

	while (size > 0) {
		ssize_t sent = send(fd, buffer, size < sizeof(buffer) ? size : sizeof(buffer), MSG_NOSIGNAL);

		if (sent <= 0)
			err(1, "send");
		size -= (uint64_t)sent;
	}
}

static void receive_bytes(int fd, uint64_t size)
{
	static char buffer[STREAM_BUFFER];

	while (size > 0) {
		ssize_t got = recv(fd, buffer, size < sizeof(buffer) ? size : sizeof(buffer), 0);

		if (got <= 0)
			errx(1, "the stream broke off %llu bytes before its end", (unsigned long long)size);
		size -= (uint64_t)got;
	}
}

/* One side of an exchange: bytes in the direction, then the receiver's word that it has all. */
static void exchange(int fd, bool sends, uint64_t size)
{
	char word = 'k';

	if (sends) {
		send_bytes(fd, size);
		receive_bytes(fd, 1);
	} else {
		receive_bytes(fd, size);
		if (send(fd, &word, 1, MSG_NOSIGNAL) != 1)
			err(1, "send");
	}
}

static void work_on_stream(char *argv[])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[1]))};
	bool sends = strcmp(argv[2], "send") == 0;
	uint64_t size = number(argv[3]), start;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char order[32];

	if (inet_pton(AF_INET, argv[0], &address.sin_addr) != 1)
		errx(2, "%s is no address", argv[0]);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "%s:%s", argv[0], argv[1]);
	memset(order, ' ', sizeof(order));
	snprintf(order, sizeof(order), "%c %llu", sends ? 's' : 'r', (unsigned long long)size);
	start = now();
	if (send(fd, order, sizeof(order), MSG_NOSIGNAL) != (ssize_t)sizeof(order))
		err(1, "send");
	exchange(fd, sends, size);
	tell(size / STREAM_BUFFER, size, start);
}

/* One client at a time, each in a process of its own, so that one that breaks off does not end the server. */
static void serve(char *argv[])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[0]))};
	int listening = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (listening < 0 || setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(listening, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listening, 8) < 0)
		err(1, "port %s", argv[0]);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(listening, NULL, NULL);
		char order[32] = "", direction;
		unsigned long long size;

		if (fd < 0)
			err(1, "accept");
		if (fork() != 0) {
			close(fd);
			continue;
		}
		if (recv(fd, order, sizeof(order), MSG_WAITALL) != (ssize_t)sizeof(order))
			errx(1, "no order");
		order[sizeof(order) - 1] = '\0';
		if (sscanf(order, "%c %llu", &direction, &size) != 2)
			errx(1, "not an order");
		exchange(fd, direction == 'r', size);
		_exit(0);
	}
}

static const struct {
	const char *name;
	int arguments;
	void (*run)(char *argv[]);
	const char *usage;
} WORKS[] = {
	{"disk", 6, work_on_disk, "DISK read|write random|sequential BYTES COUNT DEPTH"},
	{"file", 2, read_file, "FILE BYTES"},
	{"stream", 4, work_on_stream, "ADDRESS PORT send|receive BYTES"},
	{"serve", 1, serve, "PORT"},
};

int main(int argc, char *argv[])
{
	if (argc == 2 && strcmp(argv[1], "nothing") == 0) {
		tell(0, 0, now());
		return 0;
	}
	for (size_t i = 0; i < sizeof(WORKS) / sizeof(WORKS[0]); i++) {
		if (argc == 2 + WORKS[i].arguments && strcmp(argv[1], WORKS[i].name) == 0) {
			WORKS[i].run(argv + 2);
			return 0;
		}
	}
	fputs("usage: bench_work nothing\n", stderr);
	for (size_t i = 0; i < sizeof(WORKS) / sizeof(WORKS[0]); i++)
		fprintf(stderr, "       bench_work %s %s\n", WORKS[i].name, WORKS[i].usage);
	return 2;
}
