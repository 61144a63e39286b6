/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"

#include "vmm/plan.h"

static char *svg_of(const struct board *board)
{
	struct error err = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	if (plan_svg(board, out, &err) < 0)
		fail_msg("%s", err.text);
	fclose(out);
	return text;
}

/* xmllint takes it without a word, and it needs no other file. */
static void assert_valid(const char *text)
{
	FILE *xmllint = popen("xmllint --noout --nonet -", "w");

	assert_non_null(xmllint);
	assert_int_equal(fwrite(text, 1, strlen(text), xmllint), strlen(text));
	assert_int_equal(pclose(xmllint), 0);
	assert_null(strstr(text, "href"));
	assert_null(strstr(text, "url("));
	assert_null(strstr(text, "@import"));
	assert_null(strstr(text, "<!"));
}

/* The text as a whole content of an element, or its start up to a comma. */
static void assert_shows(const char *text, const char *name)
{
	char whole[128], start[128];

	snprintf(whole, sizeof(whole), ">%s<", name);
	snprintf(start, sizeof(start), ">%s, ", name);
	if (strstr(text, whole) == NULL && strstr(text, start) == NULL)
		fail_msg("'%s' is not in the drawing", name);
}

/* Each box lies within the picture. */
static void assert_boxes_fit(const char *text)
{
	unsigned width, height, boxes = 0;

	assert_int_equal(
		sscanf(text, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\"", &width, &height),
		2);
	for (const char *at = strstr(text, "<rect x="); at != NULL; at = strstr(at + 1, "<rect x=")) {
		unsigned x, y, w, h;

		assert_int_equal(sscanf(at, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\"", &x, &y, &w, &h), 4);
		assert_true(w > 0 && h > 0 && x + w < width && y + h < height);
		boxes++;
	}
	assert_true(boxes > 0);
}

static void check_svg(const char *line)
{
	struct machine_line machine = line_new(line);
	const struct board *board = machine.board;
	const struct config *config = machine.config;
	char *text, name[32];

	if (board == NULL)
		return; /* line_new() has failed the test */
	text = svg_of(board);
	assert_valid(text);
	assert_boxes_fit(text);
	for (size_t i = 0; i < config->mem_count; i++)
		assert_shows(text, config->mem[i].id);
	for (size_t i = 0; i < config->spm_count; i++)
		assert_shows(text, config->spm[i].id);
	for (size_t i = 0; i < config->accel_count; i++)
		assert_shows(text, config->accels[i].id);
	for (uint32_t node = 0; node < config->node_count; node++) {
		snprintf(name, sizeof(name), "node %" PRIu32, node);
		assert_shows(text, name);
	}
	for (size_t i = 0; i < board->layout.region_count; i++) {
		snprintf(name, sizeof(name), "0x%" PRIx64, board->layout.regions[i].gpa.start);
		assert_shows(text, name);
	}
	free(text);
	line_release(&machine);
}

/* Blocks on nodes of their own, each with these further keys and options. */
static void check_blocks(unsigned count, const char *size, const char *keys, unsigned distance)
{
	char *line = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&line, &length);

	assert_non_null(out);
	for (unsigned i = 1; i <= count; i++)
		fprintf(out, "--spm size=%s,node=%u%s --distance 0:%u=%u ", size, i, keys, i, distance + i % 100);
	fclose(out);
	check_svg(line);
	free(line);
}

static void every_node_and_block_is_drawn(void **state)
{
	(void)state;
	check_svg("");
	check_svg("--spm size=8G,node=1");
	check_svg("--mem 70G --maxmem 200G --spm size=1G,node=1,id=a,addr=0x3f0000000000");
	check_svg(
		"--cpus 4 --numa node=0,cpus=0-1,3 --numa node=1,cpus=2 --mem 2G --mem size=4G,node=1,host-nodes=0-1 "
		"--spm size=4G,node=4,id=hbm1,hugetlb=1G,latency=60,bandwidth=800G,cache=16M --accel gpu0,node=2,node-of=hbm1 "
		"--accel a,node=3 --spm size=2M,node=0,mixed=on,id=mixed --distance 0:4=254 --distance 1:3=99 --maxmem 24G "
		"--perf from=2,to=4,read-latency=20500ps");
	check_svg("--spm size=2M,node=1,id=a23456789012345678901234567890123456789012345678901234567890123");
}

static void many_blocks_are_drawn(void **state)
{
	(void)state;
	check_blocks(8, "1G", "", 20);
	check_blocks(64, "2G", ",latency=90,bandwidth=800G", 11);
	check_blocks(256, "2G", "", 100);
	check_blocks(1000, "2M", "", 150);
}

/* What the options never let through must not become markup either. */
static void hostile_names_are_escaped(void **state)
{
	static const char *const NAMES[] = {"</text><script>alert(1)</script>",
					    "&amp;&#0;\"'",
					    "a\nb\tc\033[31m\001",
					    "\377\300\200\303(",
					    "]]><!--",
					    ""};

	(void)state;
	for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
		struct machine_line machine = line_new("--spm size=1G,node=2,id=x --accel a,node=1");
		char *text;

		snprintf(machine.config->spm[0].id, sizeof(machine.config->spm[0].id), "%s", NAMES[i]);
		snprintf(machine.config->mem[0].id, sizeof(machine.config->mem[0].id), "%s", NAMES[i]);
		snprintf(machine.config->accels[0].id, sizeof(machine.config->accels[0].id), "%s", NAMES[i]);
		text = svg_of(machine.board);
		assert_valid(text);
		assert_null(strstr(text, "<script"));
		free(text);
		line_release(&machine);
	}
}

static void a_drawing_that_nobody_takes_is_an_error(void **state)
{
	struct machine_line machine = line_new("");
	FILE *out = fopen("/dev/full", "w");
	struct error err = {0};

	(void)state;
	assert_non_null(out);
	setvbuf(out, NULL, _IONBF, 0);
	assert_true(plan_svg(machine.board, out, &err) < 0);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	fclose(out);
	line_release(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_node_and_block_is_drawn),
		cmocka_unit_test(many_blocks_are_drawn),
		cmocka_unit_test(hostile_names_are_escaped),
		cmocka_unit_test(a_drawing_that_nobody_takes_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
