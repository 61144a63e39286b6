/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/device.h"

#include <errno.h>
#include <unistd.h>

void dev_irq_pulse(const struct dev_irq *irq)
{
	const uint64_t one = 1;
	ssize_t written;

	if (irq->eventfd < 0)
		return;
	/* EAGAIN needs no care: the counter is then as high as it goes, and the pulse is due already. */
	do {
		written = write(irq->eventfd, &one, sizeof(one));
	} while (written < 0 && errno == EINTR);
}
