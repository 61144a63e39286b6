/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qmp PATH ROUNDS: a client of a QMP socket that is none of spmvm's own. Negotiates, asks for the status so often, one
 * after the other, and prints the median of the round trips in microseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static FILE *server;

static int by_size(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return one < other ? -1 : one > other;
}

static double microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Says a line, unless it is empty, and wants this in the server's next one. */
static void round_trip(const char *text, const char *wanted)
{
	char line[4096];

	if ((*text != '\0' && write(fileno(server), text, strlen(text)) < 0) ||
	    fgets(line, sizeof(line), server) == NULL || strstr(line, wanted) == NULL) {
		fprintf(stderr, "qmp: no answer with %s to: %s\n", wanted, text);
		exit(1);
	}
}

int main(int argc, char *argv[])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), rounds = argc == 3 ? atoi(argv[2]) : 0;
	double *times = calloc(rounds > 0 ? (size_t)rounds : 1, sizeof(*times));

	if (rounds <= 0 || times == NULL || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, argv[1]);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		perror(argv[1]);
		return 1;
	}
	server = fdopen(fd, "r");
	round_trip("", "\"QMP\"");
	round_trip("{\"execute\":\"qmp_capabilities\"}\n", "\"return\"");
	for (int i = 0; i < rounds; i++) {
		double start = microseconds();

		round_trip("{\"execute\":\"query-status\"}\n", "\"status\"");
		times[i] = microseconds() - start;
	}
	qsort(times, (size_t)rounds, sizeof(*times), by_size);
	printf("median round trip %.0f us of %d\n", times[rounds / 2], rounds);
	return 0;
}
