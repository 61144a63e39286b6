/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/qmp/session.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "vmm/qmp/commands.h"

/* ------------------------------------------------------------------------------------------- what we say */

static int append(const char *bytes, size_t size, void *out)
{
	buf_add(out, bytes, size);
	return 0;
}

void qmp_line(struct buf *out, struct json_t *value)
{
	if (value == NULL || json_dump_callback(value, append, out, JSON_COMPACT) < 0)
		out->failed = true;
	buf_text(out, "\r\n");
	json_decref(value);
}

static json_t *error_json(const struct qmp_error *error)
{
	return json_pack("{s:{s:s, s:s}}", "error", "class", error->class, "desc", error->text);
}

void qmp_line_error(struct buf *out, const char *text)
{
	struct qmp_error error;

	qmp_error_set(&error, QMP_GENERIC_ERROR, "%s", text);
	qmp_line(out, error_json(&error));
}

void qmp_session_greet(struct buf *out)
{
	qmp_line(out, json_pack("{s:{s:o, s:[]}}", "QMP", "version", qmp_version(), "capabilities"));
}

/* ---------------------------------------------------------------------------------------- what it is told */

/* The command of a message, with its arguments (borrowed, or NULL); NULL with error set when it is no command. */
static const struct qmp_command *find(const struct qmp_session *session, const json_t *message,
				      const json_t **arguments, struct qmp_error *error)
{
	const json_t *execute = json_object_get(message, "execute");
	const struct qmp_command *command;
	const char *key;
	json_t *value;

	if (!json_is_object(message))
		return qmp_error_set(error, QMP_GENERIC_ERROR,
				     "a command is an object such as {\"execute\": \"query-status\"}");
	/* jansson's loop takes the object as one to be changed */
	json_object_foreach((json_t *)(uintptr_t)message, key, value)
	{
		if (strcmp(key, "execute") != 0 && strcmp(key, "arguments") != 0 && strcmp(key, "id") != 0)
			return qmp_error_set(error, QMP_GENERIC_ERROR,
					     "unexpected member '%.40s'; a command has execute, arguments and id", key);
	}
	*arguments = json_object_get(message, "arguments");
	if (!json_is_string(execute))
		return qmp_error_set(error, QMP_GENERIC_ERROR, "member 'execute' is not there, or no text");
	if (*arguments != NULL && !json_is_object(*arguments))
		return qmp_error_set(error, QMP_GENERIC_ERROR, "member 'arguments' is no object");
	command = qmp_command_find(json_string_value(execute));
	if (command == NULL)
		return qmp_error_set(error, QMP_COMMAND_NOT_FOUND, "there is no command '%.80s'; see query-commands",
				     json_string_value(execute));
	if (command->negotiates == session->negotiated)
		return qmp_error_set(error, QMP_COMMAND_NOT_FOUND,
				     session->negotiated ? "capabilities are negotiated already"
							 : "execute 'qmp_capabilities' first");
	return command;
}

/* Arguments that a command does not know are refused, or a misspelt one would do something else than was meant. */
static bool arguments_known(const struct qmp_command *command, const json_t *arguments, struct qmp_error *error)
{
	const char *key;
	json_t *value;

	if (command->any_argument)
		return true;
	json_object_foreach((json_t *)(uintptr_t)arguments, key, value)
	{
		size_t i = 0;

		while (i < QMP_ARGUMENTS_MAX && command->arguments[i] != NULL &&
		       strcmp(command->arguments[i], key) != 0)
			i++;
		if (i < QMP_ARGUMENTS_MAX && command->arguments[i] != NULL)
			continue;
		qmp_error_set(error, QMP_GENERIC_ERROR, "%s takes no argument '%.40s'", command->name, key);
		return false;
	}
	return true;
}

static void answer(struct qmp_session *session, const json_t *message, struct machine *machine, struct buf *out)
{
	struct qmp_error error = {.class = QMP_GENERIC_ERROR, .text = "no memory"};
	json_t *id = json_object_get(message, "id"), *result = NULL, *reply;
	const json_t *arguments = NULL;
	const struct qmp_command *command = find(session, message, &arguments, &error);

	if (command != NULL && arguments_known(command, arguments, &error))
		result = command->run(machine, arguments, &error);
	if (result != NULL && command->negotiates)
		session->negotiated = true;
	reply = result != NULL ? json_pack("{s:o}", "return", result) : error_json(&error);
	if (id != NULL && json_object_set(reply, "id", id) < 0)
		out->failed = true;
	qmp_line(out, reply);
}

static void finish(struct qmp_session *session, struct machine *machine, struct buf *out)
{
	struct buf *text = &session->message;
	json_error_t bad;
	json_t *message = json_loadb((const char *)text->data, text->size, JSON_REJECT_DUPLICATES, &bad);
	char why[JSON_ERROR_TEXT_LENGTH + 80];

	if (buf_failed(text)) {
		qmp_line_error(out, "no memory for this message");
	} else if (message == NULL) {
		snprintf(why, sizeof(why), "no JSON: line %d, column %d: %s", bad.line, bad.column, bad.text);
		qmp_line_error(out, why);
	} else {
		answer(session, message, machine, out);
	}
	json_decref(message);
	buf_release(text);
}

/* ------------------------------------------------------------------------------------ where a message ends */

/* What has come of a message is none and will be none. */
static void give_up(struct qmp_session *session, bool skip, const char *why, struct buf *out)
{
	buf_release(&session->message);
	session->depth = 0;
	session->in_text = false;
	session->escape = false;
	session->skipping = skip;
	qmp_line_error(out, why);
}

static bool is_space(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* A byte between messages; true when one starts with it. */
static bool starts(struct qmp_session *session, uint8_t byte, struct buf *out)
{
	if (session->skipping) {
		session->skipping = byte != '\n';
		return false;
	}
	if (is_space(byte))
		return false;
	if (byte == '{' || byte == '[')
		return true;
	give_up(session, true, "a command is a JSON object: it starts with {", out);
	return false;
}

/* A byte of a message; true when it is the last. JSON's own parser looks at the whole then: here, only nesting counts.
 */
static bool ends(struct qmp_session *session, uint8_t byte)
{
	if (session->in_text) {
		session->in_text = session->escape || byte != '"';
		session->escape = !session->escape && byte == '\\';
		return false;
	}
	if (byte == '"')
		session->in_text = true;
	else if (byte == '{' || byte == '[')
		session->depth++;
	else if (byte == '}' || byte == ']')
		session->depth--;
	return session->depth == 0;
}

size_t qmp_session_take(struct qmp_session *session, const uint8_t *bytes, size_t size, struct machine *machine,
			struct buf *out)
{
	for (size_t i = 0; i < size; i++) {
		const bool skipped = session->skipping;
		uint8_t byte = bytes[i];
		bool last;

		if (byte == 0xff) {
			if (session->depth > 0)
				give_up(session, false, "byte 0xff: the message before it is dropped", out);
			session->skipping = false;
			continue;
		}
		if (session->depth == 0 && !starts(session, byte, out)) {
			if (session->skipping && !skipped)
				return i + 1;
			continue;
		}
		buf_u8(&session->message, byte);
		last = ends(session, byte);
		if (last) {
			finish(session, machine, out);
			return i + 1;
		}
		if (session->depth > QMP_DEPTH_MAX)
			give_up(session, byte != '\n', "objects and arrays more than 32 within each other", out);
		else if (session->message.size == QMP_MESSAGE_MAX)
			give_up(session, byte != '\n', "a message of more than 65536 bytes", out);
		else if (session->in_text && byte == '\n')
			give_up(session, false, "a line ends within a text; write \\n there", out);
	}
	return size;
}

void qmp_session_release(struct qmp_session *session)
{
	buf_release(&session->message);
	*session = (struct qmp_session){0};
}
