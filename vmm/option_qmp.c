/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "vmm/base/keyval.h"
#include "vmm/option_values.h"

static const char PREFIX[] = "unix:";

static int enter_path(char **path, struct token value, struct error *err)
{
	enum { PATH_BYTES_MAX = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1 };
	const char *text = value.text + strlen(PREFIX);

	if (strncmp(value.text, PREFIX, strlen(PREFIX)) != 0 || *text == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown place; use unix:PATH");
	if (strlen(text) > PATH_BYTES_MAX)
		return error_set(err, EXIT_STATUS_USAGE, ENAMETOOLONG,
				 "the path has %zu bytes and a socket's at most %d; use a shorter one", strlen(text),
				 PATH_BYTES_MAX);
	return option_text(path, text, err);
}

/* What QEMU's users type beside it, as far as it is so: we are the server, and no start waits for a client. */
static int enter_key(const struct keyval_pair *pair, struct error *err)
{
	bool wait = strcmp(pair->key.text, "wait") == 0, on;
	int code;

	if (!wait && strcmp(pair->key.text, "server") != 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unknown key '%.40s' (column %zu); use unix:PATH, server=on and wait=off",
				 pair->key.text, pair->key.column);
	code = parse_on_off(pair->value, &on, err);
	if (code == 0 && on == wait)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "%s=%s (column %zu) is not to be had; leave it out",
				 pair->key.text, pair->value.text, pair->key.column);
	return code;
}

int option_qmp(struct options *options, const char *argument, struct error *err)
{
	struct keyval keyval;
	char *path = NULL;
	int code = keyval_parse(&keyval, argument, "path", err);

	if (code < 0)
		return code;
	if (keyval.count == 0 || strcmp(keyval.pairs[0].key.text, "path") != 0)
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL, "the path is missing; start with unix:PATH");
	else
		code = enter_path(&path, keyval.pairs[0].value, err);
	for (size_t i = 1; code == 0 && i < keyval.count; i++)
		code = enter_key(&keyval.pairs[i], err);
	keyval_release(&keyval);
	if (code < 0)
		free(path);
	else
		options->raw.qmp = path;
	return code;
}
