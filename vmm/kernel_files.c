/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kernel_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Not a backup ("vmlinuz-6.1.old"), nor what a package manager is about to put in place ("vmlinuz-6.1.dpkg-new"). */
static bool is_kernel_name(const char *name)
{
	static const char PREFIX[] = "vmlinuz-";
	size_t length = strlen(name);

	return strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0 && strstr(name, ".dpkg-") == NULL &&
	       !(length > 4 && strcmp(name + length - 4, ".old") == 0) && name[length - 1] != '~';
}

int kernel_find_newest(const char *folder, char path[PATH_MAX], struct error *err)
{
	char newest[NAME_MAX + 1] = "";
	struct dirent *entry;
	DIR *dir = opendir(folder);

	if (dir != NULL) {
		while ((entry = readdir(dir)) != NULL) {
			if (!is_kernel_name(entry->d_name))
				continue;
			/* GNU's version order: -10 comes after -9 */
			if (newest[0] == '\0' || strverscmp(entry->d_name, newest) > 0)
				snprintf(newest, sizeof(newest), "%s", entry->d_name);
		}
		closedir(dir);
	}
	if (newest[0] == '\0')
		return error_set(err, EXIT_STATUS_IMAGE, ENOENT,
				 "no --kernel given and no %s/vmlinuz-* found; install a kernel (Debian: "
				 "linux-image-cloud-amd64) or name one with --kernel FILE",
				 folder);
	snprintf(path, PATH_MAX, "%s/%s", folder, newest);
	return 0;
}

int kernel_find_modules(const char *kernel, const char *release, char path[PATH_MAX])
{
	static const char *const PLACES[] = {"/../lib/modules/", "/../usr/lib/modules/"};
	const char *slash = strrchr(kernel, '/');
	int folder = slash != NULL ? (int)(slash - kernel) : 1;

	if (release[0] == '\0')
		return -ENOENT;
	for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
		if (snprintf(path, PATH_MAX, "%.*s%s%s", folder, slash != NULL ? kernel : ".", PLACES[i], release) <
			    PATH_MAX &&
		    access(path, R_OK | X_OK) == 0)
			return 0;
	}
	snprintf(path, PATH_MAX, "/lib/modules/%s", release);
	return access(path, R_OK | X_OK) == 0 ? 0 : -ENOENT;
}

const char *busybox_find(void)
{
	static const char *const PLACES[] = {"/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"};

	for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
		if (access(PLACES[i], R_OK) == 0)
			return PLACES[i];
	}
	return NULL;
}
