/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/range.h"
#include "vmm/option_values.h"
#include "vmm/options.h"

#include <errno.h>

enum { WORDS_MAX = 1200 };

/* Parses "spmvm" and the words given, separated by single blanks; a '~' in a word stands for a blank. line is written to. */
static int parse_line(struct options *options, char *line, struct error *err)
{
	static char name[] = "spmvm";
	static char *argv[WORDS_MAX + 1]; /* a command's words stay in it until the next call */
	int argc = 1;

	memset(argv, 0, sizeof(argv));
	argv[0] = name;

	for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) {
		assert_true(argc < WORDS_MAX);
		for (char *c = word; *c != '\0'; c++)
			*c = *c == '~' ? ' ' : *c;
		argv[argc++] = word;
	}
	return options_parse(options, argc, argv, err);
}

/* As parse_line(), which must succeed; release with release_line(). */
struct parsed {
	char *line;
	struct options options;
};

static struct parsed parsed(const char *line)
{
	struct parsed p = {.line = strdup(line)};
	struct error err = {0};
	int code = parse_line(&p.options, p.line, &err);

	if (code < 0)
		print_error("%s: %s\n", line, err.text);
	assert_int_equal(code, 0);
	return p;
}

static void release(struct parsed *p)
{
	options_release(&p->options);
	free(p->line);
}

static void assert_refused(const char *line, const char *message)
{
	char *words = strdup(line);
	struct options options;
	struct error err = {0};

	assert_true(parse_line(&options, words, &err) < 0);
	assert_string_equal(err.text, message);
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	free(words);
}

static void defaults(void **state)
{
	struct parsed p = parsed("");

	(void)state;
	assert_int_equal(p.options.command, COMMAND_RUN);
	assert_null(p.options.raw.kernel); /* the newest one of the host, found later */
	assert_int_equal(p.options.raw.serial, SERIAL_DEFAULT);
	assert_null(p.options.raw.command);
	assert_int_equal(p.options.raw.log_level, LOG_INFO);
	assert_int_equal(p.options.raw.cpus, 0);
	assert_int_equal(p.options.raw.mem_count, 0);
	assert_false(p.options.raw.force);
	release(&p);
	options_release(NULL);
}

static void commands(void **state)
{
	struct parsed p = parsed("run --kernel k");

	(void)state;
	assert_int_equal(p.options.command, COMMAND_RUN);
	release(&p);
	p = parsed("plan");
	assert_int_equal(p.options.command, COMMAND_PLAN);
	assert_int_equal(p.options.plan_format, PLAN_TEXT);
	assert_null(p.options.plan_tables);
	release(&p);
	p = parsed("plan --format json --tables /tmp/t --phys-bits 46 --kernel k --script s");
	assert_int_equal(p.options.plan_format, PLAN_JSON);
	assert_string_equal(p.options.plan_tables, "/tmp/t");
	assert_int_equal(p.options.raw.phys_bits, 46);
	release(&p);
	p = parsed("plan --format svg");
	assert_int_equal(p.options.plan_format, PLAN_SVG);
	release(&p);
	p = parsed("plan --format dts");
	assert_int_equal(p.options.plan_format, PLAN_DTS);
	release(&p);
	p = parsed("plan --format dtb");
	assert_int_equal(p.options.plan_format, PLAN_DTB);
	release(&p);
	p = parsed("plan --format=text");
	assert_int_equal(p.options.plan_format, PLAN_TEXT);
	release(&p);
	p = parsed("doctor --kernel k --modules m --format json --log debug");
	assert_int_equal(p.options.command, COMMAND_DOCTOR);
	assert_int_equal(p.options.plan_format, PLAN_JSON);
	assert_string_equal(p.options.raw.kernel, "k");
	assert_string_equal(p.options.raw.modules, "m");
	release(&p);
	p = parsed("--help --nonsense");
	assert_int_equal(p.options.command, COMMAND_HELP);
	release(&p);
	p = parsed("plan --cpus 3 -h");
	assert_int_equal(p.options.command, COMMAND_HELP);
	release(&p);
	p = parsed("--version");
	assert_int_equal(p.options.command, COMMAND_VERSION);
	release(&p);
}

static void commands_in_the_wrong_place(void **state)
{
	(void)state;
	assert_refused("--kernel k plan",
		       "unexpected 'plan' (argument 3): the command comes first; write spmvm plan OPTIONS");
	assert_refused("plan run", "unexpected 'run' (argument 2): the command comes first; write spmvm run OPTIONS");
	assert_refused("--kernel k --format json",
		       "--format belongs to spmvm plan and spmvm doctor; write spmvm plan OPTIONS or leave it out");
	assert_refused("run --tables=x", "--tables belongs to spmvm plan; write spmvm plan OPTIONS or leave it out");
	assert_refused("--phys-bits 40", "--phys-bits belongs to spmvm plan; write spmvm plan OPTIONS or leave it out");
	assert_refused(
		"doctor --spm size=8G,node=1",
		"--spm says nothing to spmvm doctor, which takes --kernel, --modules, --format and --log; leave it "
		"out");
	assert_refused(
		"doctor --tables x",
		"--tables says nothing to spmvm doctor, which takes --kernel, --modules, --format and --log; leave "
		"it out");
	assert_refused("doctor -- true", "spmvm doctor runs no command; leave -- and what follows out");
	assert_refused("--cpus 2 doctor",
		       "unexpected 'doctor' (argument 3): the command comes first; write spmvm doctor OPTIONS");
	assert_refused("plan --force", "--force belongs to spmvm run: plan starts no machine; leave it out");
}

static void one_block_with_every_key(void **state)
{
	struct parsed p =
		parsed("--kernel k --spm size=8G,node=1,addr=0x1000000000,id=hbm-0.a_B,mixed=on,host-nodes=0-1,3,"
		       "policy=interleave,hugetlb=1G,prealloc=on");
	const struct raw_memory *spm = &p.options.raw.spm[0];

	(void)state;
	assert_int_equal(p.options.raw.spm_count, 1);
	assert_int_equal(spm->size, 8 * GIB);
	assert_true(spm->has_node);
	assert_int_equal(spm->node, 1);
	assert_true(spm->has_address);
	assert_int_equal(spm->address, 64 * GIB);
	assert_string_equal(spm->id, "hbm-0.a_B");
	assert_true(spm->mixed);
	assert_true(spm->has_policy);
	assert_int_equal(spm->source.policy, HOST_POLICY_INTERLEAVE);
	assert_int_equal(spm->source.host_nodes.words[0], 0xb);
	assert_int_equal(spm->source.hugetlb, GIB);
	assert_true(spm->source.prealloc);
	assert_non_null(strstr(spm->argument, "id=hbm-0.a_B"));
	release(&p);
}

static void ram(void **state)
{
	struct parsed p = parsed(
		"--kernel k --mem 2G --mem=size=512M,node=3,hugetlb=2M,policy=preferred,host-nodes=1023 "
		"--mem 1G,node=0x1,policy=bind,host-nodes=0,prealloc=off,mem-path=a,,b=c --spm size=1G,node=4,fd=7");
	const struct raw_memory *mem = p.options.raw.mem;

	(void)state;
	assert_int_equal(p.options.raw.mem_count, 3);
	assert_int_equal(mem[0].size, 2 * GIB);
	assert_false(mem[0].has_node);
	assert_int_equal(mem[0].node, 0);
	assert_int_equal(mem[0].source.policy, HOST_POLICY_DEFAULT);
	assert_int_equal(mem[1].size, 512 * MIB);
	assert_int_equal(mem[1].node, 3);
	assert_int_equal(mem[1].source.hugetlb, 2 * MIB);
	assert_int_equal(mem[1].source.policy, HOST_POLICY_PREFERRED);
	assert_true(node_set_has(&mem[1].source.host_nodes, 1023));
	assert_int_equal(mem[2].node, 1);
	assert_int_equal(mem[2].source.policy, HOST_POLICY_BIND);
	assert_false(mem[2].source.prealloc);
	assert_string_equal(mem[2].source.path, "a,b=c");
	assert_null(mem[1].source.path);
	assert_int_equal(p.options.raw.spm[0].source.inherited, 7);
	release(&p);
}

static void bad_memory(void **state)
{
	(void)state;
	assert_refused("--spm size=8Q,node=1",
		       "--spm size=8Q,node=1: bad size suffix 'Q' (column 7); use K, M, G or T");
	assert_refused("--spm size=8G", "--spm size=8G: node is missing; add node=N, a node of the block's own");
	assert_refused("--spm node=1", "--spm node=1: size is missing; add size=SIZE, such as size=8G");
	assert_refused("--spm 8G,node=1", "--spm 8G,node=1: '8G' has no value (column 1); use KEY=VALUE");
	assert_refused("--spm size=8G,node=1024",
		       "--spm size=8G,node=1024: 1024 is out of range (column 14); use 0 to 1023");
	assert_refused("--spm size=8G,node=1,node=2",
		       "--spm size=8G,node=1,node=2: 'node' is given twice (columns 9 and 16); give it once");
	assert_refused(
		"--spm size=8G,node=1,colour=red",
		"--spm size=8G,node=1,colour=red: unknown key 'colour' (column 16); use size, node, host-nodes, "
		"policy, hugetlb, prealloc, mem-path, fd, cache, cache-line, cache-mapping, cache-policy, addr, id, "
		"mixed, latency, "
		"read-latency, write-latency, bandwidth, read-bandwidth or write-bandwidth");
	assert_refused("--mem 8G,colour=red", "--mem 8G,colour=red: unknown key 'colour' (column 4); use size, node, "
					      "host-nodes, policy, hugetlb, prealloc, mem-path, fd, cache, cache-line, "
					      "cache-mapping, cache-policy, " OPTION_FIGURES);
	assert_refused("--mem 8G,mixed=on",
		       "--mem 8G,mixed=on: 'mixed' is a key of --spm only (column 4); use size, "
		       "node, host-nodes, policy, hugetlb, prealloc, mem-path, fd, cache, cache-line, "
		       "cache-mapping, cache-policy, " OPTION_FIGURES);
	assert_refused("--mem=", "--mem '': nothing stands here (column 1); use KEY=VALUE, with single commas between");
	assert_refused("--mem size=", "--mem size=: 'size' has no value (column 6); give one or leave the key out");
	assert_refused("--mem 1G,policy=local", "--mem 1G,policy=local: unknown policy 'local' (column 11); use bind, "
						"preferred or interleave");
	assert_refused("--mem 1G,hugetlb=4M",
		       "--mem 1G,hugetlb=4M: 4M is no huge page size of x86-64 (column 12); use 2M or 1G");
	assert_refused("--mem 1G,hugetlb=x",
		       "--mem 1G,hugetlb=x: 'x' is not a digit (column 12); use a size such as 512M or 8G");
	assert_refused("--mem 1G,prealloc=yes", "--mem 1G,prealloc=yes: 'yes' is neither on nor off (column 13)");
	assert_refused("--mem 1G,fd=2", "--mem 1G,fd=2: 2 is out of range (column 7); use 3 to 2147483647");
	assert_refused("--mem 1G,host-nodes=0,0",
		       "--mem 1G,host-nodes=0,0: 0 is listed twice (column 17); list each number once");
	assert_refused("--spm size=1G,node=1,mixed=1",
		       "--spm size=1G,node=1,mixed=1: '1' is neither on nor off (column 22)");
	assert_refused("--spm size=1G,node=1,addr=4GB",
		       "--spm size=1G,node=1,addr=4GB: bad size suffix 'GB' (column 22); use K, M, G or T");
}

static void ids(void **state)
{
	struct parsed p = parsed("--kernel k --spm size=1G,node=1,"
				 "id=a23456789012345678901234567890123456789012345678901234567890123");

	(void)state;
	assert_int_equal(strlen(p.options.raw.spm[0].id), CONFIG_ID_MAX);
	release(&p);
	assert_refused(
		"--spm id=a234567890123456789012345678901234567890123456789012345678901234,size=1G,node=1",
		"--spm id=a234567890123456789012345678901234567890123456789012345678901234,size=1G,node=1: the id "
		"has 64 characters (column 4); use at most 63");
	assert_refused("--spm id=0a,size=1G,node=1",
		       "--spm id=0a,size=1G,node=1: '0' cannot stand here in an id (column 4); use a letter, then "
		       "letters, digits, '-', '_' and '.'");
	assert_refused("--spm id=a/b,size=1G,node=1",
		       "--spm id=a/b,size=1G,node=1: '/' cannot stand here in an id (column 5); use a letter, then "
		       "letters, digits, '-', '_' and '.'");
}

/* Words "option value" repeated count times, behind "--kernel k". */
static char *repeated(const char *words, size_t count)
{
	char *line = malloc(16 + (strlen(words) + 1) * count);
	char *at = line + sprintf(line, "--kernel k");

	for (size_t i = 0; i < count; i++)
		at += sprintf(at, " %s", words);
	return line;
}

static void counts_are_bounded(void **state)
{
	char *line = repeated("--mem=2M", CONFIG_MEM_MAX);
	struct parsed p = parsed(line);

	(void)state;
	assert_int_equal(p.options.raw.mem_count, CONFIG_MEM_MAX);
	release(&p);
	free(line);
	line = repeated("--mem=2M", CONFIG_MEM_MAX + 1);
	assert_refused(line, "--mem 2M: more than 256 --mem; join those of one node");
	free(line);
	line = repeated("--spm=size=2M,node=1", CONFIG_SPM_MAX);
	p = parsed(line);
	assert_int_equal(p.options.raw.spm_count, CONFIG_SPM_MAX);
	assert_int_equal(p.options.raw.spm[CONFIG_SPM_MAX - 1].size, 2 * MIB);
	release(&p);
	free(line);
	line = repeated("--spm=size=2M,node=1", CONFIG_SPM_MAX + 1);
	assert_refused(line, "--spm size=2M,node=1: more than 1024 --spm; use larger ones");
	free(line);
}

static void processors(void **state)
{
	struct parsed p =
		parsed("--kernel k --cpus 255 --numa node=0,cpus=0-63,128 --numa cpus=254,node=1 --distance 0:1=21 "
		       "--distance=1:0=30 --maxmem 16T");
	const struct config_raw *raw = &p.options.raw;

	(void)state;
	assert_int_equal(raw->cpus, 255);
	assert_int_equal(raw->numa_count, 2);
	assert_int_equal(raw->numa[0].node, 0);
	assert_true(raw->numa[0].cpus.words[0] == UINT64_MAX);
	assert_true(raw->numa[0].cpus.words[2] == 1);
	assert_int_equal(raw->numa[1].node, 1);
	assert_true(raw->numa[1].cpus.words[3] == UINT64_C(1) << 62);
	assert_int_equal(raw->distance_count, 2);
	assert_int_equal(raw->distances[1].from, 1);
	assert_int_equal(raw->distances[1].to, 0);
	assert_int_equal(raw->distances[1].distance, 30);
	assert_string_equal(raw->distances[1].argument, "1:0=30");
	assert_int_equal(raw->maxmem, 16 * TIB);
	release(&p);
}

static void bad_processors(void **state)
{
	(void)state;
	assert_refused("--cpus 0", "--cpus 0: 0 is out of range (column 1); use 1 to 255");
	assert_refused("--cpus 256", "--cpus 256: 256 is out of range (column 1); use 1 to 255");
	assert_refused("--cpus=", "--cpus '': a number is missing (column 1); use 1 to 255");
	assert_refused("--numa node=0", "--numa node=0: cpus is missing; add cpus=LIST, such as cpus=0-3");
	assert_refused("--numa cpus=0", "--numa cpus=0: node is missing; add node=N");
	assert_refused("--numa cpus=0,node=0,x=1",
		       "--numa cpus=0,node=0,x=1: unknown key 'x' (column 15); use node or cpus");
	assert_refused("--numa cpus=0-255,node=0",
		       "--numa cpus=0-255,node=0: 255 is out of range (column 8); use 0 to 254");
	assert_refused("--numa node", "--numa node: 'node' has no value (column 1); use KEY=VALUE");
	assert_refused("--distance 0-1",
		       "--distance 0-1: ':' is missing; use FROM:TO=DISTANCE, such as 0:1=20, or host");
	assert_refused("--distance 0:1",
		       "--distance 0:1: '=' is missing; use FROM:TO=DISTANCE, such as 0:1=20, or host");
	assert_refused("--distance 0:x=20",
		       "--distance 0:x=20: 'x' is not a digit (column 3); use a number from 0 to 1023");
	assert_refused("--distance 1024:1=20", "--distance 1024:1=20: 1024 is out of range (column 1); use 0 to 1023");
	assert_refused("--distance 0:1=9", "--distance 0:1=9: 9 is out of range (column 5); use 10 to 254");
	assert_refused("--distance 0:1=255", "--distance 0:1=255: 255 is out of range (column 5); use 10 to 254");
	assert_refused("--maxmem 0", "--maxmem 0: a size of 0 is not possible (column 1); use such as 512M or 8G");
}

static void boot(void **state)
{
	struct parsed p =
		parsed("--kernel=k --initrd i --append quiet~x=1 --modules m --script s --file /a --file=/a:/b "
		       "--module ext4,nls_utf8 --module crc32c-intel --kernel-cache /c "
		       "--serial file:/tmp/log --log debug --force");
	const struct config_raw *raw = &p.options.raw;

	(void)state;
	assert_string_equal(raw->kernel, "k");
	assert_string_equal(raw->kernel_cache, "/c");
	assert_string_equal(raw->initrd, "i");
	assert_string_equal(raw->append, "quiet x=1");
	assert_string_equal(raw->modules, "m");
	assert_string_equal(raw->script, "s");
	assert_int_equal(raw->file_count, 2);
	assert_string_equal(raw->files[0].argument, "/a");
	assert_string_equal(raw->files[1].argument, "/a:/b");
	assert_int_equal(raw->extra_module_count, 3);
	assert_string_equal(raw->extra_modules[0], "ext4");
	assert_string_equal(raw->extra_modules[1], "nls_utf8");
	assert_string_equal(raw->extra_modules[2], "crc32c-intel");
	assert_int_equal(raw->serial, SERIAL_FILE);
	assert_string_equal(raw->serial_path, "/tmp/log");
	assert_int_equal(raw->log_level, LOG_DEBUG);
	assert_true(raw->force);
	release(&p);
	assert_int_equal(raw->sandbox, SANDBOX_DEFAULT);

	p = parsed("--kernel=k --append= --serial none --sandbox log");
	assert_int_equal(p.options.raw.sandbox, SANDBOX_LOG);
	assert_string_equal(p.options.raw.append, "");
	assert_int_equal(p.options.raw.serial, SERIAL_NONE);
	release(&p);
	p = parsed("--kernel=k --append=--verbose --serial stdio");
	assert_string_equal(p.options.raw.append, "--verbose");
	assert_int_equal(p.options.raw.serial, SERIAL_STDIO);
	release(&p);
}

/* Behind "--" nothing is an option of ours any more. */
static void a_command_ends_the_options(void **state)
{
	struct parsed p = parsed("--rw out --rw /tmp --timeout 60 --console -- ls --kernel -- x");
	const struct config_raw *raw = &p.options.raw;

	(void)state;
	assert_string_equal(raw->command[0], "ls");
	assert_string_equal(raw->command[1], "--kernel");
	assert_string_equal(raw->command[2], "--");
	assert_string_equal(raw->command[3], "x");
	assert_null(raw->command[4]);
	assert_null(raw->kernel);
	assert_int_equal(raw->rw_count, 2);
	assert_string_equal(raw->rw[0], "out");
	assert_string_equal(raw->rw[1], "/tmp");
	assert_int_equal(raw->timeout, 60);
	assert_true(raw->console);
	release(&p);
	assert_refused("--spm size=1G,node=1 --", "no command behind --; write spmvm OPTIONS -- COMMAND [ARGUMENT...]");
	assert_refused("--timeout 0 -- ls", "--timeout 0: 0 is out of range (column 1); use 1 to 31536000");
	assert_refused("--timeout 5m -- ls",
		       "--timeout 5m: 'm' is not a digit (column 2); use a number from 1 to 31536000");
	assert_refused("--rw= -- ls", "--rw '': the value is empty; name a folder or leave the option out");
	assert_refused("--console=yes", "--console takes no value; leave '=yes' out");
}

static void bad_boot(void **state)
{
	(void)state;
	assert_refused("--kernel=", "--kernel '': the value is empty; name a bzImage or leave the option out");
	assert_refused("--kernel-cache=",
		       "--kernel-cache '': the value is empty; name a folder, or off, or leave the option out");
	assert_refused("--kernel-cache /c --kernel-cache off", "--kernel-cache is given twice; give it once");
	assert_refused("--initrd=", "--initrd '': the value is empty; name an initramfs or leave the option out");
	assert_refused("--modules=",
		       "--modules '': the value is empty; name a folder of kernel modules or leave the option out");
	assert_refused("--module=", "--module '': a name is empty (column 1); use NAME[,NAME...], such as ext4");
	assert_refused("--module ext4,,nls",
		       "--module ext4,,nls: a name is empty (column 6); use NAME[,NAME...], such as ext4");
	assert_refused("--module ext4,",
		       "--module ext4,: a name is empty (column 6); use NAME[,NAME...], such as ext4");
	assert_refused("--module ext4,nls.ko", "--module ext4,nls.ko: '.' cannot stand in a module's name (column 9); "
					       "use letters, digits, '-' and '_', no path and no .ko");
	assert_refused("--script=", "--script '': the value is empty; name a script or leave the option out");
	assert_refused("--file=",
		       "--file '': a path is empty; use PATH, or PATH:GUEST_PATH for another name in the guest");
	assert_refused("--file :/b",
		       "--file :/b: a path is empty; use PATH, or PATH:GUEST_PATH for another name in the guest");
	assert_refused("--file /a:",
		       "--file /a:: a path is empty; use PATH, or PATH:GUEST_PATH for another name in the guest");
	assert_refused("--sandbox no", "--sandbox no: unknown mode; use on, log or off");
	assert_refused("--serial tcp:1", "--serial tcp:1: unknown place; use stdio, file:PATH or none");
	assert_refused("--serial file:",
		       "--serial file:: the value is empty; name a file behind file: or leave the option out");
	assert_refused("--log loud", "--log loud: unknown level; use error, warn, info or debug");
	assert_refused("plan --format xml", "--format xml: unknown format; use text, json, svg, dts or dtb");
	assert_refused("doctor --format dtb", "--format dtb: unknown format; use text or json");
	assert_refused("plan --tables=",
		       "--tables '': the value is empty; name a folder for the ACPI tables or leave the option out");
	assert_refused("plan --phys-bits 35", "--phys-bits 35: 35 is out of range (column 1); use 36 to 52");
	assert_refused("plan --phys-bits 53", "--phys-bits 53: 53 is out of range (column 1); use 36 to 52");
}

#define NO_OPTION "it is no option (spmvm --help lists them); a command for the guest stands behind --"

static void words_that_are_no_options(void **state)
{
	(void)state;
	assert_refused("vmlinuz", "unexpected 'vmlinuz' (argument 1): " NO_OPTION);
	assert_refused("-m 2G", "unexpected '-m' (argument 1): " NO_OPTION);
	assert_refused("--=x", "unexpected '--=x' (argument 1): " NO_OPTION);
}

static void unknown_options(void **state)
{
	(void)state;
	assert_refused("--krenel k", "unknown option --krenel; did you mean --kernel?");
	assert_refused("--spn=x", "unknown option --spn; did you mean --spm?");
	assert_refused("--memory 1G", "unknown option --memory; spmvm --help lists the options");
	assert_refused("--cpu 1", "unknown option --cpu; did you mean --cpus?");
	assert_refused("--distances 1", "unknown option --distances; did you mean --distance?");
	assert_refused("--hlep", "unknown option --hlep; spmvm --help lists the options");
	assert_refused("--helpp", "unknown option --helpp; did you mean --help?");
	assert_refused("--xyz", "unknown option --xyz; spmvm --help lists the options");
	assert_refused("--phys_bits=40", "unknown option --phys_bits; did you mean --phys-bits?");
	assert_refused("--a-name-that-is-far-longer-than-any=1",
		       "unknown option --a-name-that-is-far-longer-than-any; spmvm --help lists the options");
}

static void values_in_the_wrong_place(void **state)
{
	(void)state;
	assert_refused("--kernel", "--kernel has no value; use --kernel with FILE");
	assert_refused(
		"--mem --spm",
		"--mem has no value: --spm follows; use --mem with SIZE or size=SIZE[,node=N], or --mem=--spm if "
		"that is the value");
	assert_refused("--force=yes", "--force takes no value; leave '=yes' out");
	assert_refused("--kernel a --kernel b", "--kernel is given twice; give it once");
	assert_refused("--force --force", "--force is given twice; give it once");
}

/* The help, read back; free() it. */
static char *help_text(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	options_help(out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void help_fits_the_screen(void **state)
{
	char *help = help_text();
	size_t column = 0;

	(void)state;
	for (const char *c = help; *c != '\0'; c++) {
		column = *c == '\n' ? 0 : column + 1;
		assert_true(column <= 100);
		assert_int_not_equal(*c, '\t');
	}
	free(help);
}

static void help_and_parser_know_the_same_options(void **state)
{
	static const char *const NAMES[] = {
		"--mem ",          "--spm ",     "--maxmem ",  "--cpus ",    "--numa ",    "--distance ",
		"--kernel ",       "--initrd ",  "--append ",  "--modules ", "--module ",  "--script ",
		"--file ",         "--serial ",  "--force ",   "--format ",  "--tables ",  "--phys-bits ",
		"--log ",          "--help,",    "--version ", "--rw ",      "--timeout ", "--console ",
		"--perf ",         "--accel ",   "--hmat ",    "--config ",  "--diff ",    "--kernel-unpack ",
		"--kernel-cache ", "--metrics ", "--sandbox ", "--qmp "};
	char *help = help_text();

	(void)state;
	for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
		assert_non_null(strstr(help, NAMES[i]));
	/* and every option that the help names is one that the parser knows */
	for (char *at = strstr(help, "--"); at != NULL; at = strstr(at + 2, "--")) {
		char word[32] = "";
		struct options options;
		struct error err = {0};
		size_t length = strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-");

		snprintf(word, sizeof(word), "--%.*s", (int)length, at + 2);
		if (strcmp(word, "--option") == 0 ||
		    strcmp(word, "--") == 0) /* stands for any of them; and the end of them */
			continue;
		if (parse_line(&options, word, &err) == 0)
			options_release(&options);
		assert_null(strstr(err.text, "unknown option"));
	}
	free(help);
}

static void help_names_bounds_and_statuses(void **state)
{
	static const char *const PARTS[] = {"1 to 255",
					    "up to 256 times",
					    "up to 1024 times",
					    "0 to 1023",
					    "up to 63 characters",
					    "11 to 254",
					    "36 to 52",
					    "  0      the guest powered off or reset\n",
					    "  2      the command line cannot be understood\n",
					    "  6      the guest panicked",
					    "  128+N  ended by signal N\n",
					    "Ctrl-A x"};
	char *help = help_text();

	(void)state;
	for (size_t i = 0; i < sizeof(PARTS) / sizeof(PARTS[0]); i++) {
		if (strstr(help, PARTS[i]) == NULL)
			fail_msg("the help lacks \"%s\"", PARTS[i]);
	}
	free(help);
}

/* The examples of the help are command lines that work. */
static void help_examples_parse(void **state)
{
	char *help = help_text();
	char *at = strstr(help, "\nExamples\n");
	size_t examples = 0;

	(void)state;
	assert_non_null(at);
	while ((at = strstr(at, "\n    spmvm ")) != NULL) {
		char line[400] = "";
		struct options options;
		struct error err = {0};
		struct config config;

		at += strlen("\n    spmvm ");
		for (size_t i = 0; *at != '\n' && i + 1 < sizeof(line); at++) {
			if (strncmp(at, "\\\n", 2) == 0)
				at++; /* the line goes on */
			else
				line[i++] = *at;
		}
		if (parse_line(&options, line, &err) < 0)
			fail_msg("%s", err.text);
		if (config_from(&config, &options.raw, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(config.warning_count, 0);
		config_release(&config);
		options_release(&options);
		examples++;
	}
	assert_int_equal(examples, 6);
	free(help);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(commands),
		cmocka_unit_test(commands_in_the_wrong_place),
		cmocka_unit_test(one_block_with_every_key),
		cmocka_unit_test(ram),
		cmocka_unit_test(bad_memory),
		cmocka_unit_test(ids),
		cmocka_unit_test(counts_are_bounded),
		cmocka_unit_test(processors),
		cmocka_unit_test(bad_processors),
		cmocka_unit_test(boot),
		cmocka_unit_test(a_command_ends_the_options),
		cmocka_unit_test(bad_boot),
		cmocka_unit_test(words_that_are_no_options),
		cmocka_unit_test(unknown_options),
		cmocka_unit_test(values_in_the_wrong_place),
		cmocka_unit_test(help_fits_the_screen),
		cmocka_unit_test(help_and_parser_know_the_same_options),
		cmocka_unit_test(help_names_bounds_and_statuses),
		cmocka_unit_test(help_examples_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
