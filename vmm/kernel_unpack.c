/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kernel_unpack.h"

#include <signal.h>

#include "vmm/boot/payload.h"

static void *run(void *context)
{
	struct kernel_unpack *unpack = context;
	const struct bzimage *image = unpack->image;

	unpack->code = payload_unpack(image, &unpack->bytes, &unpack->why);
	if (unpack->code == 0)
		unpack->code = vmlinux_parse(&unpack->vmlinux, unpack->bytes.data, unpack->bytes.size, image->init_size,
					     &unpack->why);
	return NULL;
}

void kernel_unpack_start(struct kernel_unpack *unpack, const struct bzimage *image)
{
	sigset_t all, before;

	*unpack = (struct kernel_unpack){.image = image};
	/* signals are the main thread's, which decides what they do */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	unpack->started = pthread_create(&unpack->thread, NULL, run, unpack) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void join(struct kernel_unpack *unpack)
{
	if (unpack->started)
		pthread_join(unpack->thread, NULL);
	unpack->started = false;
}

const struct vmlinux *kernel_unpack_wait(struct kernel_unpack *unpack, const struct log *log)
{
	if (unpack->image == NULL)
		return NULL;
	if (unpack->started)
		join(unpack);
	else if (unpack->bytes.size == 0 && unpack->code == 0)
		run(unpack);
	if (unpack->code == 0)
		return &unpack->vmlinux;
	log_debug(log, "the kernel unpacks itself: %s", unpack->why.text);
	return NULL;
}

void kernel_unpack_release(struct kernel_unpack *unpack)
{
	join(unpack);
	buf_release(&unpack->bytes);
	*unpack = (struct kernel_unpack){0};
}
