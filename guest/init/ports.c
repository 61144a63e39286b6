/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORTS "/sys/class/virtio-ports"
#define LINKS "/dev/virtio-ports"

enum { TRIES = 50, TRY_US = 10 * 1000 };

/* The device tells a port's name in a message of its own, a moment after the port is there; until then it reads "(null)". */
static bool read_name(const char *port, char *name, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), PORTS "/%.32s/name", port);
	for (int i = 0; i < TRIES; i++) {
		if (read_text(path, name, size) && name[0] != '\0' && strcmp(name, "(null)") != 0)
			return strchr(name, '/') == NULL;
		usleep(TRY_US);
	}
	return false;
}

void ports_link(void)
{
	DIR *ports = opendir(PORTS);
	struct dirent *entry;

	if (ports == NULL)
		return;
	mkdir(LINKS, 0755);
	while ((entry = readdir(ports)) != NULL) {
		char name[64], link[128], target[64];

		if (entry->d_name[0] == '.' || strlen(entry->d_name) > 32 ||
		    !read_name(entry->d_name, name, sizeof(name)))
			continue;
		snprintf(link, sizeof(link), LINKS "/%s", name);
		snprintf(target, sizeof(target), "../%.32s", entry->d_name);
		if (symlink(target, link) < 0 && errno != EEXIST)
			say("cannot make %s: %s", link, strerror(errno));
	}
	closedir(ports);
}
