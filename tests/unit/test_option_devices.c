/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/range.h"
#include "vmm/config.h"
#include "vmm/options.h"

#include <stdbool.h>

enum { WORDS_MAX = 24 };

/* Parses a line of words that are separated by single spaces. The words live in line. */
static int parse_words(struct options *options, char *line, struct error *err)
{
	char *argv[WORDS_MAX + 1] = {NULL};
	int argc = 0;

	argv[argc++] = line + strlen(line); /* the program's name does not matter */
	for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) {
		assert_true(argc < WORDS_MAX);
		argv[argc++] = word;
	}
	return options_parse(options, argc, argv, err);
}

static void refused(const char *line, const char *message)
{
	struct options options;
	struct error err = {0};
	char *words = strdup(line);

	assert_true(parse_words(&options, words, &err) < 0);
	assert_string_equal(err.text, message);
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	free(words);
}

static void every_key_is_entered(void **state)
{
	char line[] =
		"--blk disk.img,ro=on,id=a --blk path=b.img --net tap=tap0,mac=52:54:00:00:00:01,vhost=off "
		"--net user,vhost=on,forward=tcp:8080:80+udp:53:53 --share /srv,tag=srv,ro=on --share socket=/run/s,tag=t "
		"--vsock 7 --port name=p,in=i,out=o --port q,socket=s --rng off";
	struct options options;
	const struct config_device *device;
	struct error err;

	(void)state;
	assert_int_equal(parse_words(&options, line, &err), 0);
	assert_int_equal(options.raw.device_count, 9);
	assert_true(options.raw.no_rng);
	device = options.raw.devices;
	assert_int_equal(device[0].kind, CONFIG_BLK);
	assert_string_equal(device[0].option, "--blk disk.img,ro=on,id=a");
	assert_string_equal(device[0].path, "disk.img");
	assert_string_equal(device[0].name, "a");
	assert_true(device[0].read_only);
	assert_string_equal(device[1].path, "b.img");
	assert_null(device[1].name);
	assert_false(device[1].read_only);
	assert_int_equal(device[2].net->kind, NET_TAP);
	assert_string_equal(device[2].name, "tap0");
	assert_true(device[2].net->has_mac);
	assert_int_equal(device[2].net->mac[5], 1);
	assert_int_equal(device[2].net->vhost, NET_VHOST_OFF);
	assert_int_equal(device[3].net->vhost, NET_VHOST_ON);
	assert_int_equal(device[3].net->kind, NET_USER);
	assert_int_equal(device[3].net->forward_count, 2);
	assert_true(device[3].net->forwards[1].udp);
	assert_string_equal(device[4].path, "/srv");
	assert_string_equal(device[4].name, "srv");
	assert_true(device[4].read_only);
	assert_string_equal(device[5].socket, "/run/s");
	assert_int_equal(device[6].cid, 7);
	assert_string_equal(device[7].in, "i");
	assert_string_equal(device[7].out, "o");
	assert_string_equal(device[8].name, "q");
	assert_string_equal(device[8].socket, "s");
	options_release(&options);
}

static void what_is_wrong_is_named(void **state)
{
	(void)state;
	refused("--blk id=a", "--blk id=a: path is missing; add path=FILE");
	refused("--blk a,size=1", "--blk a,size=1: unknown key 'size' (column 3); use path, ro or id");
	refused("--blk a,ro=yes", "--blk a,ro=yes: 'yes' is neither on nor off (column 6)");
	refused("--blk a,id=123456789012345678901",
		"--blk a,id=123456789012345678901: '123456789012345678901' is longer than 20 bytes (column 6); shorten it");
	refused("--net bridge", "--net bridge: 'bridge' is no network (column 1); use user or tap=NAME");
	refused("--net tap=t,forward=tcp:1:2",
		"--net tap=t,forward=tcp:1:2: forward= is for user networking; use --net user,forward=...");
	refused("--net tap=t,vhost=yes", "--net tap=t,vhost=yes: 'yes' is neither on nor off (column 13)");
	refused("--share /srv", "--share /srv: tag is missing; add tag=NAME, by which the guest mounts it");
	refused("--share tag=t",
		"--share tag=t: give either a folder to share or socket=PATH of a virtiofsd that runs");
	refused("--port name=p", "--port name=p: give either in=PATH and out=PATH (or one of them) or socket=PATH");
	refused("--port in=p", "--port in=p: name is missing; add name=NAME");
	refused("--rng maybe", "--rng maybe: 'maybe' is neither on nor off (column 1)");
}

static void devices_are_told_apart(void **state)
{
	char twice[] = "--share /a,tag=t --share /b,tag=t";
	char both[] = "--blk a --maxmem 4G --hotplug 1G";
	struct options options;
	struct config config;
	struct error err;

	(void)state;
	assert_int_equal(parse_words(&options, twice, &err), 0);
	assert_true(config_from(&config, &options.raw, &err) < 0);
	assert_string_equal(err.text, "--share /b,tag=t: --share /a,tag=t has this name already; give it another");
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	options_release(&options);

	/* the disk, virtio-mem for the room that --maxmem leaves, and random numbers */
	assert_int_equal(parse_words(&options, both, &err), 0);
	assert_int_equal(config_from(&config, &options.raw, &err), 0);
	assert_int_equal(config.device_count, 3);
	assert_int_equal(config.devices[1].kind, CONFIG_MEM);
	assert_int_equal(config.devices[2].kind, CONFIG_RNG);
	assert_true(config.room == 3 * GIB);
	assert_true(config.hotplug == GIB);
	config_release(&config);
	options_release(&options);
}

static void hotplug_needs_room(void **state)
{
	char none[] = "--hotplug 1G", odd[] = "--maxmem 4G --hotplug 1M",
	     many[] = "--port a,out=o --port b,out=o --port c,out=o "
		      "--port d,out=o --port e,out=o --port f,out=o "
		      "--port g,out=o --port h,out=o";
	const struct {
		char *line;
		const char *message;
	} cases[] = {
		{none, "--hotplug 1G: --maxmem leaves room for nothing; make it larger by what is missing"},
		{odd, "--hotplug 1M: use a multiple of 2M"},
		{many, "8 --port: a guest has at most 7; use fewer"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options options;
		struct config config;
		struct error err;

		assert_int_equal(parse_words(&options, cases[i].line, &err), 0);
		assert_true(config_from(&config, &options.raw, &err) < 0);
		assert_string_equal(err.text, cases[i].message);
		assert_int_equal(err.status, EXIT_STATUS_CONFIG);
		options_release(&options);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_entered),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(devices_are_told_apart),
		cmocka_unit_test(hotplug_needs_room),
	};

	return cmocka_run_group_tests_name("option_devices", tests, NULL, NULL);
}
