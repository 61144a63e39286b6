/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/vsock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* §5.10.2: receive, transmit, event. vhost-vsock serves the first two; events tell of migrations, which there are none of. */
enum { VHOST_QUEUES = 2, QUEUES = 3, CONFIG_SIZE = 8 };

#define FEATURE_SEQPACKET (UINT64_C(1) << 1) /* §5.10.3 */

static struct vsock *from(struct virtio_device *device)
{
	return (struct vsock *)(void *)device;
}

/* §5.10.4: guest_cid */
static void read_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	uint64_t cid = from(device)->cid;

	memcpy(bytes, (const uint8_t *)&cid + offset, size);
}

static void stop(struct vsock *vsock)
{
	if (!vsock->running)
		return;
	(void)vhost_vsock_set_running(&vsock->vhost, false);
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		vhost_unset_queue(&vsock->vhost, i);
	vsock->running = false;
}

static int begin(struct virtio_device *device, struct error *err)
{
	return vhost_begin(&from(device)->vhost, device->mem, device->option, err);
}

static int activate(struct virtio_device *device)
{
	struct vsock *vsock = from(device);
	int code;

	for (unsigned i = 0; i < VHOST_QUEUES; i++) {
		if (!device->queues[i].ready)
			return -EINVAL;
	}
	code = vhost_set_features(&vsock->vhost, device->accepted);
	for (unsigned i = 0; code == 0 && i < VHOST_QUEUES; i++)
		code = vhost_set_queue(&vsock->vhost, device, i);
	if (code < 0)
		return code;
	vsock->running = true;
	code = vhost_vsock_set_running(&vsock->vhost, true);
	if (code < 0)
		stop(vsock);
	return code;
}

static void reset(struct virtio_device *device)
{
	stop(from(device));
}

static void readable(struct virtio_device *device, int fd)
{
	struct vsock *vsock = from(device);

	pthread_mutex_lock(&device->lock);
	if (fd == vsock->vhost.error_fd && vhost_failed(&vsock->vhost) && vsock->running) {
		virtio_needs_reset(device, "the kernel's vhost-vsock found a virtqueue broken");
	}
	pthread_mutex_unlock(&device->lock);
}

static const struct virtio_class VSOCK_CLASS = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.config_size = CONFIG_SIZE,
	.read_config = read_config,
	.begin = begin,
	.activate = activate,
	.reset = reset,
	.stop = reset,
	.readable = readable,
};

static int claim_cid(const struct vsock *vsock, const char *option, struct error *err)
{
	uint64_t cid = vsock->cid;
	int code = -vhost_vsock_set_cid(&vsock->vhost, cid);

	if (code == 0)
		return 0;
	if (code == EADDRINUSE)
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: cid %" PRIu64 " is in use by another machine of this host; take another", option,
				 cid);
	return error_set(err, EXIT_STATUS_HOST, code, "%s: /dev/vhost-vsock does not take cid %" PRIu64 ": %s", option,
			 cid, strerror(code));
}

int vsock_init(struct vsock *vsock, const struct vsock_options *options, const struct guest_mem *mem,
	       const struct log *log, struct error *err)
{
	int code;

	*vsock = (struct vsock){.cid = options->cid};
	if (options->cid < VSOCK_CID_MIN || options->cid > VSOCK_CID_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
				 "%s: cid %" PRIu64 " is out of range; use %" PRIu64 " to %" PRIu64, options->option,
				 options->cid, VSOCK_CID_MIN, VSOCK_CID_MAX);
	code = vhost_open(&vsock->vhost, "/dev/vhost-vsock", "vhost_vsock", options->option, err);
	if (code < 0)
		return code;
	code = claim_cid(vsock, options->option, err);
	if (code < 0)
		goto fail;
	code = virtio_init(&vsock->device, &VSOCK_CLASS, QUEUES, vsock->vhost.features & FEATURE_SEQPACKET);
	if (code < 0) {
		error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot make the device: %s", options->option,
			  strerror(-code));
		goto fail;
	}
	/* what the kernel cannot do on the rings is not offered */
	vsock->device.offered &= vsock->vhost.features | ~(VIRTIO_FEATURE_INDIRECT_DESC | VIRTIO_FEATURE_EVENT_IDX);
	vsock->device.option = options->option;
	vsock->device.log = log;
	vsock->device.mem = mem;
	vsock->device.always_used = true;
	vsock->device.watch_fds[0] = vsock->vhost.error_fd;
	return 0;

fail:
	vsock_release(vsock);
	return code;
}

void vsock_release(struct vsock *vsock)
{
	if (vsock == NULL)
		return;
	virtio_release(&vsock->device);
	vhost_release(&vsock->vhost);
}
