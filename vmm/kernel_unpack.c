/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kernel_unpack.h"

#include <signal.h>
#include <string.h>

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

int kernel_unpack_start(struct kernel_unpack *unpack, const struct bzimage *image, struct error *err)
{
	sigset_t all, before;
	int code;

	*unpack = (struct kernel_unpack){.image = image};
	/* signals are the main thread's, which decides what they do */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&unpack->thread, NULL, run, unpack);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code != 0)
		return error_set(err, EXIT_STATUS_HOST, code, "cannot make the thread that unpacks the kernel: %s",
				 strerror(code));
	unpack->started = true;
	return 0;
}

static void join(struct kernel_unpack *unpack)
{
	if (unpack->started)
		pthread_join(unpack->thread, NULL);
	unpack->started = false;
}

const struct vmlinux *kernel_unpack_wait(struct kernel_unpack *unpack, const struct log *log)
{
	if (!unpack->started)
		return NULL;
	join(unpack);
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
