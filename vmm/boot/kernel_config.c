/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/kernel_config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/io.h"
#include "vmm/boot/decompress.h"
#include "vmm/boot/modules.h"
#include "vmm/boot/payload.h"

/* Debian's generic kernel has 260 KB of configuration and 530 KB of modules.dep. */
enum { TEXT_MAX = 4 << 20, TABLE_MAX = 16 << 20 };

/* A part of a text that is not ended by a zero. */
struct span {
	const char *at;
	size_t length;
};

/* ---------------------------------------------------------------------------------------------- the texts */

int kernel_config_from_text(struct kernel_config *config, const uint8_t *text, size_t size)
{
	struct buf copy = {0};

	if (size == 0 || text[size - 1] != '\n' || memchr(text, '\0', size) != NULL)
		return -EBADMSG;
	buf_u8(&copy, '\n');
	buf_add(&copy, text, size);
	if (buf_failed(&copy))
		return -ENOMEM;
	if (memmem(copy.data, copy.size, "\nCONFIG_", 8) == NULL) {
		buf_release(&copy);
		return -EBADMSG;
	}
	buf_release(&config->text);
	config->text = copy;
	return 0;
}

int kernel_config_from_image(struct kernel_config *config, const uint8_t *image, size_t size)
{
	/* with the start of the gzip file (RFC 1952 §2.3.1), or this program's own constants would be a find */
	static const char START[] = "IKCFG_ST\x1f\x8b\x08", END[] = "IKCFG_ED";
	const uint8_t *at = size == 0 ? NULL : memmem(image, size, START, sizeof(START) - 1), *end;
	struct buf text = {0};
	int code;

	if (at == NULL)
		return -ENOENT;
	at += strlen("IKCFG_ST");
	end = memmem(at, size - (size_t)(at - image), END, sizeof(END) - 1);
	if (end == NULL)
		return -EBADMSG;
	code = decompress(at, (size_t)(end - at), TEXT_MAX, &text);
	if (code == 0)
		code = kernel_config_from_text(config, text.data, text.size);
	buf_release(&text);
	return code;
}

/* ------------------------------------------------------------------------------------------ asking for an option */

static struct span next_line(struct span *text)
{
	const char *end = memchr(text->at, '\n', text->length);
	struct span line = {text->at, end == NULL ? text->length : (size_t)(end - text->at)};
	size_t taken = end == NULL ? line.length : line.length + 1;

	text->at += taken;
	text->length -= taken;
	return line;
}

static char plain(char c)
{
	return c == '-' ? '_' : c;
}

/* Whether a path such as kernel/fs/fuse/virtiofs.ko.xz is the module's; in names, '-' and '_' are the same. */
static bool is_path_of(struct span path, const char *module)
{
	const char *slash = path.length == 0 ? NULL : memrchr(path.at, '/', path.length);
	struct span name = path;
	size_t i = 0;

	if (slash != NULL)
		name = (struct span){slash + 1, path.length - (size_t)(slash + 1 - path.at)};
	while (module[i] != '\0' && i < name.length && plain(module[i]) == plain(name.at[i]))
		i++;
	return module[i] == '\0' && name.length - i >= 3 && memcmp(name.at + i, ".ko", 3) == 0;
}

/* A line of modules.builtin is a path; one of modules.dep is a path, a colon and other paths. */
static bool is_listed(const struct buf *table, const char *module)
{
	struct span text = {(const char *)table->data, table->size};

	while (text.length > 0) {
		struct span path = next_line(&text);
		const char *colon = path.length == 0 ? NULL : memchr(path.at, ':', path.length);

		if (colon != NULL)
			path.length = (size_t)(colon - path.at);
		if (is_path_of(path, module))
			return true;
	}
	return false;
}

/* Without a configuration, what the modules' tables say. */
static enum kernel_option option_from_tables(const struct kernel_config *config, const char *module)
{
	if (module == NULL || !config->has_modules)
		return KERNEL_OPTION_UNKNOWN;
	if (is_listed(&config->builtin, module))
		return KERNEL_OPTION_YES;
	return is_listed(&config->dependencies, module) ? KERNEL_OPTION_MODULE : KERNEL_OPTION_NO;
}

enum kernel_option kernel_config_option(const struct kernel_config *config, const char *name, const char *module)
{
	char key[64];
	int length = snprintf(key, sizeof(key), "\nCONFIG_%s=", name);
	const char *value;

	if (config->source == KERNEL_CONFIG_NONE)
		return option_from_tables(config, module);
	if (length < 0 || (size_t)length >= sizeof(key))
		return KERNEL_OPTION_UNKNOWN;
	value = memmem(config->text.data, config->text.size, key, (size_t)length);
	if (value == NULL)
		return KERNEL_OPTION_NO; /* "# CONFIG_X is not set", or not even that */
	value += length;                 /* the text ends in a newline, so there is one character at least */
	if (value[0] == '\n' || (value[0] == 'n' && value[1] == '\n'))
		return KERNEL_OPTION_NO;
	if (value[0] != 'm' || value[1] != '\n')
		return KERNEL_OPTION_YES;
	if (module != NULL && !(config->has_modules && is_listed(&config->dependencies, module)))
		return KERNEL_OPTION_LOST;
	return KERNEL_OPTION_MODULE;
}

/* --------------------------------------------------------------------------------------- finding it on the host */

struct search {
	struct kernel_config *config;
	const struct bzimage *image;
	const char *modules;
	const struct log *log;
	char path[PATH_MAX]; /* tried at present */
};

/* What came of a place: 1 when the configuration is found, 0 when not, -ENOMEM. */
static int found(const struct search *search, enum kernel_config_source source, int code)
{
	if (code == 0) {
		search->config->source = source;
		snprintf(search->config->place, sizeof(search->config->place), "%s", search->path);
		log_debug(search->log, "the kernel's configuration is from %s", search->path);
		return 1;
	}
	if (code == -ENOMEM)
		return code;
	if (code != -ENOENT)
		log_debug(search->log, "%s: no whole kernel configuration: %s", search->path, strerror(-code));
	return 0;
}

__attribute__((format(printf, 2, 3))) static int try_text(struct search *search, const char *format, ...)
{
	struct buf text = {0};
	struct error ignored;
	va_list args;
	int length, code;

	va_start(args, format);
	length = vsnprintf(search->path, sizeof(search->path), format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= sizeof(search->path))
		return 0;
	code = io_read_file(search->path, TEXT_MAX, &text, EXIT_STATUS_IMAGE, &ignored);
	if (code == 0)
		code = kernel_config_from_text(search->config, text.data, text.size);
	buf_release(&text);
	return found(search, KERNEL_CONFIG_TEXT, code);
}

static bool ends_in(const char *path, const char *end)
{
	size_t length = strlen(path), tail = strlen(end);

	return length >= tail && strcmp(path + length - tail, end) == 0;
}

static int search_beside_kernel(struct search *search)
{
	const char *path = search->image->path, *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1, *suffix = strchr(name, '-');
	int folder = slash == NULL ? 0 : (int)(slash + 1 - path), code = 0;

	if (search->image->release[0] != '\0')
		code = try_text(search, "%.*sconfig-%s", folder, path, search->image->release);
	if (code == 0)
		code = try_text(search, "%.*sconfig%s", folder, path, suffix == NULL ? "" : suffix);
	if (code == 0 && (ends_in(path, "arch/x86/boot/bzImage") || ends_in(path, "arch/x86_64/boot/bzImage")))
		code = try_text(search, "%.*s../../../.config", folder, path);
	return code;
}

static int search_modules(struct search *search)
{
	int code = try_text(search, "%s/config", search->modules);

	return code == 0 ? try_text(search, "%s/build/.config", search->modules) : code;
}

static int search_kernel(struct search *search)
{
	struct buf kernel = {0};
	struct error why;
	int code = payload_unpack(search->image, &kernel, &why);

	snprintf(search->path, sizeof(search->path), "%s", search->image->path);
	if (code == 0)
		code = kernel_config_from_image(search->config, kernel.data, kernel.size);
	else
		log_debug(search->log, "%s", why.text);
	buf_release(&kernel);
	return found(search, KERNEL_CONFIG_IN_KERNEL, code);
}

static int search_configs_module(struct search *search)
{
	static const char *const PACKINGS[] = {"", ".xz", ".zst", ".gz"};
	int code = 0;

	for (size_t i = 0; code == 0 && i < sizeof(PACKINGS) / sizeof(PACKINGS[0]); i++) {
		struct buf packed = {0}, module = {0};
		struct error ignored;
		int result;

		if (snprintf(search->path, sizeof(search->path), "%s/kernel/kernel/configs.ko%s", search->modules,
			     PACKINGS[i]) >= (int)sizeof(search->path))
			return 0;
		result = io_read_file(search->path, MODULE_SIZE_MAX, &packed, EXIT_STATUS_IMAGE, &ignored);
		if (result == 0)
			result = decompress(packed.data, packed.size, MODULE_SIZE_MAX, &module);
		if (result == 0)
			result = kernel_config_from_image(search->config, module.data, module.size);
		code = found(search, KERNEL_CONFIG_IN_MODULE, result);
		buf_release(&packed);
		buf_release(&module);
	}
	return code;
}

static int read_table(const struct search *search, const char *name, struct buf *table)
{
	struct error ignored;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", search->modules, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return io_read_file(path, TABLE_MAX, table, EXIT_STATUS_IMAGE, &ignored);
}

int kernel_config_load(struct kernel_config *config, const struct bzimage *image, const char *modules, bool unpack,
		       const struct log *log, struct error *err)
{
	struct search search = {.config = config, .image = image, .modules = modules, .log = log};
	int code = 0;

	*config = (struct kernel_config){0};
	if (modules != NULL)
		config->has_modules = read_table(&search, "modules.builtin", &config->builtin) == 0 &&
				      read_table(&search, "modules.dep", &config->dependencies) == 0;
	code = search_beside_kernel(&search);
	if (code == 0 && modules != NULL)
		code = search_modules(&search);
	if (code == 0 && unpack)
		code = search_kernel(&search);
	if (code == 0 && modules != NULL)
		code = search_configs_module(&search);
	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the kernel's configuration");
	if (code == 0)
		log_debug(log, "%s: its configuration is nowhere to be found", image->path);
	return 0;
}

void kernel_config_release(struct kernel_config *config)
{
	buf_release(&config->text);
	buf_release(&config->builtin);
	buf_release(&config->dependencies);
	*config = (struct kernel_config){0};
}
