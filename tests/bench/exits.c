/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/exits.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define DEBUGFS  "/sys/kernel/debug"
#define TRIGGERS DEBUGFS "/tracing/events/kvm/"

/* Who and why; and of the accesses to ports also where, those that KVM answers by itself included. */
static const struct histogram {
	const char *trigger, *show, *histogram;
} REASONS = {TRIGGERS "kvm_userspace_exit/trigger", TRIGGERS "kvm_userspace_exit/hist",
	     "hist:keys=common_pid,reason:size=4096"},
  PORTS = {TRIGGERS "kvm_pio/trigger", TRIGGERS "kvm_pio/hist", "hist:keys=common_pid,port:size=4096"};

/* Opening the file to truncate it ("w") takes all triggers away, so the later ones append. */
static int write_trigger(const struct histogram *histogram, const char *mode, const char *before, const char *behind)
{
	FILE *file = fopen(histogram->trigger, mode);
	int bad;

	if (file == NULL)
		return -1;
	bad = fprintf(file, "%s%s%s\n", before, histogram->histogram, behind) < 0;
	bad |= fclose(file) != 0;
	return bad ? -1 : 0;
}

int exits_start(void)
{
	/* debugfs shows tracefs at tracing/ by itself */
	if (access(DEBUGFS "/kvm", X_OK) != 0 && mount("debugfs", DEBUGFS, "debugfs", 0, NULL) != 0)
		fprintf(stderr, "launch: cannot mount debugfs: %s\n", strerror(errno));
	if (write_trigger(&REASONS, "we", "", "") == 0 && write_trigger(&PORTS, "we", "", "") == 0)
		return 0;
	fprintf(stderr, "launch: cannot count exits with " TRIGGERS ": %s\n", strerror(errno));
	exits_stop(); /* or the first one counts on when we are gone */
	return -1;
}

void exits_stop(void)
{
	write_trigger(&REASONS, "ae", "!", "");
	write_trigger(&PORTS, "ae", "!", "");
}

void exits_clear(void)
{
	write_trigger(&REASONS, "ae", "", ":clear");
	write_trigger(&PORTS, "ae", "", ":clear");
}

static void count(json_t *exits, const char *name, uint64_t more)
{
	json_t *value = json_object_get(exits, name);

	json_object_set_new(exits, name, json_integer(json_integer_value(value) + (json_int_t)more));
}

static const char *reason_name(unsigned reason)
{
	switch (reason) {
	case KVM_EXIT_IO:
		return "io";
	case KVM_EXIT_MMIO:
		return "mmio";
	case KVM_EXIT_INTR:
		return "interrupted";
	default:
		return "other";
	}
}

static void count_reason(json_t *exits, unsigned reason, uint64_t hits)
{
	count(exits, "to-user-space", hits);
	count(exits, reason_name(reason), hits);
}

static void count_port(json_t *ports, unsigned port, uint64_t hits)
{
	char name[8];

	snprintf(name, sizeof(name), "0x%x", port & 0xffff);
	count(ports, name, hits);
}

/* Lines such as "{ common_pid:        312, reason:          2 } hitcount:       1711", of this process's threads. */
static int read_histogram(const struct histogram *histogram, pid_t pid,
			  void (*take)(json_t *to, unsigned key, uint64_t hits), json_t *to)
{
	FILE *file = fopen(histogram->show, "re");
	char line[256], path[64];
	uint64_t hits;
	unsigned key;
	int thread;

	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "{ common_pid: %d, %*[a-z]: %u } hitcount: %" SCNu64, &thread, &key, &hits) != 3)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, thread);
		if (access(path, F_OK) == 0)
			take(to, key, hits);
	}
	fclose(file);
	return 0;
}

/* Every file of DEBUGFS/kvm/PID-FD that holds one number. */
static json_t *read_vm(pid_t pid)
{
	json_t *counters = json_object();
	DIR *vms = opendir(DEBUGFS "/kvm"), *files;
	char path[600], text[64];
	struct dirent *vm, *file;

	while (vms != NULL && (vm = readdir(vms)) != NULL) {
		if (atoi(vm->d_name) != (int)pid || strchr(vm->d_name, '-') == NULL)
			continue;
		snprintf(path, sizeof(path), DEBUGFS "/kvm/%s", vm->d_name);
		files = opendir(path);
		while (files != NULL && (file = readdir(files)) != NULL) {
			FILE *one;
			char *end;

			snprintf(path, sizeof(path), DEBUGFS "/kvm/%.40s/%s", vm->d_name, file->d_name);
			one = file->d_type == DT_REG ? fopen(path, "re") : NULL;
			if (one == NULL)
				continue;
			if (fgets(text, sizeof(text), one) != NULL) {
				long long value = strtoll(text, &end, 10);

				if (end != text && *end == '\n' && value != 0)
					json_object_set_new(counters, file->d_name, json_integer(value));
			}
			fclose(one);
		}
		if (files != NULL)
			closedir(files);
	}
	if (vms != NULL)
		closedir(vms);
	return counters;
}

json_t *exits_read(pid_t pid)
{
	json_t *exits = json_object();

	if (read_histogram(&REASONS, pid, count_reason, exits) == 0) {
		json_t *ports = json_object();

		read_histogram(&PORTS, pid, count_port, ports);
		json_object_set_new(exits, "ports", ports);
		json_object_set_new(exits, "kvm", read_vm(pid));
	}
	return exits;
}
