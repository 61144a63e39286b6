/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/qmp/events.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "vmm/qmp/commands.h"

/* Why a machine ended, and whether its guest did that. */
static json_t *shutdown_data(enum stop_cause cause)
{
	static const struct {
		bool guest;
		const char *reason;
	} REASONS[] = {
		[STOP_NONE] = {false, "none"},
		[STOP_POWEROFF] = {true, "guest-shutdown"},
		[STOP_RESET] = {true, "guest-reset"},
		[STOP_EXIT] = {true, "guest-shutdown"},
		[STOP_TIMEOUT] = {false, "host-timeout"},
		[STOP_QUIT] = {false, "host-ui"},
		[STOP_SIGNAL] = {false, "host-signal"},
		[STOP_CONSOLE] = {false, "host-error"},
		[STOP_PANIC] = {true, "guest-panic"},
		[STOP_CRASH] = {true, "guest-panic"},
		[STOP_FAULT] = {false, "host-error"},
		[STOP_CONTROL_QUIT] = {false, "host-qmp-quit"},
		[STOP_CONTROL_RESET] = {false, "host-qmp-system-reset"},
	};

	return json_pack("{s:b, s:s}", "guest", REASONS[cause].guest, "reason", REASONS[cause].reason);
}

static json_t *plain(const char *name)
{
	char text[256];

	snprintf(text, sizeof(text), "%s", name);
	qmp_plain(text);
	return json_string(text);
}

struct json_t *qmp_event(const struct machine_event *event)
{
	static const char *const NAMES[] = {
		[MACHINE_EVENT_PAUSED] = "STOP",
		[MACHINE_EVENT_RESUMED] = "RESUME",
		[MACHINE_EVENT_POWERDOWN] = "POWERDOWN",
		[MACHINE_EVENT_NEEDS_RESET] = "DEVICE_NEEDS_RESET",
		[MACHINE_EVENT_PANICKED] = "GUEST_PANICKED",
		[MACHINE_EVENT_ENDED] = "SHUTDOWN",
	};
	struct timespec now;
	json_t *data = NULL;

	clock_gettime(CLOCK_REALTIME, &now);
	if (event->kind == MACHINE_EVENT_NEEDS_RESET)
		data = json_pack("{s:o}", "device", plain(event->device));
	else if (event->kind == MACHINE_EVENT_PANICKED)
		data = json_pack("{s:s}", "action", "poweroff");
	else if (event->kind == MACHINE_EVENT_ENDED)
		data = shutdown_data(event->cause);
	return json_pack("{s:{s:I, s:I}, s:s, s:o*}", "timestamp", "seconds", (json_int_t)now.tv_sec, "microseconds",
			 (json_int_t)now.tv_nsec / 1000, "event", NAMES[event->kind], "data", data);
}
