/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/io.h"
#include "vmm/config_json.h"
#include "vmm/option_values.h"

/* The commands that an option belongs to; sets of these. */
enum scope { SCOPE_RUN = 1, SCOPE_PLAN = 2, SCOPE_DOCTOR = 4, SCOPE_BOTH = SCOPE_RUN | SCOPE_PLAN, SCOPE_ALL = 7 };

struct option {
	const char *name;       /* without the dashes */
	const char *value_name; /* NULL when the option takes no value */
	unsigned scope;
	bool repeatable;
	int (*parse)(struct options *options, const char *argument, struct error *err);
};

static const struct option OPTIONS[] = {
	{"mem", "SIZE or size=SIZE[,node=N]", SCOPE_BOTH, true, option_mem},
	{"spm", "size=SIZE,node=N", SCOPE_BOTH, true, option_spm},
	{"maxmem", "SIZE", SCOPE_BOTH, false, option_maxmem},
	{"hotplug", "SIZE", SCOPE_BOTH, false, option_hotplug},
	{"cpus", "N", SCOPE_BOTH, false, option_cpus},
	{"numa", "node=N,cpus=LIST", SCOPE_BOTH, true, option_numa},
	{"distance", "FROM:TO=DISTANCE or host", SCOPE_BOTH, true, option_distance},
	{"perf", "from=N,to=N,latency=TIME,bandwidth=SIZE", SCOPE_BOTH, true, option_perf},
	{"hmat", "host or measure", SCOPE_BOTH, false, option_hmat},
	{"accel", "id=NAME,node=N or id=NAME,node-of=SPM_ID", SCOPE_BOTH, true, option_accel},
	{"config", "FILE", SCOPE_BOTH, false, option_config},
	{"kernel", "FILE", SCOPE_ALL, false, option_kernel},
	{"kernel-unpack", "on or off", SCOPE_BOTH, false, option_kernel_unpack},
	{"kernel-cache", "DIR or off", SCOPE_BOTH, false, option_kernel_cache},
	{"initrd", "FILE", SCOPE_BOTH, false, option_initrd},
	{"append", "TEXT", SCOPE_BOTH, false, option_append},
	{"modules", "DIR", SCOPE_ALL, false, option_modules},
	{"module", "NAME", SCOPE_BOTH, true, option_module},
	{"script", "FILE", SCOPE_BOTH, false, option_script},
	{"file", "PATH[:GUEST_PATH]", SCOPE_BOTH, true, option_file},
	{"rw", "PATH", SCOPE_BOTH, true, option_rw},
	{"timeout", "SECONDS", SCOPE_BOTH, false, option_timeout},
	{"console", NULL, SCOPE_BOTH, false, option_console},
	{"serial", "stdio, file:PATH or none", SCOPE_BOTH, false, option_serial},
	{"blk", "path=FILE[,ro=on][,id=NAME]", SCOPE_BOTH, true, option_blk},
	{"net", "tap=NAME or user", SCOPE_BOTH, true, option_net},
	{"share", "PATH,tag=NAME", SCOPE_BOTH, true, option_share},
	{"vsock", "cid=N", SCOPE_BOTH, false, option_vsock},
	{"port", "name=NAME,in=PATH,out=PATH", SCOPE_BOTH, true, option_port},
	{"rng", "on or off", SCOPE_BOTH, false, option_rng},
	{"metrics", "path=FILE[,interval=SECONDS]", SCOPE_BOTH, false, option_metrics},
	{"qmp", "unix:PATH", SCOPE_BOTH, false, option_qmp},
	{"log", "LEVEL", SCOPE_ALL, false, option_log},
	{"sandbox", "on, log or off", SCOPE_BOTH, false, option_sandbox},
	{"force", NULL, SCOPE_RUN, false, option_force},
	{"phys-bits", "N", SCOPE_PLAN, false, option_phys_bits},
	{"format", "text, json, svg, dts or dtb", SCOPE_PLAN | SCOPE_DOCTOR, false, option_format},
	{"tables", "DIR", SCOPE_PLAN, false, option_tables},
	{"diff", "A B", SCOPE_PLAN, false, option_diff},
};
enum { OPTION_COUNT = sizeof(OPTIONS) / sizeof(OPTIONS[0]), NAME_MAX_LENGTH = 16 };

/* Where the parser stands. */
struct parser {
	struct options *options;
	const char *shape; /* the first option that says what the machine is, as --config does; or NULL */
	int argc;
	char *const *argv;
	int next;                /* index of the word that is looked at next */
	bool seen[OPTION_COUNT]; /* which options were there */
};

/* One word "--name" or "--name=value", taken apart. */
struct word {
	const char *text;  /* the name, without the dashes; not NUL-terminated */
	size_t length;     /* of the name */
	const char *value; /* behind '=', or NULL */
};

static struct word word_from(const char *argument)
{
	struct word word = {.text = argument + 2};

	word.length = strcspn(word.text, "=");
	if (word.text[word.length] == '=')
		word.value = word.text + word.length + 1;
	return word;
}

static bool word_is(struct word word, const char *name)
{
	return strlen(name) == word.length && memcmp(word.text, name, word.length) == 0;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/*
 * The Levenshtein distance: how many characters must be added, removed or changed to turn word into name. word has at most
 * NAME_MAX_LENGTH + 2 characters. Keeps one row of the usual matrix.
 */
static size_t edit_distance(struct word word, const char *name)
{
	size_t row[NAME_MAX_LENGTH + 3];

	for (size_t i = 0; i <= word.length; i++)
		row[i] = i;
	for (size_t n = 0; name[n] != '\0'; n++) {
		size_t diagonal = row[0];

		row[0] = n + 1;
		for (size_t i = 0; i < word.length; i++) {
			size_t above = row[i + 1];

			row[i + 1] = smallest(above + 1, row[i] + 1, diagonal + (word.text[i] != name[n]));
			diagonal = above;
		}
	}
	return row[word.length];
}

/* The name that was probably meant, or NULL. Short words need to be closer, or every one of them is like every other. */
static const char *nearest_name(struct word word)
{
	size_t best = word.length <= 4 ? 2 : 3; /* one more than what is still close */
	const char *nearest = NULL;

	if (word.length > NAME_MAX_LENGTH + 2)
		return NULL;
	for (size_t i = 0; i < OPTION_COUNT + 2; i++) {
		const char *name = i < OPTION_COUNT ? OPTIONS[i].name : i == OPTION_COUNT ? "help" : "version";
		size_t distance = edit_distance(word, name);

		if (distance < best) {
			best = distance;
			nearest = name;
		}
	}
	return nearest;
}

static int unknown_option(struct word word, struct error *err)
{
	const char *nearest = nearest_name(word);

	if (nearest != NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown option --%.*s; did you mean --%s?",
				 (int)word.length, word.text, nearest);
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown option --%.*s; spmvm --help lists the options",
			 word.length > 80 ? 80 : (int)word.length, word.text);
}

/* The commands that have a word; the others are options. */
static bool is_command(const char *word, enum command *command)
{
	static const struct {
		const char *word;
		enum command command;
	} COMMANDS[] = {{"run", COMMAND_RUN}, {"plan", COMMAND_PLAN}, {"doctor", COMMAND_DOCTOR}, {"ctl", COMMAND_CTL}};

	for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
		if (strcmp(word, COMMANDS[i].word) == 0) {
			*command = COMMANDS[i].command;
			return true;
		}
	}
	return false;
}

static int unknown_argument(const struct parser *parser, const char *argument, struct error *err)
{
	enum command ignored;

	if (is_command(argument, &ignored))
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unexpected '%s' (argument %d): the command comes first; write spmvm %s OPTIONS",
				 argument, parser->next, argument);
	return error_set(
		err, EXIT_STATUS_USAGE, EINVAL,
		"unexpected '%.80s' (argument %d): it is no option (spmvm --help lists them); a command for the "
		"guest stands behind --",
		argument, parser->next);
}

/* Whether the option may stand here: in this command, and not a second time. */
static int check_place(struct parser *parser, const struct option *option, struct error *err)
{
	enum command command = parser->options->command;
	bool *seen = &parser->seen[option - OPTIONS];

	if (command == COMMAND_DOCTOR && (option->scope & SCOPE_DOCTOR) == 0)
		return error_set(
			err, EXIT_STATUS_USAGE, EINVAL,
			"--%s says nothing to spmvm doctor, which takes --kernel, --modules, --format and --log; "
			"leave it out",
			option->name);
	if (command == COMMAND_RUN && (option->scope & SCOPE_RUN) == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "--%s belongs to spmvm plan%s; write spmvm plan OPTIONS or leave it out", option->name,
				 (option->scope & SCOPE_DOCTOR) != 0 ? " and spmvm doctor" : "");
	if (command == COMMAND_PLAN && (option->scope & SCOPE_PLAN) == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "--%s belongs to spmvm run: plan starts no machine; leave it out", option->name);
	if (*seen && !option->repeatable)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "--%s is given twice; give it once", option->name);
	*seen = true;
	return 0;
}

/* --config and an option that says what the machine is exclude each other, whichever comes first. */
static int check_shape(struct parser *parser, const struct option *option, struct error *err)
{
	if (parser->shape == NULL && config_json_excludes(option->name))
		parser->shape = option->name;
	if (parser->shape == NULL || (parser->options->config_path == NULL && option->parse != option_config))
		return 0;
	return error_set(err, EXIT_STATUS_USAGE, EINVAL,
			 "--%s and --config both say what the machine is; change the file, or leave one of them out",
			 parser->shape);
}

/* Enters a well-formed option, and keeps it as typed where it is part of the machine's description. */
static int enter_option(struct options *options, const struct option *option, const char *value, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_option *place;
	int code = option->parse(options, value, err);

	if (code < 0 || !config_json_has(option->name))
		return code;
	place = option_grow(&raw->described, raw->described_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	*place = (struct raw_option){option->name, value};
	raw->described_count++;
	return 0;
}

/* Finds the option's value: behind '=', or the next word. */
static int take_value(struct parser *parser, const struct option *option, struct word word, const char **value,
		      struct error *err)
{
	const char *follows = parser->next < parser->argc ? parser->argv[parser->next] : NULL;

	if (option->value_name == NULL) {
		*value = "";
		if (word.value != NULL)
			return error_set(err, EXIT_STATUS_USAGE, EINVAL, "--%s takes no value; leave '=%.40s' out",
					 option->name, word.value);
		return 0;
	}
	if (word.value != NULL) {
		*value = word.value;
		return 0;
	}
	if (follows == NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "--%s has no value; use --%s with %s", option->name,
				 option->name, option->value_name);
	/* a forgotten value is far more likely than one that starts like an option */
	if (strncmp(follows, "--", 2) == 0)
		return error_set(
			err, EXIT_STATUS_USAGE, EINVAL,
			"--%s has no value: %.40s follows; use --%s with %s, or --%s=%.40s if that is the value",
			option->name, follows, option->name, option->value_name, option->name, follows);
	*value = follows;
	parser->next++;
	return 0;
}

static const struct option *find_option(struct word word)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (word_is(word, OPTIONS[i].name))
			return &OPTIONS[i];
	}
	return NULL;
}

/* One option out of the file of --config, as if it stood on the command line. */
static int enter_described(void *context, const char *name, const char *argument, struct error *err)
{
	struct parser *parser = context;
	const struct option *option = find_option((struct word){.text = name, .length = strlen(name)});
	struct config_raw *raw = &parser->options->raw;
	char **place;
	int code;

	/* only phys-bits: what plan was asked to suppose; a machine that runs has its host's */
	if (parser->options->command == COMMAND_RUN && (option->scope & SCOPE_RUN) == 0)
		return 0;
	code = check_place(parser, option, err);
	if (code < 0)
		return code;
	place = option_grow(&raw->texts, raw->text_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	*place = strdup(argument);
	if (*place == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the machine's description");
	raw->text_count++;
	code = enter_option(parser->options, option, *place, err);
	if (code < 0)
		error_prefix(err, "--%s %.100s: ", name, *place);
	return code;
}

int options_describe(struct options *options, const char *text, size_t size, struct error *err)
{
	struct parser parser = {.options = options};

	return config_json_read(text, size, enter_described, &parser, err);
}

/* The options of the file stand where --config does. */
static int take_config(struct parser *parser, const char *path, struct error *err)
{
	enum { LIMIT = 256 << 20 }; /* a plan with 1024 nodes has tens of MiB, nearly all of it distances and figures */
	struct buf text = {0};
	int code = io_read_file(path, LIMIT, &text, EXIT_STATUS_USAGE, err);

	if (code == 0)
		code = config_json_read((const char *)text.data, text.size, enter_described, parser, err);
	buf_release(&text);
	return code;
}

/* The only option with two words: its second one. */
static int take_second(struct parser *parser, struct error *err)
{
	const char *second = parser->next < parser->argc ? parser->argv[parser->next] : NULL;

	if (second == NULL || *second == '\0' || strncmp(second, "--", 2) == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "the second file is missing; use --diff A B");
	parser->options->plan_diff[1] = second;
	parser->next++;
	return 0;
}

/* --diff is about two machines that are described, so no option can be about one. */
static int check_diff(const struct parser *parser, struct error *err)
{
	for (size_t i = 0; parser->options->plan_diff[0] != NULL && i < OPTION_COUNT; i++) {
		if (parser->seen[i] && OPTIONS[i].parse != option_diff && OPTIONS[i].parse != option_log)
			return error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "--%s says nothing to --diff, which compares two files; leave it out",
					 OPTIONS[i].name);
	}
	return 0;
}

static int parse_option(struct parser *parser, struct word word, struct error *err)
{
	const struct option *option = find_option(word);
	const char *value = NULL;
	int code;

	if (option == NULL)
		return unknown_option(word, err);
	code = check_shape(parser, option, err);
	if (code == 0)
		code = check_place(parser, option, err);
	if (code == 0)
		code = take_value(parser, option, word, &value, err);
	if (code < 0)
		return code;
	code = enter_option(parser->options, option, value, err);
	if (code == 0 && option->parse == option_config)
		code = take_config(parser, value, err);
	else if (code == 0 && option->parse == option_diff)
		code = take_second(parser, err);
	if (code < 0)
		error_prefix(err, "--%s %s: ", option->name, value == NULL || *value == '\0' ? "''" : value);
	return code;
}

/* "-- COMMAND [ARGUMENT...]": what the guest is to run. argv ends with a NULL, so its words do. */
static int take_command(struct parser *parser, struct error *err)
{
	if (parser->next + 1 == parser->argc || parser->argv[parser->next + 1][0] == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "no command behind --; write spmvm OPTIONS -- COMMAND [ARGUMENT...]");
	if (parser->options->command == COMMAND_DOCTOR)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "spmvm doctor runs no command; leave -- and what follows out");
	parser->options->raw.command = parser->argv + parser->next + 1;
	parser->next = parser->argc;
	return 0;
}

/* The words of ctl are no options: who it talks to knows what they mean. */
static int take_ctl(struct parser *parser, struct error *err)
{
	const char *first = parser->next < parser->argc ? parser->argv[parser->next] : "";

	if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
		parser->options->command = COMMAND_HELP;
		return 0;
	}
	if (first[0] == '\0' || first[0] == '-')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "ctl: the path of a machine's socket comes first; write spmvm ctl PATH [COMMAND "
				 "[KEY=VALUE...]]");
	parser->options->ctl = parser->argv + parser->next;
	return 0;
}

/* All words behind the command; stops at --help and --version. */
static int parse_words(struct parser *parser, struct error *err)
{
	int code = 0;

	while (code == 0 && parser->next < parser->argc) {
		const char *argument = parser->argv[parser->next];
		struct word word;

		if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
			parser->options->command = COMMAND_HELP;
			return 0;
		}
		if (strcmp(argument, "--") == 0)
			return take_command(parser, err);
		if (strcmp(argument, "--version") == 0) {
			parser->options->command = COMMAND_VERSION;
			return 0;
		}
		if (strncmp(argument, "--", 2) != 0 || argument[2] == '=')
			return unknown_argument(parser, argument, err);
		word = word_from(argument);
		parser->next++;
		code = parse_option(parser, word, err);
	}
	return code;
}

int options_parse(struct options *options, int argc, char *const argv[], struct error *err)
{
	struct parser parser = {.options = options, .argc = argc, .argv = argv, .next = 1};
	int code;

	*options = (struct options){.command = COMMAND_RUN, .plan_format = PLAN_TEXT};
	config_raw_init(&options->raw);
	if (argc > 1 && is_command(argv[1], &options->command))
		parser.next = 2;
	code = options->command == COMMAND_CTL ? take_ctl(&parser, err) : parse_words(&parser, err);
	if (code == 0)
		code = check_diff(&parser, err);
	if (code < 0)
		options_release(options);
	return code;
}

void options_release(struct options *options)
{
	if (options == NULL)
		return;
	config_raw_release(&options->raw);
	*options = (struct options){0};
	config_raw_init(&options->raw);
}
