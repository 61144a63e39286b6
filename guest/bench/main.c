// SPDX-License-Identifier: Apache-2.0
#include "guest/bench/bench.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORDS_MAX = 8 };

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void answer_error(const char *format, ...)
{
	va_list values;
	char text[256];

	va_start(values, format);
	vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	for (char *c = text; *c != '\0'; c++) { /* what JSON would want quoted */
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	}
	printf("{\"error\":\"%s\"}\n", text);
}

bool parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	errno = 0;
	*size = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *text == '-')
		return false;
	if (*end == '\0')
		return true;
	unit = strchr(units, *end);
	if (unit == NULL || end[1] != '\0' || *size > UINT64_MAX >> (10 * (unit - units + 1)))
		return false;
	*size <<= 10 * (unit - units + 1);
	return true;
}

bool parse_count(const char *text, unsigned int least, unsigned int most, unsigned int *count)
{
	uint64_t value;

	if (!parse_size(text, &value) || value < least || value > most)
		return false;
	*count = (unsigned int)value;
	return true;
}

static void pin(int count, char **words)
{
	unsigned int cpu;
	cpu_set_t set;

	(void)count;
	if (!parse_count(words[0], 0, CPU_SETSIZE - 1, &cpu)) {
		answer_error("'%s' is no CPU", words[0]);
		return;
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		answer_error("CPU %u: %s", cpu, strerror(errno));
	else
		printf("{}\n");
}

/* A serial port has no end. */
static void quit(int count, char **words)
{
	(void)count;
	(void)words;
	exit(0);
}

static const struct job own_jobs[] = {
	{"pin", "CPU", 1, pin, "run on this processor"}, {"quit", "", 0, quit, "end, as at the end of the input"}, {0}};
static const struct job *const tables[] = {own_jobs, memory_jobs, claim_jobs};
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

static const struct job *find(const char *name)
{
	for (int i = 0; i < TABLES; i++) {
		for (const struct job *job = tables[i]; job->name != NULL; job++) {
			if (strcmp(job->name, name) == 0)
				return job;
		}
	}
	return NULL;
}

static void usage(void)
{
	printf("usage: spmvm-measure [--help]\n\n"
	       "Measures memory and claims of blocks of SPM. Reads jobs, one a line; answers each with a JSON object:\n"
	       "times in nanoseconds, or \"error\". Sizes are bytes, or a number with K, M, G or T.\n\n");
	for (int i = 0; i < TABLES; i++) {
		for (const struct job *job = tables[i]; job->name != NULL; job++)
			printf("  %-8s %-32s %s\n", job->name, job->arguments, job->what);
	}
}

static void perform(char *line)
{
	char *words[WORDS_MAX], *state;
	const struct job *job;
	int count = 0;

	for (char *word = strtok_r(line, " \n", &state); word != NULL && count < WORDS_MAX;
	     word = strtok_r(NULL, " \n", &state))
		words[count++] = word;
	if (count == 0)
		return;
	job = find(words[0]);
	if (job == NULL)
		answer_error("no job '%s'; see spmvm-measure --help", words[0]);
	else if (count - 1 < job->least)
		answer_error("%s wants: %s", job->name, job->arguments);
	else
		job->work(count - 1, words + 1);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[1024];

	if (argc > 1) {
		bool help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;

		if (!help)
			fprintf(stderr, "spmvm-measure: unknown argument '%s'; see --help\n", argv[1]);
		else
			usage();
		return help ? 0 : 2;
	}
	printf("{\"ready\":true}\n"); /* what comes before it was not ours: a firmware's, on a serial port */
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
		perform(line);
	return 0;
}
