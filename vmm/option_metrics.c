/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/keyval.h"
#include "vmm/option_values.h"

enum { INTERVAL_MIN = 100, INTERVAL_MAX = 86400 * 1000 }; /* ms */

static int bad_interval(struct token value, struct error *err)
{
	return error_set(
		err, EXIT_STATUS_USAGE, EINVAL,
		"'%.40s' is no interval (column %zu); use seconds from 0.1 to 86400, with up to three decimals",
		value.text, value.column);
}

/* "10", "0.5": seconds, into milliseconds. */
static int parse_interval(struct token value, uint64_t *interval, struct error *err)
{
	const char *at = value.text;
	uint64_t ms = 0;
	unsigned decimals = 0;

	if (!isdigit((unsigned char)*at))
		return bad_interval(value, err);
	for (; isdigit((unsigned char)*at) && ms <= INTERVAL_MAX; at++)
		ms = ms * 10 + (uint64_t)(*at - '0');
	if (*at == '.' && at[1] != '\0') {
		for (at++; isdigit((unsigned char)*at) && decimals < 3; at++, decimals++)
			ms = ms * 10 + (uint64_t)(*at - '0');
	}
	for (; decimals < 3; decimals++)
		ms *= 10;
	if (*at != '\0' || ms < INTERVAL_MIN || ms > INTERVAL_MAX)
		return bad_interval(value, err);
	*interval = ms;
	return 0;
}

static int parse_format(struct token value, enum metrics_format *format, struct error *err)
{
	if (strcmp(value.text, "json") == 0)
		*format = METRICS_JSON;
	else if (strcmp(value.text, "openmetrics") == 0)
		*format = METRICS_OPENMETRICS;
	else
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unknown format '%.40s' (column %zu); use json or openmetrics", value.text,
				 value.column);
	return 0;
}

static int enter(struct config_metrics *metrics, struct token key, struct token value, struct error *err)
{
	if (strcmp(key.text, "interval") == 0)
		return parse_interval(value, &metrics->interval, err);
	if (strcmp(key.text, "format") == 0)
		return parse_format(value, &metrics->format, err);
	if (strcmp(key.text, "path") != 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unknown key '%.40s' (column %zu); use path, interval or format", key.text,
				 key.column);
	return option_text(&metrics->path, value.text, err);
}

int option_metrics(struct options *options, const char *argument, struct error *err)
{
	struct config_metrics *metrics = &options->raw.metrics;
	struct keyval keyval;
	int code = keyval_parse(&keyval, argument, "path", err);

	if (code < 0)
		return code;
	for (size_t i = 0; code == 0 && i < keyval.count; i++)
		code = enter(metrics, keyval.pairs[i].key, keyval.pairs[i].value, err);
	keyval_release(&keyval);
	if (code == 0 && metrics->path == NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "path is missing; use path=FILE");
	return code;
}
