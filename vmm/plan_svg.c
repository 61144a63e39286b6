/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/plan.h"

/*
 * The plan as a drawing (SVG 1.1): guest-physical memory as a column of boxes, the nodes as cards, and their distances.
 * It refers to nothing outside of itself and brings its own background. All lengths are pixels; letters have one width,
 * so that the room that a text takes is known.
 */
enum {
	LINE = 16,           /* from one line of text to the next */
	MARGIN = 24,         /* around all, and between the parts */
	HEADING = 26,        /* from a part's heading to what is below it */
	PAGE_WIDTH = 1500,   /* what is more than one column may become as wide */
	ADDRESS_WIDTH = 120, /* room for "0x10000000000" left of the boxes */
	ROWS_LARGE = 24,     /* with more boxes each is one line only */
	NUMBERS_MAX = 24,    /* with more nodes distances are colours only */
};

struct drawing {
	const struct board *board;
	FILE *out;
	unsigned right, bottom; /* how far it goes */
};

/* ------------------------------------------------------------------------------------------------- elements */

/* The room that so many letters take: 0.6 of their height each in nearly all such fonts, and a little more. */
static unsigned letters(size_t count)
{
	return (unsigned)(count * 37 / 5);
}

/*
 * Text for XML 1.0 (§2.2, §2.4): markup escaped, and a question mark for what cannot stand there: control characters,
 * and bytes above ASCII, which no id has.
 */
static void print_escaped(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		default:
			fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
		}
	}
}

static void reach(struct drawing *drawing, unsigned x, unsigned y)
{
	drawing->right = x > drawing->right ? x : drawing->right;
	drawing->bottom = y > drawing->bottom ? y : drawing->bottom;
}

/* A box of a class of the style sheet. */
static void box(struct drawing *drawing, unsigned x, unsigned y, unsigned width, unsigned height, const char *class)
{
	fprintf(drawing->out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" class=\"%s\"/>\n", x, y, width,
		height, class);
	reach(drawing, x + width, y + height);
}

/* A line of text; y is where its letters stand. Class "end" lets it end at x. */
static void __attribute__((format(printf, 5, 6)))
label(struct drawing *drawing, unsigned x, unsigned y, const char *class, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0)
		return; /* what writes to drawing->out runs out of memory as well */
	fprintf(drawing->out, "<text x=\"%u\" y=\"%u\" class=\"%s\">", x, y, class);
	print_escaped(drawing->out, text);
	fputs("</text>\n", drawing->out);
	reach(drawing, x + (strstr(class, "end") == NULL ? letters((size_t)length) : 0), y);
	free(text);
}

/* ------------------------------------------------------------------------------------- guest-physical memory */

enum row_kind { ROW_REGION, ROW_DEVICES, ROW_FORBIDDEN, ROW_ROOM, ROW_NOTHING };

/* A box of the map: a region, or what lies between regions. */
struct row {
	struct range gpa;
	enum row_kind kind;
	const struct mem_region *region; /* of ROW_REGION */
};

static enum row_kind kind_at(const struct board *board, uint64_t at)
{
	const struct mem_window *window = &board->layout.window;

	if (at >= LAYOUT_HOLE_START && at < LAYOUT_HOLE_END)
		return ROW_DEVICES;
	if (at >= LAYOUT_HT_START && at < LAYOUT_HT_END)
		return ROW_FORBIDDEN;
	if (board->layout.hotplug && at >= window->span.start && at < range_end(window->span))
		return ROW_ROOM;
	return ROW_NOTHING;
}

/* The first address from which on there is nothing more to show. */
static uint64_t map_end(const struct board *board)
{
	const struct mem_layout *layout = &board->layout;
	uint64_t end = LAYOUT_HOLE_END;
	uint64_t ends[] = {range_end(layout->regions[layout->region_count - 1].gpa), range_end(layout->window.span)};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		end = ends[i] > end ? ends[i] : end;
	return end;
}

/* The row that starts at an address; index is that of the next region, and is counted up. False at the end. */
static bool next_row(const struct board *board, uint64_t at, size_t *index, struct row *row)
{
	const struct mem_layout *layout = &board->layout;
	uint64_t end = map_end(board);
	const uint64_t edges[] = {LAYOUT_HOLE_START, LAYOUT_HOLE_END, LAYOUT_HT_START, LAYOUT_HT_END,
				  layout->window.span.start};

	if (at >= end)
		return false;
	*row = (struct row){.kind = kind_at(board, at)};
	if (*index < layout->region_count) {
		row->region = &layout->regions[*index];
		end = row->region->gpa.start;
		if (end == at) {
			row->kind = ROW_REGION;
			row->gpa = row->region->gpa;
			(*index)++;
			return true;
		}
	}
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		if (edges[i] > at && edges[i] < end)
			end = edges[i];
	}
	row->gpa = (struct range){at, end - at};
	return true;
}

/* Not to scale: regions grow with the logarithm of their size, and what lies between them has one height. */
static unsigned row_height(const struct row *row, bool large)
{
	unsigned doublings = 0;

	for (uint64_t size = row->gpa.size; row->kind == ROW_REGION && size > 64 * MIB; size /= 2)
		doublings++;
	if (row->kind != ROW_REGION)
		return large ? 24 : 18;
	return large ? 38 + 8 * doublings : 18 + doublings / 2;
}

static void draw_region(struct drawing *drawing, const struct row *row, unsigned x, unsigned y, unsigned width,
			bool large)
{
	const struct mem_region *region = row->region;
	const struct config_memory *memory = board_owner(drawing->board, region);
	unsigned height = row_height(row, large);
	const char *kind = region->kind == MEM_SPM ? "SPM" : "RAM";

	/* the title is what a viewer shows under the pointer */
	fputs("<g><title>", drawing->out);
	print_escaped(drawing->out, memory->id);
	fprintf(drawing->out, ": %s 0x%" PRIx64 "-0x%" PRIx64 ", node %" PRIu32, kind, region->gpa.start,
		range_end(region->gpa) - 1, region->node);
	plan_print_source(drawing->out, memory);
	fputs("</title>\n", drawing->out);
	box(drawing, x, y, width, height, region->kind == MEM_SPM ? "spm" : "ram");
	if (large) {
		label(drawing, x + 8, y + LINE, "bold", "%s", memory->id);
		label(drawing, x + 8, y + 2 * LINE, "", "%s, %s%s", kind, plan_quantity(region->gpa.size).text,
		      region->offset > 0 ? ", its rest" : "");
		label(drawing, x + width - 8, y + LINE, "end", "node %" PRIu32, region->node);
	} else {
		label(drawing, x + 8, y + 13, "", "%s, %s", memory->id, plan_quantity(region->gpa.size).text);
		label(drawing, x + width - 8, y + 13, "end", "node %" PRIu32, region->node);
	}
	fputs("</g>\n", drawing->out);
}

static void draw_row(struct drawing *drawing, const struct row *row, unsigned x, unsigned y, unsigned width, bool large)
{
	static const char *const CLASSES[] = {"", "devices", "forbidden", "room", "nothing"};
	static const char *const NAMES[] = {"", "devices", "reserved on AMD", "room for hotplug", "nothing"};
	unsigned height = row_height(row, large);

	label(drawing, x - 6, y + 13, "small end", "0x%" PRIx64, row->gpa.start);
	if (row->kind == ROW_REGION) {
		draw_region(drawing, row, x, y, width, large);
		return;
	}
	box(drawing, x, y, width, height, CLASSES[row->kind]);
	label(drawing, x + 8, y + height / 2 + 5, "small", "%s, %s", NAMES[row->kind],
	      plan_quantity(row->gpa.size).text);
}

/* The width of a box that holds the longest line of the map. */
static unsigned map_width(const struct board *board)
{
	size_t longest = strlen("room for hotplug, 1024 MiB");

	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];
		size_t length = strlen(board_owner(board, region)->id) + strlen(plan_quantity(region->gpa.size).text) +
				strlen(",   node 1023");

		longest = length > longest ? length : longest;
	}
	return letters(longest) + 16;
}

/* Goes through the rows in columns of at most this height. */
static void draw_map(struct drawing *drawing, unsigned x, unsigned y, unsigned column_height, bool large)
{
	const struct board *board = drawing->board;
	unsigned width = map_width(board), top = y;
	size_t index = 0;
	struct row row;

	x += ADDRESS_WIDTH;
	for (uint64_t at = 0; next_row(board, at, &index, &row); at = range_end(row.gpa)) {
		unsigned height = row_height(&row, large);

		if (y > top && y + height > top + column_height) {
			y = top;
			x += width + ADDRESS_WIDTH + MARGIN;
		}
		draw_row(drawing, &row, x, y, width, large);
		y += height + 2;
	}
	label(drawing, x - 6, y + 13, "small end", "0x%" PRIx64, map_end(board));
}

/* Returns whether one column was enough, so that there is room beside it. */
static bool draw_memory(struct drawing *drawing, unsigned x, unsigned y)
{
	const struct board *board = drawing->board;
	unsigned columns = PAGE_WIDTH / (map_width(board) + ADDRESS_WIDTH + MARGIN), total = 0, count = 0;
	size_t index = 0;
	struct row row;
	bool large;

	for (uint64_t at = 0; next_row(board, at, &index, &row); at = range_end(row.gpa))
		count++;
	large = count <= ROWS_LARGE;
	index = 0;
	for (uint64_t at = 0; next_row(board, at, &index, &row); at = range_end(row.gpa))
		total += row_height(&row, large) + 2;
	if (columns == 0 || large)
		columns = 1;
	label(drawing, x, y, "heading", "Guest-physical memory (not to scale)");
	draw_map(drawing, x, y + HEADING - 8, total / columns + 40, large);
	return columns == 1;
}

/* ---------------------------------------------------------------------------------------------------- nodes */

/* A list of CPUs can be longer than a card should be wide; then it is no more than counted. */
static void print_card_cpus(const struct board *board, uint32_t node, FILE *out)
{
	enum { LIST_MAX = 28 };
	char *list = NULL;
	size_t size = 0;
	uint32_t count = 0;
	FILE *cpus = open_memstream(&list, &size);

	for (uint32_t cpu = 0; cpu < board->config->cpu_count; cpu++)
		count += board->config->cpu_nodes[cpu] == node;
	if (cpus != NULL) {
		plan_print_cpus(board, node, cpus);
		fclose(cpus);
	}
	if (list != NULL && size <= LIST_MAX)
		fprintf(out, "C%s\n", list);
	else
		fprintf(out, "C%" PRIu32 " CPUs\n", count);
	free(list);
}

/* What stands on the card of a node: lines, each with a letter before it that says what it is about; first its CPUs. */
static char *card_text(const struct board *board, uint32_t node)
{
	const struct config *config = board->config;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return NULL;
	print_card_cpus(board, node, out);
	for (size_t i = 0; i < config->mem_count; i++) {
		if (config->mem[i].node == node)
			fprintf(out, "R%s, %s\n", config->mem[i].id, plan_quantity(config->mem[i].size).text);
	}
	for (size_t i = 0; i < config->spm_count; i++) {
		if (config->spm[i].node == node)
			fprintf(out, "S%s, %s\n", config->spm[i].id, plan_quantity(config->spm[i].size).text);
	}
	for (size_t i = 0; i < config->accel_count; i++) {
		if (config->accels[i].node == node && config->accels[i].has_block)
			fprintf(out, "A%s, with node %" PRIu32 "\n", config->accels[i].id,
				config->accels[i].block_node);
		else if (config->accels[i].node == node)
			fprintf(out, "A%s\n", config->accels[i].id);
	}
	for (size_t i = 0; i < board->acpi.cache_count; i++) {
		if (board->acpi.caches[i].pxm == node)
			fprintf(out, "Fbehind a cache of %s\n", plan_quantity(board->acpi.caches[i].size).text);
	}
	for (uint32_t from = 0, last; config->figures[0] != NULL && from < config->initiator_count; from = last + 1) {
		last = from;
		while (last + 1 < config->initiator_count && plan_same_figures(config, from, last + 1, node))
			last++;
		if (!plan_knows_figures(config, from, node))
			continue;
		fprintf(out, last > from ? "Ffrom node %" PRIu32 "-%" PRIu32 ": " : "Ffrom node %" PRIu32 ": ", from,
			last);
		plan_print_figures(config, from, node, out);
		fputc('\n', out);
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Lines, and the length of the longest. */
static void measure(const char *text, unsigned *lines, unsigned *longest)
{
	while (*text != '\0') {
		size_t length = strcspn(text, "\n");

		(*lines)++;
		*longest = length > *longest ? (unsigned)length : *longest;
		text += length + 1;
	}
}

static void draw_card(struct drawing *drawing, uint32_t node, const char *text, unsigned x, unsigned y, unsigned width,
		      unsigned height)
{
	size_t length = strcspn(text, "\n");

	box(drawing, x, y, width, height, "card");
	label(drawing, x + 10, y + LINE + 2, "bold", "node %" PRIu32, node);
	label(drawing, x + 10 + letters(11), y + LINE + 2, "", "%.*s", (int)length - 1, text + 1);
	text += length + 1;
	for (y += 2 * LINE + 4; *text != '\0'; y += LINE) {
		const char *class = *text == 'R' ? "ram" : *text == 'S' ? "spm" : "accel";

		length = strcspn(text, "\n");
		if (*text != 'F')
			box(drawing, x + 10, y - 10, 10, 10, class);
		label(drawing, x + 26, y, *text == 'F' ? "small" : "", "%.*s", (int)length - 1, text + 1);
		text += length + 1;
	}
}

/* Cards in rows, each row as high as its highest card. */
static void draw_cards(struct drawing *drawing, char *const *texts, uint32_t count, unsigned x, unsigned y)
{
	unsigned longest = 22, width, columns, ignored = 0;

	for (uint32_t node = 0; node < count; node++)
		measure(texts[node], &ignored, &longest);
	width = letters(longest) + 40;
	columns = (PAGE_WIDTH - x) / (width + 12);
	columns = columns == 0 ? 1 : columns;
	for (uint32_t node = 0; node < count; node++) {
		unsigned height = 0;

		for (uint32_t other = node - node % columns; other < count && other / columns == node / columns;
		     other++) {
			unsigned own = 0;

			measure(texts[other], &own, &longest);
			height = own > height ? own : height;
		}
		height = height * LINE + 14;
		draw_card(drawing, node, texts[node], x + node % columns * (width + 12), y, width, height);
		if (node % columns == columns - 1)
			y += height + 12;
	}
}

static bool draw_nodes(struct drawing *drawing, unsigned x, unsigned y)
{
	uint32_t count = drawing->board->config->node_count;
	char **texts = calloc(count, sizeof(*texts));
	bool good = texts != NULL;

	label(drawing, x, y, "heading", "NUMA nodes");
	for (uint32_t node = 0; good && node < count; node++) {
		texts[node] = card_text(drawing->board, node);
		good = texts[node] != NULL;
	}
	if (good)
		draw_cards(drawing, texts, count, x, y + HEADING - 8);
	for (uint32_t node = 0; texts != NULL && node < count; node++)
		free(texts[node]);
	free(texts);
	return good;
}

/* ------------------------------------------------------------------------------------------------ distances */

/* From pale to dark: 0 to 8. Half of the steps are taken by distances up to 40, which are the most usual. */
static unsigned shade(unsigned distance)
{
	if (distance <= CONFIG_DISTANCE_LOCAL)
		return 0;
	if (distance <= 40)
		return 1 + (distance - 11) * 4 / 30;
	return distance <= 80 ? 5 : distance <= 120 ? 6 : distance <= 180 ? 7 : 8;
}

/* A row of the matrix; cells that touch and have one distance are one box where they hold no numbers. */
static void draw_distance_row(struct drawing *drawing, uint32_t from, unsigned x, unsigned y, unsigned width,
			      unsigned height, bool numbers)
{
	const struct config *config = drawing->board->config;
	const uint8_t *row = config->distances + (size_t)from * config->node_count;

	for (uint32_t to = 0, count; to < config->node_count; to += count) {
		unsigned at = x + to * width;
		char class[16];

		for (count = 1; !numbers && to + count < config->node_count && row[to + count] == row[to];)
			count++;
		snprintf(class, sizeof(class), "d%u", shade(row[to]));
		box(drawing, at, y, width * count, height, class);
		if (numbers)
			label(drawing, at + width / 2, y + 14, shade(row[to]) > 4 ? "middle pale" : "middle", "%u",
			      row[to]);
	}
}

/* The distances that there are, with their colours. */
static void draw_shades(struct drawing *drawing, unsigned x, unsigned y)
{
	const struct config *config = drawing->board->config;
	bool seen[256] = {false};
	unsigned column = 0;

	for (size_t i = 0; i < (size_t)config->node_count * config->node_count; i++)
		seen[config->distances[i]] = true;
	for (unsigned distance = 0; distance < 256; distance++) {
		char class[16];

		if (!seen[distance])
			continue;
		snprintf(class, sizeof(class), "d%u", shade(distance));
		box(drawing, x + column % 16 * 52, y - 10 + column / 16 * LINE, 12, 12, class);
		label(drawing, x + column % 16 * 52 + 16, y + column / 16 * LINE, "small", "%u", distance);
		column++;
	}
}

static void draw_distances(struct drawing *drawing, unsigned x, unsigned y)
{
	uint32_t count = drawing->board->config->node_count;
	bool numbers = count <= NUMBERS_MAX;
	unsigned width = numbers ? 34 : count < 200 ? 640 / count : 3, height = numbers ? 20 : width;

	if (count == 1)
		return;
	label(drawing, x, y, "heading", "Distances (from the row's node to the column's)");
	y += HEADING;
	if (!numbers) {
		draw_shades(drawing, x, y);
		y += HEADING + drawing->bottom - y;
	}
	x += 48;
	for (uint32_t node = 0; node < count; node++) {
		/* every node has its number where there is room, or one of 16 */
		bool named = numbers || node % 16 == 0;

		if (named)
			label(drawing, x + node * width + width / 2, y, "small middle", "%" PRIu32, node);
		if (named)
			label(drawing, x - 6, y + 8 + node * height + (numbers ? 14 : 8), "small end", "%" PRIu32,
			      node);
		draw_distance_row(drawing, node, x, y + 8 + node * height, width, height, numbers);
	}
}

/* ----------------------------------------------------------------------------------------------- the whole */

/*
 * Colours that differ to those who see few of them. Nothing is taken from the viewer, so it looks the same on a dark
 * page and on a light one.
 */
static const char STYLE[] =
	"<style>\n"
	"text { font: 12px monospace; fill: #1f2328 }\n"
	".title { font-size: 16px; font-weight: bold } .heading { font-size: 14px; font-weight: bold }\n"
	".bold { font-weight: bold } .small { font-size: 11px; fill: #4b535d } .pale { fill: #ffffff }\n"
	".end { text-anchor: end } .middle { text-anchor: middle }\n"
	".page { fill: #ffffff } .card { fill: #f6f8fa; stroke: #afb8c1 }\n"
	".ram { fill: #a8d0f0; stroke: #0072b2 } .spm { fill: #f7c68b; stroke: #d55e00 }\n"
	".accel { fill: #8fd6bd; stroke: #009e73 } .devices { fill: #e3e6ea; stroke: #8c959f }\n"
	".room { fill: #ffffff; stroke: #009e73; stroke-dasharray: 5 3 }\n"
	".nothing { fill: #ffffff; stroke: #afb8c1; stroke-dasharray: 2 4 }\n"
	".forbidden { fill: #f3d9e6; stroke: #b0507f }\n"
	".d0 { fill: #f2f5f8 } .d1 { fill: #dce9f5 } .d2 { fill: #bfd8ee } .d3 { fill: #9cc3e3 } .d4 { fill: #74a9d4 }\n"
	".d5 { fill: #4a8ac0 } .d6 { fill: #2b6ca6 } .d7 { fill: #174f86 } .d8 { fill: #0a3461 }\n"
	"</style>\n";

static void draw_head(struct drawing *drawing)
{
	static const struct {
		const char *class, *name;
	} KINDS[] = {{"ram", "RAM"}, {"spm", "SPM block"}, {"accel", "accelerator"}};
	const struct config *config = drawing->board->config;
	uint64_t ram = 0, spm = 0;
	unsigned x = MARGIN;

	for (size_t i = 0; i < config->mem_count; i++)
		ram += config->mem[i].size;
	for (size_t i = 0; i < config->spm_count; i++)
		spm += config->spm[i].size;
	label(drawing, x, 34, "title", "%" PRIu32 " CPU%s, %s of RAM, %zu SPM block%s%s%s, %" PRIu32 " NUMA node%s",
	      config->cpu_count, config->cpu_count == 1 ? "" : "s", plan_quantity(ram).text, config->spm_count,
	      config->spm_count == 1 ? "" : "s", spm > 0 ? " of " : "", spm > 0 ? plan_quantity(spm).text : "",
	      config->node_count, config->node_count == 1 ? "" : "s");
	for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
		box(drawing, x, 48, 12, 12, KINDS[i].class);
		label(drawing, x + 18, 58, "", "%s", KINDS[i].name);
		x += 120;
	}
}

static bool draw(struct drawing *drawing)
{
	enum { TOP = 98 };
	unsigned x = MARGIN, y = TOP, head, map;
	bool good, beside;

	draw_head(drawing);
	head = drawing->right;
	drawing->right = 0; /* the head may be wider than the map, without taking the room beside it */
	beside = draw_memory(drawing, x, y) && drawing->right < PAGE_WIDTH / 2;
	map = drawing->bottom;
	if (beside) {
		x = drawing->right + 2 * MARGIN;
		drawing->bottom = y;
	} else {
		y = map + 2 * MARGIN;
	}
	good = draw_nodes(drawing, x, y);
	draw_distances(drawing, x, drawing->bottom + 2 * MARGIN);
	reach(drawing, head, map);
	return good;
}

int plan_svg(const struct board *board, FILE *out, struct error *err)
{
	struct drawing drawing = {.board = board};
	char *body = NULL;
	size_t size = 0;
	bool good = false;

	drawing.out = open_memstream(&body, &size);
	if (drawing.out != NULL) {
		good = draw(&drawing);
		good = fclose(drawing.out) == 0 && good;
	}
	if (!good) {
		free(body);
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the plan's drawing");
	}
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\">\n"
		"<title>spmvm plan</title>\n%s<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n",
		drawing.right + MARGIN, drawing.bottom + MARGIN, drawing.right + MARGIN, drawing.bottom + MARGIN,
		STYLE);
	fwrite(body, 1, size, out);
	fputs("</svg>\n", out);
	free(body);
	if (ferror(out) != 0)
		return error_set(err, EXIT_STATUS_HOST, EIO, "cannot write the plan's drawing");
	return 0;
}
