/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/option_values.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/base/keyval.h"
#include "vmm/base/parse.h"
#include "vmm/base/range.h"

/* How fast memory is, and from where: the keys of figures, --perf and --accel. */

enum {
	READ_LATENCY = 1 << ACPI_READ_LATENCY,
	WRITE_LATENCY = 1 << ACPI_WRITE_LATENCY,
	READ_BANDWIDTH = 1 << ACPI_READ_BANDWIDTH,
	WRITE_BANDWIDTH = 1 << ACPI_WRITE_BANDWIDTH
};

static const struct figure_key {
	const char *name;
	unsigned kinds; /* a set of them */
} FIGURE_KEYS[] = {
	{"latency", READ_LATENCY | WRITE_LATENCY}, {"read-latency", READ_LATENCY},
	{"write-latency", WRITE_LATENCY},          {"bandwidth", READ_BANDWIDTH | WRITE_BANDWIDTH},
	{"read-bandwidth", READ_BANDWIDTH},        {"write-bandwidth", WRITE_BANDWIDTH},
};
enum { FIGURE_KEY_COUNT = sizeof(FIGURE_KEYS) / sizeof(FIGURE_KEYS[0]) };

static const struct figure_key *find_figure(const char *name)
{
	for (size_t i = 0; i < FIGURE_KEY_COUNT; i++) {
		if (strcmp(FIGURE_KEYS[i].name, name) == 0)
			return &FIGURE_KEYS[i];
	}
	return NULL;
}

bool option_is_figure(const char *key)
{
	return find_figure(key) != NULL;
}

/* Picoseconds: digits, and ps, ns or us behind them; without them it is ns. */
static int parse_latency(struct token token, uint32_t *out, struct error *err)
{
	static const struct {
		const char *name;
		uint64_t picoseconds;
	} UNITS[] = {{"", 1000}, {"ps", 1}, {"ns", 1000}, {"us", 1000000}};
	size_t digits = strspn(token.text, "0123456789"), unit = 0;
	uint64_t number = 0;

	while (unit < sizeof(UNITS) / sizeof(UNITS[0]) && strcmp(UNITS[unit].name, token.text + digits) != 0)
		unit++;
	if (digits == 0 || unit == sizeof(UNITS) / sizeof(UNITS[0]))
		return error_set(
			err, EXIT_STATUS_USAGE, EINVAL,
			"bad latency '%.40s' (column %zu); use digits and ps, ns or us, such as 60ns or 60500ps",
			token.text, token.column);
	for (size_t i = 0; i < digits && number <= UINT32_MAX; i++)
		number = number * 10 + (uint64_t)(token.text[i] - '0');
	number *= UNITS[unit].picoseconds;
	if (number == 0 || number > UINT32_MAX)
		return error_set(err, EXIT_STATUS_USAGE, ERANGE,
				 "latency %.40s is out of range (column %zu); use 1ps to %" PRIu32 "ps", token.text,
				 token.column, UINT32_MAX);
	*out = (uint32_t)number;
	return 0;
}

/* MB/s of 2^20 bytes: a size for each second. */
static int parse_bandwidth(struct token token, uint32_t *out, struct error *err)
{
	uint64_t size;
	int code = parse_size(token, &size, err);

	if (code < 0)
		return code;
	if (size % MIB != 0 || size / MIB > UINT32_MAX)
		return error_set(err, EXIT_STATUS_USAGE, ERANGE,
				 "bandwidth %.40s is no multiple of 1M below 4096T (column %zu); round it", token.text,
				 token.column);
	*out = (uint32_t)(size / MIB);
	return 0;
}

int option_figure(uint32_t figures[ACPI_FIGURES], struct token key, struct token value, struct error *err)
{
	unsigned kinds = find_figure(key.text)->kinds;
	uint32_t figure = 0;
	int code = (kinds & (READ_LATENCY | WRITE_LATENCY)) != 0 ? parse_latency(value, &figure, err)
								 : parse_bandwidth(value, &figure, err);

	for (int kind = 0; code == 0 && kind < ACPI_FIGURES; kind++) {
		if ((kinds >> kind & 1) == 0)
			continue;
		if (figures[kind] != 0)
			return error_set(err, EXIT_STATUS_USAGE, EEXIST,
					 "%s (column %zu) says again what another key says; keep one of them", key.text,
					 key.column);
		figures[kind] = figure;
	}
	return code;
}

static int parse_node(struct token token, uint32_t *out, bool *seen, struct error *err)
{
	uint64_t node = 0;
	int code = parse_number(token, 0, NODES_MAX - 1, &node, err);

	*out = (uint32_t)node;
	*seen = true;
	return code;
}

static int enter_perf(struct raw_perf *perf, const struct keyval *keyval, struct error *err)
{
	bool has_from = false, has_to = false, has_figure = false;
	int code = 0;

	for (size_t i = 0; code == 0 && i < keyval->count; i++) {
		struct token key = keyval->pairs[i].key, value = keyval->pairs[i].value;

		if (strcmp(key.text, "from") == 0) {
			code = parse_node(value, &perf->from, &has_from, err);
		} else if (strcmp(key.text, "to") == 0) {
			code = parse_node(value, &perf->to, &has_to, err);
		} else if (option_is_figure(key.text)) {
			code = option_figure(perf->figures, key, value, err);
			has_figure = true;
		} else {
			code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "unknown key '%.40s' (column %zu); use from, to, " OPTION_FIGURES, key.text,
					 key.column);
		}
	}
	if (code == 0 && (!has_from || !has_to))
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL, "%s is missing; add %s=N, the node %s",
				 has_from ? "to" : "from", has_from ? "to" : "from",
				 has_from ? "whose memory it is" : "that uses the memory");
	else if (code == 0 && !has_figure)
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL, "no figure is given; add " OPTION_FIGURES);
	return code;
}

int option_perf(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_perf perf = {.argument = argument};
	struct raw_perf *place;
	struct keyval keyval;
	int code = keyval_parse(&keyval, argument, NULL, err);

	if (code < 0)
		return code;
	code = enter_perf(&perf, &keyval, err);
	keyval_release(&keyval);
	if (code < 0)
		return code;
	place = option_grow(&raw->perfs, raw->perf_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	*place = perf;
	raw->perf_count++;
	return 0;
}

int option_hmat(struct options *options, const char *argument, struct error *err)
{
	if (strcmp(argument, "host") == 0)
		options->raw.hmat = HMAT_HOST;
	else if (strcmp(argument, "measure") == 0)
		options->raw.hmat = HMAT_MEASURE;
	else
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unknown source of figures; use host or measure, or latency= and bandwidth= of --mem "
				 "and --spm");
	return 0;
}

static int enter_accel(struct raw_accel *accel, const struct keyval *keyval, struct error *err)
{
	int code = 0;

	for (size_t i = 0; code == 0 && i < keyval->count; i++) {
		struct token key = keyval->pairs[i].key, value = keyval->pairs[i].value;

		if (strcmp(key.text, "id") == 0)
			code = option_id(accel->id, value, err);
		else if (strcmp(key.text, "node") == 0)
			code = parse_node(value, &accel->node, &accel->has_node, err);
		else if (strcmp(key.text, "node-of") == 0)
			code = option_id(accel->block, value, err);
		else
			code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "unknown key '%.40s' (column %zu); use id, node or node-of", key.text,
					 key.column);
	}
	if (code == 0 && accel->id[0] == '\0')
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL, "id is missing; add id=NAME");
	else if (code == 0 && !accel->has_node && accel->block[0] == '\0')
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "node is missing; add node=N, or node-of=SPM_ID for that of a block");
	return code;
}

int option_accel(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_accel accel = {.argument = argument};
	struct raw_accel *place;
	struct keyval keyval;
	int code = keyval_parse(&keyval, argument, "id", err);

	if (code < 0)
		return code;
	code = enter_accel(&accel, &keyval, err);
	keyval_release(&keyval);
	if (code < 0)
		return code;
	if (raw->accel_count == CONFIG_ACCELS_MAX)
		return error_set(err, EXIT_STATUS_USAGE, E2BIG, "more than %u --accel; use fewer", CONFIG_ACCELS_MAX);
	place = option_grow(&raw->accels, raw->accel_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	*place = accel;
	raw->accel_count++;
	return 0;
}
