// SPDX-License-Identifier: Apache-2.0
/*
 * Claims of blocks through the spm_claim driver (guest/driver), by one thread or several, and the other way that Linux
 * has for them: dax_hmem's device handed to kmem and brought online.
 */
#include "guest/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS "/sys/class/spm_claim/spm"
#define DAX    "/sys/bus/dax"
#define MEMORY "/sys/devices/system/memory"
enum { BLOCKS_MAX = 256, THREADS_MAX = 64 };

/* Writes to a file that is open. 0 or -errno. */
static int put(int fd, const char *text)
{
	ssize_t done = write(fd, text, strlen(text));

	return done < 0 ? -errno : 0;
}

static int put_path(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error;

	if (fd < 0)
		return -errno;
	error = put(fd, text);
	close(fd);
	return error;
}

/* A number in any base that C knows; 0 or -errno. */
static int get_path(const char *path, int base, uint64_t *value)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t size;

	if (fd < 0)
		return -errno;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0)
		return -EIO;
	text[size] = '\0';
	*value = strtoull(text, NULL, base);
	return 0;
}

/* ---- one text to one attribute of many blocks */

struct writer {
	pthread_t thread;
	uint64_t began, ended;
	unsigned int index;
	int error;
};

struct writes {
	const char *text;
	unsigned int blocks, threads;
	pthread_barrier_t start;
	int fd[BLOCKS_MAX];
	uint64_t ns[BLOCKS_MAX]; /* of each */
};
static struct writes writes;

static void *run_writer(void *argument)
{
	struct writer *writer = argument;
	cpu_set_t set;

	if (writes.threads > 1) {
		CPU_ZERO(&set);
		CPU_SET(writer->index, &set);
		sched_setaffinity(0, sizeof(set), &set); /* without as many CPUs: wherever it runs */
		pthread_barrier_wait(&writes.start);
	}
	writer->began = now_ns();
	for (unsigned int i = writer->index; i < writes.blocks && writer->error == 0; i += writes.threads) {
		uint64_t began = now_ns();

		writer->error = put(writes.fd[i], writes.text);
		writes.ns[i] = now_ns() - began;
	}
	writer->ended = now_ns();
	return NULL;
}

/* Runs them all; the time from the first one's start to the end of the last one. */
static int run_writers(uint64_t *ns)
{
	struct writer writers[THREADS_MAX] = {0};
	uint64_t began = UINT64_MAX, ended = 0;
	int error = 0;

	if (writes.threads == 1) {
		run_writer(&writers[0]);
		*ns = writers[0].ended - writers[0].began;
		return writers[0].error;
	}
	pthread_barrier_init(&writes.start, NULL, writes.threads);
	for (unsigned int i = 0; i < writes.threads; i++) {
		writers[i].index = i;
		if (pthread_create(&writers[i].thread, NULL, run_writer, &writers[i]) != 0)
			abort(); /* those that are started would wait for ever */
	}
	for (unsigned int i = 0; i < writes.threads; i++) {
		pthread_join(writers[i].thread, NULL);
		if (writers[i].began < began)
			began = writers[i].began;
		if (writers[i].ended > ended)
			ended = writers[i].ended;
		if (writers[i].error != 0)
			error = writers[i].error;
	}
	pthread_barrier_destroy(&writes.start);
	*ns = ended - began;
	return error;
}

/* Prints "NAME":[...], what the driver says of a step that is over, for each block. */
static void print_step(const char *name)
{
	char path[128];
	uint64_t ns = 0;

	printf(",\"%s\":[", name);
	for (unsigned int i = 0; i < writes.blocks; i++) {
		snprintf(path, sizeof(path), BLOCKS "%u/time_ns/%s", i, name);
		if (get_path(path, 10, &ns) < 0)
			ns = 0;
		printf("%s%llu", i > 0 ? "," : "", (unsigned long long)ns);
	}
	printf("]");
}

static void write_all(const char *attribute, const char *text, char **words, const char *const *steps)
{
	uint64_t ns = 0;
	char path[128];
	int error = 0;

	if (!parse_count(words[0], 1, BLOCKS_MAX, &writes.blocks) ||
	    !parse_count(words[1], 1, THREADS_MAX, &writes.threads)) {
		answer_error("'%s' is no number of blocks, or '%s' none of threads", words[0], words[1]);
		return;
	}
	writes.text = text;
	for (unsigned int i = 0; i < writes.blocks; i++) {
		snprintf(path, sizeof(path), BLOCKS "%u/%s", i, attribute);
		writes.fd[i] = open(path, O_WRONLY | O_CLOEXEC);
		if (writes.fd[i] < 0 && error == 0)
			error = -errno;
	}
	if (error == 0)
		error = run_writers(&ns);
	for (unsigned int i = 0; i < writes.blocks; i++) {
		if (writes.fd[i] >= 0)
			close(writes.fd[i]);
	}
	if (error != 0) {
		answer_error("%s of %u blocks, by %u threads: %s", attribute, writes.blocks, writes.threads,
			     strerror(-error));
		return;
	}
	printf("{\"ns\":%llu,\"each\":[", (unsigned long long)ns);
	for (unsigned int i = 0; i < writes.blocks; i++)
		printf("%s%llu", i > 0 ? "," : "", (unsigned long long)writes.ns[i]);
	printf("]");
	for (; *steps != NULL; steps++)
		print_step(*steps);
	printf("}\n");
}

static const char *const no_steps[] = {NULL};

static void job_claim(int count, char **words)
{
	static const char *const steps[] = {"request", "map", NULL};

	(void)count;
	write_all("claim", words[2], words, steps);
}

static void job_release(int count, char **words)
{
	static const char *const steps[] = {"unmap", "release", NULL};

	(void)count;
	write_all("release", "1", words, steps);
}

static void job_align(int count, char **words)
{
	uint64_t align;
	char text[32];

	(void)count;
	if (!parse_size(words[2], &align)) {
		answer_error("align '%s' is no size", words[2]);
		return;
	}
	snprintf(text, sizeof(text), "%llu", (unsigned long long)align);
	write_all("align", text, words, no_steps);
}

static void job_dax(int count, char **words)
{
	(void)count;
	write_all("dax", words[2], words, no_steps);
}

/* ---- kmem */

/* Unbinds the device from whatever driver has it, and binds it to kmem: its memory is added, not yet online. */
static int to_kmem(const char *device)
{
	char path[256];
	int error;

	snprintf(path, sizeof(path), DAX "/devices/%s/driver/unbind", device);
	error = put_path(path, device);
	if (error != 0 && error != -ENOENT)
		return error;
	return put_path(DAX "/drivers/kmem/new_id", device);
}

static bool is_online(const char *state)
{
	FILE *file = fopen(state, "re");
	char text[16] = "";
	bool online = file != NULL && fgets(text, sizeof(text), file) != NULL && strcmp(text, "online\n") == 0;

	if (file != NULL)
		fclose(file);
	return online;
}

static int bring_online(uint64_t start, uint64_t size, uint64_t block, unsigned int *blocks)
{
	char path[256];
	int error = 0;

	for (uint64_t at = (start + block - 1) / block; error == 0 && (at + 1) * block <= start + size; at++) {
		snprintf(path, sizeof(path), MEMORY "/memory%llu/state", (unsigned long long)at);
		error = put_path(path, "online_movable");
		if (error == -EINVAL && is_online(path)) /* already: the kernel is set to do so */
			error = 0;
		++*blocks;
	}
	return error;
}

/* The range of a device; one that has none yet (dax_hmem.region_idle=1) gets all that its region has. 0 or -errno. */
static int range_of(const char *device, uint64_t *start, uint64_t *size)
{
	char path[256], text[32];
	uint64_t room = 0;
	int error;

	snprintf(path, sizeof(path), DAX "/devices/%s/../dax_region/available_size", device);
	error = get_path(path, 0, &room);
	snprintf(path, sizeof(path), DAX "/devices/%s/size", device);
	if (error == 0)
		error = get_path(path, 0, size);
	if (error == 0 && *size == 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)room);
		error = put_path(path, text);
		*size = room;
	}
	snprintf(path, sizeof(path), DAX "/devices/%s/resource", device);
	return error == 0 ? get_path(path, 0, start) : error;
}

static void job_kmem(int count, char **words)
{
	uint64_t start = 0, size = 0, block = 0, began, added;
	unsigned int blocks = 0;
	int error = range_of(words[0], &start, &size);

	(void)count;
	if (error == 0)
		error = get_path(MEMORY "/block_size_bytes", 16, &block);
	if (error == 0 && block == 0)
		error = -EIO;
	began = now_ns();
	if (error == 0)
		error = to_kmem(words[0]);
	added = now_ns();
	if (error == 0)
		error = bring_online(start, size, block, &blocks);
	if (error == 0 && blocks == 0)
		error = -ERANGE; /* smaller than what can be brought online */
	if (error != 0)
		answer_error("%s to kmem: %s", words[0], strerror(-error));
	else
		printf("{\"ns\":%llu,\"add\":%llu,\"online\":%llu,\"blocks\":%u}\n",
		       (unsigned long long)(now_ns() - began), (unsigned long long)(added - began),
		       (unsigned long long)(now_ns() - added), blocks);
}

const struct job claim_jobs[] = {
	{"align", "BLOCKS THREADS SIZE", 3, job_align, "what pages and mappings are aligned to: 4K, 2M or 1G"},
	{"claim", "BLOCKS THREADS METHOD", 3, job_claim, "claim the first blocks: region, memremap or pages"},
	{"release", "BLOCKS THREADS", 2, job_release, "and release them"},
	{"dax", "BLOCKS THREADS take|give", 3, job_dax, "take them from dax_hmem, or give them back"},
	{"kmem", "DEVICE", 1, job_kmem, "make dax0.0 system RAM and bring it online"},
	{0},
};
