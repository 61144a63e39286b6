/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "vmm/doctor.h"

/* ---------------------------------------------------------------------------------------------------- text */

enum { WIDTH = 100, NAME_COLUMN = 6, NAME_WIDTH = 16, TEXT_COLUMN = NAME_COLUMN + NAME_WIDTH + 1 };

/* Text from the column on, in lines of at most WIDTH characters where it has blanks to break at. */
static void put_wrapped(FILE *out, size_t column, const char *text)
{
	size_t room = WIDTH - column;

	while (strlen(text) > room) {
		const char *end = memrchr(text, ' ', room + 1);

		if (end == NULL)
			end = strchr(text, ' '); /* a long path: it stays whole */
		if (end == NULL)
			break;
		fprintf(out, "%.*s\n%*s", (int)(end - text), text, (int)column, "");
		text = end + 1;
	}
	fprintf(out, "%s\n", text);
}

static void put_findings(FILE *out, const struct findings *list)
{
	static const char *const MARKS[] = {
		[FINDING_OK] = "ok", [FINDING_LOST] = "--", [FINDING_MISSING] = "!!", [FINDING_UNKNOWN] = "??"};

	for (size_t i = 0; i < list->count; i++) {
		const struct finding *finding = &list->items[i];

		fprintf(out, "  %s  %-*s ", MARKS[finding->state], NAME_WIDTH, finding->name);
		put_wrapped(out, TEXT_COLUMN, finding->text);
		if (finding->remedy[0] != '\0') {
			fprintf(out, "%*s-> ", NAME_COLUMN, "");
			put_wrapped(out, NAME_COLUMN + 3, finding->remedy);
		}
	}
}

static void put_missing(FILE *out, const struct findings *list, const char *where, const char **separator)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].state != FINDING_MISSING)
			continue;
		fprintf(out, "%s%s (%s)", *separator, list->items[i].name, where);
		*separator = ", ";
	}
}

void doctor_text(const struct doctor_report *report, FILE *out)
{
	const char *separator = "";

	fputs("Host\n", out);
	put_findings(out, &report->host);
	fprintf(out, "\nKernel%s%s%s%s%s\n", report->kernel_path[0] != '\0' ? " " : "", report->kernel_path,
		report->release[0] != '\0' ? " (" : "", report->release, report->release[0] != '\0' ? ")" : "");
	put_findings(out, &report->kernel);
	fputs("\nok: there.  --: not there, and what it is for is lost.  ??: unknown.\n"
	      "!!: not there, and every machine with SPM needs it.\n\n",
	      out);
	if (doctor_status(report) == EXIT_STATUS_OK) {
		fprintf(out, "%s.\n",
			findings_have(&report->kernel, FINDING_UNKNOWN)
				? "As far as is known, a machine with SPM can be booted here"
				: "A machine with SPM can be booted here");
		return;
	}
	fputs("No machine with SPM can be booted here, for want of: ", out);
	put_missing(out, &report->host, "host", &separator);
	put_missing(out, &report->kernel, "kernel", &separator);
	fputs("\n", out);
}

/* ---------------------------------------------------------------------------------------------------- JSON */

/* As in the plan: want of memory makes the whole NULL, and one check at the end finds it. */
static json_t *json_of(const struct findings *list)
{
	static const char *const STATES[] = {[FINDING_OK] = "ok",
					     [FINDING_LOST] = "lost",
					     [FINDING_MISSING] = "missing",
					     [FINDING_UNKNOWN] = "unknown"};
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++) {
		const struct finding *finding = &list->items[i];

		if (json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s}", "name", finding->name, "state",
							   STATES[finding->state], "text", finding->text, "remedy",
							   finding->remedy)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

int doctor_json(const struct doctor_report *report, FILE *out, struct error *err)
{
	json_t *json = json_pack("{s:i, s:o, s:s, s:s, s:o}", "status", (int)doctor_status(report), "host",
				 json_of(&report->host), "kernel", report->kernel_path, "release", report->release,
				 "features", json_of(&report->kernel));
	int code = 0;

	if (json == NULL || json_dumpf(json, out, JSON_INDENT(2)) < 0)
		code = error_set(err, EXIT_STATUS_HOST, ENOMEM, "cannot make the doctor's JSON");
	else
		fputc('\n', out);
	json_decref(json);
	return code;
}
