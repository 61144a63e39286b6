/* SPDX-License-Identifier: Apache-2.0 */
/* Reports: their two forms, and the file that they go to. The OpenMetrics checker here is strict on purpose. */
#include "tests/unit/report.h"
#include "tests/unit/scratch_folder.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "vmm/base/io.h"
#include "vmm/metrics_file.h"
#include "vmm/metrics_json.h"

static const struct counter_field CPU = {"cpu", 0, COUNTER_TOTAL, UNIT_NANOSECONDS, "CPU time"};
static const struct counter_field SIZE = {"size", 0, COUNTER_GAUGE, UNIT_BYTES, "Size"};
static const struct counter_field ON_NODE = {"on_host_node", 0, COUNTER_GAUGE, UNIT_BYTES, "Where"};

struct sample_counters {
	struct counter requests, bytes;
};

static const struct counter_field FIELDS[] = {
	{"requests", offsetof(struct sample_counters, requests), COUNTER_TOTAL, UNIT_NONE, "Requests"},
	{"moved", offsetof(struct sample_counters, bytes), COUNTER_TOTAL, UNIT_BYTES, "Bytes"},
};
static const struct counter_table TABLE = {"operation", FIELDS, 2};

static void device(struct metrics *metrics, const char *id, const char *option, uint64_t base)
{
	static struct sample_counters counters[2];
	const struct counter_sink sink = metrics_sink(metrics);

	metrics_object(metrics, METRICS_DEVICE, "blk", id, option);
	for (unsigned i = 0; i < 2; i++) {
		counter_set(&counters[i].requests, base + i);
		counter_add(&counters[i].bytes, 0);
		counter_set(&counters[i].bytes, 1000 * base + i);
		counter_show(&sink, &TABLE, &counters[i], i == 0 ? "read" : "write");
	}
}

/* One of each kind. */
static struct metrics sample(void)
{
	struct metrics metrics = {.time = UINT64_C(1700000000000000001), .final = true};

	metrics_object(&metrics, METRICS_MACHINE, NULL, NULL, NULL);
	metrics_value(&metrics, &CPU, 1500000001);
	metrics_kvm(&metrics, "remote_tlb_flush", COUNTER_TOTAL, 9);
	for (unsigned i = 0; i < 2; i++) {
		metrics_object(&metrics, METRICS_VCPU, NULL, i == 0 ? "0" : "1", NULL);
		metrics_value(&metrics, &CPU, 1000000000 + i);
		metrics_kvm(&metrics, "exits", COUNTER_TOTAL, 70 + i);
		metrics_kvm(&metrics, "guest_mode", COUNTER_GAUGE, i);
	}
	metrics_object(&metrics, METRICS_MEMORY, NULL, "hbm0", "--spm id=hbm0");
	metrics_value(&metrics, &SIZE, 4096);
	metrics_labelled(&metrics, &ON_NODE, "host_node", "3", 1024);
	device(&metrics, "blk0", "--blk path=a\"b\\c\nd", 5);
	device(&metrics, "blk1", "--blk path=\xff\t\x7fz~", 7);
	assert_false(metrics.failed);
	return metrics;
}

/* ------------------------------------------------------------------------------------------------- OpenMetrics */

static bool is_metric_name(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) && text[i] != '_')
			return false;
	}
	return length > 0 && !isdigit((unsigned char)text[0]);
}

/* Behind '{': name="value",...}; where it ends. */
static const char *check_labels(const char *at)
{
	do {
		const char *equals = strchr(at, '=');

		assert_non_null(equals);
		assert_true(is_metric_name(at, (size_t)(equals - at)));
		assert_int_equal(equals[1], '"');
		for (at = equals + 2; *at != '"'; at++) {
			assert_true((unsigned char)*at >= ' ' && (unsigned char)*at < 0x7f);
			if (*at == '\\') {
				at++;
				assert_true(*at == '\\' || *at == '"' || *at == 'n');
			}
		}
		at++;
	} while (*at == ',' && *++at != '\0');
	assert_int_equal(*at, '}');
	return at + 1;
}

struct family {
	char name[128], type[512], unit[512];
	bool has_help;
	unsigned samples;
};

static void check_metadata(char *line, struct family *family)
{
	char word[8], name[128], rest[512];

	assert_int_equal(sscanf(line, "# %7s %127s %511[^\n]", word, name, rest), 3);
	if (strcmp(word, "TYPE") == 0) {
		*family = (struct family){0};
		memcpy(family->name, name, sizeof(name));
		memcpy(family->type, rest, sizeof(rest));
		assert_true(strcmp(rest, "counter") == 0 || strcmp(rest, "gauge") == 0 || strcmp(rest, "info") == 0);
	}
	/* all of a family's words stand together, before its samples */
	assert_string_equal(name, family->name);
	assert_int_equal(family->samples, 0);
	if (strcmp(word, "UNIT") == 0) {
		memcpy(family->unit, rest, sizeof(rest));
		assert_true(strlen(name) > strlen(rest) + 1);
		assert_string_equal(name + strlen(name) - strlen(rest), rest);
		assert_int_equal(name[strlen(name) - strlen(rest) - 1], '_');
	}
	if (strcmp(word, "HELP") == 0)
		family->has_help = true;
}

static void check_sample(const char *line, struct family *family)
{
	const char *suffix = strcmp(family->type, "counter") == 0 ? "_total"
			     : strcmp(family->type, "info") == 0  ? "_info"
								  : "";
	size_t length = strcspn(line, "{ ");
	const char *at = line + length;
	char *end, name[160];

	snprintf(name, sizeof(name), "%s%s", family->name, suffix);
	assert_true(is_metric_name(line, length));
	assert_int_equal(length, strlen(name));
	assert_memory_equal(line, name, length);
	assert_true(family->has_help);
	if (*at == '{')
		at = check_labels(at + 1);
	assert_int_equal(*at, ' ');
	assert_true(isdigit((unsigned char)at[1]));
	(void)strtod(at + 1, &end);
	assert_int_equal(*end, '\0');
	family->samples++;
}

/* Whole lines, each of a known form; each family once; "# EOF" and nothing behind it. */
static unsigned check_open_metrics(const char *text)
{
	char *copy = strdup(text), *seen[64];
	struct family family = {0};
	unsigned families = 0;
	bool ended = false;

	assert_non_null(copy);
	assert_int_equal(copy[strlen(copy) - 1], '\n');
	for (char *line = copy, *next; *line != '\0'; line = next) {
		next = strchr(line, '\n');
		*next++ = '\0';
		assert_false(ended);
		ended = strcmp(line, "# EOF") == 0;
		if (ended)
			continue;
		if (*line != '#') {
			check_sample(line, &family);
			continue;
		}
		assert_true(strncmp(line, "# TYPE ", 7) != 0 || families == 0 || family.samples > 0);
		check_metadata(line, &family);
		if (strncmp(line, "# TYPE ", 7) != 0)
			continue;
		for (unsigned i = 0; i < families; i++)
			assert_string_not_equal(seen[i], family.name);
		assert_true(families < 64);
		seen[families++] = strdup(family.name);
	}
	assert_true(ended);
	for (unsigned i = 0; i < families; i++)
		free(seen[i]);
	free(copy);
	return families;
}

static void open_metrics_is_well_formed(void **state)
{
	static const char *const LINES[] = {
		"\n# TYPE spmvm_blk_moved_bytes counter\n# UNIT spmvm_blk_moved_bytes bytes\n",
		/* one behind the other */
		("\nspmvm_blk_moved_bytes_total{device=\"blk0\",operation=\"read\"} 5000\n"
		 "spmvm_blk_moved_bytes_total{device=\"blk0\",operation=\"write\"} 5001\n"
		 "spmvm_blk_moved_bytes_total{device=\"blk1\",operation=\"read\"} 7000\n"),
		"\nspmvm_blk_requests_total{device=\"blk1\",operation=\"write\"} 8\n",
		"\nspmvm_cpu_seconds_total 1.500000001\n",
		"\nspmvm_kvm_remote_tlb_flush_total 9\n",
		"\nspmvm_vcpu_cpu_seconds_total{vcpu=\"0\"} 1.000000000\n",
		"\nspmvm_vcpu_kvm_exits_total{vcpu=\"1\"} 71\n",
		"\nspmvm_vcpu_kvm_guest_mode{vcpu=\"1\"} 1\n",
		"\nspmvm_memory_on_host_node_bytes{memory=\"hbm0\",host_node=\"3\"} 1024\n",
		"\nspmvm_memory_info{memory=\"hbm0\",option=\"--spm id=hbm0\"} 1\n",
		"\nspmvm_device_info{device=\"blk0\",option=\"--blk path=a\\\"b\\\\c\\nd\"} 1\n",
		"\nspmvm_device_info{device=\"blk1\",option=\"--blk path=???z~\"} 1\n",
	};
	struct metrics metrics = sample(), empty = {0};
	struct buf text = {0};

	(void)state;
	metrics_text(&metrics, &text);
	buf_u8(&text, 0);
	assert_false(buf_failed(&text));
	assert_int_equal(check_open_metrics((const char *)text.data), 11);
	for (size_t i = 0; i < sizeof(LINES) / sizeof(LINES[0]); i++) {
		if (strstr((const char *)text.data, LINES[i]) == NULL)
			fail_msg("%s is not in\n%s", LINES[i], (const char *)text.data);
	}
	buf_release(&text);
	metrics_text(&empty, &text);
	assert_int_equal(text.size, 6);
	assert_memory_equal(text.data, "# EOF\n", 6);
	buf_release(&text);
	metrics.failed = true;
	metrics_text(&metrics, &text);
	assert_true(buf_failed(&text));
	buf_release(&text);
	metrics_release(&metrics);
}

/* -------------------------------------------------------------------------------------------------------- JSON */

static void json_has_every_value(void **state)
{
	struct metrics metrics = sample();
	json_t *json = metrics_json(&metrics);

	(void)state;
	assert_non_null(json);
	assert_int_equal(json_integer_value(json_object_get(json, "time_ns")), INT64_C(1700000000000000001));
	assert_true(json_is_true(json_object_get(json, "final")));
	assert_int_equal(report_number(json, "machine", 0, "cpu_ns", NULL), 1500000001);
	assert_int_equal(report_number(json, "machine", 0, "kvm", "remote_tlb_flush"), 9);
	assert_int_equal(json_array_size(json_object_get(json, "vcpus")), 2);
	assert_int_equal(report_number(json, "vcpus", 1, "kvm", "exits"), 71);
	assert_int_equal(report_number(json, "memory", 0, "size_bytes", NULL), 4096);
	assert_int_equal(report_number(json, "memory", 0, "on_host_node_bytes", "3"), 1024);
	assert_int_equal(report_number(json, "devices", 0, "requests", "write"), 6);
	assert_int_equal(report_number(json, "devices", 1, "moved_bytes", "read"), 7000);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(json_object_get(json, "devices"), 0), "option")),
		"--blk path=a\"b\\c\nd");
	json_decref(json);
	metrics.failed = true;
	assert_null(metrics_json(&metrics));
	metrics_release(&metrics);
}

static void statistics_are_in_qemus_shape(void **state)
{
	struct metrics metrics = sample();
	char *text;
	json_t *json = metrics_query_stats(&metrics, METRICS_VCPU);

	(void)state;
	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "[{\"provider\":\"kvm\",\"qom-path\":\"/machine/cpu[0]\",\"stats\":["
				  "{\"name\":\"exits\",\"value\":70},{\"name\":\"guest_mode\",\"value\":0}]},"
				  "{\"provider\":\"kvm\",\"qom-path\":\"/machine/cpu[1]\",\"stats\":["
				  "{\"name\":\"exits\",\"value\":71},{\"name\":\"guest_mode\",\"value\":1}]}]");
	free(text);
	json_decref(json);
	json = metrics_query_stats(&metrics, METRICS_MACHINE);
	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "[{\"provider\":\"kvm\",\"stats\":[{\"name\":\"remote_tlb_flush\",\"value\":9}]}]");
	free(text);
	json_decref(json);
	json = metrics_query_stats(&metrics, METRICS_MEMORY);
	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "[{\"id\":\"hbm0\",\"provider\":\"spmvm\",\"stats\":["
				  "{\"name\":\"size_bytes\",\"value\":4096},"
				  "{\"name\":\"on_host_node_bytes.3\",\"value\":1024}]}]");
	free(text);
	json_decref(json);
	metrics_release(&metrics);
}

/* ---------------------------------------------------------------------------------------------------- the file */

static char *contents(const char *path)
{
	struct buf buf = {0};
	struct error err;
	size_t size;

	assert_int_equal(io_read_file(path, 1 << 20, &buf, EXIT_STATUS_HOST, &err), 0);
	buf_u8(&buf, 0);
	return (char *)buf_steal(&buf, &size);
}

static unsigned lines_of(const char *text)
{
	unsigned lines = 0;

	for (; *text != '\0'; text++)
		lines += *text == '\n';
	return lines;
}

static void the_file_keeps_whole_reports(void **state)
{
	struct metrics metrics = sample();
	struct log log = {.level = LOG_WARN, .fd = open("/dev/null", O_WRONLY | O_CLOEXEC)};
	struct scratch scratch;
	char path[128], *text;
	struct config_metrics config = {.path = path, .format = METRICS_JSON};
	struct metrics_file file;
	struct rlimit before, limit;
	struct error err;
	size_t length;

	(void)state;
	scratch_new(&scratch);
	snprintf(path, sizeof(path), "%s", scratch_path(&scratch, "metrics"));
	assert_int_equal(metrics_file_open(&file, &config, &err), 0);
	metrics_file_write(&file, &metrics, &log);
	metrics_file_write(&file, &metrics, &log);
	text = contents(path);
	length = strlen(text);
	assert_int_equal(lines_of(text), 2);
	free(text);
	/* the third does not fit: the two stay, whole */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){length + 10, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	metrics_file_write(&file, &metrics, &log);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(file.log_limit.written, 1);
	text = contents(path);
	assert_int_equal(strlen(text), length);
	free(text);
	metrics_file_write(&file, &metrics, &log);
	metrics_file_release(&file);
	/* the next machine's come behind it */
	assert_int_equal(metrics_file_open(&file, &config, &err), 0);
	metrics_file_write(&file, &metrics, &log);
	metrics_file_release(&file);
	text = contents(path);
	assert_int_equal(lines_of(text), 4);
	free(text);
	/* as OpenMetrics the last report is all that there is, also after a longer one */
	config.format = METRICS_OPENMETRICS;
	assert_int_equal(metrics_file_open(&file, &config, &err), 0);
	metrics_file_write(&file, &metrics, &log);
	text = contents(path);
	assert_int_equal(check_open_metrics(text), 11);
	free(text);
	metrics_file_write(&file, &(struct metrics){0}, &log);
	text = contents(path);
	assert_string_equal(text, "# EOF\n");
	free(text);
	metrics_file_release(&file);
	metrics_file_release(&file);
	metrics_release(&metrics);
	close(log.fd);
	scratch_remove(&scratch);
}

static void only_a_regular_file_will_do(void **state)
{
	const struct {
		const char *path;
		int code;
		const char *text;
	} cases[] = {
		{"folder", -EISDIR, "cannot open it for writing: Is a directory; name a file that can be made there"},
		{"none/metrics", -ENOENT,
		 "cannot open it for writing: No such file or directory; name a file that can be made there"},
		{"fifo", -ENXIO,
		 "cannot open it for writing: No such device or address; name a file that can be made there"},
		{"/dev/full", -EINVAL, "not a regular file; name one"},
	};
	struct metrics_file file = {.fd = -1};
	struct scratch scratch;
	char path[128], text[512];

	(void)state;
	scratch_new(&scratch);
	assert_int_equal(mkdir(scratch_path(&scratch, "folder"), 0700), 0);
	assert_int_equal(mkfifo(scratch_path(&scratch, "fifo"), 0600), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct config_metrics config = {.path = path};
		struct error err = {0};

		snprintf(path, sizeof(path), "%s",
			 cases[i].path[0] == '/' ? cases[i].path : scratch_path(&scratch, cases[i].path));
		assert_int_equal(metrics_file_open(&file, &config, &err), cases[i].code);
		snprintf(text, sizeof(text), "--metrics path=%s: %s", path, cases[i].text);
		assert_string_equal(err.text, text);
		assert_int_equal(err.status, EXIT_STATUS_HOST);
		metrics_file_release(&file);
		assert_int_equal(file.fd, -1);
	}
	scratch_remove(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_metrics_is_well_formed),   cmocka_unit_test(json_has_every_value),
		cmocka_unit_test(statistics_are_in_qemus_shape), cmocka_unit_test(the_file_keeps_whole_reports),
		cmocka_unit_test(only_a_regular_file_will_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
