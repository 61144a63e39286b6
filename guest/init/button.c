/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI power button, which spmvm presses when it is asked to power the guest off (system_powerdown). */
#include "guest/init/init.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#define INPUT "/dev/input"

/* linux/input.h, which musl's headers do not come with */
struct input_event {
	struct timeval time;
	uint16_t type, code;
	int32_t value;
};
enum { EV_KEY = 1, KEY_POWER = 116, PRESSED = 1, KEY_BYTES = 96, BUTTONS_MAX = 4 };
#define EVIOCGBIT_KEY _IOC(_IOC_READ, 'E', 0x20 + EV_KEY, KEY_BYTES)

static bool has_power_key(int fd)
{
	uint8_t keys[KEY_BYTES] = {0};

	return ioctl(fd, EVIOCGBIT_KEY, keys) >= 0 && (keys[KEY_POWER / 8] >> KEY_POWER % 8 & 1) != 0;
}

static nfds_t open_buttons(struct pollfd *buttons)
{
	DIR *devices = opendir(INPUT);
	struct dirent *entry;
	nfds_t count = 0;

	while (devices != NULL && count < BUTTONS_MAX && (entry = readdir(devices)) != NULL) {
		char path[64];
		int fd;

		if (strncmp(entry->d_name, "event", 5) != 0)
			continue;
		snprintf(path, sizeof(path), INPUT "/%.32s", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && has_power_key(fd))
			buttons[count++] = (struct pollfd){fd, POLLIN, 0};
		else if (fd >= 0)
			close(fd);
	}
	if (devices != NULL)
		closedir(devices);
	return count;
}

void button_watch(void)
{
	struct pollfd buttons[BUTTONS_MAX];
	nfds_t count = open_buttons(buttons);

	if (count > 0 && fork() == 0) {
		while (poll(buttons, count, -1) > 0) {
			for (nfds_t i = 0; i < count; i++) {
				struct input_event event;

				/* its driver is gone: poll(2) passes over it then */
				if ((buttons[i].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
					buttons[i].fd = -1;
				if ((buttons[i].revents & POLLIN) == 0 ||
				    read(buttons[i].fd, &event, sizeof(event)) != sizeof(event))
					continue;
				/* as busybox's poweroff does it */
				if (event.type == EV_KEY && event.code == KEY_POWER && event.value == PRESSED)
					kill(getppid(), SIGUSR2);
			}
		}
		_exit(1);
	}
	for (nfds_t i = 0; i < count; i++)
		close(buttons[i].fd);
}
