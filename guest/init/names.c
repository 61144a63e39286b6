/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/init/tree.h"

#define SETUP_DATA "/sys/kernel/boot_params/setup_data"
#define SETUP_DTB  "0x2"
#define LINKS      "/dev/spm"

/* The machine's slots, read once. */
static struct tree_slot *slots;
static size_t slot_count;

/* The bytes of a file, which the caller frees; NULL when it cannot be read. */
static void *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *bytes = NULL;
	ssize_t got = 0;

	*size = 0;
	if (fd >= 0 && fstat(fd, &status) == 0)
		bytes = malloc((size_t)status.st_size + 1);
	while (bytes != NULL && *size < (size_t)status.st_size &&
	       (got = read(fd, bytes + *size, (size_t)status.st_size - *size)) > 0)
		*size += (size_t)got;
	if (fd >= 0)
		close(fd);
	return bytes;
}

static void read_tree(const char *path)
{
	size_t size;
	void *tree = read_file(path, &size);

	if (tree == NULL)
		return;
	slot_count = tree_slots(tree, size, NULL, 0);
	slots = calloc(slot_count + 1, sizeof(*slots));
	slot_count = tree_slots(tree, size, slots, slots == NULL ? 0 : slot_count);
	if (slots == NULL)
		slot_count = 0;
	free(tree);
}

size_t names_read(void)
{
	DIR *list = opendir(SETUP_DATA);
	const struct dirent *entry;

	if (list == NULL)
		return 0;
	while (slots == NULL && (entry = readdir(list)) != NULL) {
		char path[128], type[16];

		snprintf(path, sizeof(path), SETUP_DATA "/%.32s/type", entry->d_name);
		if (entry->d_name[0] == '.' || !read_text(path, type, sizeof(type)) || strcmp(type, SETUP_DTB) != 0)
			continue;
		snprintf(path, sizeof(path), SETUP_DATA "/%.32s/data", entry->d_name);
		read_tree(path);
	}
	closedir(list);
	return slot_count;
}

const char *names_of(uint64_t start)
{
	for (size_t i = 0; i < slot_count; i++) {
		if (slots[i].start == start)
			return slots[i].id;
	}
	return NULL;
}

static void link_device(const char *device)
{
	char path[128], text[32], target[64];
	const char *id;

	snprintf(path, sizeof(path), DAX_DEVICES "/%.32s/resource", device);
	if (!read_text(path, text, sizeof(text)))
		return;
	id = names_of(strtoull(text, NULL, 0));
	if (id == NULL)
		return;
	snprintf(path, sizeof(path), LINKS "/%s", id);
	snprintf(target, sizeof(target), "../%.32s", device);
	if (symlink(target, path) < 0 && errno != EEXIST)
		say("cannot make %s: %s", path, strerror(errno));
}

void names_link(void)
{
	DIR *devices = opendir(DAX_DEVICES);
	const struct dirent *entry;

	if (devices == NULL)
		return;
	mkdir(LINKS, 0755);
	while ((entry = readdir(devices)) != NULL) {
		if (entry->d_name[0] != '.')
			link_device(entry->d_name);
	}
	closedir(devices);
}
