/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/init.h"
#include "guest/protocol.h"
#include "vmm/base/io.h"
#include "vmm/boot/decompress.h"
#include "vmm/boot/elf_needs.h"
#include "vmm/boot/guest_tree.h"
#include "vmm/boot/modules.h"

/* Debian's modules.dep has about 0.5 MB. */
#define TABLE_SIZE_MAX ((size_t)16 << 20)

/* The kernel's major and minor number of /dev/console (Documentation/admin-guide/devices.txt). */
enum { CONSOLE_MAJOR = 5, CONSOLE_MINOR = 1 };

/*
 * dax_hmem makes the dax devices of soft reserved ranges, device_dax and kmem are what they can be used as, pvpanic-mmio
 * (which depends on pvpanic) is the driver of the ACPI device QEMU0001. The same names in Debian's 6.1, 6.12 and 7.2.
 */
const char *const INITRAMFS_MODULES[] = {"dax_hmem", "device_dax", "kmem", "pvpanic-mmio"};
const size_t INITRAMFS_MODULE_COUNT = sizeof(INITRAMFS_MODULES) / sizeof(INITRAMFS_MODULES[0]);

static int no_memory(struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the initramfs");
}

/* ------------------------------------------------------------------ modules */

/* The folder of the kernel's modules, on the host and in the guest. */
struct module_folder {
	char *host, *guest; /* heap, owned */
};

static void module_folder_release(struct module_folder *folder)
{
	free(folder->host);
	free(folder->guest);
}

static int module_folder_open(struct module_folder *folder, const char *path, struct error *err)
{
	*folder = (struct module_folder){.host = realpath(path, NULL)};
	if (folder->host == NULL)
		return error_set(err, EXIT_STATUS_IMAGE, errno,
				 "cannot open the modules' folder %s: %s; --modules names the kernel's "
				 "/lib/modules/VERSION",
				 path, strerror(errno));
	if (asprintf(&folder->guest, "/lib/modules%s", strrchr(folder->host, '/')) < 0) {
		folder->guest = NULL;
		return no_memory(err);
	}
	return 0;
}

static int read_file(const struct module_folder *folder, const char *name, struct buf *table, struct error *err)
{
	char *path;
	int code;

	if (asprintf(&path, "%s/%s", folder->host, name) < 0)
		return no_memory(err);
	code = io_read_file(path, TABLE_SIZE_MAX, table, EXIT_STATUS_IMAGE, err);
	free(path);
	return code;
}

/* One of the tables that can be missed, which is then empty: modules are found by their names all the same. */
static struct module_text read_table(const struct module_folder *folder, const char *name, struct buf *table)
{
	struct error ignored;

	if (read_file(folder, name, table, &ignored) < 0)
		table->size = 0;
	return (struct module_text){(const char *)table->data, table->size};
}

/* modules.alias, read when it is asked for. */
struct aliases {
	const struct module_folder *folder;
	struct buf table;
};

static struct module_text read_aliases(void *context)
{
	struct aliases *aliases = context;

	if (aliases->table.size > 0)
		return (struct module_text){(const char *)aliases->table.data, aliases->table.size};
	return read_table(aliases->folder, "modules.alias", &aliases->table);
}

static int read_order(struct module_order *order, const struct module_folder *folder,
		      const struct initramfs_request *request, const struct log *log, struct error *err)
{
	struct buf dependencies = {0}, builtin = {0}, softdeps = {0};
	struct aliases aliases = {.folder = folder};
	int code = read_file(folder, "modules.dep", &dependencies, err);

	if (code < 0) {
		size_t used = strlen(err->text);

		snprintf(err->text + used, sizeof(err->text) - used, "; depmod writes it (depmod -b ROOT VERSION)");
	} else {
		const struct module_tables tables = {
			.folder = folder->host,
			.dependencies = {(const char *)dependencies.data, dependencies.size},
			.builtin = read_table(folder, "modules.builtin", &builtin),
			.softdeps = read_table(folder, "modules.softdep", &softdeps),
			.read_aliases = read_aliases,
			.context = &aliases,
		};

		code = module_order_from(order, &tables, request->wishes, request->wish_count, log, err);
	}
	buf_release(&dependencies);
	buf_release(&builtin);
	buf_release(&aliases.table);
	buf_release(&softdeps);
	return code;
}

static int unpack_module(struct guest_tree *tree, const char *host, struct error *err)
{
	struct buf packed = {0};
	int code = io_read_file(host, MODULE_SIZE_MAX, &packed, EXIT_STATUS_IMAGE, err);

	if (code == 0) {
		code = decompress(packed.data, packed.size, MODULE_SIZE_MAX, tree->out);
		if (code == -ENOMEM)
			no_memory(err);
		else if (code == -EFBIG)
			error_set(err, EXIT_STATUS_IMAGE, EFBIG, "the kernel module %s unpacks to more than %llu bytes",
				  host, (unsigned long long)MODULE_SIZE_MAX);
		else if (code < 0)
			error_set(err, EXIT_STATUS_IMAGE, -code,
				  "the kernel module %s is damaged: it cannot be unpacked", host);
	}
	buf_release(&packed);
	return code;
}

static int add_unpacked(struct guest_tree *tree, const char *host, const char *guest, struct error *err)
{
	int code = guest_tree_enter(tree, guest, GUEST_OTHER, err);

	if (code < 0)
		return code;
	cpio_file_begin(&tree->cpio, guest, 0644);
	code = unpack_module(tree, host, err);
	if (code == 0)
		cpio_file_end(&tree->cpio);
	return code;
}

/* Told by its first bytes, as decompress() does it. */
static bool is_unpacked(const char *host)
{
	uint8_t head[ELF_HEAD_SIZE];
	int fd = open(host, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is_elf = fd >= 0 && io_pread_all(fd, head, sizeof(head), 0) == 0 && elf_is_x86_64(head, sizeof(head));

	io_close(&fd);
	return is_elf;
}

/* One module, under its name without ".xz" and the like; appends its guest path to the list. */
static int add_module(struct guest_tree *tree, const struct module_folder *folder, const char *path, struct buf *list,
		      struct error *err)
{
	int plain_length = (int)(module_packing(path) - path);
	char *host = NULL, *guest = NULL;
	int code;

	if (asprintf(&host, "%s/%s", folder->host, path) < 0)
		return no_memory(err);
	if (asprintf(&guest, "%s/%.*s", folder->guest, plain_length, path) < 0) {
		free(host);
		return no_memory(err);
	}
	code = is_unpacked(host) ? guest_tree_part(tree, host, guest, 0644, NULL, NULL, err) : 0;
	if (code == 0)
		code = add_unpacked(tree, host, guest, err);
	if (code >= 0)
		buf_printf(list, "%s\n", guest);
	free(host);
	free(guest);
	return code < 0 ? code : 0;
}

static int add_modules(struct guest_tree *tree, const struct initramfs_request *request, struct error *err)
{
	struct module_folder folder;
	struct module_order order = {0};
	struct buf list = {0};
	int code = module_folder_open(&folder, request->modules, err);

	if (code == 0)
		code = read_order(&order, &folder, request, tree->log, err);
	for (size_t i = 0; i < order.count && code == 0; i++)
		code = add_module(tree, &folder, order.paths[i], &list, err);
	if (code == 0 && buf_failed(&list))
		code = no_memory(err);
	if (code == 0)
		code = guest_tree_bytes(tree, GUEST_MODULE_LIST, 0644, list.data, list.size, err);
	buf_release(&list);
	module_order_release(&order);
	module_folder_release(&folder);
	return code;
}

/* ------------------------------------------------------------------ the user's files */

/* "PATH" or "PATH:GUEST_PATH": cut at the last ':'. Both parts are heap and the caller's, also after failure. */
static int split_file(const char *argument, char **host, char **guest, struct error *err)
{
	const char *colon = strrchr(argument, ':');
	size_t length = colon == NULL ? strlen(argument) : (size_t)(colon - argument);

	*guest = NULL;
	*host = strndup(argument, length);
	if (*host == NULL)
		return no_memory(err);
	if (length == 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "the path is empty; write PATH or PATH:GUEST_PATH");
	if (colon != NULL && colon[1] != '/')
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "the guest path '%s' does not start with '/'; for a path with a ':' in it, write "
				 "PATH:GUEST_PATH",
				 colon + 1);
	*guest = path_normal(colon == NULL ? argument : colon + 1);
	return *guest == NULL ? no_memory(err) : 0;
}

static int add_user_file(struct guest_tree *tree, const char *argument, struct error *err)
{
	char *host, *guest;
	int code = split_file(argument, &host, &guest, err);

	if (code == 0)
		code = guest_tree_host(tree, host, guest, err);
	if (code < 0)
		error_prefix(err, "--file %s: ", argument);
	free(host);
	free(guest);
	return code;
}

/* ------------------------------------------------------------------ all of it */

static int add_init(struct guest_tree *tree, struct error *err)
{
	int code = guest_tree_bytes(tree, "/init", 0755, guest_init_start, (size_t)(guest_init_end - guest_init_start),
				    err);

	if (code == 0)
		code = guest_tree_enter(tree, "/dev/console", GUEST_OTHER, err);
	if (code == 0)
		cpio_char_device(&tree->cpio, "/dev/console", 0600, CONSOLE_MAJOR, CONSOLE_MINOR);
	return code;
}

static int add_program(struct guest_tree *tree, const char *host, const char *guest, const char *what,
		       struct error *err)
{
	int code = guest_tree_program(tree, host, guest, 0755, err);

	if (code < 0)
		error_prefix(err, "%s %s: ", what, host);
	return code;
}

static int add_all(struct guest_tree *tree, const struct initramfs_request *request, struct error *err)
{
	int code = add_init(tree, err);

	if (code == 0 && request->busybox != NULL)
		code = add_program(tree, request->busybox, "/bin/busybox", "busybox", err);
	if (code == 0 && request->modules != NULL)
		code = add_modules(tree, request, err);
	if (code == 0 && request->command != NULL)
		code = guest_tree_bytes(tree, GUEST_COMMAND, 0600, request->command->data, request->command->size, err);
	if (code == 0 && request->script != NULL)
		code = add_program(tree, request->script, GUEST_SCRIPT, "--script", err);
	for (size_t i = 0; i < request->file_count && code == 0; i++)
		code = add_user_file(tree, request->files[i], err);
	return code;
}

int initramfs_build(struct archive *archive, const struct initramfs_request *request, const struct log *log,
		    struct error *err)
{
	struct guest_tree tree;
	int code = guest_tree_init(&tree, archive, "", log, err);

	if (code == 0)
		code = add_all(&tree, request, err);
	if (code == 0) {
		cpio_finish(&tree.cpio);
		if (buf_failed(&archive->bytes))
			code = no_memory(err);
	}
	guest_tree_release(&tree);
	if (code < 0)
		archive_release(archive);
	return code;
}
