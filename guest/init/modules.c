/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { COMMAND_LINE_MAX = 4096 };

static char plain(char c)
{
	return c == '-' ? '_' : c;
}

/* Whether a word starts with a module's name ('-' and '_' are the same); returns what is behind it, or NULL. */
static const char *behind_name(const char *word, const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (word[i] == '\0' || plain(word[i]) != plain(name[i]))
			return NULL;
	}
	return word + length;
}

/* "modprobe.blacklist=A,B" on the kernel's command line, as modprobe(8) knows it. */
static bool is_blacklisted(const char *list, const char *name, size_t length)
{
	while (*list != '\0') {
		const char *rest = behind_name(list, name, length);

		if (rest != NULL && (*rest == ',' || *rest == '\0'))
			return true;
		list += strcspn(list, ",");
		list += *list == ',';
	}
	return false;
}

/*
 * The module's parameters from the kernel's command line ("dax_hmem.region_idle=1"): the kernel applies them to what it has built
 * in only, for a module that is whoever loads it. False when the user does not want the module.
 */
static bool parameters_of(const char *name, size_t length, char *parameters, size_t size)
{
	static const char blacklist[] = "modprobe.blacklist=";
	char command_line[COMMAND_LINE_MAX];
	char *state;

	parameters[0] = '\0';
	read_text("/proc/cmdline", command_line, sizeof(command_line));
	for (char *word = strtok_r(command_line, " ", &state); word != NULL; word = strtok_r(NULL, " ", &state)) {
		const char *rest = behind_name(word, name, length);
		size_t used = strlen(parameters);

		if (strncmp(word, blacklist, strlen(blacklist)) == 0 &&
		    is_blacklisted(word + strlen(blacklist), name, length))
			return false;
		if (rest != NULL && *rest == '.')
			snprintf(parameters + used, size - used, "%s%s", used > 0 ? " " : "", rest + 1);
	}
	return true;
}

static void load(const char *path)
{
	char parameters[COMMAND_LINE_MAX];
	const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
	int fd;

	if (!parameters_of(name, strcspn(name, "."), parameters, sizeof(parameters)))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		say("cannot open the module %s: %s", path, strerror(errno));
		return;
	}
	if (syscall(SYS_finit_module, fd, parameters, 0) < 0 && errno != EEXIST)
		say("cannot load the module %s: %s", name, strerror(errno));
	close(fd);
}

void modules_load(void)
{
	char path[4096];
	FILE *list = fopen(GUEST_MODULE_LIST, "re");

	if (list == NULL)
		return;
	while (fgets(path, sizeof(path), list) != NULL) {
		path[strcspn(path, "\n")] = '\0';
		if (path[0] == '/')
			load(path);
	}
	fclose(list);
}
