/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kernel_unpack.h"

#include <signal.h>
#include <string.h>

#include "vmm/base/io.h"

static void *run(void *context)
{
	struct kernel_unpack *unpack = context;
	const struct bzimage *image = unpack->image;

	unpack->code = unpacked_kernel_get(&unpack->kernel, image, unpack->cache, unpack->log, &unpack->why);
	if (unpack->code == 0)
		unpack->code = vmlinux_parse(&unpack->vmlinux, unpack->kernel.bytes, unpack->kernel.size,
					     image->init_size, &unpack->why);
	return NULL;
}

int kernel_unpack_start(struct kernel_unpack *unpack, const struct bzimage *image, const char *cache,
			const struct log *log, struct error *err)
{
	sigset_t all, before;
	int folder, code = kernel_cache_open(&folder, cache, log, err);

	if (code < 0)
		return code;
	*unpack = (struct kernel_unpack){.image = image, .log = log, .cache = folder};
	/* signals are the main thread's, which decides what they do */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&unpack->thread, NULL, run, unpack);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code != 0) {
		io_close(&unpack->cache);
		return error_set(err, EXIT_STATUS_HOST, code, "cannot make the thread that unpacks the kernel: %s",
				 strerror(code));
	}
	unpack->started = true;
	return 0;
}

static void join(struct kernel_unpack *unpack)
{
	if (unpack->started)
		pthread_join(unpack->thread, NULL);
	unpack->started = false;
}

const struct vmlinux *kernel_unpack_wait(struct kernel_unpack *unpack)
{
	if (!unpack->started)
		return NULL;
	join(unpack);
	if (unpack->code == 0)
		return &unpack->vmlinux;
	log_debug(unpack->log, "the kernel unpacks itself: %s", unpack->why.text);
	return NULL;
}

void kernel_unpack_release(struct kernel_unpack *unpack)
{
	join(unpack);
	unpacked_kernel_release(&unpack->kernel);
	if (unpack->image != NULL)
		io_close(&unpack->cache);
	*unpack = (struct kernel_unpack){0};
}
