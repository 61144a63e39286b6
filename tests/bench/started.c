/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/started.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void started_hear(struct started *started, const char *line)
{
	static const char RUN[] = "first KVM_RUN at ", STAGES[] = "start, us:";
	const char *at = strstr(line, RUN);
	int64_t took;
	char name[32];
	int used;

	if (at != NULL)
		sscanf(at + strlen(RUN), "%" SCNu64, &started->run_at);
	at = strstr(line, STAGES);
	if (at == NULL || started->stages != NULL)
		return;
	started->stages = json_object();
	at += strlen(STAGES);
	while (sscanf(at, " %31[a-z] %" SCNd64 "%n", name, &took, &used) == 2) {
		json_object_set_new(started->stages, name, json_integer(took));
		at += used;
	}
}
