/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"

#include <errno.h>
#include <unistd.h>

#include "vmm/config_json.h"
#include "vmm/plan.h"

enum { LINE_MAX_LENGTH = 16384 };

/* --------------------------------------------------------------------------------------------- round trip */

static char *plan_text_of(const struct board *board)
{
	struct error err = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	if (plan_json(board, out, &err) < 0)
		fail_msg("%s", err.text);
	fclose(out);
	return text;
}

/* The options of a plan's text, on top of "spmvm plan". */
static int describe(struct options *options, const char *text, struct error *err)
{
	static char name[] = "spmvm", plan[] = "plan";
	char *words[] = {name, plan, NULL};

	assert_int_equal(options_parse(options, 2, words, err), 0);
	return options_describe(options, text, strlen(text), err);
}

/* What the plan of this text is. */
static char *planned_again(const char *text)
{
	struct board *board = malloc(sizeof(*board));
	struct options options;
	struct config config;
	struct error err = {0};
	char *again;

	assert_non_null(board);
	if (describe(&options, text, &err) < 0 || config_from(&config, &options.raw, &err) < 0 ||
	    board_make(board, &config, config.phys_bits != 0 ? config.phys_bits : 46, &err) < 0)
		fail_msg("%s\n%.3000s", err.text, text);
	again = plan_text_of(board);
	board_release(board);
	free(board);
	config_release(&config);
	options_release(&options);
	return again;
}

static void check_round_trip(const char *line)
{
	struct machine_line machine = line_new(line);
	char *text = plan_text_of(machine.board), *again = planned_again(text);

	if (strcmp(text, again) != 0)
		fail_msg("%s: %s\n%s", line, text, again);
	free(text);
	free(again);
	line_release(&machine);
}

static void a_plan_makes_the_same_plan(void **state)
{
	(void)state;
	check_round_trip("");
	check_round_trip("--cpus 3");
	check_round_trip("--mem 2G --mem size=1G,node=0 --phys-bits 52");
	check_round_trip("--spm size=8G,node=1 --append quiet --kernel k --serial none --log debug");
	check_round_trip(
		"--cpus 4 --numa node=0,cpus=0-1,3 --numa node=1,cpus=2 --mem size=2G,prealloc=on "
		"--mem size=4G,node=1,host-nodes=0-1,5,policy=interleave "
		"--spm size=4G,node=3,id=hbm1,addr=0x400000000,hugetlb=1G,host-nodes=1 "
		"--spm size=200M,node=4,id=odd --spm size=0x200000,node=0,mixed=on,id=mixed --spm size=8G,node=2 "
		"--distance 0:2=15 --distance 2:0=16 --distance 1:3=99 --maxmem 24G --hotplug 1G");
	check_round_trip("--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --accel gpu0,node=2,node-of=hbm0 "
			 "--accel a,node=0 --spm size=1G,node=3,id=hbm0,latency=60,bandwidth=800G "
			 "--perf from=2,to=3,read-latency=20500ps --perf from=1,to=4,bandwidth=9G "
			 "--spm size=1G,node=4,read-latency=1us,write-latency=1001ns,write-bandwidth=8G,cache=16M,"
			 "cache-line=128,cache-mapping=complex,cache-policy=write-through");
	/* devices keep their order, with the key that may be left out and without; commas and digits in names */
	check_round_trip("--blk disk.img,ro=on --net user,forward=tcp:80:80+udp:5:6 --blk path=a,,5=b,,,,c,id=007 "
			 "--share /srv,tag=srv --vsock 7 --port name=p,out=x --port q,in=y --share socket=s,tag=8 "
			 "--net tap=tap0,mac=02:00:00:00:00:01,vhost=off --rng off --blk 18446744073709551616");
}

static unsigned below(struct prng *prng, unsigned limit)
{
	return (unsigned)prng_below(prng, limit);
}

/* One of the count texts, each of which starts with a comma or is empty. */
static const char *one_of(struct prng *prng, const char *const *texts, size_t count)
{
	return texts[below(prng, (unsigned)count)];
}
#define ONE_OF(prng, ...)                                                                                              \
	one_of(prng, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static const char *random_source(struct prng *prng)
{
	return ONE_OF(prng, "", "", ",host-nodes=0", ",host-nodes=0-1,3,policy=interleave",
		      ",policy=preferred,host-nodes=1", ",hugetlb=2M", ",prealloc=on",
		      ",hugetlb=2M,prealloc=on,host-nodes=2");
}

static const char *random_figures(struct prng *prng)
{
	return ONE_OF(prng, "", "", ",latency=60", ",latency=60ns,bandwidth=800G",
		      ",read-latency=40,write-latency=50,read-bandwidth=10G,write-bandwidth=5G",
		      ",cache=256M,latency=100,bandwidth=1G");
}

/* A machine that can be: nodes with CPUs, then one with an accelerator at times, then those of blocks. */
static void random_line(struct prng *prng, char *line)
{
	unsigned cpu_nodes = 1 + below(prng, 3), blocks = below(prng, 5), node = cpu_nodes;
	bool has_accel = below(prng, 3) == 0;
	int at = sprintf(line, "--cpus %u", cpu_nodes);

	for (unsigned i = 0; i < cpu_nodes; i++)
		at += sprintf(line + at, " --numa node=%u,cpus=%u --mem size=%uM,node=%u%s%s", i, i,
			      512 + 2 * below(prng, 2000), i, random_source(prng), random_figures(prng));
	if (has_accel)
		at += sprintf(line + at, " --accel %sgpu,node=%u", ONE_OF(prng, "", "id="), node++);
	for (unsigned i = 0; i < blocks; i++)
		at += sprintf(line + at, " --spm size=%uM,node=%u%s%s%s", 2 + 2 * below(prng, 4000), node++,
			      random_source(prng), i == 0 ? ONE_OF(prng, "", ",addr=0x4000000000,id=fixed") : "",
			      random_figures(prng));
	for (unsigned i = 1; i < node; i += 1 + below(prng, 3))
		at += sprintf(line + at, " --distance %u:%u=%u", i, i - 1, 11 + below(prng, 244));
	if (below(prng, 2) == 0)
		at += sprintf(line + at, " --perf from=0,to=%u,latency=%uns", below(prng, cpu_nodes),
			      10 + below(prng, 90));
	if (below(prng, 2) == 0)
		at += sprintf(line + at, " --maxmem 64G%s", ONE_OF(prng, "", " --hotplug 128M"));
	for (unsigned i = below(prng, 4); i > 0; i--)
		at += sprintf(line + at, " --blk %sdisk%u%s", ONE_OF(prng, "", "path="), i, ONE_OF(prng, "", ",ro=on"));
	sprintf(line + at, "%s%s", ONE_OF(prng, "", " --net user", " --vsock 3", " --vsock cid=9"),
		ONE_OF(prng, "", " --rng off", " --rng on", " --phys-bits 47"));
}

static void random_machines_come_back(void **state)
{
	struct prng prng = prng_new("config_json");
	char *line = malloc(LINE_MAX_LENGTH);

	(void)state;
	assert_non_null(line);
	for (int i = 0; i < 300; i++) {
		random_line(&prng, line);
		check_round_trip(line);
	}
	free(line);
}

/* -------------------------------------------------------------------------------------------------- reading */

/* A file that a person wrote: only what is wanted, and whole numbers where the options have sizes. */
static void a_short_file_is_enough(void **state)
{
	struct error err = {0};
	struct options options;

	(void)state;
	assert_int_equal(describe(&options, "{\"config\": {}}", &err), 0);
	assert_int_equal(options.raw.described_count, 0);
	options_release(&options);
	assert_int_equal(
		describe(&options,
			 "{\"config\": {\"mem\": [{\"size\": 4294967296}, {\"node\": \"1\", \"size\": \"2G\"}], "
			 "\"cpus\": \"2\", \"devices\": [{\"blk\": {\"path\": \"a,b=\\u00e9\"}}]}}",
			 &err),
		0);
	assert_int_equal(options.raw.cpus, 2);
	assert_int_equal(options.raw.mem_count, 2);
	assert_true(options.raw.mem[0].size == 4 * GIB && options.raw.mem[1].size == 2 * GIB);
	assert_int_equal(options.raw.mem[1].node, 1);
	assert_string_equal(options.raw.devices[0].path, "a,b=\303\251");
	options_release(&options);
}

static void assert_refused(const char *text, const char *message)
{
	struct error err = {0};
	struct options options;

	assert_true(describe(&options, text, &err) < 0);
	options_release(&options);
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	assert_null(strchr(err.text, '\n'));
	if (strstr(err.text, message) != err.text)
		fail_msg("%s: '%s' is not '%s...'", text, err.text, message);
}

#define CONFIG(text) "{\"config\": {" text "}}"

static void what_is_no_description_is_refused(void **state)
{
	char *deep = malloc(8193);

	(void)state;
	assert_refused("", "no JSON: line ");
	assert_refused("{\"config\": {\"cpus\": 2}", "no JSON: line 1, ");
	assert_refused("{\"config\": {}} {}", "no JSON: line 1, ");
	assert_refused("[]", "the object \"config\" is missing; spmvm plan --format json writes such a file");
	assert_refused("{}", "the object \"config\" is missing; ");
	assert_refused("{\"config\": []}", "the object \"config\" is missing; ");
	assert_refused("{\"confg\": {}}", "unknown key 'confg' in the file; ");
	assert_refused("{\"config\": {}, \"mem\": []}", "unknown key 'mem' in the file; ");
	assert_refused(CONFIG("\"cups\": 2"), "unknown key 'cups' in config; use cpus, ");
	assert_refused(CONFIG("\"kernel\": \"k\""), "unknown key 'kernel' in config; ");
	assert_refused(CONFIG("\"blk\": []"), "unknown key 'blk' in config; ");
	assert_refused(CONFIG("\"cpus\": 2, \"cpus\": 3"), "no JSON: line 1, column 29: duplicate object key");
	assert_refused(CONFIG("\"cpus\": 99999999999999999999"), "no JSON: line 1, column ");
	assert_refused(CONFIG("\"cpus\": \"\\u0000\""), "no JSON: line 1, column ");
	assert_refused(CONFIG("\"cpus\": \"\377\""), "no JSON: line 1, column ");
	assert_refused(CONFIG("\"cpus\": true"), "config.cpus is neither a text nor a whole number; ");
	assert_refused(CONFIG("\"cpus\": 2.0"), "config.cpus is neither ");
	assert_refused(CONFIG("\"cpus\": [2]"), "config.cpus is neither ");
	assert_refused(CONFIG("\"mem\": {\"size\": 1}"), "config.mem is no array; ");
	assert_refused(CONFIG("\"mem\": [\"2G\"]"), "config.mem[0] is no object; ");
	assert_refused(CONFIG("\"mem\": [{\"size\": \"2G\"}, {\"size\": null}]"), "config.mem[1].size is neither ");
	assert_refused(CONFIG("\"mem\": [{\"size\": {\"size\": 1}}]"), "config.mem[0].size is neither ");
	assert_refused(CONFIG("\"devices\": [{}]"), "config.devices[0] is no object of one key; ");
	assert_refused(CONFIG("\"devices\": [3]"), "config.devices[0] is no object of one key; ");
	assert_refused(CONFIG("\"devices\": [{\"rng\": \"on\", \"vsock\": {\"cid\": 3}}]"), "config.devices[0] is no ");
	assert_refused(CONFIG("\"devices\": [{\"spm\": {}}]"), "unknown key 'spm' in config.devices[0]; use blk, ");
	assert_refused(CONFIG("\"devices\": [{\"rng\": \"on\"}, {\"rng\": \"off\"}]"),
		       "config.devices[1]: --rng is given twice; give it once");
	assert_non_null(deep);
	memset(deep, '[', 8192);
	deep[8192] = '\0';
	assert_refused(deep, "no JSON: line 1, ");
	free(deep);
}

/* What options refuse, they refuse out of a file too; and no text can be more than the one value that it stands for. */
static void values_are_checked_as_those_of_options(void **state)
{
	(void)state;
	assert_refused(CONFIG("\"cpus\": 256"), "config.cpus: --cpus 256: ");
	assert_refused(CONFIG("\"cpus\": -1"), "config.cpus: --cpus -1: ");
	assert_refused(CONFIG("\"cpus\": \"\""), "config.cpus: --cpus : ");
	assert_refused(CONFIG("\"spm\": [{\"size\": \"8Q\", \"node\": 1}]"),
		       "config.spm[0]: --spm size=8Q,node=1: bad size suffix 'Q' (column 7); ");
	assert_refused(CONFIG("\"spm\": [{\"size\": \"8G\", \"node\": 1, \"colour\": 1}]"),
		       "config.spm[0]: --spm size=8G,node=1,colour=1: unknown key 'colour' (column 16); ");
	assert_refused(CONFIG("\"spm\": [{\"size\": \"8G\"}]"), "config.spm[0]: --spm size=8G: node is missing; ");
	assert_refused(CONFIG("\"spm\": [{\"size\": \"8G\", \"node\": 1, \"id\": \"a,mixed=on\"}]"),
		       "config.spm[0]: --spm size=8G,node=1,id=a,,mixed=on: ',' cannot stand here in an id ");
	assert_refused(CONFIG("\"spm\": [{\"size\": \"8G\", \"mixed=on,node\": 1}]"),
		       "unknown key 'mixed=on,node' in config.spm[0]; its keys are those of the option");
	assert_refused(CONFIG("\"spm\": [{\"size\": \"8G\", \"\": 1}]"), "unknown key '' in config.spm[0]; ");
	assert_refused(CONFIG("\"spm\": [{\"size\": 0, \"node\": 1}]"), "config.spm[0]: --spm size=0,node=1: ");
	assert_refused(CONFIG("\"spm\": [{}]"), "config.spm[0]: --spm : ");
	assert_refused(CONFIG("\"mem\": [{\"size\": \"1G\", \"addr\": 0}]"),
		       "config.mem[0]: --mem size=1G,addr=0: 'addr' is a key of --spm only ");
	assert_refused(CONFIG("\"numa\": [{\"node\": 0, \"cpus\": \"0-999\"}]"), "config.numa[0]: --numa ");
	assert_refused(CONFIG("\"distance\": [\"0:1=9\"]"), "config.distance[0]: --distance 0:1=9: ");
	assert_refused(CONFIG("\"distance\": [5]"), "config.distance[0]: --distance 5: ");
	assert_refused(CONFIG("\"phys-bits\": 53"), "config.phys-bits: --phys-bits 53: ");
	assert_refused(CONFIG("\"devices\": [{\"vsock\": {\"cid\": 2}}]"), "config.devices[0]: --vsock cid=2: ");
	assert_refused(CONFIG("\"devices\": [{\"rng\": \"maybe\"}]"), "config.devices[0]: --rng maybe: ");
}

/* ------------------------------------------------------------------------------------------ beside options */

/* Parses a line in which FILE is a file with this text. The words live until the next call. */
static int parse_with_file(struct options *options, const char *line, const char *text, struct error *err)
{
	static char words[8][64];
	char *argv[9] = {0}, *copy = strdup(line);
	int argc = 0, code;
	FILE *file;

	assert_non_null(copy);
	snprintf(words[7], sizeof(words[7]), "/tmp/spmvm-test-config-%d.json", (int)getpid());
	file = fopen(words[7], "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
		assert_true(argc < 7);
		snprintf(words[argc], sizeof(words[0]), "%s", strcmp(word, "FILE") == 0 ? words[7] : word);
		argv[argc] = words[argc];
		argc++;
	}
	free(copy);
	code = options_parse(options, argc, argv, err);
	unlink(words[7]);
	return code;
}

static void assert_line(const char *line, const char *text, const char *message)
{
	struct error err = {0};
	struct options options;
	int code = parse_with_file(&options, line, text, &err);

	if (code == 0)
		options_release(&options);
	if (message == NULL && code < 0)
		fail_msg("%s: %s", line, err.text);
	if (message != NULL && (code == 0 || strstr(err.text, message) == NULL))
		fail_msg("%s: '%s' lacks '%s'", line, err.text, message);
}

static void the_machine_is_said_once(void **state)
{
	static const char FILE_TEXT[] = CONFIG("\"cpus\": 2, \"phys-bits\": 46, \"devices\": [{\"rng\": \"off\"}]");
	static const char *const SHAPES[] = {"--cpus 2",          "--mem 1G",         "--spm size=2M,node=1",
					     "--maxmem 4G",       "--hotplug 2M",     "--numa node=0,cpus=0",
					     "--distance 0:1=20", "--accel a,node=0", "--perf from=0,to=0,latency=1"};
	char line[128], message[128];

	(void)state;
	for (size_t i = 0; i < sizeof(SHAPES) / sizeof(SHAPES[0]); i++) {
		snprintf(message, sizeof(message), "%.*s and --config both say what the machine is; ",
			 (int)strcspn(SHAPES[i], " "), SHAPES[i]);
		snprintf(line, sizeof(line), "spmvm --config FILE %s", SHAPES[i]);
		assert_line(line, "{\"config\": {}}", message);
		snprintf(line, sizeof(line), "spmvm plan %s --config FILE", SHAPES[i]);
		assert_line(line, "{\"config\": {}}", message);
	}
	assert_line("spmvm --config FILE --kernel k --append x", FILE_TEXT, NULL);
	assert_line("spmvm --blk a --config FILE --net user", FILE_TEXT, NULL);
	assert_line("spmvm plan --config FILE --rng off", FILE_TEXT, "--rng is given twice");
	assert_line("spmvm plan --config FILE --phys-bits 40", FILE_TEXT, "--phys-bits is given twice");
	assert_line("spmvm plan --config FILE --phys-bits 40", "{\"config\": {}}", NULL);
	assert_line("spmvm --config FILE --config FILE", FILE_TEXT, "--config is given twice");
	assert_line("spmvm --config /nowhere", FILE_TEXT, "--config /nowhere: cannot open /nowhere: ");
	assert_line("spmvm --config FILE", "{", "no JSON: line 1, ");
	assert_line("spmvm doctor --config FILE", FILE_TEXT, "--config says nothing to spmvm doctor");
}

/* phys-bits is what plan supposes: a machine that runs has its host's. Devices stand where --config does. */
static void a_file_stands_for_its_options(void **state)
{
	struct error err = {0};
	struct options options;

	(void)state;
	assert_int_equal(
		parse_with_file(&options, "spmvm --blk first --config FILE --blk last",
				CONFIG("\"cpus\": 2, \"phys-bits\": 40, \"devices\": [{\"blk\": {\"path\": \"x\"}}]"),
				&err),
		0);
	assert_int_equal(options.raw.cpus, 2);
	assert_int_equal(options.raw.phys_bits, 0);
	assert_int_equal(options.raw.device_count, 3);
	assert_string_equal(options.raw.devices[0].path, "first");
	assert_string_equal(options.raw.devices[1].path, "x");
	assert_string_equal(options.raw.devices[2].path, "last");
	options_release(&options);
}

/* Every option is part of the description or known not to be: a new one has to be looked at. */
static void every_option_has_its_place(void **state)
{
	static const char OTHERS[] =
		" config kernel kernel-cache kernel-unpack initrd append modules module script file rw timeout console serial metrics log qmp "
		"force format tables diff sandbox help version ";
	char *text = NULL;
	size_t size = 0, count = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_non_null(out);
	options_help(out);
	fclose(out);
	for (char *at = strstr(text, "\n  --"); at != NULL; at = strstr(at + 1, "\n  --")) {
		char name[32], spaced[40];

		snprintf(name, sizeof(name), "%.*s", (int)strspn(at + 5, "abcdefghijklmnopqrstuvwxyz-"), at + 5);
		snprintf(spaced, sizeof(spaced), " %s ", name);
		if (name[0] == '\0' || strcmp(name, "mem and") == 0)
			continue;
		if (config_json_has(name) == (strstr(OTHERS, spaced) != NULL))
			fail_msg("--%s: neither described nor known not to be, or both", name);
		count++;
	}
	assert_true(count > 30);
	free(text);
}

static void what_is_not_utf8_cannot_be_written(void **state)
{
	struct machine_line machine = line_new("--blk a\377b");
	FILE *out = fopen("/dev/null", "w");
	struct error err = {0};

	(void)state;
	assert_non_null(out);
	assert_true(plan_json(machine.board, out, &err) < 0);
	assert_non_null(strstr(err.text, "cannot be written as JSON, which holds UTF-8 only"));
	fclose(out);
	line_release(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_makes_the_same_plan),
		cmocka_unit_test(random_machines_come_back),
		cmocka_unit_test(a_short_file_is_enough),
		cmocka_unit_test(what_is_no_description_is_refused),
		cmocka_unit_test(values_are_checked_as_those_of_options),
		cmocka_unit_test(the_machine_is_said_once),
		cmocka_unit_test(a_file_stands_for_its_options),
		cmocka_unit_test(every_option_has_its_place),
		cmocka_unit_test(what_is_not_utf8_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
