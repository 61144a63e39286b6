/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/keyval.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * Goes over the argument part by part and writes each, unescaped and closed by a zero, behind the one before. What is written
 * is never longer than what was read, so storage as large as the argument is enough.
 */
struct splitter {
	struct keyval *keyval;
	const char *argument;
	size_t read;  /* in the argument: where the next part starts */
	char *write;  /* in the storage: where it goes */
	bool at_last; /* the part before was the last one */
};

/* One part between separators, unescaped and NUL-terminated in the storage. */
struct part {
	char *text;
	size_t column;
	char *equals;         /* the first '=' in text, or NULL */
	size_t equals_column; /* where that was in the argument; text is shorter when commas were doubled before it */
};

/* Takes the next part; a comma that is followed by another one is a literal comma. */
static struct part next_part(struct splitter *splitter)
{
	const char *from = splitter->argument;
	struct part part = {.text = splitter->write, .column = splitter->read + 1};
	size_t at = splitter->read;

	while (from[at] != '\0') {
		if (from[at] == ',' && from[at + 1] != ',')
			break;
		if (from[at] == '=' && part.equals == NULL) {
			part.equals = splitter->write;
			part.equals_column = at + 1;
		}
		at += from[at] == ',' ? 2 : 1;
		*splitter->write++ = from[at - 1];
	}
	*splitter->write++ = '\0';
	splitter->at_last = from[at] == '\0';
	splitter->read = at + 1;
	return part;
}

static const struct token *find_key(const struct keyval *keyval, const char *key)
{
	for (size_t i = 0; i < keyval->count; i++) {
		if (strcmp(keyval->pairs[i].key.text, key) == 0)
			return &keyval->pairs[i].key;
	}
	return NULL;
}

static int add_pair(struct keyval *keyval, struct token key, struct token value, struct error *err)
{
	const struct token *earlier = find_key(keyval, key.text);

	if (*key.text == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "a key is missing before '=' (column %zu)",
				 key.column);
	if (earlier != NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%.40s' is given twice (columns %zu and %zu); give it once", key.text,
				 earlier->column, key.column);
	if (*value.text == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%.40s' has no value (column %zu); give one or leave the key out", key.text,
				 value.column);
	if (keyval->count == KEYVAL_PAIRS_MAX)
		return error_set(err, EXIT_STATUS_USAGE, E2BIG, "more than %d keys (column %zu)", KEYVAL_PAIRS_MAX,
				 key.column);
	keyval->pairs[keyval->count++] = (struct keyval_pair){key, value};
	return 0;
}

/* A part without '=': the implied key's value, the rest of a list, or a mistake. */
static int add_bare_part(struct splitter *splitter, struct part part, const char *implied_key, struct error *err)
{
	struct keyval *keyval = splitter->keyval;

	if (*part.text == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "nothing stands here (column %zu); use KEY=VALUE, with single commas between",
				 part.column);
	if (keyval->count == 0 && implied_key != NULL)
		return add_pair(keyval, (struct token){implied_key, part.column},
				(struct token){part.text, part.column}, err);
	if (keyval->count > 0 && *part.text >= '0' && *part.text <= '9') {
		/* the storage is contiguous: the zero before this part becomes the comma that it was */
		part.text[-1] = ',';
		return 0;
	}
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "'%.40s' has no value (column %zu); use KEY=VALUE", part.text,
			 part.column);
}

static int add_part(struct splitter *splitter, struct part part, const char *implied_key, struct error *err)
{
	struct token key = {part.text, part.column};

	if (part.equals == NULL)
		return add_bare_part(splitter, part, implied_key, err);
	*part.equals = '\0';
	return add_pair(splitter->keyval, key, (struct token){part.equals + 1, part.equals_column + 1}, err);
}

int keyval_parse(struct keyval *keyval, const char *argument, const char *implied_key, struct error *err)
{
	struct splitter splitter = {.keyval = keyval, .argument = argument};
	int code = 0;

	keyval->count = 0;
	keyval->storage = malloc(strlen(argument) + 1);
	if (keyval->storage == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the command line");
	splitter.write = keyval->storage;
	while (code == 0 && !splitter.at_last)
		code = add_part(&splitter, next_part(&splitter), implied_key, err);
	if (code < 0)
		keyval_release(keyval);
	return code;
}

void keyval_release(struct keyval *keyval)
{
	if (keyval == NULL)
		return;
	free(keyval->storage);
	*keyval = (struct keyval){0};
}
