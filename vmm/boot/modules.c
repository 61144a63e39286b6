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
	struct module_order *order;
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

static size_t count_lines(const char *text, size_t size)
{
	size_t lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	return lines;
}

static int read_tables(struct resolver *resolver, const struct module_tables *tables)
{
	struct span text = {tables->dependencies, tables->dependencies_size};

	resolver->modules = calloc(count_lines(text.at, text.length), sizeof(*resolver->modules));
	resolver->builtin = calloc(count_lines(tables->builtin, tables->builtin_size), sizeof(*resolver->builtin));
	if (resolver->modules == NULL || resolver->builtin == NULL)
		return error_set(resolver->err, EXIT_STATUS_HOST, ENOMEM, "no memory for the list of kernel modules");
	while (text.length > 0) {
		struct span line = cut(&text, '\n');
		struct span path = cut(&line, ':');

		if (path.length > 0)
			resolver->modules[resolver->count++] =
				(struct module){.path = path, .name = name_of(path), .needs = line};
	}
	text = (struct span){tables->builtin, tables->builtin_size};
	while (text.length > 0) {
		struct span line = cut(&text, '\n');

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
				 "modules.dep: '%.*s' is not a path below the modules' folder; run depmod again",
				 (int)(path.length < 200 ? path.length : 200), path.at);
	copy = strndup(path.at, path.length);
	if (copy == NULL)
		return error_set(resolver->err, EXIT_STATUS_HOST, ENOMEM, "no memory for the list of kernel modules");
	if (module_packing(copy) == NULL) {
		free(copy);
		return error_set(resolver->err, EXIT_STATUS_IMAGE, EINVAL,
				 "modules.dep: '%.*s' does not end in .ko, .ko.xz, .ko.zst or .ko.gz; run depmod again",
				 (int)(path.length < 200 ? path.length : 200), path.at);
	}
	resolver->order->paths[resolver->order->count++] = copy;
	return 0;
}

/* Depth first: a module is appended behind all that it needs. */
static int visit(struct resolver *resolver, struct module *module, unsigned depth)
{
	struct span needs = module->needs;

	if (module->visit == DONE)
		return 0;
	if (module->visit == VISITING || depth > DEPTH_MAX)
		return error_set(resolver->err, EXIT_STATUS_IMAGE, ELOOP,
				 "modules.dep: %.*s needs itself, or %d others in a row; run depmod again",
				 (int)(module->name.length < 64 ? module->name.length : 64), module->name.at,
				 DEPTH_MAX);
	module->visit = VISITING;
	while (needs.length > 0) {
		struct span path = cut(&needs, ' ');
		struct span name = name_of(path);
		struct module *need = find(resolver, name);
		int code;

		if (path.length == 0 || (need == NULL && is_builtin(resolver, name)))
			continue;
		if (need == NULL)
			return error_set(resolver->err, EXIT_STATUS_IMAGE, ENOENT,
					 "modules.dep: %.*s needs %.*s, which is not listed; run depmod again",
					 (int)(module->name.length < 64 ? module->name.length : 64), module->name.at,
					 (int)(name.length < 64 ? name.length : 64), name.at);
		code = visit(resolver, need, depth + 1);
		if (code < 0)
			return code;
	}
	module->visit = DONE;
	return append(resolver, module->path);
}

static int resolve(struct resolver *resolver, const char *const *names, size_t count, const struct log *log)
{
	resolver->order->paths = calloc(resolver->count + 1, sizeof(char *));
	if (resolver->order->paths == NULL)
		return error_set(resolver->err, EXIT_STATUS_HOST, ENOMEM, "no memory for the list of kernel modules");
	for (size_t i = 0; i < count; i++) {
		struct span name = {names[i], strlen(names[i])};
		struct module *module = find(resolver, name);
		int code;

		if (module == NULL) {
			log_debug(log, "kernel module %s: %s", names[i],
				  is_builtin(resolver, name) ? "built in" : "this kernel has none, skipped");
			continue;
		}
		code = visit(resolver, module, 0);
		if (code < 0)
			return code;
	}
	return 0;
}

int module_order_from(struct module_order *order, const struct module_tables *tables, const char *const *names,
		      size_t count, const struct log *log, struct error *err)
{
	struct resolver resolver = {.order = order, .err = err};
	int code;

	*order = (struct module_order){0};
	code = read_tables(&resolver, tables);
	if (code == 0)
		code = resolve(&resolver, names, count, log);
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
