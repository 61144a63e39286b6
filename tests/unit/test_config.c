/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/range.h"
#include "vmm/options.h"

#include <errno.h>

/*
 * Machines are written as command lines, because these are what the messages talk about; what no command line can say is
 * written as a struct config_raw.
 */
struct machine {
	char *line;
	char **argv; /* a command's words stay in it */
	struct options options;
	struct config config;
};

enum { WORDS_MAX = 64 };

static void parse(struct machine *machine, const char *line)
{
	static char name[] = "spmvm", plan[] = "plan";
	struct error err = {0};
	char **argv = calloc(WORDS_MAX + 1, sizeof(*argv));
	int argc = 2;

	assert_non_null(argv);
	argv[0] = name;
	argv[1] = plan;
	machine->argv = argv;
	machine->line = strdup(line);
	for (char *word = strtok(machine->line, " "); word != NULL && argc < WORDS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	if (options_parse(&machine->options, argc, argv, &err) < 0)
		fail_msg("%s", err.text);
}

static struct machine made(const char *line)
{
	struct machine machine;
	struct error err = {0};

	parse(&machine, line);
	if (config_from(&machine.config, &machine.options.raw, &err) < 0)
		fail_msg("%s: %s", line, err.text);
	assert_int_equal(err.text[0], '\0');
	return machine;
}

static void release(struct machine *machine)
{
	config_release(&machine->config);
	options_release(&machine->options);
	free(machine->line);
	free(machine->argv);
}

static void assert_refused(const char *line, const char *message)
{
	struct machine machine;
	struct error err = {0};

	parse(&machine, line);
	assert_true(config_from(&machine.config, &machine.options.raw, &err) < 0);
	assert_string_equal(err.text, message);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	release(&machine);
}

static void assert_raw_refused(const struct config_raw *raw, const char *message)
{
	struct config config;
	struct error err = {0};

	assert_true(config_from(&config, raw, &err) < 0);
	assert_string_equal(err.text, message);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
}

static void nothing_said_is_a_small_machine(void **state)
{
	struct machine machine = made("");
	const struct config *config = &machine.config;

	(void)state;
	assert_int_equal(config->mem_count, 1);
	assert_int_equal(config->mem[0].size, GIB);
	assert_int_equal(config->mem[0].node, 0);
	assert_string_equal(config->mem[0].id, "ram0");
	assert_string_equal(config->mem[0].option, "the default --mem");
	assert_int_equal(config->spm_count, 0);
	assert_int_equal(config->cpu_count, 1);
	assert_int_equal(config->cpu_nodes[0], 0);
	assert_int_equal(config->node_count, 1);
	assert_int_equal(config->distances[0], 10);
	assert_int_equal(config->maxmem, 0);
	assert_null(config->kernel);
	assert_null(config->files);
	assert_int_equal(config->serial, SERIAL_STDIO);
	assert_int_equal(config->log_level, LOG_INFO);
	assert_int_equal(config->warning_count, 0);
	release(&machine);
	config_release(NULL);
	config_raw_release(NULL);
}

static void everything_is_carried_over(void **state)
{
	struct machine machine =
		made("--mem 2G --spm size=4G,node=1,id=hbm0,addr=0x1000000000,hugetlb=2M,prealloc=on,"
		     "host-nodes=0,policy=preferred --maxmem 8G --kernel k --append a --modules m --script s "
		     "--file /a --file /b:/c --module ext4,nls --serial file:out --log info --phys-bits 46");
	const struct config *config = &machine.config;

	(void)state;
	assert_string_equal(config->spm[0].id, "hbm0");
	assert_string_equal(config->spm[0].option, "--spm id=hbm0");
	assert_int_equal(config->spm[0].size, 4 * GIB);
	assert_int_equal(config->spm[0].node, 1);
	assert_true(config->spm[0].has_address);
	assert_int_equal(config->spm[0].address, 64 * GIB);
	assert_int_equal(config->spm[0].source.hugetlb, 2 * MIB);
	assert_true(config->spm[0].source.prealloc);
	assert_int_equal(config->spm[0].source.policy, HOST_POLICY_PREFERRED);
	assert_string_equal(config->mem[0].option, "--mem");
	assert_int_equal(config->maxmem, 8 * GIB);
	assert_string_equal(config->kernel, "k");
	assert_string_equal(config->append, "a");
	assert_string_equal(config->modules, "m");
	assert_string_equal(config->script, "s");
	assert_int_equal(config->file_count, 2);
	assert_string_equal(config->files[0], "/a");
	assert_string_equal(config->files[1], "/b:/c");
	assert_int_equal(config->extra_module_count, 2);
	assert_string_equal(config->extra_modules[1], "nls");
	assert_int_equal(config->serial, SERIAL_FILE);
	assert_string_equal(config->serial_path, "out");
	assert_int_equal(config->log_level, LOG_INFO);
	assert_int_equal(config->phys_bits, 46);
	assert_int_equal(config->node_count, 2);
	release(&machine);
	machine = made("--initrd i");
	assert_string_equal(machine.config.initrd, "i");
	release(&machine);
}

static size_t count_devices(const struct config *config, enum config_device_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < config->device_count; i++)
		count += config->devices[i].kind == kind;
	return count;
}

/* A command brings its root, its folders and its streams, and leaves the console alone. */
static void a_command_brings_devices(void **state)
{
	struct machine machine = made("--rw a --rw b --port name=p,out=p -- true x");
	const struct config *config = &machine.config;
	const struct config_device *device = config->devices;

	(void)state;
	assert_string_equal(config->command[1], "x");
	assert_int_equal(config->serial, SERIAL_NONE);
	assert_int_equal(count_devices(config, CONFIG_SHARE), 3);
	assert_int_equal(count_devices(config, CONFIG_PORT), 5);
	assert_int_equal(device[0].kind, CONFIG_PORT);
	assert_string_equal(device[1].path, "/");
	assert_string_equal(device[1].name, "spmvm-root");
	assert_true(device[1].read_only);
	assert_string_equal(device[3].path, "b");
	assert_string_equal(device[3].name, "spmvm-rw1");
	assert_false(device[3].read_only);
	for (enum config_stream stream = STREAM_STDIN; stream < STREAM_END; stream++)
		assert_int_equal(device[3 + stream].stream, stream);
	release(&machine);
	machine = made("--console -- true");
	assert_int_equal(machine.config.serial, SERIAL_STDERR);
	release(&machine);
	machine = made("--console");
	assert_int_equal(machine.config.serial, SERIAL_STDIO);
	release(&machine);
	machine = made("--serial file:log --timeout 3 -- true");
	assert_int_equal(machine.config.serial, SERIAL_FILE);
	assert_int_equal(machine.config.timeout, 3);
	release(&machine);
}

static void what_a_command_excludes(void **state)
{
	static const struct {
		const char *line, *message;
	} CASES[] = {
		{"--rw a",
		 "--rw a: it is for a command that runs on the host's files; end the line with -- COMMAND, or use --share"},
		{"--script s -- true",
		 "-- true: --script and a command exclude each other, as the command runs on the host's own files; leave one of them out"},
		{"--initrd i -- true",
		 "-- true: --initrd and a command exclude each other, as the command runs on the host's own files; leave one of them out"},
		{"--serial stdio -- true",
		 "-- true: --serial stdio and the command would share the terminal; use --console for the kernel's messages on stderr, or --serial file:PATH"},
		{"--port name=a,in=a --port name=b,in=b --port name=c,in=c --port name=d,in=d -- true",
		 "4 --port: a guest that runs a command has at most 3; use fewer"},
		{"--rw 1 --rw 2 --rw 3 --rw 4 --rw 5 --rw 6 --rw 7 --rw 8 --rw 9 -- true",
		 "9 --rw: a guest has at most 8; share a folder above them"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
		assert_refused(CASES[i].line, CASES[i].message);
}

static void names_and_ids_come_from_the_position(void **state)
{
	struct machine machine =
		made("--mem 1G --mem 2G --spm size=1G,node=1 --spm size=1G,node=2,id=x --spm size=1G,node=3");
	const struct config *config = &machine.config;

	(void)state;
	assert_string_equal(config->mem[1].id, "ram1");
	assert_string_equal(config->mem[1].option, "--mem number 2");
	assert_string_equal(config->spm[0].id, "spm0");
	assert_string_equal(config->spm[0].option, "--spm number 1");
	assert_string_equal(config->spm[1].option, "--spm id=x");
	assert_string_equal(config->spm[2].id, "spm2");
	release(&machine);
}

static void ids_are_unique(void **state)
{
	(void)state;
	assert_refused("--spm size=1G,node=1,id=x --spm size=1G,node=2,id=x",
		       "--spm id=x is there twice; use another id= for one of them");
	assert_refused("--spm size=1G,node=1,id=ram0",
		       "the id 'ram0' is that of --spm id=ram0 and of the default --mem (without id= it comes from the "
		       "position); use another id=");
	assert_refused("--spm size=1G,node=1,id=spm1 --spm size=1G,node=2",
		       "the id 'spm1' is that of --spm id=spm1 and of --spm number 2 (without id= it comes from the "
		       "position); use another id=");
}

static void sizes_are_multiples(void **state)
{
	(void)state;
	assert_refused("--mem 3M",
		       "--mem: size 3M is not a multiple of 2M (the smallest page that device-dax maps); use 2M "
		       "or 4M");
	assert_refused("--mem 1M",
		       "--mem: size 1M is not a multiple of 2M (the smallest page that device-dax maps); use 2M");
	assert_refused(
		"--spm size=8G,node=1 --spm size=1025M,node=2",
		"--spm number 2: size 1025M is not a multiple of 2M (the smallest page that device-dax maps); use "
		"1G or 1026M");
	assert_refused("--mem 3G,hugetlb=1G --spm size=1536M,node=1,hugetlb=1G",
		       "--spm: size 1536M is not a multiple of 1G (its hugetlb=); use 1G or 2G");
	assert_refused("--mem 512M,hugetlb=1G", "--mem: size 512M is not a multiple of 1G (its hugetlb=); use 1G");
}

static void sizes_are_bounded(void **state)
{
	struct machine machine = made("--spm size=4096T,node=1");

	(void)state;
	assert_int_equal(machine.config.spm[0].size, 4096 * TIB);
	release(&machine);
	assert_refused("--spm size=4097T,node=1", "--spm: size 4097T is out of range; use 2M to 4096T");
}

static void maxmem_holds_everything(void **state)
{
	struct machine machine = made("--mem 2G --spm size=6G,node=1 --maxmem 8G");

	(void)state;
	assert_int_equal(machine.config.maxmem, 8 * GIB);
	release(&machine);
	assert_refused("--mem 2G --spm size=6G,node=1 --maxmem 7G",
		       "--maxmem 7G is below the 8G that --mem and --spm come to; use 8G or more");
	assert_refused("--maxmem 1025M", "--maxmem 1025M: use a multiple of 2M, at most 4096T");
	assert_refused("--maxmem 4097T", "--maxmem 4097T: use a multiple of 2M, at most 4096T");
}

static void host_nodes_mean_bind(void **state)
{
	struct machine machine = made("--mem 1G,host-nodes=0 --mem 1G,host-nodes=1,policy=interleave --mem 1G");

	(void)state;
	assert_int_equal(machine.config.mem[0].source.policy, HOST_POLICY_BIND);
	assert_int_equal(machine.config.mem[1].source.policy, HOST_POLICY_INTERLEAVE);
	assert_int_equal(machine.config.mem[2].source.policy, HOST_POLICY_DEFAULT);
	release(&machine);
	assert_refused("--mem 1G --mem 1G,policy=bind",
		       "--mem number 2: policy= says how to use host nodes, and none are given; add host-nodes=LIST");
}

static void cpus_are_placed(void **state)
{
	static const uint32_t WANT[] = {0, 1, 0, 1};
	struct machine machine = made("--cpus 4 --numa node=1,cpus=1,3 --numa node=0,cpus=0 --numa node=0,cpus=2");

	(void)state;
	assert_int_equal(machine.config.cpu_count, 4);
	assert_memory_equal(machine.config.cpu_nodes, WANT, sizeof(WANT));
	assert_int_equal(machine.config.node_count, 2); /* node 1 has no memory, which is fine */
	release(&machine);
	machine = made("--cpus 255 --spm size=2M,node=1");
	assert_int_equal(machine.config.cpu_nodes[254], 0);
	release(&machine);
}

static void each_cpu_is_in_one_node(void **state)
{
	(void)state;
	assert_refused("--cpus 4 --numa node=0,cpus=0-1 --numa node=1,cpus=3",
		       "CPU 2 of 0 to 3 is in no node: with --numa every CPU needs one; add --numa node=N,cpus=2");
	assert_refused("--cpus 4 --numa node=0,cpus=0-2 --numa node=1,cpus=2-3",
		       "--numa node=1,cpus=2-3: CPU 2 is in node 0 already and cannot be in node 1 too; list it once");
	assert_refused(
		"--cpus 4 --numa node=0,cpus=0-4",
		"--numa node=0,cpus=0-4: CPU 4 does not exist: CPUs are 0 to 3; list fewer or give more with --cpus");
}

static void nodes_have_no_gap(void **state)
{
	(void)state;
	assert_refused(
		"--spm size=1G,node=2",
		"node 1 has neither CPUs nor memory: nodes are numbered without gaps, and node 2 is in use; give "
		"node 1 something or lower the numbers above it");
	assert_refused(
		"--cpus 2 --numa node=1,cpus=0-1 --mem 1G,node=1",
		"node 0 has neither CPUs nor memory: nodes are numbered without gaps, and node 1 is in use; give "
		"node 0 something or lower the numbers above it");
}

static void nodes_with_cpus_come_first(void **state)
{
	struct machine machine = made("--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem 1G,node=2");

	(void)state;
	assert_int_equal(machine.config.node_count, 3);
	release(&machine);
	assert_refused(
		"--cpus 2 --numa node=0,cpus=0 --numa node=2,cpus=1 --spm size=1G,node=1",
		"node 1 has no CPUs but node 2 has: Linux numbers nodes with CPUs first, so the guest's numbers would "
		"differ; exchange 1 and 2");
	assert_refused(
		"--numa node=1,cpus=0",
		"node 0 has no CPUs but node 1 has: Linux numbers nodes with CPUs first, so the guest's numbers would "
		"differ; exchange 0 and 1");
}

static void a_block_has_a_node_of_its_own(void **state)
{
	static const char REMEDY[] =
		" already, and figures and drivers tell blocks apart by node; use a node of its own or "
		"add mixed=on to each block there";
	char message[600];

	(void)state;
	snprintf(message, sizeof(message), "--spm: node 0 has the default --mem (1G of RAM)%s", REMEDY);
	assert_refused("--spm size=1G,node=0", message);
	snprintf(message, sizeof(message), "--spm id=h: node 1 has --mem number 2 (512M of RAM)%s", REMEDY);
	assert_refused("--mem 1G --mem 512M,node=1 --spm size=1G,node=1,id=h", message);
	snprintf(message, sizeof(message), "--spm: node 1 has CPU 1%s", REMEDY);
	assert_refused("--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --spm size=1G,node=1", message);
	snprintf(message, sizeof(message), "--spm number 1: node 1 has --spm number 2%s", REMEDY);
	assert_refused("--spm size=1G,node=1 --spm size=1G,node=1", message);
	/* one of the two is not enough */
	snprintf(message, sizeof(message), "--spm number 2: node 1 has --spm number 1%s", REMEDY);
	assert_refused("--spm size=1G,node=1,mixed=on --spm size=1G,node=1", message);
}

static void mixed_blocks_are_warned_about_once_a_node(void **state)
{
	struct machine machine =
		made("--spm size=1G,node=1,mixed=on --spm size=1G,node=1,mixed=on --spm size=1G,node=0,mixed=on "
		     "--spm size=1G,node=2,mixed=on");

	(void)state;
	assert_int_equal(machine.config.warning_count, 2);
	assert_string_equal(
		machine.config.warnings[0],
		"node 1 is shared by --spm number 1 and --spm number 2 (mixed=on): the guest cannot tell their "
		"performance apart, and a driver that looks for its block by node finds more than one");
	assert_non_null(strstr(machine.config.warnings[1],
			       "node 0 is shared by --spm number 3 and the default --mem (1G of RAM) (mixed=on)"));
	release(&machine);
}

static void assert_distances(const char *line, const uint8_t *want, size_t nodes)
{
	struct machine machine = made(line);

	assert_int_equal(machine.config.node_count, nodes);
	assert_memory_equal(machine.config.distances, want, nodes * nodes);
	release(&machine);
}

static void distances_are_completed(void **state)
{
	static const char THREE[] = "--spm size=1G,node=1 --spm size=1G,node=2";
	char line[200];

	(void)state;
	assert_distances(THREE, (const uint8_t[]){10, 20, 20, 20, 10, 20, 20, 20, 10}, 3);
	/* one direction implies the other, whichever it is */
	snprintf(line, sizeof(line), "%s --distance 0:1=11 --distance 2:0=254", THREE);
	assert_distances(line, (const uint8_t[]){10, 11, 254, 11, 10, 20, 254, 20, 10}, 3);
	/* unless both are given; a repetition and a local 10 change nothing */
	snprintf(line, sizeof(line), "%s --distance 0:1=30 --distance 1:0=40 --distance 0:1=30 --distance 2:2=10",
		 THREE);
	assert_distances(line, (const uint8_t[]){10, 30, 20, 40, 10, 20, 20, 20, 10}, 3);
}

static void bad_distances(void **state)
{
	struct raw_distance distance = {.argument = "0:1=255", .from = 0, .to = 1, .distance = 255};
	struct raw_memory spm = {.argument = "", .size = GIB, .node = 1, .has_node = true};
	struct config_raw raw;

	(void)state;
	assert_refused(
		"--spm size=1G,node=1 --distance 0:2=20",
		"--distance 0:2=20: node 2 does not exist: nodes are 0 to 1; nodes come from --mem, --spm and --numa");
	assert_refused(
		"--distance 7:0=20",
		"--distance 7:0=20: node 7 does not exist: nodes are 0 to 0; nodes come from --mem, --spm and --numa");
	assert_refused("--distance 0:0=11",
		       "--distance 0:0=11: a node is at distance 10 of itself; leave the option out");
	assert_refused(
		"--spm size=1G,node=1 --distance 0:1=10",
		"--distance 0:1=10: 10 is not a distance between two nodes (10 is local, 255 unreachable); use 11 to "
		"254");
	assert_refused("--spm size=1G,node=1 --distance 0:1=20 --distance 0:1=21",
		       "--distance 0:1=21: another --distance says 20 for the same direction; keep one");
	config_raw_init(&raw);
	raw.spm = &spm;
	raw.spm_count = 1;
	raw.distances = &distance;
	raw.distance_count = 1;
	assert_raw_refused(
		&raw, "--distance 0:1=255: 255 is not a distance between two nodes (10 is local, 255 unreachable); "
		      "use 11 to 254");
}

static void an_initrd_is_all_there_is(void **state)
{
	(void)state;
	assert_refused(
		"--initrd i --modules m",
		"--initrd i: --modules goes into the built-in initramfs, which --initrd replaces; use one of them");
	assert_refused(
		"--initrd i --module m",
		"--initrd i: --module goes into the built-in initramfs, which --initrd replaces; use one of them");
	assert_refused(
		"--initrd i --script s",
		"--initrd i: --script goes into the built-in initramfs, which --initrd replaces; use one of them");
	assert_refused("--initrd i --file f",
		       "--initrd i: --file goes into the built-in initramfs, which --initrd replaces; use one of them");
}

static void memory_is_in_one_place(void **state)
{
	(void)state;
	assert_refused("--spm size=1G,node=1,id=a,mem-path=f,fd=3",
		       "--spm id=a: mem-path= and fd= both say where the memory is; leave one of them out");
}

/* What the options refuse before, and another front end might not. */
static void raw_values_are_checked_too(void **state)
{
	struct raw_memory mem = {.argument = "", .size = GIB, .source = {.hugetlb = 4 * MIB}};
	struct config_raw raw;

	(void)state;
	config_raw_init(&raw);
	raw.cpus = 256;
	assert_raw_refused(&raw, "--cpus 256: use 1 to 255");
	raw.cpus = 0;
	raw.mem = &mem;
	raw.mem_count = 1;
	assert_raw_refused(&raw, "--mem: hugetlb=4M is no page size of x86-64; use 2M or 1G");
	mem.source.hugetlb = 0;
	mem.size = 0;
	assert_raw_refused(&raw, "--mem: size 0 is out of range; use 2M to 4096T");
	mem.size = GIB;
	mem.node = NODES_MAX;
	assert_raw_refused(&raw, "--mem: node 1024 is out of range; use 0 to 1023");
	raw.mem_count = CONFIG_MEM_MAX + 1;
	assert_raw_refused(&raw, "257 --mem and 0 --spm are too many; use up to 256 and 1024");
}

static void a_numa_node_out_of_range_is_refused(void **state)
{
	struct raw_numa numa = {.argument = "x", .node = NODES_MAX, .cpus = {{1}}};
	struct config_raw raw;

	(void)state;
	config_raw_init(&raw);
	raw.numa = &numa;
	raw.numa_count = 1;
	assert_raw_refused(&raw, "--numa x: node 1024 is out of range; use 0 to 1023");
}

/* The largest machine: every node, every block. */
static void the_largest_machine(void **state)
{
	struct config_raw raw;
	struct config config;
	struct error err = {0};

	(void)state;
	config_raw_init(&raw);
	raw.spm_count = NODES_MAX - 1;
	raw.spm = calloc(raw.spm_count, sizeof(*raw.spm));
	assert_non_null(raw.spm);
	for (size_t i = 0; i < raw.spm_count; i++)
		raw.spm[i] = (struct raw_memory){
			.argument = "", .size = 4096 * TIB, .node = (uint32_t)i + 1, .has_node = true};
	assert_int_equal(config_from(&config, &raw, &err), 0);
	assert_int_equal(config.node_count, NODES_MAX);
	assert_int_equal(config.distances[(size_t)NODES_MAX * NODES_MAX - 1], 10);
	assert_string_equal(config.spm[1022].id, "spm1022");
	config_release(&config);
	config_raw_release(&raw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_is_a_small_machine),
		cmocka_unit_test(everything_is_carried_over),
		cmocka_unit_test(a_command_brings_devices),
		cmocka_unit_test(what_a_command_excludes),
		cmocka_unit_test(names_and_ids_come_from_the_position),
		cmocka_unit_test(ids_are_unique),
		cmocka_unit_test(sizes_are_multiples),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(maxmem_holds_everything),
		cmocka_unit_test(host_nodes_mean_bind),
		cmocka_unit_test(cpus_are_placed),
		cmocka_unit_test(each_cpu_is_in_one_node),
		cmocka_unit_test(nodes_have_no_gap),
		cmocka_unit_test(nodes_with_cpus_come_first),
		cmocka_unit_test(a_block_has_a_node_of_its_own),
		cmocka_unit_test(mixed_blocks_are_warned_about_once_a_node),
		cmocka_unit_test(distances_are_completed),
		cmocka_unit_test(bad_distances),
		cmocka_unit_test(an_initrd_is_all_there_is),
		cmocka_unit_test(memory_is_in_one_place),
		cmocka_unit_test(raw_values_are_checked_too),
		cmocka_unit_test(a_numa_node_out_of_range_is_refused),
		cmocka_unit_test(the_largest_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
