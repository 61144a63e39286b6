/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/entries.h"
#include "tests/unit/machine_line.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/range.h"
#include "vmm/measure_figures.h"
#include "vmm/memory/measure.h"

/* Measuring on this machine, whatever it is: figures are sane, the time is bounded, nothing stays. */

static const struct log quiet = {.level = LOG_ERROR, .fd = STDERR_FILENO};

static bool is_mapped(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	bool found = false;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL)
		found = found || strstr(line, name) != NULL;
	fclose(maps);
	return found;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void assert_sane(const struct memory_speed *speed)
{
	assert_in_range(speed->latency, 1000, 10000000); /* 1 ns to 10 us */
	assert_true(speed->read >= MIB && speed->read < UINT64_C(1) << 50);
	assert_true(speed->write >= MIB && speed->write < UINT64_C(1) << 50);
}

static void speeds_are_sane_and_nothing_stays(void **state)
{
	static const uint64_t SIZES[] = {2 * MIB, 6 * MIB, MEASURE_SIZE, 100 * MEASURE_SIZE};
	const struct backend_source source = {.policy = HOST_POLICY_DEFAULT};
	size_t files = entries_in("/proc/self/fd");
	cpu_set_t cpus;

	(void)state;
	for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
		struct memory_speed speed = {0};
		struct error err = {0};
		double began = seconds();

		CPU_ZERO(&cpus);
		if (i % 2 == 1)
			sched_getaffinity(0, sizeof(cpus), &cpus);
		if (memory_measure(&speed, &source, "--spm", SIZES[i], &cpus, &quiet, &err) < 0)
			fail_msg("%s", err.text);
		print_message("latency %llu ps, read %llu MiB/s, write %llu MiB/s in %.3f s\n",
			      (unsigned long long)speed.latency, (unsigned long long)(speed.read / MIB),
			      (unsigned long long)(speed.write / MIB), seconds() - began);
		assert_sane(&speed);
		assert_true(seconds() - began < 5); /* three passes of 0.06 s, on a machine that is busy */
		assert_int_equal(entries_in("/proc/self/fd"), files);
		assert_false(is_mapped("spmvm-measure"));
	}
}

/* CPUs that are not there, or not for this process, are no reason to fail. */
static void other_cpus_do_too(void **state)
{
	const struct backend_source source = {.policy = HOST_POLICY_DEFAULT};
	struct memory_speed speed = {0};
	struct error err = {0};
	cpu_set_t cpus;

	(void)state;
	CPU_ZERO(&cpus);
	CPU_SET(CPU_SETSIZE - 1, &cpus);
	assert_int_equal(memory_measure(&speed, &source, "--spm", 2 * MIB, &cpus, &quiet, &err), 0);
	assert_sane(&speed);
}

static void shortages_are_errors(void **state)
{
	struct backend_source source = {.policy = HOST_POLICY_BIND};
	size_t files = entries_in("/proc/self/fd");
	struct memory_speed speed;
	struct error err = {0};
	cpu_set_t cpus;

	(void)state;
	CPU_ZERO(&cpus);
	node_set_add(&source.host_nodes, NODES_MAX - 1);
	assert_true(memory_measure(&speed, &source, "--spm id=a", 2 * MIB, &cpus, &quiet, &err) < 0);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_non_null(strstr(err.text, "--spm id=a"));
	assert_int_equal(entries_in("/proc/self/fd"), files);
}

/* Everything that a log said. */
static char *read_back(int fd)
{
	static char text[8192];
	ssize_t size;

	lseek(fd, 0, SEEK_SET);
	size = read(fd, text, sizeof(text) - 1);
	assert_true(size >= 0);
	text[size] = '\0';
	return text;
}

static unsigned lines_with(const char *text, const char *words)
{
	unsigned count = 0;

	for (const char *at = strstr(text, words); at != NULL; at = strstr(at + 1, words))
		count++;
	return count;
}

/* What is published is what is told, one measurement for memory of one source, none for what is given. */
static void figures_are_those_that_are_told(void **state)
{
	struct machine_line machine;
	struct host_nodes host = {0};
	struct memory_figures *measured = NULL;
	struct error err = {0};
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct log log = {.level = LOG_INFO, .fd = fd};
	char line[240];
	const char *text;

	(void)state;
	assert_true(fd >= 0);
	line_config(&machine,
		    "--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem 64M --spm size=8M,node=2,id=a "
		    "--spm size=2M,node=3,id=b,latency=60,bandwidth=800G --spm size=2M,node=4,id=c,latency=61 "
		    "--hmat measure");
	machine.board = NULL;
	if (measure_figures(&measured, machine.config, &host, &log, &err) < 0)
		fail_msg("%s", err.text);
	/* one kind of memory, measured once: ram0, a, b, c; from two nodes without a host node behind them */
	for (size_t i = 0; i < 8; i++) {
		for (int kind = 0; kind < ACPI_FIGURES; kind++)
			assert_int_equal(measured[i].figures[kind], i % 4 == 2 ? 0 : measured[0].figures[kind]);
	}
	config_release(machine.config);
	machine.options.raw.measured = measured;
	assert_int_equal(config_from(machine.config, &machine.options.raw, &err), 0);
	measure_tell(machine.config, &host, &log);
	text = read_back(fd);
	assert_int_equal(lines_with(text, "--hmat measure: "), 3);
	assert_int_equal(lines_with(text, "id=b"), 0);
	assert_int_equal(machine.config->node_count, 5);
	for (uint32_t from = 0; from < 2; from++) {
		uint32_t *const *figures = machine.config->figures;
		size_t to = (size_t)from * 5 + 2;

		snprintf(line, sizeof(line),
			 "--hmat measure: --spm id=a from node 0: read-latency=%uns,write-latency=%uns,"
			 "read-bandwidth=%s,write-bandwidth=%s\n",
			 figures[ACPI_READ_LATENCY][to] / 1000, figures[ACPI_WRITE_LATENCY][to] / 1000,
			 size_text(figures[ACPI_READ_BANDWIDTH][to] * MIB).text,
			 size_text(figures[ACPI_WRITE_BANDWIDTH][to] * MIB).text);
		assert_non_null(strstr(text, line));
		assert_int_equal(figures[ACPI_READ_LATENCY][to] % 1000, 0);
		assert_int_equal(figures[ACPI_WRITE_LATENCY][to], figures[ACPI_READ_LATENCY][to]);
		/* 800G is beside it: HMAT may tell steps of 16M only, rounded down */
		assert_true(figures[ACPI_READ_BANDWIDTH][to] <= measured[1].figures[ACPI_READ_BANDWIDTH] &&
			    figures[ACPI_READ_BANDWIDTH][to] + 16 > measured[1].figures[ACPI_READ_BANDWIDTH]);
		/* what is given stays */
		assert_int_equal(figures[ACPI_READ_LATENCY][to + 1], 60000);
		assert_int_equal(figures[ACPI_READ_BANDWIDTH][to + 1], 819200);
		assert_int_equal(figures[ACPI_READ_LATENCY][to + 2], 61000);
		assert_int_equal(figures[ACPI_READ_BANDWIDTH][to + 2], figures[ACPI_READ_BANDWIDTH][to]);
	}
	free(measured);
	close(fd);
	line_release(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(speeds_are_sane_and_nothing_stays),
		cmocka_unit_test(other_cpus_do_too),
		cmocka_unit_test(shortages_are_errors),
		cmocka_unit_test(figures_are_those_that_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
