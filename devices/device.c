/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/device.h"

#include "vmm/base/io.h"

void dev_irq_pulse(const struct dev_irq *irq)
{
	if (irq->eventfd >= 0)
		io_raise(irq->eventfd);
}
