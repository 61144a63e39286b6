/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/qmp/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/buf.h"
#include "vmm/base/io.h"

enum { LINE_MAX_SIZE = 16 * 1024 * 1024, READ_MAX = 64 * 1024 };

/* A connection to a server. */
struct link {
	const char *path;
	int fd;
	struct buf input; /* what was read */
	size_t taken;     /* of it */
	size_t searched;  /* no line ends before */
};

static int no_memory(struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ENOMEM, "ctl: no memory");
}

static int not_utf8(const char *word, struct error *err)
{
	return error_set(err, EXIT_STATUS_USAGE, EILSEQ, "ctl: '%.80s' is no UTF-8, which JSON is", word);
}

static int open_link(struct link *link, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(link->path) >= sizeof(address.sun_path))
		return error_set(err, EXIT_STATUS_USAGE, ENAMETOOLONG, "ctl %s: a socket's path has at most %zu bytes",
				 link->path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, link->path, strlen(link->path) + 1);
	link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link->fd < 0 || connect(link->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno,
				 "ctl %s: %s; use the path of a machine's --qmp unix:PATH", link->path,
				 strerror(errno));
	return 0;
}

static void close_link(struct link *link)
{
	io_close(&link->fd);
	buf_release(&link->input);
}

/* The end of the line that was read, or NULL. */
static const uint8_t *find_end(const struct link *link)
{
	const struct buf *input = &link->input;

	return input->size > link->searched ? memchr(input->data + link->searched, '\n', input->size - link->searched)
					    : NULL;
}

/* Waits for the server's next line. *message is owned by the caller; NULL when the server has gone. */
static int receive(struct link *link, json_t **message, struct error *err)
{
	struct buf *input = &link->input;
	json_error_t bad;
	const uint8_t *end;

	*message = NULL;
	while ((end = find_end(link)) == NULL) {
		size_t before = input->size;
		uint8_t *place;
		ssize_t count;

		link->searched = before;
		place = buf_extend(input, READ_MAX);
		if (place == NULL || before - link->taken > LINE_MAX_SIZE)
			return no_memory(err);
		do {
			count = read(link->fd, place, READ_MAX);
		} while (count < 0 && errno == EINTR);
		input->size = before + (count > 0 ? (size_t)count : 0);
		if (count <= 0)
			return 0;
	}
	*message =
		json_loadb((const char *)input->data + link->taken, (size_t)(end - input->data) - link->taken, 0, &bad);
	link->taken = (size_t)(end - input->data) + 1;
	link->searched = link->taken;
	if (link->taken == input->size) {
		input->size = 0;
		link->taken = 0;
		link->searched = 0;
	}
	if (!json_is_object(*message)) {
		json_decref(*message);
		*message = NULL;
		return error_set(err, EXIT_STATUS_HOST, EPROTO, "ctl %s: the program there does not speak QMP",
				 link->path);
	}
	return 0;
}

static int gone(const struct link *link, struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ECONNRESET, "ctl %s: the machine has gone without an answer",
			 link->path);
}

/* The error of a message as one of ours; 0 when it has none. */
static int check_error(const char *what, const json_t *message, struct error *err)
{
	const json_t *error = json_object_get(message, "error");
	const char *text = json_string_value(json_object_get(error, "desc"));

	if (error == NULL)
		return 0;
	return error_set(err, EXIT_STATUS_INTERNAL, EREMOTEIO, "ctl: %s: %s", what,
			 text != NULL ? text : "refused without a reason");
}

/* Sends a command and waits for its answer, passing over events; takes arguments over. *result is the caller's. */
static int command(struct link *link, const char *name, json_t *arguments, json_t **result, struct error *err)
{
	json_t *message = json_pack("{s:s, s:o*}", "execute", name, "arguments", arguments);
	char *text = message != NULL ? json_dumps(message, JSON_COMPACT) : NULL;
	size_t size = text != NULL ? strlen(text) : 0;
	int code;

	if (message == NULL)
		return not_utf8(name, err);
	json_decref(message);
	if (text == NULL)
		return no_memory(err);
	text[size] = '\n'; /* in the place of the closing zero */
	code = io_send_all(link->fd, text, size + 1);
	free(text);
	while (code == 0) {
		code = receive(link, &message, err);
		if (code < 0)
			return code;
		if (message == NULL)
			break;
		code = check_error(name, message, err);
		*result = json_incref(json_object_get(message, "return"));
		json_decref(message);
		if (code < 0 || *result != NULL)
			return code;
	}
	return gone(link, err);
}

static int negotiate(struct link *link, struct error *err)
{
	json_t *greeting, *nothing = NULL;
	int code = receive(link, &greeting, err);

	if (code == 0 && greeting == NULL)
		return gone(link, err);
	if (code == 0)
		code = check_error(link->path, greeting, err);
	if (code == 0)
		code = command(link, "qmp_capabilities", NULL, &nothing, err);
	json_decref(greeting);
	json_decref(nothing);
	return code;
}

/* A text of whole lines is written as it is: OpenMetrics, which others are to read. */
static int write_json(const json_t *value, bool indent, FILE *out, struct error *err)
{
	size_t length = json_string_length(value); /* 0: of something else, too */
	bool written;

	if (length > 0 && json_string_value(value)[length - 1] == '\n')
		written = fwrite(json_string_value(value), 1, length, out) == length;
	else
		written = json_dumpf(value, out, JSON_ENCODE_ANY | (indent ? JSON_INDENT(2) : JSON_COMPACT)) == 0 &&
			  fputc('\n', out) != EOF;
	if (!written || fflush(out) != 0)
		return error_set(err, EXIT_STATUS_HOST, EIO, "cannot write to standard output");
	return 0;
}

/* ------------------------------------------------------------------------------------------ what is asked */

/* One word KEY=VALUE. */
static int add_argument(json_t *arguments, const char *word, struct error *err)
{
	const char *value = strchr(word, '=');
	json_t *parsed;
	char *key;
	int code;

	if (value == NULL || value == word)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "ctl: '%.80s' is no argument; write KEY=VALUE, or all of them as one JSON object",
				 word);
	key = strndup(word, (size_t)(value - word));
	parsed = json_loads(value + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	if (parsed == NULL)
		parsed = json_string(value + 1);
	code = key != NULL ? json_object_set_new(arguments, key, parsed) : -1;
	free(key);
	if (code < 0)
		return not_utf8(word, err);
	return 0;
}

/* *arguments is the caller's, or NULL when there are no words. */
static int read_arguments(char *const words[], json_t **arguments, struct error *err)
{
	json_error_t bad;
	int code = 0;

	*arguments = NULL;
	if (words[0] == NULL)
		return 0;
	if (words[0][0] == '{' && words[1] == NULL) {
		*arguments = json_loads(words[0], JSON_REJECT_DUPLICATES, &bad);
		if (*arguments == NULL)
			return error_set(err, EXIT_STATUS_USAGE, EINVAL, "ctl: arguments: line %d, column %d: %s",
					 bad.line, bad.column, bad.text);
		return 0;
	}
	*arguments = json_object();
	for (size_t i = 0; code == 0 && words[i] != NULL; i++)
		code = add_argument(*arguments, words[i], err);
	if (code < 0)
		json_decref(*arguments);
	return code;
}

static int list_commands(struct link *link, FILE *out, struct error *err)
{
	json_t *list = NULL;
	int code = command(link, "query-commands", NULL, &list, err);

	for (size_t i = 0; code == 0 && i < json_array_size(list); i++) {
		const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));

		if (name != NULL)
			fprintf(out, "%s\n", name);
	}
	json_decref(list);
	return code;
}

static int wait_for(struct link *link, const char *event, FILE *out, struct error *err)
{
	bool found = false;
	int code = 0;

	while (code == 0 && !found) {
		json_t *message;
		const char *name;

		code = receive(link, &message, err);
		if (code < 0 || message == NULL)
			break;
		name = json_string_value(json_object_get(message, "event"));
		if (name != NULL)
			code = write_json(message, false, out, err);
		found = name != NULL && event != NULL && strcmp(name, event) == 0;
		json_decref(message);
	}
	if (code == 0 && !found && event != NULL)
		return error_set(err, EXIT_STATUS_INTERNAL, ECONNRESET,
				 "ctl: wait: the machine ended and %.40s did not come", event);
	return code;
}

static int perform(struct link *link, char *const words[], FILE *out, struct error *err)
{
	json_t *arguments, *result = NULL;
	int code;

	if (words[0] == NULL)
		return list_commands(link, out, err);
	if (strcmp(words[0], "wait") == 0)
		return wait_for(link, words[1], out, err);
	code = read_arguments(words + 1, &arguments, err);
	if (code == 0)
		code = command(link, words[0], arguments, &result, err);
	if (code == 0)
		code = write_json(result, isatty(fileno(out)) == 1, out, err);
	json_decref(result);
	return code;
}

int qmp_ctl(char *const words[], FILE *out, struct error *err)
{
	struct link link = {.path = words[0], .fd = -1};
	int code = open_link(&link, err);

	if (code == 0)
		code = negotiate(&link, err);
	if (code == 0)
		code = perform(&link, words + 1, out, err);
	close_link(&link);
	return code;
}
