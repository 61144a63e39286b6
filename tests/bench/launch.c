/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts programs again and again, in turns, until each says a mark on stdout or stderr; ends it there and tells how long that took
 * since the exec, as JSON. On demand also the most memory that it had on the way, where the time went, its exits from KVM, and what a guest says
 * of measured parts of its run.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/calls_mark.h"
#include "tests/bench/calls_read.h"
#include "tests/bench/exits.h"
#include "tests/bench/memory.h"
#include "tests/bench/phases.h"
#include "tests/bench/started.h"

#define MS UINT64_C(1000000)

enum { ROWS_MAX = 32, RUNS_MAX = 1000, LINE = 8192 };

struct options {
	unsigned runs, warmup;
	const char *until;   /* the mark */
	const char *json;    /* file */
	const char *preload; /* bench_calls */
	const char *guest;   /* prefix of guest memory's mappings; sample the memory */
	uint64_t sample_ns;  /* between two samples */
	uint64_t linger_ns;  /* go on sampling that long behind the mark */
	uint64_t timeout_ns;
	bool exits, phases;
	unsigned scrub_mib;
};

struct row {
	const char *name;
	char **command; /* ends in NULL */
	uint64_t ns[RUNS_MAX];
	uint64_t guest_ns[RUNS_MAX];  /* what the guest's clock said at the mark; 0 when it said nothing */
	uint64_t run_ns[RUNS_MAX];    /* to the first KVM_RUN, where the program says it; else 0 */
	uint64_t kernel_ns[RUNS_MAX]; /* to the start of the guest kernel's clock */
	uint64_t faults[RUNS_MAX];    /* page faults until the end */
	unsigned count;
	json_t *calls, *exits, *stages; /* arrays, one element a run */
	struct phases phases;
	struct memory_use peak, last; /* last: the most of each run's last sample */
	unsigned samples;
};

/* One stream of the program's, cut into lines. */
struct stream {
	int fd;
	char line[LINE];
	size_t used;
};

struct child {
	pid_t pid;
	int answer; /* its standard input, with --phases; else -1 */
	uint64_t start;
	struct started started;
	struct stream streams[2];
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

/* ------------------------------------------------------------------------------------------- one program */

_Noreturn static void run_child(const struct options *options, const struct row *row, int in, int out, int error,
				volatile uint64_t *start)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(error, STDERR_FILENO) < 0)
		_exit(126);
	if (options->preload != NULL) {
		setenv("LD_PRELOAD", options->preload, 1);
		setenv("BENCH_CALLS", "1", 1);
	}
	*start = now();
	execv(row->command[0], row->command);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", row->command[0], strerror(errno));
	_exit(127);
}

/* The child writes the time right before its exec into memory that both have. */
static void start_child(struct child *child, const struct options *options, const struct row *row)
{
	volatile uint64_t *start =
		mmap(NULL, sizeof(*start), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int in[2] = {-1, -1}, out[2], error[2];

	*child = (struct child){0};
	if (start == MAP_FAILED || pipe2(out, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0 ||
	    (options->phases && pipe2(in, O_CLOEXEC) < 0))
		err(1, "pipes");
	child->pid = fork();
	if (child->pid < 0)
		err(1, "fork");
	if (child->pid == 0)
		run_child(options, row, options->phases ? in[0] : open("/dev/null", O_RDONLY), out[1], error[1], start);
	if (options->phases)
		close(in[0]);
	child->answer = in[1];
	close(out[1]);
	close(error[1]);
	child->streams[0].fd = out[0];
	child->streams[1].fd = error[0];
	/* execv has come when the pages of the fork are not shared any more; the mark comes much later than that */
	while (*start == 0)
		usleep(50);
	child->start = *start;
	munmap((void *)(uintptr_t)start, sizeof(*start));
}

static void end_child(struct child *child, struct rusage *usage)
{
	int status;

	kill(child->pid, SIGKILL);
	if (wait4(child->pid, &status, 0, usage) < 0)
		err(1, "wait4");
	for (int i = 0; i < 2; i++) {
		if (child->streams[i].fd >= 0)
			close(child->streams[i].fd);
	}
	if (child->answer >= 0)
		close(child->answer);
}

/* What has come of the line is kept for a message when the program ends too early. */
static void give_up(struct child *child, const struct row *row, const char *why)
{
	struct rusage usage;

	end_child(child, &usage);
	for (int i = 0; i < 2; i++)
		fprintf(stderr, "launch: its last line on %s: %.400s\n", i == 0 ? "stdout" : "stderr",
			child->streams[i].line);
	errx(1, "%s: %s", row->name, why);
}

/* Takes what there is. True when a line with the mark is complete; then it is in stream->line. */
static bool read_stream(struct stream *stream, const char *mark, struct started *started)
{
	char bytes[4096];
	ssize_t got = read(stream->fd, bytes, sizeof(bytes));

	if (got <= 0) {
		close(stream->fd);
		stream->fd = -1;
		return false;
	}
	for (ssize_t i = 0; i < got; i++) {
		bool full = stream->used == sizeof(stream->line) - 1;

		if (bytes[i] != '\n' && !full) {
			/* the line before stays readable until the next one starts */
			stream->line[stream->used++] = bytes[i];
			stream->line[stream->used] = '\0';
			continue;
		}
		stream->used = 0;
		started_hear(started, stream->line);
		if (strstr(stream->line, mark) != NULL)
			return true;
	}
	return false;
}

/* A mark that says its own time (spmvm --log debug: "... at N ns of CLOCK_MONOTONIC") is better than its arrival. */
static uint64_t mark_time(const char *line, uint64_t arrival)
{
	const char *at = strstr(line, " at ");
	uint64_t stamp;

	if (at != NULL && strstr(at, " ns of CLOCK_MONOTONIC") != NULL && sscanf(at, " at %" SCNu64, &stamp) == 1)
		return stamp;
	at = strstr(line, CALLS_MARK);
	if (at != NULL && sscanf(at, CALLS_MARK "main=%*u run=%" SCNu64, &stamp) == 1)
		return stamp;
	return arrival;
}

static uint64_t guest_time(const char *line)
{
	const char *at = strstr(line, "bench-init: ");
	uint64_t ns;

	return at != NULL && sscanf(at, "bench-init: %" SCNu64, &ns) == 1 ? ns : 0;
}

/* Returns in *use what was seen, and leaves it alone when nothing was. */
static void sample(const struct child *child, const struct options *options, struct row *row, struct memory_use *use)
{
	struct memory_use seen;

	if (memory_sample(child->pid, options->guest, &seen) < 0)
		return;
	memory_raise(&row->peak, &seen);
	row->samples++;
	*use = seen;
}

/*
 * What a line with a mark means while phases are measured; whether it is the last one. A guest that has said such a line waits, so nothing
 * comes behind it.
 */
static bool is_last(struct child *child, const struct options *options, struct row *row, const char *line)
{
	if (!options->phases || strstr(line, options->until) != NULL)
		return true;
	if (phases_hear(&row->phases, line, child->pid, child->answer) < 0)
		give_up(child, row, "an end without its start, or it takes no answer");
	return false;
}

/* Until the mark, which is returned; sampling on the way. NULL when the time is up or the program has ended. */
static const char *wait_for_mark(struct child *child, const struct options *options, struct row *row, uint64_t *arrival)
{
	uint64_t next = child->start;
	struct memory_use use;

	while (now() - child->start < options->timeout_ns) {
		struct pollfd polls[2];
		uint64_t wait = options->timeout_ns;

		if (options->guest != NULL) {
			if (now() >= next) {
				sample(child, options, row, &use);
				next = now() + options->sample_ns;
			}
			wait = options->sample_ns;
		}
		for (int i = 0; i < 2; i++)
			polls[i] = (struct pollfd){.fd = child->streams[i].fd, .events = POLLIN};
		if (polls[0].fd < 0 && polls[1].fd < 0)
			return NULL;
		if (poll(polls, 2, (int)(wait / MS)) < 0)
			err(1, "poll");
		*arrival = now();
		for (int i = 0; i < 2; i++) {
			if (polls[i].revents != 0 &&
			    read_stream(&child->streams[i], options->phases ? "@" : options->until, &child->started) &&
			    is_last(child, options, row, child->streams[i].line))
				return child->streams[i].line;
		}
	}
	return NULL;
}

static void linger(const struct child *child, const struct options *options, struct row *row)
{
	uint64_t end = now() + options->linger_ns;
	struct memory_use last = {0};

	while (options->guest != NULL && now() < end) {
		usleep((useconds_t)(options->sample_ns / 1000));
		sample(child, options, row, &last);
	}
	memory_raise(&row->last, &last);
}

/*
 * An emulated processor keeps what it translated of a page that had code in it, and throws it away when the page is written: whoever gets
 * the pages of a guest that has ended pays for that, seconds in all. So they are written once between two runs, by nobody's clock.
 */
static void scrub(const struct options *options)
{
	size_t size = (size_t)options->scrub_mib << 20;
	int status;
	pid_t pid;

	if (size == 0)
		return;
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (at == MAP_FAILED || madvise(at, size, MADV_HUGEPAGE) < 0)
			_exit(1);
		_exit(madvise(at, size, MADV_POPULATE_WRITE) < 0);
	}
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "cannot write %u MiB between two runs", options->scrub_mib);
}

static void run_once(const struct options *options, struct row *row, bool keep)
{
	struct child child;
	struct rusage usage;
	json_t *calls = NULL, *exits = NULL;
	uint64_t arrival = 0, at, guest;
	const char *line;

	scrub(options);
	if (options->exits)
		exits_clear();
	start_child(&child, options, row);
	line = wait_for_mark(&child, options, row, &arrival);
	if (line == NULL)
		give_up(&child, row, "it ended or the time was up before its mark");
	if (options->exits) {
		exits = exits_read(child.pid);
		/* no guest comes to its first process without an exit */
		if (json_integer_value(json_object_get(exits, "to-user-space")) == 0)
			give_up(&child, row, "no exit was counted");
	}
	at = mark_time(line, arrival);
	guest = guest_time(line);
	if (options->preload != NULL) {
		calls = calls_read(line, child.start);
		if (calls == NULL)
			give_up(&child, row, "bench_calls' line is not whole");
	}
	linger(&child, options, row);
	if (options->guest != NULL && row->samples == 0)
		give_up(&child, row, "no sample has guest memory in it");
	end_child(&child, &usage);
	if (keep) {
		row->ns[row->count] = at - child.start;
		row->guest_ns[row->count] = guest;
		row->run_ns[row->count] = child.started.run_at == 0 ? 0 : child.started.run_at - child.start;
		/* a guest whose clock runs ahead of ours has said nothing of use */
		row->kernel_ns[row->count] = guest == 0 || guest > at - child.start ? 0 : at - child.start - guest;
		row->faults[row->count] = (uint64_t)usage.ru_minflt;
		row->count++;
		if (calls != NULL)
			json_array_append(row->calls, calls);
		if (exits != NULL)
			json_array_append(row->exits, exits);
		if (child.started.stages != NULL)
			json_array_append(row->stages, child.started.stages);
	}
	json_decref(calls);
	json_decref(exits);
	json_decref(child.started.stages);
}

/* --------------------------------------------------------------------------------------------- the report */

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* Sorts the values in place. Of an even number, the median is the lower one of the two in the middle. */
static json_t *spread(uint64_t *values, unsigned count)
{
	qsort(values, count, sizeof(values[0]), compare);
	return json_pack("{sIsIsIsI}", "median", (json_int_t)values[(count - 1) / 2], "min", (json_int_t)values[0],
			 "p90", (json_int_t)values[(count * 9 + 9) / 10 - 1], "max", (json_int_t)values[count - 1]);
}

static json_t *samples_of(const uint64_t *values, unsigned count)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, json_integer((json_int_t)values[i]));
	return array;
}

static json_t *describe_memory(const struct memory_use *use)
{
	return json_pack("{sIsIsIsIsIsI}", "pss", (json_int_t)use->pss, "private", (json_int_t)use->private_pages,
			 "rss", (json_int_t)use->rss, "guest", (json_int_t)use->guest, "page-tables",
			 (json_int_t)use->page_tables, "mappings", (json_int_t)use->mappings);
}

static json_t *describe(struct row *row, const struct options *options)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_string(row->name));
	json_object_set_new(object, "runs", json_integer(row->count));
	json_object_set_new(object, "in-order-ns", samples_of(row->ns, row->count));
	json_object_set_new(object, "ns", spread(row->ns, row->count));
	json_object_set_new(object, "page-faults", spread(row->faults, row->count));
	if (row->guest_ns[0] != 0)
		json_object_set_new(object, "guest-clock-ns", spread(row->guest_ns, row->count));
	if (row->kernel_ns[0] != 0)
		json_object_set_new(object, "kernel-ns", spread(row->kernel_ns, row->count));
	if (row->run_ns[0] != 0)
		json_object_set_new(object, "run-ns", spread(row->run_ns, row->count));
	if (json_array_size(row->stages) > 0)
		json_object_set(object, "stages-us", row->stages);
	if (options->preload != NULL)
		json_object_set(object, "calls", row->calls);
	if (options->exits)
		json_object_set(object, "exits", row->exits);
	if (options->phases)
		json_object_set(object, "phases", row->phases.parts);
	if (options->guest != NULL) {
		json_object_set_new(object, "memory-peak-kib", describe_memory(&row->peak));
		json_object_set_new(object, "memory-at-end-kib", describe_memory(&row->last));
		json_object_set_new(object, "memory-samples", json_integer((json_int_t)row->samples));
	}
	return object;
}

/* ------------------------------------------------------------------------------------------- command line */

static void usage(void)
{
	fputs("usage: bench_launch [options] --row NAME COMMAND ARGUMENT... [--row NAME COMMAND ARGUMENT...]...\n"
	      "  --until TEXT       what ends a run, on stdout or stderr (needed)\n"
	      "  --json FILE        where the result goes (needed)\n"
	      "  --runs N           that count (default 5), in turns\n"
	      "  --warmup N         that do not (default 1)\n"
	      "  --timeout SECONDS  for one run (default 60)\n"
	      "  --calls LIBRARY    preload bench_calls\n"
	      "  --memory PREFIX    sample the memory; guest memory is the mappings whose names start so\n"
	      "  --sample MS        that often (default 10)\n"
	      "  --linger MS        and that long behind the mark (default 0)\n"
	      "  --scrub MIB        write that much memory between two runs\n"
	      "  --exits            count exits from KVM (root, debugfs)\n"
	      "  --phases           the same between the guest's lines \"@start NAME\" and \"@end NAME KEY=NUMBER...\"; the guest\n"
	      "                     waits for a line after each\n",
	      stderr);
	exit(2);
}

static unsigned number(const char *option, const char *text, unsigned max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value > max)
		errx(2, "%s %s: not a number up to %u", option, text, max);
	return (unsigned)value;
}

/* Returns the index of the first --row. */
static int read_options(struct options *options, int argc, char *argv[])
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--row") != 0; i++) {
		const char *option = argv[i], *value;

		if (strcmp(option, "--exits") == 0) {
			options->exits = true;
			continue;
		}
		if (strcmp(option, "--phases") == 0) {
			options->phases = true;
			continue;
		}
		value = argv[++i];
		if (value == NULL)
			usage();
		if (strcmp(option, "--until") == 0)
			options->until = value;
		else if (strcmp(option, "--json") == 0)
			options->json = value;
		else if (strcmp(option, "--runs") == 0)
			options->runs = number(option, value, RUNS_MAX);
		else if (strcmp(option, "--warmup") == 0)
			options->warmup = number(option, value, RUNS_MAX);
		else if (strcmp(option, "--timeout") == 0)
			options->timeout_ns = number(option, value, 3600) * 1000 * MS;
		else if (strcmp(option, "--calls") == 0)
			options->preload = value;
		else if (strcmp(option, "--memory") == 0)
			options->guest = value;
		else if (strcmp(option, "--sample") == 0)
			options->sample_ns = number(option, value, 10000) * MS;
		else if (strcmp(option, "--scrub") == 0)
			options->scrub_mib = number(option, value, 1 << 20);
		else if (strcmp(option, "--linger") == 0)
			options->linger_ns = number(option, value, 3600000) * MS;
		else
			usage();
	}
	if (options->until == NULL || options->json == NULL || options->runs == 0 || options->sample_ns == 0)
		usage();
	return i;
}

/* "--row" becomes the NULL that ends the command before it. */
static unsigned read_rows(struct row *rows, int first, int argc, char *argv[])
{
	unsigned count = 0;

	for (int i = first; i < argc; i++) {
		if (strcmp(argv[i], "--row") != 0)
			continue;
		if (count == ROWS_MAX || i + 2 >= argc)
			usage();
		argv[i] = NULL;
		rows[count].name = argv[i + 1];
		rows[count].command = &argv[i + 2];
		rows[count].calls = json_array();
		rows[count].exits = json_array();
		rows[count].stages = json_array();
		rows[count].phases.parts = json_object();
		count++;
		i += 2;
	}
	if (count == 0)
		usage();
	return count;
}

/* Each round starts with another row, so that no row always follows the same one. */
static void run_rounds(const struct options *options, struct row *rows, unsigned count)
{
	for (unsigned round = 0; round < options->warmup + options->runs; round++) {
		for (unsigned i = 0; i < count; i++)
			run_once(options, &rows[(i + round) % count], round >= options->warmup);
	}
}

int main(int argc, char *argv[])
{
	static struct row rows[ROWS_MAX];
	struct options options = {.runs = 5, .warmup = 1, .sample_ns = 10 * MS, .timeout_ns = 60 * 1000 * MS};
	json_t *results = json_array();
	unsigned count;

	count = read_rows(rows, read_options(&options, argc, argv), argc, argv);
	if (options.exits || options.phases) {
		if (exits_start() < 0)
			return 1;
		atexit(exits_stop);
	}
	run_rounds(&options, rows, count);
	for (unsigned i = 0; i < count; i++) {
		json_array_append_new(results, describe(&rows[i], &options));
		json_decref(rows[i].calls);
		json_decref(rows[i].exits);
		json_decref(rows[i].stages);
		json_decref(rows[i].phases.parts);
	}
	if (json_dump_file(results, options.json, JSON_INDENT(1)) < 0)
		err(1, "%s", options.json);
	json_decref(results);
	return 0;
}
