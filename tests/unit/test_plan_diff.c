/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"

#include "vmm/plan.h"

/* The plan of a line as JSON, on the heap. */
static char *plan_of(const char *line)
{
	struct machine_line machine = line_new(line);
	struct error err = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(plan_json(machine.board, out, &err), 0);
	fclose(out);
	line_release(&machine);
	return text;
}

/* What is printed about two texts, on the heap; NULL with err set when they cannot be compared. */
static char *compared(const char *a, const char *b, bool *differ, struct error *err)
{
	const struct plan_file files[] = {{"a", a, strlen(a)}, {"b", b, strlen(b)}};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int code;

	assert_non_null(out);
	code = plan_diff_texts(files, out, differ, err);
	fclose(out);
	if (code == 0)
		return text;
	assert_int_equal(size, 0);
	free(text);
	return NULL;
}

/* The lines that two machines differ by, but for E820, which follows from the regions. */
static void check_difference(const char *line_a, const char *line_b, const char *expected)
{
	char *a = plan_of(line_a), *b = plan_of(line_b), *text, *kept = NULL;
	struct error err = {0};
	bool differ = false;
	size_t size = 0;
	FILE *out = open_memstream(&kept, &size);

	assert_non_null(out);
	text = compared(a, b, &differ, &err);
	if (text == NULL) {
		fail_msg("%s", err.text);
		return;
	}
	assert_int_equal(differ, text[0] != '\0');
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (strstr(line, ": E820 ") == NULL)
			fprintf(out, "%s\n", line);
	}
	fclose(out);
	assert_string_equal(kept, expected);
	free(kept);
	free(text);
	free(a);
	free(b);
}

static void the_same_machine_is_no_difference(void **state)
{
	static const char LINE[] =
		"--cpus 2 --mem 2G --spm size=8G,node=1,latency=60,cache=2M --distance 0:1=30 --net user";

	(void)state;
	check_difference("", "", "");
	check_difference(LINE, LINE, "");
	/* typed in another way */
	check_difference("--mem 2G --spm size=8G,node=1,id=a", "--spm node=1,id=a,size=8192M --mem size=2048M,node=0",
			 "");
	check_difference("--spm size=8G,node=1 --distance 0:1=20", "--spm size=8G,node=1", "");
}

static void each_fact_has_a_line(void **state)
{
	(void)state;
	check_difference("--spm size=8G,node=1,id=a", "--spm size=8G,node=1,id=a --spm size=4G,node=2,id=b",
			 "changed: device-memory window: 0x100000000-0x2ffffffff -> 0x100000000-0x3ffffffff\n"
			 "added: slot b: 0x300000000-0x3ffffffff (4 GiB), node 2\n"
			 "added: node 2: CPUs none\n");
	check_difference("--spm size=8G,node=1,id=a", "",
			 "removed: device-memory window: 0x100000000-0x2ffffffff\n"
			 "removed: slot a: 0x100000000-0x2ffffffff (8 GiB), node 1\n"
			 "removed: node 1: CPUs none\n");
	check_difference(
		"--spm size=8G,node=1", "--spm size=8G,node=1,hugetlb=1G,host-nodes=0-1,prealloc=on",
		"changed: slot spm0: 0x100000000-0x2ffffffff (8 GiB), node 1 -> 0x100000000-0x2ffffffff (8 GiB), node "
		"1, bind host nodes 0,1, huge pages of 1 GiB, populated before the guest starts\n");
	check_difference("--cpus 2", "--cpus 3 --phys-bits 40",
			 "changed: CPUs: 2 -> 3\n"
			 "changed: physical address bits: 46 -> 40\n"
			 "changed: node 0: CPUs 0,1 -> CPUs 0,1,2\n");
	check_difference("--mem 4G", "--mem 5G",
			 "changed: RAM ram0 from its byte 3 GiB on: 0x100000000-0x13fffffff (1 GiB), node 0 -> "
			 "0x100000000-0x17fffffff (2 GiB), node 0\n");
	check_difference("--blk x", "--blk y --rng off",
			 "removed: device --blk path=x: memory 0xd0000000, GSI 5\n"
			 "added: device --blk path=y: memory 0xd0000000, GSI 5\n"
			 "removed: device --rng: memory 0xd0001000, GSI 6\n");
}

/* The usual distance is not said, and so it is what was there before or is afterwards; but not for a node that is new. */
static void distances_and_figures_have_lines(void **state)
{
	(void)state;
	check_difference("--spm size=2G,node=1 --distance 0:1=15",
			 "--spm size=2G,node=1 --distance 0:1=20 --distance 1:0=99",
			 "changed: distance 0:1: 15 -> 20\n"
			 "changed: distance 1:0: 15 -> 99\n");
	check_difference("--spm size=2G,node=1,addr=0x100000000",
			 "--spm size=2G,node=1,addr=0x100000000 --mem 1G --accel g,node=0 --distance 0:1=40",
			 "changed: distance 0:1: 20 -> 40\n"
			 "changed: distance 1:0: 20 -> 40\n"
			 "added: accelerator g: node 0\n");
	check_difference("--mem 2G --mem size=2G,node=1 --distance 0:1=15", "--mem 4G",
			 "changed: RAM ram0: 0x0-0x7fffffff (2 GiB), node 0 -> 0x0-0xbfffffff (3 GiB), node 0\n"
			 "added: RAM ram0 from its byte 3 GiB on: 0x100000000-0x13fffffff (1 GiB), node 0\n"
			 "removed: RAM ram1: 0x80000000-0xbfffffff (1 GiB), node 1\n"
			 "removed: RAM ram1 from its byte 1 GiB on: 0x100000000-0x13fffffff (1 GiB), node 1\n"
			 "removed: node 1: CPUs none\n"
			 "removed: distance 0:1: 15\n"
			 "removed: distance 1:0: 15\n");
	check_difference(
		"--mem size=1G,latency=80,cache=1M", "--mem size=1G,latency=80,write-bandwidth=2G,cache=2M",
		"changed: write-bandwidth from node 0 to 0: 100G -> 2G\n"
		"changed: cache of node 0: 1 MiB, lines of 64, direct, write-back -> 2 MiB, lines of 64, direct, "
		"write-back\n");
}

static void assert_refused(const char *a, const char *b, const char *message)
{
	struct error err = {0};
	bool differ = false;

	assert_null(compared(a, b, &differ, &err));
	assert_int_equal(err.status, EXIT_STATUS_USAGE);
	if (strstr(err.text, message) == NULL)
		fail_msg("'%s' lacks '%s'", err.text, message);
}

/* A plan with one text in it replaced. */
static void assert_spoiled(const char *from, const char *to, const char *message)
{
	char *plan = plan_of("--spm size=2G,node=1,latency=5,cache=2M --accel g,node=0"), *at = strstr(plan, from);
	char *spoiled = NULL;

	if (at == NULL) {
		fail_msg("no %s in %s", from, plan);
		return;
	}
	assert_true(asprintf(&spoiled, "%.*s%s%s", (int)(at - plan), plan, to, at + strlen(from)) > 0);
	assert_refused(spoiled, plan, message);
	assert_refused(plan, spoiled, message);
	free(spoiled);
	free(plan);
}

static void what_is_no_plan_is_refused(void **state)
{
	(void)state;
	assert_refused("", "{}", "--diff: a: no JSON: line ");
	assert_refused("{}", "{}", "--diff: a: the list \"regions\" is missing; ");
	assert_refused("[]", "{}", "--diff: a: the list \"regions\" is missing; ");
	assert_refused("{\"config\": {}}", "{}", "--diff: a: the list \"regions\" is missing; ");
	assert_spoiled("\"nodes\"", "\"knots\"", "the list \"nodes\" is missing; ");
	assert_spoiled("\"kind\": \"ram\"", "\"kind\": 1", "regions[0].kind is no text; ");
	assert_spoiled("\"start\": 0", "\"start\": -1", "regions[0].start is no whole number; ");
	assert_spoiled("\"start\": 0", "\"start\": 0.5", "regions[0].start is no whole number; ");
	assert_spoiled("\"hugetlb\": 0", "\"hugetlb\": []", "regions.backing[0].hugetlb is no whole number; ");
	assert_spoiled("\"distances\": [", "\"distances\": [null,", "nodes[0].distances is no list of whole numbers; ");
	assert_spoiled("\"distances\": [", "\"cpu\": [", "nodes[0].distances is no list; ");
	assert_spoiled("\"read-latency\": 5000", "\"read-latency\": 5000000000",
		       "performance[1].read-latency is no figure; ");
	assert_spoiled("\"mapping\": \"direct\"", "\"mapping\": {}", "caches[0].mapping is no text; ");
	assert_spoiled("\"phys-bits\": 46", "\"phys-bits\": \"46\"", "plan[0].phys-bits is no whole number; ");
}

/* Names out of a file reach no terminal as they are. */
static void control_characters_are_not_printed(void **state)
{
	char *plan = plan_of("--spm size=2G,node=1,id=abcdefghi"), *other = plan_of("");
	struct error err = {0};
	bool differ = false;
	char *text;

	(void)state;
	for (char *at = strstr(plan, "abcdefghi"); at != NULL; at = strstr(at + 1, "abcdefghi")) {
		for (size_t i = 0; i < strlen("abcdefghi"); i++)
			at[i] = "a\\u001b\\n"[i];
	}
	text = compared(plan, other, &differ, &err);
	if (text == NULL) {
		fail_msg("%s", err.text);
		return;
	}
	assert_true(differ);
	assert_non_null(strstr(text, "removed: slot a??: "));
	free(text);
	free(plan);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_machine_is_no_difference),  cmocka_unit_test(each_fact_has_a_line),
		cmocka_unit_test(distances_and_figures_have_lines),   cmocka_unit_test(what_is_no_plan_is_refused),
		cmocka_unit_test(control_characters_are_not_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
