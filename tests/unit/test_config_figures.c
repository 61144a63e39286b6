/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"
#include "vmm/option_values.h"

#include <errno.h>

/* --mem's and --spm's figures and caches, --perf and --accel: from the words to the matrices and the board's HMAT. */

static uint32_t figure(const struct machine_line *machine, enum acpi_figure kind, uint32_t from, uint32_t to)
{
	const struct config *config = machine->config;

	assert_non_null(config->figures[kind]);
	assert_true(from < config->initiator_count && to < config->node_count);
	return config->figures[kind][(size_t)from * config->node_count + to];
}

/* All four, from one node to another: ps, ps, MB/s, MB/s. */
static void assert_figures(const struct machine_line *machine, uint32_t from, uint32_t to,
			   const uint32_t expected[ACPI_FIGURES])
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++)
		assert_int_equal(figure(machine, (enum acpi_figure)kind, from, to), expected[kind]);
}
#define FIGURES(...) ((const uint32_t[ACPI_FIGURES]){__VA_ARGS__})

/* Refused by the parser or by the configuration, with this text. */
static void assert_refused(enum exit_status status, const char *line, const char *text)
{
	struct machine_line machine = {.text = strdup(line), .words = calloc(LINE_WORDS_MAX, sizeof(char *))};
	static char name[] = "spmvm", plan[] = "plan";
	struct config config;
	struct error err = {0};
	int count = 2, code;

	machine.words[0] = name;
	machine.words[1] = plan;
	for (char *word = strtok(machine.text, " "); word != NULL; word = strtok(NULL, " "))
		machine.words[count++] = word;
	code = options_parse(&machine.options, count, machine.words, &err);
	if (code == 0) {
		code = config_from(&config, &machine.options.raw, &err);
		options_release(&machine.options);
	}
	assert_true(code < 0);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, status);
	free(machine.words);
	free(machine.text);
}

static void assert_usage(const char *line, const char *text)
{
	assert_refused(EXIT_STATUS_USAGE, line, text);
}

static void assert_config(const char *line, const char *text)
{
	assert_refused(EXIT_STATUS_CONFIG, line, text);
}

static const struct acpi_inputs *acpi_of(const struct machine_line *machine)
{
	if (machine->board == NULL)
		abort(); /* line_new() has failed the test before */
	return &machine->board->acpi;
}

/* Whatever is in the inputs, the tables can be made and have room in the layout. */
static void assert_builds(const struct machine_line *machine)
{
	struct acpi_blob blob;
	struct error err = {0};

	if (board_build_acpi(machine->board, &blob, &err) != 0)
		fail_msg("%s", err.text);
	acpi_blob_release(&blob);
}

static void nothing_said_is_no_table(void **state)
{
	struct machine_line machine = line_new("--spm size=1G,node=2 --accel a,node=1");

	(void)state;
	assert_null(machine.config->figures[ACPI_READ_LATENCY]);
	assert_false(acpi_of(&machine)->hmat);
	assert_int_equal(machine.config->cpu_node_count, 1);
	assert_int_equal(machine.config->initiator_count, 2);
	line_release(&machine);
}

static void figures_are_read(void **state)
{
	struct machine_line machine = line_new(
		"--spm size=1G,node=1,latency=60,bandwidth=800G "
		"--spm size=1G,node=2,read-latency=60500ps,write-latency=2us,read-bandwidth=16M,write-bandwidth=60000M "
		"--spm size=1G,node=3,read-latency=250ns --spm size=1G,node=4");

	(void)state;
	assert_figures(&machine, 0, 1, FIGURES(60000, 60000, 819200, 819200));
	assert_figures(&machine, 0, 2, FIGURES(60500, 2000000, 16, 60000));
	assert_figures(&machine, 0, 3, FIGURES(250000, 0, 0, 0));
	assert_figures(&machine, 0, 4, FIGURES(0, 0, 0, 0));
	line_release(&machine);
	machine = line_new("--mem size=1G,latency=4294967295ps,bandwidth=4294967295M");
	assert_figures(&machine, 0, 0, FIGURES(UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX));
	line_release(&machine);
}

/* 10 ns for each unit of distance, 100G; what is given stays. */
static void ram_is_completed(void **state)
{
	struct machine_line machine =
		line_new("--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem 1G --mem size=1G,node=1 "
			 "--mem size=1G,node=2,write-latency=200,bandwidth=50G --distance 0:1=21 --distance 1:0=31 "
			 "--spm size=1G,node=3,latency=60,bandwidth=800G");

	(void)state;
	assert_figures(&machine, 0, 0, FIGURES(100000, 100000, 102400, 102400));
	assert_figures(&machine, 0, 1, FIGURES(210000, 210000, 102400, 102400));
	assert_figures(&machine, 1, 0, FIGURES(310000, 310000, 102400, 102400));
	assert_figures(&machine, 1, 1, FIGURES(100000, 100000, 102400, 102400));
	assert_figures(&machine, 0, 2, FIGURES(200000, 200000, 51200, 51200));
	assert_figures(&machine, 1, 3, FIGURES(60000, 60000, 819200, 819200));
	assert_int_equal(machine.config->warning_count, 0);
	line_release(&machine);
}

static void perf_is_for_one_pair(void **state)
{
	struct machine_line machine = line_new(
		"--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --spm size=1G,node=3,latency=60,bandwidth=800G "
		"--accel gpu0,node=2,node-of=spm0 --perf from=2,to=3,latency=20 "
		"--perf from=2,to=3,read-latency=20ns,bandwidth=1600G --perf from=1,to=3,write-latency=90");

	(void)state;
	assert_figures(&machine, 0, 3, FIGURES(60000, 60000, 819200, 819200));
	assert_figures(&machine, 1, 3, FIGURES(60000, 90000, 819200, 819200));
	assert_figures(&machine, 2, 3, FIGURES(20000, 20000, 1638400, 1638400));
	/* an accelerator has what --perf says and no more */
	assert_figures(&machine, 2, 0, FIGURES(0, 0, 0, 0));
	assert_int_equal(board_attached(machine.board, 0), 0);
	assert_int_equal(board_attached(machine.board, 1), 1);
	assert_int_equal(board_attached(machine.board, 3), 2);
	assert_builds(&machine);
	line_release(&machine);
	/* one of which no figure is known would hide those of the CPUs */
	machine = line_new("--spm size=1G,node=1,latency=60,bandwidth=1G --accel gpu0,node-of=spm0");
	assert_int_equal(board_attached(machine.board, 1), ACPI_NOT_ATTACHED);
	line_release(&machine);
}

static void the_largest_machine(void **state)
{
	char *line = malloc(100000);
	size_t at = (size_t)sprintf(line, "--mem 16G --cpus 255 --phys-bits 52 --accel a,node=255");
	struct machine_line machine;

	(void)state;
	assert_non_null(line);
	for (int node = 0; node < 255; node++)
		at += (size_t)sprintf(line + at, " --numa node=%d,cpus=%d", node, node);
	for (int node = 256; node < 1024; node++)
		at += (size_t)sprintf(line + at, " --spm size=2M,node=%d,latency=%d,bandwidth=%dG,cache=1M", node, node,
				      node);
	machine = line_new(line);
	assert_int_equal(machine.config->node_count, 1024);
	assert_int_equal(machine.config->initiator_count, 256);
	assert_builds(&machine);
	line_release(&machine);
	free(line);
}

static void accels_are_devices(void **state)
{
	struct machine_line machine = line_new("--accel id=b,node=2 --accel c,node-of=hbm --accel a,node=0 "
					       "--spm size=1G,node=1,id=hbm --spm size=1G,node=3");
	const struct acpi_inputs *acpi = acpi_of(&machine);
	const struct acpi_device *first = &acpi->devices[acpi->device_count - 3];
	static const struct {
		const char *id, *name;
		uint32_t node;
	} expected[] = {{"a", "AC00", 0}, {"c", "AC01", 1}, {"b", "AC02", 2}};

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		assert_string_equal(first[i].description, expected[i].id);
		assert_string_equal(first[i].name, expected[i].name);
		assert_string_equal(first[i].hid, "SPMV0001");
		assert_int_equal(first[i].uid, i);
		assert_int_equal(first[i].pxm, expected[i].node);
		assert_true(first[i].is_initiator);
	}
	assert_builds(&machine);
	line_release(&machine);
}

static void caches(void **state)
{
	struct machine_line machine = line_new("--mem size=1G,cache=16M "
					       "--spm size=1G,node=1,cache=1G,cache-line=128,cache-mapping=complex,"
					       "cache-policy=write-through --spm size=1G,node=2");
	const struct acpi_inputs *acpi = acpi_of(&machine);

	(void)state;
	assert_true(acpi->hmat);
	assert_int_equal(acpi->cache_count, 2);
	assert_memory_equal(&acpi->caches[0],
			    (&(struct acpi_cache){
				    .size = 16 * MIB, .level = 1, .levels = 1, .mapping = 1, .policy = 1, .line = 64}),
			    sizeof(struct acpi_cache));
	assert_int_equal(acpi->caches[1].pxm, 1);
	assert_int_equal(acpi->caches[1].size, GIB);
	assert_int_equal(acpi->caches[1].mapping, 2);
	assert_int_equal(acpi->caches[1].policy, 2);
	assert_int_equal(acpi->caches[1].line, 128);
	assert_builds(&machine);
	line_release(&machine);
	assert_config("--mem size=1G,cache=1M --mem size=1G,cache=1M",
		      "--mem number 2: node 0 has a cache already: it lies before all memory of a node; give it once");
	assert_usage("--mem size=1G,cache-policy=write-through",
		     "--mem size=1G,cache-policy=write-through: cache-policy (column 9) needs a cache; add cache=SIZE");
	assert_usage(
		"--mem size=1G,cache=1M,cache-mapping=full",
		"--mem size=1G,cache=1M,cache-mapping=full: unknown mapping 'full' (column 32); use direct or complex");
	assert_usage(
		"--mem size=1G,cache=1M,cache-policy=x",
		"--mem size=1G,cache=1M,cache-policy=x: unknown policy 'x' (column 31); use write-back or write-through");
	assert_usage("--mem size=1G,cache=1M,cache-line=65536",
		     "--mem size=1G,cache=1M,cache-line=65536: 65536 is out of range (column 29); use 1 to 65535");
}

static void bad_words(void **state)
{
	static const char *const latencies[] = {"x", "ns", "1s", "1.5", "-1", "1ms", "0x10", "1nss"};
	static const char *const out_of_range[] = {"0",       "0ps",    "4294967296ps",
						   "4294968", "4295us", "99999999999999999999999999ps"};
	char line[100], text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(latencies) / sizeof(latencies[0]); i++) {
		snprintf(line, sizeof(line), "--mem size=1G,latency=%s", latencies[i]);
		snprintf(text, sizeof(text),
			 "%s: bad latency '%s' (column 17); use digits and ps, ns or us, such as 60ns or 60500ps", line,
			 latencies[i]);
		assert_usage(line, text);
	}
	for (size_t i = 0; i < sizeof(out_of_range) / sizeof(out_of_range[0]); i++) {
		snprintf(line, sizeof(line), "--mem size=1G,latency=%s", out_of_range[i]);
		snprintf(text, sizeof(text), "%s: latency %s is out of range (column 17); use 1ps to 4294967295ps",
			 line, out_of_range[i]);
		assert_usage(line, text);
	}
	assert_usage("--mem size=1G,bandwidth=1K",
		     "--mem size=1G,bandwidth=1K: bandwidth 1K is no multiple of 1M below 4096T (column 19); round it");
	assert_usage(
		"--mem size=1G,bandwidth=4096T",
		"--mem size=1G,bandwidth=4096T: bandwidth 4096T is no multiple of 1M below 4096T (column 19); round it");
	assert_usage(
		"--mem size=1G,latency=1,read-latency=1",
		"--mem size=1G,latency=1,read-latency=1: read-latency (column 19) says again what another key says; "
		"keep one of them");
	assert_usage("--perf from=0,to=0,x=1",
		     "--perf from=0,to=0,x=1: unknown key 'x' (column 13); use from, to, " OPTION_FIGURES);
	assert_usage("--perf to=0,latency=1",
		     "--perf to=0,latency=1: from is missing; add from=N, the node that uses the memory");
	assert_usage("--perf from=0,latency=1",
		     "--perf from=0,latency=1: to is missing; add to=N, the node whose memory it is");
	assert_usage("--perf from=0,to=0", "--perf from=0,to=0: no figure is given; add " OPTION_FIGURES);
	assert_usage("--perf from=1024,to=0,latency=1",
		     "--perf from=1024,to=0,latency=1: 1024 is out of range (column 6); use 0 to 1023");
	assert_usage("--accel node=0", "--accel node=0: id is missing; add id=NAME");
	assert_usage("--accel a", "--accel a: node is missing; add node=N, or node-of=SPM_ID for that of a block");
	assert_usage("--accel a,node=0,x=1",
		     "--accel a,node=0,x=1: unknown key 'x' (column 10); use id, node or node-of");
	assert_usage("--accel 1,node=0",
		     "--accel 1,node=0: '1' cannot stand here in an id (column 1); use a letter, then letters, "
		     "digits, '-', '_' and '.'");
}

static void contradictions(void **state)
{
	(void)state;
	assert_config(
		"--mem size=1G,latency=80 --mem size=1G,latency=81",
		"--mem number 2: read-latency=81ns, but other memory of node 0 has 80ns: figures belong to nodes; say it "
		"once or use another node");
	assert_config(
		"--perf from=0,to=0,latency=1 --perf from=0,to=0,write-latency=1500ps",
		"--perf from=0,to=0,write-latency=1500ps: another --perf says write-latency=1ns for the same nodes; keep one");
	assert_config("--perf from=0,to=1,latency=1",
		      "--perf from=0,to=1,latency=1: node 1 does not exist: nodes are 0 to 0; nodes "
		      "come from --mem, --spm, --numa and --accel");
	assert_config(
		"--spm size=1G,node=1 --perf from=1,to=0,latency=1",
		"--perf from=1,to=0,latency=1: node 1 has neither CPUs nor an accelerator, so nothing there uses memory; "
		"use a node from 0 to 0 or add --accel");
	assert_config("--accel a,node=1 --perf from=0,to=1,latency=1",
		      "--perf from=0,to=1,latency=1: node 1 has no memory; use one that --mem or --spm names");
	assert_config("--accel a,node=0 --accel a,node=0",
		      "--accel a,node=0: another --accel has the id 'a'; use another one");
	assert_config("--accel a,node-of=hbm0",
		      "--accel a,node-of=hbm0: no --spm has the id 'hbm0'; name a block as its id= does");
	assert_config(
		"--spm size=1G,node=1 --accel a,node=2",
		"node 1 has no accelerators but node 2 has: Linux numbers nodes with CPUs, then those with accelerators, "
		"first, so the guest's numbers would differ; exchange 1 and 2");
	assert_config("--cpus 2 --accel a,node=1 --spm size=1G,node=2 --numa node=0,cpus=0 --numa node=3,cpus=1",
		      "node 1 has no CPUs but node 3 has: Linux numbers nodes with CPUs first, so the guest's numbers "
		      "would differ; exchange 1 and 3");
	assert_config(
		"--accel a,node=0 --numa node=1,cpus=0",
		"node 0 has no CPUs but node 1 has: Linux numbers nodes with CPUs first, so the guest's numbers would differ; "
		"exchange 0 and 1");
	assert_config("--accel a,node=2",
		      "node 1 has neither CPUs nor memory: nodes are numbered without gaps, and node 2 is in use; "
		      "give node 1 something or lower the numbers above it");
}

/* What no command line can say. */
static void a_node_out_of_range_is_refused(void **state)
{
	struct raw_accel accel = {.argument = "a,node=1024", .id = "a", .node = 1024, .has_node = true};
	struct raw_perf perf = {.argument = "from=0,to=4294967295", .to = UINT32_MAX, .figures = {1}};
	struct config_raw raw;
	struct config config;
	struct error err = {0};

	(void)state;
	config_raw_init(&raw);
	raw.accels = &accel;
	raw.accel_count = 1;
	assert_int_equal(config_from(&config, &raw, &err), -ERANGE);
	assert_string_equal(err.text, "--accel a,node=1024: node 1024 is out of range; use 0 to 1023");
	raw.accel_count = 0;
	raw.perfs = &perf;
	raw.perf_count = 1;
	assert_int_equal(config_from(&config, &raw, &err), -EINVAL);
	assert_string_equal(err.text, "--perf from=0,to=4294967295: node 4294967295 does not exist: nodes are 0 to 0; "
				      "nodes come from --mem, --spm, --numa and --accel");
}

/*
 * The table's entries have sixteen bits and one unit: what does not fit is refused, and the step that the message names
 * helps.
 */
static void figures_have_a_unit(void **state)
{
	static const char *const fits[] = {
		"--mem size=1G,latency=100us --spm size=1G,node=1,latency=62,bandwidth=1G",
		"--mem size=1G,latency=65534 --spm size=1G,node=1,latency=1,bandwidth=1G",
		"--mem size=1G,bandwidth=1T --spm size=1G,node=1,latency=62,bandwidth=32M",
	};

	(void)state;
	assert_config(
		"--mem size=1G,latency=100us --spm size=1G,node=1,latency=61",
		"read-latency=61ns of node 1 is no multiple of 2ns: beside the largest, 100000ns, HMAT's 16 bits tell steps "
		"of that; round it, or lower the largest");
	assert_config(
		"--mem size=1G,latency=65535 --spm size=1G,node=1,latency=1",
		"read-latency=65535ns of node 0 is no multiple of 2ns: beside the largest, 65535ns, HMAT's 16 bits tell "
		"steps of that; round it, or lower the largest");
	assert_config(
		"--mem size=1G,bandwidth=1T --spm size=1G,node=1,write-bandwidth=33M",
		"write-bandwidth=33M of node 1 is no multiple of 32M: beside the largest, 1T, HMAT's 16 bits tell steps "
		"of that; round it, or lower the largest");
	assert_config(
		"--mem size=1G,latency=300000001ps --spm size=1G,node=1,latency=10ns",
		"read-latency=300000001ps of node 0 is no multiple of 5ns: beside the largest, 300000001ps, HMAT's 16 bits "
		"tell steps of that; round it, or lower the largest");
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++) {
		struct machine_line machine = line_new(fits[i]);

		line_release(&machine);
	}
}

static void what_tiers_do_not_take_is_warned_about(void **state)
{
	struct machine_line machine = line_new(
		"--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem size=1G,latency=80 --mem size=1G,node=1 "
		"--spm size=1G,node=2,bandwidth=8G --spm size=1G,node=3,latency=8 --spm size=1G,node=4");

	(void)state;
	assert_int_equal(machine.config->warning_count, 3);
	assert_string_equal(
		machine.config->warnings[0],
		"--spm number 1: a bandwidth without a latency: Linux's memory tiers need both and take it for slow "
		"memory; add latency=");
	assert_string_equal(
		machine.config->warnings[1],
		"--spm number 2: a latency without a bandwidth: Linux's memory tiers need both and take it for slow "
		"memory; add bandwidth=");
	assert_string_equal(
		machine.config->warnings[2],
		"--mem number 1 and --mem number 2: their read-latency differs by more than a tenth, and Linux's "
		"memory tiers then use no figures at all; bring them together");
	line_release(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_is_no_table),
		cmocka_unit_test(figures_are_read),
		cmocka_unit_test(ram_is_completed),
		cmocka_unit_test(perf_is_for_one_pair),
		cmocka_unit_test(accels_are_devices),
		cmocka_unit_test(the_largest_machine),
		cmocka_unit_test(caches),
		cmocka_unit_test(bad_words),
		cmocka_unit_test(contradictions),
		cmocka_unit_test(a_node_out_of_range_is_refused),
		cmocka_unit_test(figures_have_a_unit),
		cmocka_unit_test(what_tiers_do_not_take_is_warned_about),
	};

	return cmocka_run_group_tests_name("config_figures", tests, NULL, NULL);
}
