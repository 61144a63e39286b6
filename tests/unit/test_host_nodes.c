/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"
#include "tests/unit/scratch_folder.h"

#include <inttypes.h>

#include "vmm/config_host.h"
#include "vmm/host_nodes.h"

/*
 * Figures of the host: from files as its kernel has them, in a folder, to what a machine's description makes of them
 * and to the HMAT that the guest reads.
 */

#define NODES "sys/devices/system/node/"

struct host {
	struct scratch root;
	struct host_nodes nodes;
};

static void put(const struct host *host, const char *text, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void put(const struct host *host, const char *text, const char *format, ...)
{
	char name[256] = NODES;
	va_list args;

	va_start(args, format);
	vsnprintf(name + strlen(NODES), sizeof(name) - strlen(NODES), format, args);
	va_end(args);
	scratch_text(&host->root, name, text);
}

/* The four figures of a class of a node, as the kernel shows them: ns, ns, MB/s, MB/s. */
static void put_figures(const struct host *host, int node, int access, const char *const texts[ACPI_FIGURES])
{
	static const char *const FILES[ACPI_FIGURES] = {"read_latency", "write_latency", "read_bandwidth",
							"write_bandwidth"};

	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		if (texts[kind] != NULL)
			put(host, texts[kind], "node%d/access%d/initiators/%s", node, access, FILES[kind]);
	}
}
#define TEXTS(...) ((const char *const[ACPI_FIGURES]){__VA_ARGS__})

static void read_host(struct host *host)
{
	struct error err = {0};

	host_nodes_release(&host->nodes);
	assert_int_equal(host_nodes_read(&host->nodes, host->root.path, &err), 0);
}

/* Nodes 0, 1 and 3; 1 has no CPUs and an accelerator that is nearer to it, 3 has figures of an older kernel. */
static void host_new(struct host *host)
{
	*host = (struct host){.nodes = {0}};
	scratch_new(&host->root);
	put(host, "0-1,3\n", "online");
	put(host, "10 17 28\n", "node0/distance");
	put(host, "17 10 21\n", "node1/distance");
	put(host, "29 21 10\n", "node3/distance");
	put(host, "0-2,8\n", "node0/cpulist");
	put(host, "\n", "node1/cpulist");
	put(host, "3\n", "node3/cpulist");
	put_figures(host, 0, 0, TEXTS("80\n", "90\n", "102400\n", "51200\n"));
	put_figures(host, 0, 1, TEXTS("80\n", "90\n", "102400\n", "51200\n"));
	put_figures(host, 1, 0, TEXTS("20\n", "30\n", "1638400\n", "819200\n"));
	put_figures(host, 1, 1, TEXTS("60\n", "70\n", "819200\n", "409600\n"));
	put_figures(host, 3, 0, TEXTS("250\n", "300\n", "32768\n", "25600\n"));
	read_host(host);
}

static void host_release(struct host *host)
{
	host_nodes_release(&host->nodes);
	scratch_remove(&host->root);
}

/* As main.c does it; measured may be NULL. */
static int try_machine(struct machine_line *machine, const struct host_nodes *host,
		       const struct memory_figures *measured, const char *line, struct error *err)
{
	static char name[] = "spmvm", plan[] = "plan";
	int count = 2, code;

	*machine = (struct machine_line){.text = strdup(line), .words = calloc(LINE_WORDS_MAX, sizeof(char *))};
	machine->config = calloc(1, sizeof(*machine->config));
	assert_true(machine->text != NULL && machine->words != NULL && machine->config != NULL);
	machine->words[0] = name;
	machine->words[1] = plan;
	for (char *word = strtok(machine->text, " "); word != NULL; word = strtok(NULL, " "))
		machine->words[count++] = word;
	assert_int_equal(options_parse(&machine->options, count, machine->words, err), 0);
	machine->options.raw.host = host;
	machine->options.raw.measured = measured;
	code = config_from(machine->config, &machine->options.raw, err);
	if (code < 0)
		return code;
	machine->board = malloc(sizeof(*machine->board));
	assert_non_null(machine->board);
	assert_int_equal(board_make(machine->board, machine->config, 46, err), 0);
	return 0;
}

static struct machine_line machine_on(const struct host *host, const char *line)
{
	struct machine_line machine;
	struct error err = {0};

	if (try_machine(&machine, &host->nodes, NULL, line, &err) < 0)
		fail_msg("%s: %.200s", err.text, line);
	return machine;
}

static void assert_refused(const struct host_nodes *host, const char *line, const char *text)
{
	struct machine_line machine;
	struct error err = {0};

	assert_true(try_machine(&machine, host, NULL, line, &err) < 0);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	line_release(&machine);
}

static void assert_warned(const struct machine_line *machine, const char *text)
{
	for (size_t i = 0; i < machine->config->warning_count; i++) {
		if (strcmp(machine->config->warnings[i], text) == 0)
			return;
	}
	fail_msg("no warning '%s' among %zu, the first: %s", text, machine->config->warning_count,
		 machine->config->warning_count > 0 ? machine->config->warnings[0] : "none");
}

static uint8_t distance(const struct machine_line *machine, uint32_t from, uint32_t to)
{
	return machine->config->distances[(size_t)from * machine->config->node_count + to];
}

static void assert_figures(const struct machine_line *machine, uint32_t from, uint32_t to, const uint32_t expected[])
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		assert_non_null(machine->config->figures[kind]);
		assert_int_equal(machine->config->figures[kind][(size_t)from * machine->config->node_count + to],
				 expected[kind]);
	}
}
#define FIGURES(...) ((const uint32_t[ACPI_FIGURES]){__VA_ARGS__})

/* -------------------------------------------------------------------------------------------------------- reading */

static void files_are_read(void **state)
{
	static const uint32_t NODE1[ACPI_FIGURES] = {60000, 70000, 819200, 409600},
			      NODE1_ANY[ACPI_FIGURES] = {20000, 30000, 1638400, 819200},
			      NODE3[ACPI_FIGURES] = {250000, 300000, 32768, 25600};
	const struct host_node *node0, *node1, *node3;
	struct host host;

	(void)state;
	host_new(&host);
	assert_int_equal(host.nodes.count, 3);
	node0 = host_nodes_find(&host.nodes, 0);
	node1 = host_nodes_find(&host.nodes, 1);
	node3 = host_nodes_find(&host.nodes, 3);
	assert_null(host_nodes_find(&host.nodes, 2));
	assert_int_equal(host_nodes_distance(&host.nodes, node0, node3), 28);
	assert_int_equal(host_nodes_distance(&host.nodes, node3, node0), 29);
	assert_int_equal(host_nodes_distance(&host.nodes, node1, node1), 10);
	assert_memory_equal(node1->from_cpus, NODE1, sizeof(NODE1));
	assert_memory_equal(node1->from_any, NODE1_ANY, sizeof(NODE1_ANY));
	/* no access1: what there is stands for it */
	assert_memory_equal(node3->from_cpus, NODE3, sizeof(NODE3));
	assert_int_equal(CPU_COUNT(&node0->cpus), 4);
	assert_true(CPU_ISSET(8, &node0->cpus));
	assert_int_equal(CPU_COUNT(&node1->cpus), 0);
	host_release(&host);
}

/* What the kernel would not write is as if it were not there. */
static void garbage_is_nothing(void **state)
{
	static const char *const DISTANCES[] = {"",
						"\n",
						"17 10\n",
						"17 10 21 30\n",
						"17 10 9\n",
						"17 10 256\n",
						"17 10 x\n",
						"17 10 21x\n",
						"17 10 -21\n",
						"17 10 18446744073709551616\n",
						"17 10 18446744073709551626\n",
						"0x11 10 21\n"};
	static const char *const NUMBERS[] = {"",
					      "\n",
					      "0\n",
					      "-1\n",
					      "fast\n",
					      "60ns\n",
					      "60 \n",
					      " 60\n",
					      "6.5\n",
					      "18446744073709551615\n",
					      "18446744073709551616\n",
					      "18446744073709551676\n"};
	struct host host;

	(void)state;
	host_new(&host);
	for (size_t i = 0; i < sizeof(DISTANCES) / sizeof(DISTANCES[0]); i++) {
		put(&host, DISTANCES[i], "node1/distance");
		read_host(&host);
		for (size_t to = 0; to < 3; to++)
			assert_int_equal(host_nodes_distance(&host.nodes, &host.nodes.nodes[1], &host.nodes.nodes[to]),
					 0);
		assert_int_equal(host_nodes_distance(&host.nodes, &host.nodes.nodes[0], &host.nodes.nodes[1]), 17);
	}
	for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++) {
		put_figures(&host, 1, 0, TEXTS(NUMBERS[i], "1\n", NUMBERS[i], "4294967295\n"));
		read_host(&host);
		assert_int_equal(host.nodes.nodes[1].from_any[ACPI_READ_LATENCY], 0);
		assert_int_equal(host.nodes.nodes[1].from_any[ACPI_WRITE_LATENCY], 1000);
		assert_int_equal(host.nodes.nodes[1].from_any[ACPI_READ_BANDWIDTH], 0);
		assert_int_equal(host.nodes.nodes[1].from_any[ACPI_WRITE_BANDWIDTH], UINT32_MAX);
	}
	/* 32 bits of ps */
	put_figures(&host, 1, 0, TEXTS("4294967\n", "4294968\n", NULL, "4294967296\n"));
	put(&host, "0-\n", "node0/cpulist");
	read_host(&host);
	assert_int_equal(host.nodes.nodes[1].from_any[ACPI_READ_LATENCY], 4294967000);
	assert_int_equal(host.nodes.nodes[1].from_any[ACPI_WRITE_LATENCY], 0);
	assert_int_equal(host.nodes.nodes[1].from_any[ACPI_WRITE_BANDWIDTH], 0);
	assert_int_equal(CPU_COUNT(&host.nodes.nodes[0].cpus), 0);
	for (size_t i = 0; i < 3; i++) {
		put(&host, ((const char *const[]){"", "x\n", "0-1024\n"})[i], "online");
		read_host(&host);
		assert_int_equal(host.nodes.count, 0);
	}
	host_release(&host);
	/* a host without NUMA, and a root too long for a path */
	scratch_new(&host.root);
	read_host(&host);
	assert_int_equal(host.nodes.count, 0);
	scratch_remove(&host.root);
}

static void a_long_root_names_nothing(void **state)
{
	char *root = calloc(1, 5000);
	struct host_nodes nodes;
	struct error err = {0};

	(void)state;
	assert_non_null(root);
	memset(root, '/', 4999);
	assert_int_equal(host_nodes_read(&nodes, root, &err), 0);
	assert_int_equal(nodes.count, 0);
	host_nodes_release(&nodes);
	free(root);
}

/* ------------------------------------------------------------------------------------------------------ distances */

static void distances_are_the_hosts(void **state)
{
	struct machine_line machine;
	struct host host;

	(void)state;
	host_new(&host);
	machine = machine_on(&host, "--mem size=1G,host-nodes=0 --spm size=1G,node=1,host-nodes=3 "
				    "--spm size=1G,node=2,host-nodes=1,policy=preferred "
				    "--spm size=1G,node=3,host-nodes=1 --distance host --distance 2:3=40");
	assert_int_equal(machine.config->warning_count, 0);
	assert_int_equal(distance(&machine, 0, 0), 10);
	assert_int_equal(distance(&machine, 0, 1), 28);
	assert_int_equal(distance(&machine, 1, 0), 29);
	assert_int_equal(distance(&machine, 0, 2), 17);
	assert_int_equal(distance(&machine, 1, 2), 21);
	/* what is given wins, both ways as always */
	assert_int_equal(distance(&machine, 2, 3), 40);
	assert_int_equal(distance(&machine, 3, 2), 40);
	line_release(&machine);
	host_release(&host);
}

/* SLIT knows 10 for a node itself only, and Linux takes nothing else; 255 would be a node that cannot be reached. */
static void distances_fit_slit(void **state)
{
	struct machine_line machine;
	struct host host;

	(void)state;
	host_new(&host);
	put(&host, "10 255 28\n", "node0/distance");
	read_host(&host);
	machine = machine_on(&host, "--mem size=1G,host-nodes=0 --spm size=1G,node=1,host-nodes=0 "
				    "--spm size=1G,node=2,host-nodes=1,policy=interleave --distance host");
	assert_int_equal(distance(&machine, 0, 1), 11);
	assert_int_equal(distance(&machine, 1, 0), 11);
	assert_int_equal(distance(&machine, 0, 2), 254);
	assert_int_equal(distance(&machine, 2, 0), 17);
	line_release(&machine);
	host_release(&host);
}

static void nodes_without_a_host_node_are_told(void **state)
{
	struct machine_line machine;
	struct host host;

	(void)state;
	host_new(&host);
	machine = machine_on(&host,
			     "--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --spm size=1G,node=2,host-nodes=0-1 "
			     "--spm size=1G,node=3,host-nodes=3 --distance host --distance 1:3=33");
	assert_int_equal(distance(&machine, 0, 3), 20);
	assert_int_equal(distance(&machine, 2, 3), 20);
	assert_int_equal(distance(&machine, 1, 3), 33);
	assert_int_equal(machine.config->warning_count, 3);
	assert_warned(&machine, "--distance host: the memory of node 0 may come from more than one host node, so its "
				"distances are 20; add host-nodes=N to the default --mem");
	assert_warned(&machine, "--distance host: node 1 has no memory, so no host node is behind it and its distances "
				"are 20; give them with --distance 1:N=DISTANCE");
	assert_warned(&machine, "--distance host: the memory of node 2 may come from more than one host node, so its "
				"distances are 20; add host-nodes=N to --spm number 1");
	line_release(&machine);
	/* two memories of one node from different host nodes; all that would be open is given */
	machine = machine_on(&host,
			     "--mem size=1G,host-nodes=0 --mem size=1G,host-nodes=1 --spm size=1G,node=1,host-nodes=3 "
			     "--distance host --distance 0:1=30");
	assert_int_equal(machine.config->warning_count, 0);
	assert_int_equal(distance(&machine, 0, 1), 30);
	line_release(&machine);
	machine = machine_on(&host,
			     "--mem size=1G,host-nodes=0 --mem size=1G,host-nodes=1 --spm size=1G,node=1,host-nodes=3 "
			     "--distance host");
	assert_int_equal(machine.config->warning_count, 1);
	line_release(&machine);
	/* where there is only one, everything comes from it */
	put(&host, "3\n", "online");
	put(&host, "10\n", "node3/distance");
	read_host(&host);
	machine = machine_on(&host, "--spm size=1G,node=1 --distance host --hmat host");
	assert_int_equal(machine.config->warning_count, 0);
	assert_int_equal(distance(&machine, 0, 1), 11);
	assert_figures(&machine, 0, 1, FIGURES(250000, 300000, 32768, 25600));
	line_release(&machine);
	host_release(&host);
}

static void hosts_that_do_not_say_are_refused(void **state)
{
	static const char LINE[] = "--mem size=1G,host-nodes=0 --spm size=1G,node=1,host-nodes=1 --distance host";
	const struct host_nodes none = {0};
	struct host host;

	(void)state;
	host_new(&host);
	put(&host, "garbage\n", "node1/distance");
	read_host(&host);
	assert_refused(&host.nodes, LINE,
		       "--distance host: /sys/devices/system/node/node1/distance does not say how far the host's nodes "
		       "are; give --distance 1:0=DISTANCE instead");
	assert_refused(&none, LINE,
		       "--distance host: this host's kernel shows no NUMA nodes in /sys/devices/system/node; give "
		       "--distance FROM:TO=DISTANCE instead");
	assert_refused(NULL, "--hmat host",
		       "--hmat host: this host's kernel shows no NUMA nodes in /sys/devices/system/node; use --hmat "
		       "measure, or give latency= and bandwidth= instead");
	assert_refused(&host.nodes, "--spm size=1G,node=1,host-nodes=2 --distance host --distance 0:1=20 --hmat host",
		       "--hmat host: --spm: this host has no node 2; look at /sys/devices/system/node/online and use "
		       "another host-nodes=");
	assert_refused(&host.nodes, "--spm size=1G,node=1,host-nodes=2 --distance host",
		       "--distance host: --spm: this host has no node 2; look at /sys/devices/system/node/online and "
		       "use another host-nodes=");
	host_release(&host);
}

/* -------------------------------------------------------------------------------------------------------- figures */

static void figures_are_the_hosts(void **state)
{
	struct machine_line machine;
	struct host host;

	(void)state;
	host_new(&host);
	machine = machine_on(
		&host, "--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem size=1G,host-nodes=0 "
		       "--mem size=1G,node=1,host-nodes=0 --accel gpu0,node=2,node-of=hbm0 "
		       "--spm size=1G,node=3,id=hbm0,host-nodes=1 --spm size=1G,node=4,host-nodes=3,read-latency=260 "
		       "--perf from=1,to=4,bandwidth=16G --hmat host");
	assert_int_equal(machine.config->warning_count, 0);
	assert_figures(&machine, 0, 0, FIGURES(80000, 90000, 102400, 51200));
	assert_figures(&machine, 1, 0, FIGURES(80000, 90000, 102400, 51200));
	assert_figures(&machine, 0, 3, FIGURES(60000, 70000, 819200, 409600));
	assert_figures(&machine, 1, 3, FIGURES(60000, 70000, 819200, 409600));
	/* the accelerator's own block, and nothing else */
	assert_figures(&machine, 2, 3, FIGURES(20000, 30000, 1638400, 819200));
	assert_figures(&machine, 2, 4, FIGURES(0, 0, 0, 0));
	/* what is given stays */
	assert_figures(&machine, 0, 4, FIGURES(260000, 300000, 32768, 25600));
	assert_figures(&machine, 1, 4, FIGURES(260000, 300000, 16384, 16384));
	line_release(&machine);
	host_release(&host);
}

static void blocks_without_figures_are_refused(void **state)
{
	struct machine_line machine;
	struct host host;

	(void)state;
	host_new(&host);
	put_figures(&host, 3, 0, TEXTS(NULL, "garbage\n", NULL, NULL));
	read_host(&host);
	assert_refused(&host.nodes, "--mem size=1G,host-nodes=0 --spm size=1G,node=1,id=cxl,host-nodes=3 --hmat host",
		       "--hmat host: --spm id=cxl: the host does not say how fast its node 3 is "
		       "(/sys/devices/system/node/node3/access0/initiators/read_latency and others); use --hmat "
		       "measure, or give latency= and bandwidth=");
	assert_refused(&host.nodes, "--spm size=1G,node=1 --hmat host",
		       "--hmat host: --spm may come from more than one host node; add host-nodes=N, use --hmat "
		       "measure, or give latency= and bandwidth=");
	/* RAM has figures in any case, and a block with all of them needs no host */
	machine = machine_on(&host, "--mem size=1G,host-nodes=3 --mem size=1G,node=1 "
				    "--spm size=1G,node=2,latency=60,bandwidth=800G --hmat host");
	assert_warned(&machine, "--hmat host: --mem number 1: the host does not say how fast its node 3 is, so its "
				"figures come from its distances");
	assert_warned(&machine, "--hmat host: --mem number 2 may come from more than one host node, so its figures "
				"come from its distances; add host-nodes=N to it");
	assert_int_equal(machine.config->warning_count, 2);
	assert_figures(&machine, 0, 0, FIGURES(250000, 100000, 32768, 25600));
	assert_figures(&machine, 0, 2, FIGURES(60000, 60000, 819200, 819200));
	line_release(&machine);
	host_release(&host);
}

static void measured_figures_fill_what_is_open(void **state)
{
	/* for each of two nodes with CPUs: two of RAM, one block */
	static const struct memory_figures MEASURED[] = {
		{{81000, 81000, 10000, 5000}}, {{95000, 95000, 9000, 4000}}, {{300000, 300000, 3000, 2000}},
		{{99000, 99000, 8000, 4500}},  {{82000, 82000, 9900, 4900}}, {{310000, 310000, 2900, 1900}}};
	static const char LINE[] = "--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem 1G --mem size=1G,node=1 "
				   "--spm size=1G,node=2 --perf from=1,to=2,latency=400 --hmat measure";
	struct machine_line machine;
	struct error err = {0};

	(void)state;
	assert_int_equal(try_machine(&machine, NULL, MEASURED, LINE, &err), 0);
	assert_figures(&machine, 0, 0, MEASURED[0].figures);
	assert_figures(&machine, 0, 1, MEASURED[1].figures);
	assert_figures(&machine, 0, 2, MEASURED[2].figures);
	assert_figures(&machine, 1, 0, MEASURED[3].figures);
	assert_figures(&machine, 1, 2, FIGURES(400000, 400000, 2900, 1900));
	line_release(&machine);
	/* a plan measures nothing, and says so */
	assert_int_equal(try_machine(&machine, NULL, NULL, "--spm size=1G,node=1 --hmat measure", &err), 0);
	assert_null(machine.config->figures[0]);
	assert_warned(&machine, "--hmat measure: the figures are measured at the start; here are only those that are "
				"given");
	line_release(&machine);
}

/* ----------------------------------------------------------------------------------------------------- properties */

static uint64_t little(const uint8_t *bytes, size_t width)
{
	uint64_t value = 0;

	for (size_t i = width; i > 0; i--)
		value = value << 8 | bytes[i - 1];
	return value;
}

/* Reads the HMAT as the guest does, and compares with config: ACPI 6.5 §5.2.28.4. */
static void assert_published(const struct machine_line *machine)
{
	static const uint8_t KIND_OF[] = {[1] = ACPI_READ_LATENCY,
					  [2] = ACPI_WRITE_LATENCY,
					  [4] = ACPI_READ_BANDWIDTH,
					  [5] = ACPI_WRITE_BANDWIDTH};
	const struct config *config = machine->config;
	const uint8_t *table = NULL, *end = NULL;
	size_t seen = 0;
	struct acpi_blob blob;
	struct error err = {0};

	assert_int_equal(board_build_acpi(machine->board, &blob, &err), 0);
	for (size_t i = 0; i < blob.table_count; i++) {
		if (strcmp(blob.tables[i].signature, "HMAT") == 0) {
			table = blob.bytes.data + blob.tables[i].offset;
			end = table + blob.tables[i].size;
		}
	}
	assert_non_null(table);
	for (const uint8_t *at = table + 40; at < end; at += little(at + 4, 4)) {
		uint64_t initiators = little(at + 12, 4), targets = little(at + 16, 4), unit = little(at + 24, 8);
		const uint8_t *lists = at + 32, *entries = lists + 4 * (initiators + targets);

		for (uint64_t i = 0; little(at, 2) == 1 && i < initiators * targets; i++) {
			uint64_t from = little(lists + 4 * (i / targets), 4);
			uint64_t to = little(lists + 4 * (initiators + i % targets), 4);

			assert_int_equal(little(entries + 2 * i, 2) * unit,
					 config->figures[KIND_OF[at[9]]][from * config->node_count + to]);
			seen++;
		}
	}
	assert_int_equal(seen,
			 (size_t)ACPI_FIGURES * config->initiator_count * (config->mem_count + config->spm_count));
	acpi_blob_release(&blob);
}

static uint32_t draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(*seed >> 33);
}

/* Whatever a host says, the guest is told the same, or less by at most a step of what 16 bits can tell. */
static void what_is_published_is_what_the_host_says(void **state)
{
	uint64_t seed = 20260101;
	struct host host;

	(void)state;
	host_new(&host);
	for (int round = 0; round < 60; round++) {
		struct machine_line machine;
		uint32_t largest[ACPI_FIGURES] = {0};

		for (uint32_t i = 0; i < 3; i++) {
			struct host_node *node = &host.nodes.nodes[i];
			char text[ACPI_FIGURES][16];

			for (int kind = 0; kind < ACPI_FIGURES; kind++) {
				uint32_t bits = kind <= ACPI_WRITE_LATENCY ? 12 + round % 10 : 4 + round % 27;

				snprintf(text[kind], sizeof(text[kind]), "%" PRIu32 "\n",
					 1 + draw(&seed) % (UINT32_C(1) << bits));
			}
			put_figures(&host, (int)node->number, 0, TEXTS(text[0], text[1], text[2], text[3]));
			put_figures(&host, (int)node->number, 1, TEXTS(text[0], text[1], text[2], text[3]));
		}
		read_host(&host);
		machine = machine_on(&host, "--mem size=1G,host-nodes=0 --spm size=1G,node=1,host-nodes=1 "
					    "--spm size=1G,node=2,host-nodes=3 --hmat host");
		assert_published(&machine);
		for (int kind = 0; kind < ACPI_FIGURES; kind++) {
			for (size_t i = 0; i < 3; i++) {
				uint32_t said = host.nodes.nodes[i].from_cpus[kind];

				largest[kind] = said > largest[kind] ? said : largest[kind];
			}
		}
		for (int kind = 0; kind < ACPI_FIGURES; kind++) {
			for (size_t i = 0; i < 3; i++) {
				uint32_t said = host.nodes.nodes[i].from_cpus[kind];
				uint32_t told = machine.config->figures[kind][i];
				uint32_t step = largest[kind] / ACPI_ENTRY_MAX * 5 / 2 + 2;

				assert_true(told != 0);
				assert_true(told == said || (told < said && said - told < step) || told <= step);
				if (largest[kind] <= ACPI_ENTRY_MAX)
					assert_int_equal(told, said);
			}
		}
		line_release(&machine);
	}
	host_release(&host);
}

/* What is given is never rounded for what the host says. */
static void given_figures_stay_exact(void **state)
{
	struct machine_line machine;
	struct error err = {0};
	struct host host;

	(void)state;
	host_new(&host);
	put_figures(&host, 1, 1, TEXTS("60\n", "60\n", "800001\n", "800003\n"));
	read_host(&host);
	machine = machine_on(&host, "--mem size=1G,host-nodes=0,bandwidth=102416M --spm size=1G,node=1,host-nodes=1 "
				    "--hmat host");
	assert_figures(&machine, 0, 0, FIGURES(80000, 90000, 102416, 102416));
	assert_figures(&machine, 0, 1, FIGURES(60000, 60000, 800000, 800000));
	assert_published(&machine);
	line_release(&machine);
	assert_true(
		try_machine(
			&machine, &host.nodes, NULL,
			"--mem size=1G,host-nodes=0,bandwidth=102417M --spm size=1G,node=1,host-nodes=1 --hmat host",
			&err) < 0);
	assert_string_equal(err.text, "read-bandwidth=102417M of node 0 is no multiple of 16M: beside the largest, "
				      "800000M, HMAT's 16 bits tell steps of that; round it, or lower the largest");
	line_release(&machine);
	host_release(&host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(garbage_is_nothing),
		cmocka_unit_test(a_long_root_names_nothing),
		cmocka_unit_test(distances_are_the_hosts),
		cmocka_unit_test(distances_fit_slit),
		cmocka_unit_test(nodes_without_a_host_node_are_told),
		cmocka_unit_test(hosts_that_do_not_say_are_refused),
		cmocka_unit_test(figures_are_the_hosts),
		cmocka_unit_test(blocks_without_figures_are_refused),
		cmocka_unit_test(measured_figures_fill_what_is_open),
		cmocka_unit_test(what_is_published_is_what_the_host_says),
		cmocka_unit_test(given_figures_stay_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
