/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/modules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Real trees have chains of about ten modules; this bounds the recursion on made-up ones. */
enum { DEPTH_MAX = 128 };

/* A part of a text that is not ended by a zero. */
struct span {
	const char *at;
	size_t length;
};

enum visit { NEW, VISITING, DONE };

/* One line of modules.dep. */
struct module {
	struct span path, name;
	struct span needs; /* paths, separated by blanks */
	enum visit visit;
};

struct resolver {
	struct module *modules; /* sorted by name */
	size_t count;
	struct span *builtin; /* names, sorted */
	size_t builtin_count;
	const struct module_tables *tables;
	struct module_order *order;
	const struct log *log;
	struct error *err;
};

/* Cuts text at the first separator: returns what is before it and leaves what is behind it. */
static struct span cut(struct span *text, char separator)
{
	const char *at = text->length > 0 ? memchr(text->at, separator, text->length) : NULL;
	size_t length = at == NULL ? text->length : (size_t)(at - text->at);
	struct span first = {text->at, length};
	size_t taken = at == NULL ? length : length + 1;

	text->at += taken;
	text->length -= taken;
	return first;
}

static bool span_is(struct span span, const char *text)
{
	return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

static struct span name_of(struct span path)
{
	struct span name = path;
	const char *end;

	for (size_t i = 0; i < path.length; i++) {
		if (path.at[i] == '/')
			name = (struct span){path.at + i + 1, path.length - i - 1};
	}
	end = name.length > 0 ? memmem(name.at, name.length, ".ko", 3) : NULL;
	if (end != NULL)
		name.length = (size_t)(end - name.at);
	return name;
}

const char *module_packing(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *end = strstr(slash == NULL ? path : slash, ".ko");

	if (end == NULL || (end[3] != '\0' && end[3] != '.'))
		return NULL;
	return end + 3;
}

static char plain(char c)
{
	return c == '-' ? '_' : c;
}

static int compare(struct span a, struct span b)
{
	for (size_t i = 0; i < a.length && i < b.length; i++) {
		if (plain(a.at[i]) != plain(b.at[i]))
			return plain(a.at[i]) < plain(b.at[i]) ? -1 : 1;
	}
	return (a.length > b.length) - (a.length < b.length);
}

static int compare_modules(const void *a, const void *b)
{
	return compare(((const struct module *)a)->name, ((const struct module *)b)->name);
}

static int compare_spans(const void *a, const void *b)
{
	return compare(*(const struct span *)a, *(const struct span *)b);
}

static struct module *find(const struct resolver *resolver, struct span name)
{
	struct module key = {.name = name};

	if (resolver->count == 0)
		return NULL;
	return bsearch(&key, resolver->modules, resolver->count, sizeof(key), compare_modules);
}

static bool is_builtin(const struct resolver *resolver, struct span name)
{
	return resolver->builtin_count > 0 &&
	       bsearch(&name, resolver->builtin, resolver->builtin_count, sizeof(name), compare_spans) != NULL;
}

static struct span span_from(struct module_text text)
{
	return (struct span){text.at, text.size};
}

static size_t count_lines(struct span text)
{
	size_t lines = 1;

	for (size_t i = 0; i < text.length; i++)
		lines += text.at[i] == '\n';
	return lines;
}

static int read_tables(struct resolver *resolver)
{
	struct span text = span_from(resolver->tables->dependencies), builtin = span_from(resolver->tables->builtin);

	resolver->modules = calloc(count_lines(text), sizeof(*resolver->modules));
	resolver->builtin = calloc(count_lines(builtin), sizeof(*resolver->builtin));
	if (resolver->modules == NULL || resolver->builtin == NULL)
		return error_set(resolver->err, EXIT_STATUS_HOST, ENOMEM, "no memory for the list of kernel modules");
	while (text.length > 0) {
		struct span line = cut(&text, '\n');
		struct span path = cut(&line, ':');

		if (path.length > 0)
			resolver->modules[resolver->count++] =
				(struct module){.path = path, .name = name_of(path), .needs = line};
	}
	while (builtin.length > 0) {
		struct span line = cut(&builtin, '\n');

		if (line.length > 0)
			resolver->builtin[resolver->builtin_count++] = name_of(line);
	}
	qsort(resolver->modules, resolver->count, sizeof(*resolver->modules), compare_modules);
	qsort(resolver->builtin, resolver->builtin_count, sizeof(*resolver->builtin), compare_spans);
	return 0;
}

/* The paths are joined to folders of the host and of the guest, so they have to stay below them. */
static bool stays_below(struct span path)
{
	if (path.length == 0 || path.at[0] == '/' || memchr(path.at, '\0', path.length) != NULL)
		return false;
	while (path.length > 0) {
		struct span part = cut(&path, '/');

		if (part.length == 2 && memcmp(part.at, "..", 2) == 0)
			return false;
	}
	return true;
}

/* Room for every module was made at the start, because each comes in once. */
static int append(struct resolver *resolver, struct span path)
{
	char *copy;

	if (!stays_below(path))
		return error_set(resolver->err, EXIT_STATUS_IMAGE, EINVAL,
				 "%s/modules.dep: '%.*s' is not a path below that folder; run depmod again",
				 resolver->tables->folder, (int)(path.length < 200 ? path.length : 200), path.at);
	copy = strndup(path.at, path.length);
	if (copy == NULL)
		return error_set(resolver->err, EXIT_STATUS_HOST, ENOMEM, "no memory for the list of kernel modules");
	if (module_packing(copy) == NULL) {
		free(copy);
		return error_set(
			resolver->err, EXIT_STATUS_IMAGE, EINVAL,
			"%s/modules.dep: '%.*s' does not end in .ko, .ko.xz, .ko.zst or .ko.gz; run depmod again",
			resolver->tables->folder, (int)(path.length < 200 ? path.length : 200), path.at);
	}
	resolver->order->paths[resolver->order->count++] = copy;
	return 0;
}

static int visit_name(struct resolver *resolver, struct span name, unsigned depth, bool *known);

/*
 * What should be there before a module, although it does not link to it. A help, no need: a name that nobody knows is passed over,
 * and so is one that waits for this module itself.
 */
static int visit_softdeps(struct resolver *resolver, const struct module *module, unsigned depth)
{
	struct span text = span_from(resolver->tables->softdeps);
	int code = 0;

	while (text.length > 0 && code == 0) {
		struct span line = cut(&text, '\n');
		bool before = false, known;

		if (!span_is(cut(&line, ' '), "softdep") || compare(cut(&line, ' '), module->name) != 0)
			continue;
		while (line.length > 0 && code == 0) {
			struct span word = cut(&line, ' ');

			if (span_is(word, "pre:"))
				before = true;
			else if (span_is(word, "post:"))
				before = false;
			else if (before && word.length > 0)
				code = visit_name(resolver, word, depth, &known);
		}
	}
	return code;
}

static int visit_needs(struct resolver *resolver, struct module *module, unsigned depth);

/* Depth first: a module is appended behind all that it needs. */
static int visit(struct resolver *resolver, struct module *module, unsigned depth)
{
	int code;

	if (module->visit == DONE)
		return 0;
	if (module->visit == VISITING || depth > DEPTH_MAX)
		return error_set(resolver->err, EXIT_STATUS_IMAGE, ELOOP,
				 "%s/modules.dep: %.*s needs itself, or %d others in a row; run depmod again",
				 resolver->tables->folder, (int)(module->name.length < 64 ? module->name.length : 64),
				 module->name.at, DEPTH_MAX);
	module->visit = VISITING;
	code = visit_softdeps(resolver, module, depth + 1);
	if (code == 0)
		code = visit_needs(resolver, module, depth + 1);
	module->visit = DONE;
	return code == 0 ? append(resolver, module->path) : code;
}

static int visit_needs(struct resolver *resolver, struct module *module, unsigned depth)
{
	struct span needs = module->needs;

	while (needs.length > 0) {
		struct span path = cut(&needs, ' ');
		struct span name = name_of(path);
		struct module *need = find(resolver, name);
		int code;

		if (path.length == 0 || (need == NULL && is_builtin(resolver, name)))
			continue;
		if (need == NULL)
			return error_set(resolver->err, EXIT_STATUS_IMAGE, ENOENT,
					 "%s/modules.dep: %.*s needs %.*s, which is not listed; run depmod again",
					 resolver->tables->folder,
					 (int)(module->name.length < 64 ? module->name.length : 64), module->name.at,
					 (int)(name.length < 64 ? name.length : 64), name.at);
		code = visit(resolver, need, depth);
		if (code < 0)
			return code;
	}
	return 0;
}

/* All modules that have the alias, as modprobe(8) does: which of them suits the processor is up to them. */
static int visit_alias(struct resolver *resolver, struct span name, unsigned depth, bool *known)
{
	const struct module_tables *tables = resolver->tables;
	struct span text = {NULL, 0};
	int code = 0;

	if (tables->read_aliases != NULL)
		text = span_from(tables->read_aliases(tables->context));
	while (text.length > 0 && code == 0) {
		struct span line = cut(&text, '\n');
		struct module *module;

		if (!span_is(cut(&line, ' '), "alias") || compare(cut(&line, ' '), name) != 0)
			continue;
		module = find(resolver, line);
		*known = *known || module != NULL || is_builtin(resolver, line);
		if (module != NULL && module->visit != VISITING)
			code = visit(resolver, module, depth);
	}
	return code;
}

/* A module, or an alias of some; *known tells whether there is any. One that is being visited already comes in without this. */
static int visit_name(struct resolver *resolver, struct span name, unsigned depth, bool *known)
{
	struct module *module = find(resolver, name);

	*known = module != NULL || is_builtin(resolver, name);
	if (module != NULL)
		return module->visit == VISITING ? 0 : visit(resolver, module, depth);
	return *known ? 0 : visit_alias(resolver, name, depth, known);
}

static int resolve(struct resolver *resolver, const struct module_wish *wishes, size_t count)
{
	resolver->order->paths = calloc(resolver->count + 1, sizeof(char *));
	if (resolver->order->paths == NULL)
		return error_set(resolver->err, EXIT_STATUS_HOST, ENOMEM, "no memory for the list of kernel modules");
	for (size_t i = 0; i < count; i++) {
		const char *name = wishes[i].name;
		bool known;
		int code = visit_name(resolver, (struct span){name, strlen(name)}, 0, &known);

		if (code < 0)
			return code;
		if (!known && wishes[i].required)
			return error_set(resolver->err, EXIT_STATUS_IMAGE, ENOENT,
					 "--module %s: kernel %s has no such module; their names are in %s/modules.dep",
					 name, strrchr(resolver->tables->folder, '/') + 1, resolver->tables->folder);
		if (find(resolver, (struct span){name, strlen(name)}) == NULL)
			log_debug(resolver->log, "kernel module %s: %s", name,
				  known ? "built in, or an alias" : "this kernel has none, skipped");
	}
	return 0;
}

int module_order_from(struct module_order *order, const struct module_tables *tables, const struct module_wish *wishes,
		      size_t count, const struct log *log, struct error *err)
{
	struct resolver resolver = {.tables = tables, .order = order, .log = log, .err = err};
	int code;

	*order = (struct module_order){0};
	code = read_tables(&resolver);
	if (code == 0)
		code = resolve(&resolver, wishes, count);
	if (code < 0)
		module_order_release(order);
	free(resolver.modules);
	free(resolver.builtin);
	return code;
}

void module_order_release(struct module_order *order)
{
	if (order == NULL)
		return;
	for (size_t i = 0; i < order->count; i++)
		free(order->paths[i]);
	free(order->paths);
	*order = (struct module_order){0};
}
