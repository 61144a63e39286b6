/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/library.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/buf.h"
#include "vmm/base/io.h"
#include "vmm/boot/elf_needs.h"

#define CONFIGURATION_MAX ((size_t)1 << 20)

/* Where loaders look without any configuration: Debian's first, then the ones of other distributions. */
static const char *const SYSTEM_FOLDERS[] = {
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
};
enum { SYSTEM_FOLDER_COUNT = sizeof(SYSTEM_FOLDERS) / sizeof(SYSTEM_FOLDERS[0]) };

char *path_normal(const char *path)
{
	char *normal = malloc(strlen(path) + 2);
	size_t used = 0;

	if (normal == NULL)
		return NULL;
	while (*path != '\0') {
		size_t length = strcspn(path, "/");

		if (length == 2 && memcmp(path, "..", 2) == 0) {
			while (used > 0 && normal[--used] != '/')
				;
		} else if (length > 0 && !(length == 1 && *path == '.')) {
			normal[used++] = '/';
			memcpy(normal + used, path, length);
			used += length;
		}
		path += length + (path[length] == '/');
	}
	if (used == 0)
		normal[used++] = '/';
	normal[used] = '\0';
	return normal;
}

/* ------------------------------------------------------------------ configuration */

/* One folder a line; '#' starts a comment. "include" lines are not followed: the one that matters is ld.so.conf.d. */
static int add_folders(struct library_folders *folders, char *text)
{
	char *state;

	for (char *line = strtok_r(text, "\n", &state); line != NULL; line = strtok_r(NULL, "\n", &state)) {
		char **grown;

		line += strspn(line, " \t");
		line[strcspn(line, "# \t\r")] = '\0';
		if (line[0] != '/')
			continue;
		grown = reallocarray(folders->configured, folders->count + 1, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		folders->configured = grown;
		folders->configured[folders->count] = strdup(line);
		if (folders->configured[folders->count] == NULL)
			return -ENOMEM;
		folders->count++;
	}
	return 0;
}

static int add_file(struct library_folders *folders, const char *path)
{
	struct buf text = {0};
	struct error ignored;
	char *full;
	int code = 0;

	if (asprintf(&full, "%s%s", folders->root, path) < 0)
		return -ENOMEM;
	if (io_read_file(full, CONFIGURATION_MAX, &text, EXIT_STATUS_HOST, &ignored) == 0) {
		buf_u8(&text, 0);
		code = buf_failed(&text) ? -ENOMEM : add_folders(folders, (char *)text.data);
	}
	buf_release(&text);
	free(full);
	return code;
}

static int is_configuration(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot != NULL && strcmp(dot, ".conf") == 0;
}

static int add_configuration_folder(struct library_folders *folders)
{
	struct dirent **entries;
	char *full;
	int count, code = 0;

	if (asprintf(&full, "%s/etc/ld.so.conf.d", folders->root) < 0)
		return -ENOMEM;
	count = scandir(full, &entries, is_configuration, alphasort);
	free(full);
	if (count < 0)
		return errno == ENOMEM ? -ENOMEM : 0;
	for (int i = 0; i < count; i++) {
		char *path;

		if (code == 0 && asprintf(&path, "/etc/ld.so.conf.d/%s", entries[i]->d_name) < 0)
			code = -ENOMEM;
		if (code == 0) {
			code = add_file(folders, path);
			free(path);
		}
		free(entries[i]);
	}
	free(entries);
	return code;
}

/* ------------------------------------------------------------------ search */

/* Like the loader, a search passes over a file of another machine and over the linker scripts that development packages bring. */
static bool is_library(const char *path)
{
	uint8_t head[ELF_HEAD_SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool fits;

	if (fd < 0)
		return false;
	fits = io_pread_all(fd, head, sizeof(head), 0) == 0 && elf_is_x86_64(head, sizeof(head));
	close(fd);
	return fits;
}

/* Takes root + folder + "/" + name when it is a library; guest_folder is where it is found in the guest. -ENOENT otherwise. */
static int try_folder(struct library_place *place, const char *root, const char *folder, const char *guest_folder,
		      const char *name)
{
	char *host, *guest;

	if (asprintf(&host, "%s%s/%s", root, folder, name) < 0)
		return -ENOMEM;
	if (!is_library(host)) {
		free(host);
		return -ENOENT;
	}
	if (asprintf(&guest, "%s/%s", guest_folder, name) < 0) {
		free(host);
		return -ENOMEM;
	}
	place->host = path_normal(host);
	place->guest = path_normal(guest);
	free(host);
	free(guest);
	if (place->host != NULL && place->guest != NULL)
		return 0;
	library_place_release(place);
	return -ENOMEM;
}

/* $ORIGIN and ${ORIGIN} at the start of a folder, the only place where linkers are told to put them. */
static const char *behind_origin(const char *folder)
{
	static const char *const forms[] = {"$ORIGIN", "${ORIGIN}"};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t length = strlen(forms[i]);

		if (strncmp(folder, forms[i], length) == 0 && (folder[length] == '/' || folder[length] == '\0'))
			return folder + length;
	}
	return NULL;
}

static int try_relative_to_origin(struct library_place *place, const struct library_path *path, const char *rest,
				  const char *name)
{
	char *host, *guest;
	int code;

	if (asprintf(&host, "%s%s", path->host_origin, rest) < 0)
		return -ENOMEM;
	if (asprintf(&guest, "%s%s", path->guest_origin, rest) < 0) {
		free(host);
		return -ENOMEM;
	}
	code = try_folder(place, "", host, guest, name);
	free(host);
	free(guest);
	return code;
}

static int try_list(struct library_place *place, const struct library_folders *folders, const struct library_path *path,
		    const char *name)
{
	char *copy, *state;
	int code = -ENOENT;

	if (path->list == NULL)
		return -ENOENT;
	copy = strdup(path->list);
	if (copy == NULL)
		return -ENOMEM;
	for (char *folder = strtok_r(copy, ":", &state); folder != NULL && code == -ENOENT;
	     folder = strtok_r(NULL, ":", &state)) {
		const char *rest = behind_origin(folder);

		if (rest != NULL)
			code = try_relative_to_origin(place, path, rest, name);
		else if (folder[0] == '/')
			code = try_folder(place, folders->root, folder, folder, name);
	}
	free(copy);
	return code;
}

int library_find(struct library_place *place, const struct library_folders *folders, const char *name,
		 const struct library_search *search)
{
	int code;

	*place = (struct library_place){0};
	if (name[0] == '/')
		return try_folder(place, folders->root, "", "", name);
	if (strchr(name, '/') != NULL)
		return -ENOENT; /* relative to the working folder of a program that does not run yet */
	code = try_list(place, folders, &search->own, name);
	if (code == -ENOENT)
		code = try_list(place, folders, &search->inherited, name);
	for (size_t i = 0; i < SYSTEM_FOLDER_COUNT && code == -ENOENT; i++)
		code = try_folder(place, folders->root, SYSTEM_FOLDERS[i], SYSTEM_FOLDERS[i], name);
	for (size_t i = 0; i < folders->count && code == -ENOENT; i++)
		code = try_folder(place, folders->root, folders->configured[i], folders->c_folder, name);
	return code;
}

void library_place_release(struct library_place *place)
{
	if (place == NULL)
		return;
	free(place->host);
	free(place->guest);
	*place = (struct library_place){0};
}

int library_folders_load(struct library_folders *folders, const char *root)
{
	struct library_place c_library = {0};
	int code;

	*folders = (struct library_folders){.root = root, .c_folder = SYSTEM_FOLDERS[0]};
	for (size_t i = 0; i < SYSTEM_FOLDER_COUNT && c_library.host == NULL; i++) {
		code = try_folder(&c_library, root, SYSTEM_FOLDERS[i], SYSTEM_FOLDERS[i], "libc.so.6");
		if (code == -ENOMEM)
			return code;
		if (code == 0)
			folders->c_folder = SYSTEM_FOLDERS[i];
	}
	library_place_release(&c_library);
	code = add_file(folders, "/etc/ld.so.conf");
	if (code == 0)
		code = add_configuration_folder(folders);
	if (code < 0)
		library_folders_release(folders);
	return code;
}

void library_folders_release(struct library_folders *folders)
{
	if (folders == NULL)
		return;
	for (size_t i = 0; i < folders->count; i++)
		free(folders->configured[i]);
	free(folders->configured);
	*folders = (struct library_folders){0};
}
