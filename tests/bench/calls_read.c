/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/calls_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/calls_mark.h"

static void put(json_t *calls, const char *name, uint64_t count, uint64_t ns)
{
	json_object_set_new(calls, name, json_pack("{sIsI}", "count", (json_int_t)count, "ns", (json_int_t)ns));
}

json_t *calls_read(const char *line, uint64_t start)
{
	const char *mark = strstr(line, CALLS_MARK);
	uint64_t main_at, run_at, count, ns, known;
	char name[64];
	json_t *calls;
	int used;

	if (mark == NULL ||
	    sscanf(mark, CALLS_MARK "main=%" SCNu64 " run=%" SCNu64 "%n", &main_at, &run_at, &used) != 2 ||
	    start > main_at || main_at > run_at)
		return NULL;
	calls = json_object();
	put(calls, "exec-and-linking", 1, main_at - start);
	known = main_at - start;
	mark += used;
	while (sscanf(mark, " %63[^=]=%" SCNu64 "/%" SCNu64 "%n", name, &count, &ns, &used) == 3) {
		put(calls, name, count, ns);
		known += ns;
		mark += used;
	}
	put(calls, "own-code", 1, run_at - start > known ? run_at - start - known : 0);
	return calls;
}
