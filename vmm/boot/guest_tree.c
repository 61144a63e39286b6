/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/guest_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/boot/elf_needs.h"

/* ------------------------------------------------------------------ paths */

struct path_entry {
	enum guest_kind kind;
	char path[];
};

static int no_memory(struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the initramfs");
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct path_entry *)a)->path, ((const struct path_entry *)b)->path);
}

static struct path_entry *new_entry(const char *path, size_t length, enum guest_kind kind)
{
	struct path_entry *entry = malloc(sizeof(*entry) + length + 1);

	if (entry == NULL)
		return NULL;
	entry->kind = kind;
	memcpy(entry->path, path, length);
	entry->path[length] = '\0';
	return entry;
}

/* Enters one path; 1 when it is new, 0 when it is there already. */
static int enter_one(struct guest_tree *tree, const char *path, size_t length, enum guest_kind kind, struct error *err)
{
	struct path_entry *entry = new_entry(path, length, kind);
	struct path_entry **found;

	if (entry == NULL)
		return no_memory(err);
	found = tsearch(entry, &tree->paths, compare_paths);
	if (found == NULL) {
		free(entry);
		return no_memory(err);
	}
	if (*found == entry) {
		if (++tree->entries > GUEST_TREE_ENTRIES_MAX)
			return error_set(err, EXIT_STATUS_CONFIG, EFBIG,
					 "the initramfs has more than %d files; use a smaller folder",
					 GUEST_TREE_ENTRIES_MAX);
		return 1;
	}
	free(entry);
	if ((*found)->kind != kind)
		return error_set(err, EXIT_STATUS_CONFIG, EEXIST,
				 "%s would be a folder and a file in the guest; choose another guest path",
				 (*found)->path);
	return 0;
}

/* The folders above a path, those that are not there yet; the root is always there. */
static int enter_parents(struct guest_tree *tree, const char *guest, struct error *err)
{
	char folder[CPIO_PATH_MAX + 1];

	for (size_t i = 1; guest[i] != '\0'; i++) {
		int code;

		if (guest[i] != '/')
			continue;
		code = enter_one(tree, guest, i, GUEST_FOLDER, err);
		if (code < 0)
			return code;
		memcpy(folder, guest, i);
		folder[i] = '\0';
		if (code == 1)
			cpio_directory(&tree->cpio, folder, 0755);
	}
	return 0;
}

int guest_tree_enter(struct guest_tree *tree, const char *guest, enum guest_kind kind, struct error *err)
{
	size_t length = strlen(guest);
	int code;

	if (length > CPIO_PATH_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, ENAMETOOLONG,
				 "the guest path %.60s... has more than %d bytes; choose a shorter one", guest,
				 CPIO_PATH_MAX);
	if (length == 1 && kind != GUEST_FOLDER)
		return error_set(err, EXIT_STATUS_CONFIG, EISDIR,
				 "/ is a folder in the guest; choose another guest path");
	code = enter_parents(tree, guest, err);
	if (code == 0)
		code = enter_one(tree, guest, length, kind, err);
	return code < 0 ? code : 0;
}

static bool has_path(const struct guest_tree *tree, const char *guest)
{
	struct path_entry *key = new_entry(guest, strlen(guest), GUEST_OTHER);
	bool found = key != NULL && tfind(key, &tree->paths, compare_paths) != NULL;

	free(key);
	return found;
}

int guest_tree_init(struct guest_tree *tree, struct archive *archive, const char *root, const struct log *log,
		    struct error *err)
{
	*tree = (struct guest_tree){.archive = archive, .out = &archive->bytes, .log = log};
	cpio_init(&tree->cpio, tree->out);
	return library_folders_load(&tree->folders, root) < 0 ? no_memory(err) : 0;
}

void guest_tree_release(struct guest_tree *tree)
{
	if (tree == NULL)
		return;
	tdestroy(tree->paths, free);
	library_folders_release(&tree->folders);
	*tree = (struct guest_tree){0};
}

/* ------------------------------------------------------------------ files */

int guest_tree_bytes(struct guest_tree *tree, const char *guest, uint32_t mode, const void *bytes, size_t size,
		     struct error *err)
{
	int code = guest_tree_enter(tree, guest, GUEST_OTHER, err);

	if (code == 0)
		cpio_file(&tree->cpio, guest, mode, bytes, size);
	return code;
}

static int check_total(const struct guest_tree *tree, const char *host, struct error *err)
{
	if (archive_size(tree->archive) > GUEST_TREE_TOTAL_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, EFBIG,
				 "with %s the initramfs is larger than %zu bytes; leave something out", host,
				 GUEST_TREE_TOTAL_MAX);
	return buf_failed(tree->out) ? no_memory(err) : 0;
}

int guest_tree_part(struct guest_tree *tree, const char *host, const char *guest, uint32_t mode, int *fd,
		    uint64_t *size, struct error *err)
{
	struct stat status;
	uint64_t bytes;
	int code;

	/* before it is opened: opening a pipe takes it from its writer */
	if (stat(host, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size < ARCHIVE_PART_MIN ||
	    (uint64_t)status.st_size > GUEST_TREE_FILE_MAX)
		return 0;
	bytes = (uint64_t)status.st_size;
	if (fd != NULL) {
		*fd = open(host, O_RDONLY | O_CLOEXEC);
		if (*fd < 0)
			return 0;
		*size = bytes;
	}
	code = guest_tree_enter(tree, guest, GUEST_OTHER, err);
	if (code == 0) {
		cpio_file_head(&tree->cpio, guest, mode, bytes);
		code = buf_failed(tree->out) || archive_add_part(tree->archive, host, bytes) < 0 ? no_memory(err) : 0;
	}
	if (code == 0)
		code = check_total(tree, host, err);
	if (code < 0 && fd != NULL)
		io_close(fd);
	return code < 0 ? code : 1;
}

/* Straight from the file into the archive: at the end its bytes are from tree->cpio.data on. */
static int add_file(struct guest_tree *tree, const char *host, const char *guest, uint32_t mode, struct error *err)
{
	int code = guest_tree_enter(tree, guest, GUEST_OTHER, err);

	if (code < 0)
		return code;
	cpio_file_begin(&tree->cpio, guest, mode);
	code = io_read_file(host, GUEST_TREE_FILE_MAX, tree->out, EXIT_STATUS_CONFIG, err);
	if (code < 0)
		return code;
	cpio_file_end(&tree->cpio);
	return check_total(tree, host, err);
}

/* ------------------------------------------------------------------ programs */

/* A program or library that goes into the guest. */
struct object {
	char *host, *guest;
	char *host_folder, *guest_folder; /* what $ORIGIN stands for in it */
};

/* A program and what it needs, in the order of finding. */
struct closure {
	struct guest_tree *tree;
	struct object *objects;
	size_t count;
	struct library_path inherited; /* the program's DT_RPATH; its list is owned, the rest is objects[0]'s */
	char *loader;                  /* the last part of the program's PT_INTERP, owned; NULL when it has none */
};

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static void object_release(struct object *object)
{
	free(object->host);
	free(object->guest);
	free(object->host_folder);
	free(object->guest_folder);
}

static int closure_add(struct closure *closure, const char *host, const char *guest)
{
	struct object *grown = reallocarray(closure->objects, closure->count + 1, sizeof(*grown));
	char *real = realpath(host, NULL); /* a loader follows links before it takes the folder */
	struct object object;

	if (grown == NULL) {
		free(real);
		return -ENOMEM;
	}
	closure->objects = grown;
	object = (struct object){strdup(host), strdup(guest), folder_of(real == NULL ? host : real), folder_of(guest)};
	free(real);
	if (object.host == NULL || object.guest == NULL || object.host_folder == NULL || object.guest_folder == NULL) {
		object_release(&object);
		return -ENOMEM;
	}
	closure->objects[closure->count++] = object;
	return 0;
}

static void closure_release(struct closure *closure)
{
	for (size_t i = 0; i < closure->count; i++)
		object_release(&closure->objects[i]);
	free(closure->objects);
	free((char *)(uintptr_t)closure->inherited.list);
	free(closure->loader);
}

static int add_interpreter(struct closure *closure, const char *program, const char *path)
{
	const char *root = closure->tree->folders.root;
	const char *slash = strrchr(path, '/');
	char *host, *guest;
	int code;

	free(closure->loader); /* of an earlier object: only a program has one, and the odd library that can be run */
	closure->loader = strdup(slash == NULL ? path : slash + 1);
	if (closure->loader == NULL)
		return -ENOMEM;
	if (asprintf(&host, "%s%s", root, path) < 0)
		return -ENOMEM;
	if (access(host, R_OK) < 0) {
		log_warn(closure->tree->log, "%s needs the loader %s, which this host does not have", program, path);
		free(host);
		return 0;
	}
	guest = path_normal(path);
	code = guest == NULL ? -ENOMEM : closure_add(closure, host, guest);
	free(host);
	free(guest);
	return code;
}

/* The loader is in memory before it searches, so nothing that names it makes it search. musl's loader is its C library, too. */
static bool is_loader(const struct closure *closure, const char *name)
{
	if (closure->loader == NULL)
		return false;
	return strcmp(name, closure->loader) == 0 ||
	       (strncmp(closure->loader, "ld-musl-", 8) == 0 && strncmp(name, "libc.", 5) == 0);
}

static int add_library(struct closure *closure, const struct library_search *search, const char *program,
		       const char *name)
{
	struct library_place place;
	int code;

	if (is_loader(closure, name))
		return 0;
	code = library_find(&place, &closure->tree->folders, name, search);
	if (code == -ENOENT) {
		log_warn(closure->tree->log,
			 "%s needs %s, which is in none of this host's library folders; "
			 "it will not run in the guest unless --file brings it",
			 program, name);
		return 0;
	}
	if (code < 0)
		return code;
	code = closure_add(closure, place.host, place.guest);
	library_place_release(&place);
	return code;
}

/* Puts what an object needs behind it, wherever the object came in the order. */
static int add_needs(struct closure *closure, size_t index, const struct elf_needs *needs)
{
	/* a copy of the pointers: the array moves when it grows, the strings do not */
	const struct object object = closure->objects[index];
	struct library_search search = {.own = {needs->search, object.host_folder, object.guest_folder}};
	int code = 0;

	if (index == 0 && needs->inherited) {
		char *list = strdup(needs->search);

		if (list == NULL)
			return -ENOMEM;
		closure->inherited = (struct library_path){list, object.host_folder, object.guest_folder};
	}
	search.inherited = closure->inherited;
	if (needs->interpreter != NULL) {
		code = add_interpreter(closure, object.host, needs->interpreter);
	}
	for (size_t i = 0; i < needs->count && code == 0; i++)
		code = add_library(closure, &search, object.host, needs->libraries[i]);
	return code;
}

/* Puts an object into the archive and looks into it. */
static int write_object(struct closure *closure, size_t index, uint32_t mode, struct error *err)
{
	struct guest_tree *tree = closure->tree;
	const struct object object = closure->objects[index];
	struct elf_needs needs;
	uint64_t size = 0;
	int fd = -1, code = guest_tree_part(tree, object.host, object.guest, mode, &fd, &size, err);

	if (code == 0)
		code = add_file(tree, object.host, object.guest, mode, err);
	if (code < 0)
		return code;
	code = fd >= 0 ? elf_needs_read_file(&needs, fd, size)
		       : elf_needs_read(&needs, tree->out->data + tree->cpio.data, tree->out->size - tree->cpio.data);
	io_close(&fd);
	if (code == -EBADMSG) {
		log_warn(tree->log, "%s is a damaged program; it is in the guest as it is", object.host);
		return 0;
	}
	if (code == 0) {
		code = add_needs(closure, index, &needs);
		elf_needs_release(&needs);
	}
	if (code == 0 || code == -ENOMEM)
		return code == 0 ? 0 : no_memory(err);
	return error_set(err, EXIT_STATUS_CONFIG, -code, "cannot read %s: %s", object.host, strerror(-code));
}

int guest_tree_program(struct guest_tree *tree, const char *host, const char *guest, uint32_t mode, struct error *err)
{
	struct closure closure = {.tree = tree};
	int code = closure_add(&closure, host, guest);

	if (code < 0)
		no_memory(err);
	for (size_t i = 0; i < closure.count && code == 0; i++) {
		if (i == 0)
			code = write_object(&closure, i, mode, err);
		else if (!has_path(tree, closure.objects[i].guest))
			code = write_object(&closure, i, 0755, err);
	}
	closure_release(&closure);
	return code;
}

/* ------------------------------------------------------------------ folders */

static int add_tree(struct guest_tree *tree, const char *host, const char *guest, unsigned depth, struct error *err);

static int add_link(struct guest_tree *tree, const char *host, const char *guest, struct error *err)
{
	char target[CPIO_PATH_MAX + 1];
	ssize_t length = readlink(host, target, sizeof(target) - 1);
	int code;

	if (length < 0)
		return error_set(err, EXIT_STATUS_CONFIG, errno, "cannot read the link %s: %s", host, strerror(errno));
	target[length] = '\0';
	code = guest_tree_enter(tree, guest, GUEST_OTHER, err);
	if (code == 0)
		cpio_symlink(&tree->cpio, guest, target);
	return code;
}

static int add_child(struct guest_tree *tree, const char *host, const char *guest, unsigned depth, struct error *err)
{
	struct stat status;

	if (lstat(host, &status) < 0)
		return error_set(err, EXIT_STATUS_CONFIG, errno, "cannot read %s: %s", host, strerror(errno));
	if (S_ISDIR(status.st_mode))
		return add_tree(tree, host, guest, depth, err);
	if (S_ISLNK(status.st_mode))
		return add_link(tree, host, guest, err);
	if (S_ISREG(status.st_mode))
		return guest_tree_program(tree, host, guest, status.st_mode, err);
	log_warn(tree->log, "%s is neither a file nor a folder nor a link; left out", host);
	return 0;
}

static int not_dots(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* By bytes, not by the user's language, so that the same folder gives the same archive. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_named_child(struct guest_tree *tree, const char *host, const char *guest, const char *name,
			   unsigned depth, struct error *err)
{
	char *host_child, *guest_child;
	int code;

	if (asprintf(&host_child, "%s/%s", host, name) < 0)
		return no_memory(err);
	if (asprintf(&guest_child, "%s/%s", guest[1] == '\0' ? "" : guest, name) < 0) {
		free(host_child);
		return no_memory(err);
	}
	code = add_child(tree, host_child, guest_child, depth, err);
	free(host_child);
	free(guest_child);
	return code;
}

/* A folder and what is in it. */
static int add_tree(struct guest_tree *tree, const char *host, const char *guest, unsigned depth, struct error *err)
{
	struct dirent **children;
	struct stat status;
	int count, code;

	if (depth > GUEST_TREE_DEPTH_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, ELOOP,
				 "%s is more than %d folders deep; name a folder further down", host,
				 GUEST_TREE_DEPTH_MAX);
	if (stat(host, &status) < 0)
		return error_set(err, EXIT_STATUS_CONFIG, errno, "cannot read %s: %s", host, strerror(errno));
	code = guest_tree_enter(tree, guest, GUEST_FOLDER, err);
	if (code < 0)
		return code;
	if (guest[1] != '\0')
		cpio_directory(&tree->cpio, guest, status.st_mode);
	count = scandir(host, &children, not_dots, by_name);
	if (count < 0)
		return error_set(err, EXIT_STATUS_CONFIG, errno, "cannot read %s: %s", host, strerror(errno));
	for (int i = 0; i < count; i++) {
		if (code == 0)
			code = add_named_child(tree, host, guest, children[i]->d_name, depth + 1, err);
		free(children[i]);
	}
	free(children);
	return code;
}

int guest_tree_host(struct guest_tree *tree, const char *host, const char *guest, struct error *err)
{
	struct stat status;

	if (stat(host, &status) < 0)
		return error_set(err, EXIT_STATUS_CONFIG, errno, "cannot read %s: %s", host, strerror(errno));
	if (S_ISDIR(status.st_mode))
		return add_tree(tree, host, guest, 0, err);
	/* a pipe, too: that is what the shell's <(command) is */
	if (S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode))
		return guest_tree_program(tree, host, guest, status.st_mode, err);
	return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "%s is neither a file nor a folder", host);
}
