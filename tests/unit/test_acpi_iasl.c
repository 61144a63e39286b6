/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "tests/unit/test_acpi_machines.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * An outside judge: ACPICA's iasl takes each table apart, without a complaint, and compiles what it wrote into the same bytes again.
 * Without iasl the test fails: what was not judged has not passed.
 */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static int new_directory(void **state)
{
	char *directory = strdup("/tmp/spmvm-iasl-XXXXXX");

	*state = directory;
	return directory != NULL && mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state)
{
	char *directory = *state;
	int rc = nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);

	free(directory);
	return rc;
}

static void write_file(const char *directory, const char *name, const uint8_t *bytes, size_t size)
{
	char path[200];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void read_whole(const char *directory, const char *name, struct buf *out)
{
	char path[200];
	FILE *file;
	int c;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	if (file == NULL)
		fail_msg("iasl did not write %s", path);
	while ((c = fgetc(file)) != EOF)
		buf_u8(out, (uint8_t)c);
	assert_int_equal(fclose(file), 0);
	assert_false(buf_failed(out));
}

/* Runs iasl in the directory, both outputs into the file "said". */
static void run_iasl(const char *directory, const char *const *arguments)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int fd;

		if (chdir(directory) != 0)
			_exit(126);
		fd = open("said", O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			_exit(126);
		execvp("iasl", (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fail_msg("iasl is missing: install Debian's package acpica-tools");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		struct buf said = {0};

		read_whole(directory, "said", &said);
		fail_msg("iasl %s: status 0x%x: %.*s", arguments[1], (unsigned int)status, (int)said.size,
			 (const char *)said.data);
	}
}

/* Fails when the output holds unwanted, or lacks wanted (either may be NULL). */
static void assert_said(const char *directory, const char *what, const char *wanted, const char *unwanted)
{
	struct buf said = {0};
	const char *text;

	read_whole(directory, "said", &said);
	buf_u8(&said, 0);
	assert_false(buf_failed(&said));
	text = (const char *)said.data;
	if ((wanted != NULL && strstr(text, wanted) == NULL) ||
	    (unwanted != NULL && strcasestr(text, unwanted) != NULL))
		fail_msg("iasl on %s said:\n%s", what, text);
	buf_release(&said);
}

/* The checksum, and who compiled the table, are iasl's own. */
static void assert_same_table(const char *what, const uint8_t *table, size_t size, const struct buf *again)
{
	if (again->size != size)
		fail_msg("%s: %zu bytes became %zu", what, size, again->size);
	for (size_t i = 0; i < size; i++) {
		if (i == 9 || (i >= 28 && i < 36))
			continue;
		if (again->data[i] != table[i])
			fail_msg("%s: byte %zu was 0x%02x and became 0x%02x", what, i, table[i], again->data[i]);
	}
}

static void judge(const char *directory, const char *machine, const struct acpi_table *table, const uint8_t *bytes)
{
	static const char *const disassemble[] = {"iasl", "-d", "table.dat", NULL};
	static const char *const compile[] = {"iasl", "-vs", "-p", "again", "table.dsl", NULL};
	struct buf again = {0};
	char what[60];

	snprintf(what, sizeof(what), "%s of %s", table->signature, machine);
	write_file(directory, "table.dat", bytes + table->offset, table->size);
	run_iasl(directory, disassemble);
	assert_said(directory, what, NULL, "warning");
	assert_said(directory, what, NULL, "error");
	assert_said(directory, what, NULL, "incorrect");
	run_iasl(directory, compile);
	assert_said(directory, what, "0 Errors, 0 Warnings, 0 Remarks", NULL);
	read_whole(directory, "again.aml", &again);
	assert_same_table(what, bytes + table->offset, table->size, &again);
	buf_release(&again);
}

static void judge_machine(const char *directory, const char *name, const struct acpi_inputs *inputs)
{
	struct acpi_blob blob;
	struct error err;

	assert_int_equal(acpi_build(&blob, inputs, MACHINE_BASE, &err), 0);
	/* not the RSDP, the first: it has no table header, and this iasl cannot take it apart */
	assert_string_equal(blob.tables[0].signature, "RSDP");
	for (size_t i = 1; i < blob.table_count; i++)
		judge(directory, name, &blob.tables[i], blob.bytes.data);
	acpi_blob_release(&blob);
}

static void iasl_agrees_on_named_machines(void **state)
{
	for (size_t i = 0; i < NAMED_MACHINES; i++)
		judge_machine(*state, named_machines[i].name, &named_machines[i].inputs);
}

static void iasl_agrees_on_large_machines(void **state)
{
	struct grown_machine machine;

	grown_new(&machine, 300, 2000, 64, 100);
	grown_with_figures(&machine);
	judge_machine(*state, "the machine with 300 processors", &machine.inputs);
	grown_free(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(iasl_agrees_on_named_machines, new_directory, remove_directory),
		cmocka_unit_test_setup_teardown(iasl_agrees_on_large_machines, new_directory, remove_directory),
	};

	return cmocka_run_group_tests_name("acpi_iasl", tests, NULL, NULL);
}
