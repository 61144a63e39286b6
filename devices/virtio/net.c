/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/net.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* §5.1.2: receiveq1, transmitq1 */
enum { RECEIVE = 0, TRANSMIT = 1, QUEUES = 2 };

#define CARD_FEATURES   (NET_FEATURE_MAC | NET_FEATURE_STATUS | NET_FEATURE_MTU)
#define STREAM_FEATURES (CARD_FEATURES | NET_FEATURE_CSUM | NET_FEATURE_GUEST_CSUM | NET_FEATURE_MRG_RXBUF)
#define TAP_FEATURES                                                                                                   \
	(STREAM_FEATURES | NET_FEATURE_GUEST_TSO4 | NET_FEATURE_GUEST_TSO6 | NET_FEATURE_GUEST_ECN |                   \
	 NET_FEATURE_GUEST_UFO | NET_FEATURE_HOST_TSO4 | NET_FEATURE_HOST_TSO6 | NET_FEATURE_HOST_ECN |                \
	 NET_FEATURE_HOST_UFO)
/* what happens in the rings, and so must be known to the kernel's back end; it leaves the rest to the tap */
#define RING_FEATURES                                                                                                  \
	(NET_FEATURE_MRG_RXBUF | VIRTIO_FEATURE_INDIRECT_DESC | VIRTIO_FEATURE_EVENT_IDX | VIRTIO_FEATURE_VERSION_1)

/* descriptors in device.watch_fds; the first places are vhost-user's with it */
enum { WATCH_PATH, WATCH_ERROR, WATCH_OUTPUT = VHOST_USER_WATCH_NEXT };

enum { CHILD_END_MS = 1000 };

static struct net *from(struct virtio_device *device)
{
	return (struct net *)(void *)device;
}

/* §5.1.4: mac, status, max_virtqueue_pairs, mtu */
enum { CONFIG_SIZE = 12, LINK_UP = 1 };

static void read_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	const struct net *net = from(device);
	uint8_t config[CONFIG_SIZE] = {0};

	memcpy(config, net->mac, NET_MAC_SIZE);
	config[6] = net->link_up ? LINK_UP : 0;
	config[8] = 1;
	config[10] = (uint8_t)net->mtu;
	config[11] = (uint8_t)(net->mtu >> 8);
	memcpy(bytes, config + offset, size);
}

/* ---- vhost-net */

static void vhost_stop(struct net *net)
{
	if (!net->running)
		return;
	for (unsigned i = 0; i < QUEUES; i++)
		(void)vhost_net_set_back_end(&net->vhost, i, -1);
	for (unsigned i = 0; i < QUEUES; i++)
		vhost_unset_queue(&net->vhost, i);
	net->running = false;
}

static int vhost_start(struct net *net)
{
	int code = vhost_set_features(&net->vhost, net->device.accepted);

	net->running = true;
	for (unsigned i = 0; code == 0 && i < QUEUES; i++) {
		if (net->device.queues[i].ready)
			code = vhost_set_queue(&net->vhost, &net->device, i);
	}
	for (unsigned i = 0; code == 0 && i < QUEUES; i++) {
		if (net->device.queues[i].ready)
			code = vhost_net_set_back_end(&net->vhost, i, net->tap.fd);
	}
	if (code < 0)
		vhost_stop(net);
	return code;
}

/* ---- the class; all but readable with the lock held */

static int activate(struct virtio_device *device)
{
	struct net *net = from(device);
	int code = 0;

	if (net->tap.fd >= 0)
		code = tap_set_offloads(&net->tap, device->accepted);
	if (code < 0)
		return code;
	if (net->back_end == NET_VHOST_TAP)
		return vhost_start(net);
	net_path_start(net);
	return 0;
}

static void reset(struct virtio_device *device)
{
	struct net *net = from(device);

	if (net->back_end == NET_VHOST_TAP)
		vhost_stop(net);
	else
		net_path_stop(net);
}

/* What passt has said since. */
static void hear_child(struct net *net)
{
	child_log(&net->passt.child, net->device.log);
	net->device.watch_fds[WATCH_OUTPUT] = net->passt.child.output;
}

/* The back end is gone: the guest sees the cable pulled. */
static void lose_link(struct net *net)
{
	struct child *child = &net->passt.child;
	struct pollfd end = {.fd = child->pidfd, .events = POLLIN};

	net->link_up = false;
	virtio_config_changed(&net->device);
	if (child->name != NULL) {
		/* the process outlives its socket by a moment; once, so the loop can wait for it */
		poll(&end, 1, CHILD_END_MS);
		hear_child(net);
		child_has_ended(child);
	}
	if (net->device.log == NULL)
		return;
	if (child->name != NULL)
		log_warn(net->device.log, "%s: passt %s%s%s; the guest's link is down", net->device.option,
			 child->pid == 0 ? child_ending(child).text : "has closed its socket",
			 child->last[0] != '\0' ? ": " : "", child->last);
	else
		log_warn(net->device.log, "%s: the %s is gone; the guest's link is down", net->device.option,
			 net->back_end == NET_STREAM ? "other end of the socket" : "tap");
}

static void lose_path(struct net *net)
{
	net_path_close(net);
	lose_link(net);
	/* frames that wait are swallowed */
	virtio_kick_again(&net->device, TRANSMIT);
}

static void kick(struct virtio_device *device, unsigned queue)
{
	struct net *net = from(device);

	if ((queue == RECEIVE ? net_path_receive(net) : net_path_transmit(net)) < 0)
		lose_path(net);
}

static void readable(struct virtio_device *device, int fd)
{
	struct net *net = from(device);

	pthread_mutex_lock(&device->lock);
	if (fd == device->watch_fds[WATCH_PATH]) {
		if (net_path_ready(net) < 0)
			lose_path(net);
	} else if (fd == device->watch_fds[WATCH_OUTPUT]) {
		hear_child(net);
	} else if (fd == device->watch_fds[WATCH_ERROR] && vhost_failed(&net->vhost) && net->running) {
		virtio_needs_reset(device, "the kernel's vhost-net found a virtqueue broken");
	}
	pthread_mutex_unlock(&device->lock);
}

static const struct counter_field FIELDS[] = {
	{"frames", offsetof(struct net_counters, frames), COUNTER_TOTAL, UNIT_NONE, "Frames that were moved"},
	{"transferred", offsetof(struct net_counters, bytes), COUNTER_TOTAL, UNIT_BYTES, "Bytes of those frames"},
	{"dropped", offsetof(struct net_counters, dropped), COUNTER_TOTAL, UNIT_NONE, "Frames that were dropped"},
};
static const struct counter_table COUNTERS = {"direction", FIELDS, sizeof(FIELDS) / sizeof(FIELDS[0])};

static void counters(const struct virtio_device *device, const struct counter_sink *sink)
{
	const struct net *net = (const struct net *)device;

	counter_show(sink, &COUNTERS, &net->received, "to_guest");
	counter_show(sink, &COUNTERS, &net->sent, "from_guest");
}

static const struct virtio_class NET_CLASS = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_size = CONFIG_SIZE,
	.read_config = read_config,
	.activate = activate,
	.reset = reset,
	.kick = kick,
	.counters = counters,
	.readable = readable,
};

static int begin(struct virtio_device *device, struct error *err)
{
	return vhost_begin(&from(device)->vhost, device->mem, device->option, err);
}

/* The same without kick: the kernel takes kicks. */
static const struct virtio_class NET_VHOST_CLASS = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_size = CONFIG_SIZE,
	.read_config = read_config,
	.begin = begin,
	.activate = activate,
	.reset = reset,
	.stop = reset,
	.readable = readable,
};

/* ---- the same by vhost-user: passt takes kicks, and moves the frames */

static int vhost_user_activate(struct virtio_device *device)
{
	return vhost_user_start(&from(device)->vhost_user, device);
}

static void vhost_user_reset(struct virtio_device *device)
{
	struct net *net = from(device);

	/* one that does not say that it has stopped is made to: the guest may use this memory for something else now */
	if (vhost_user_stop(&net->vhost_user) < 0 || net->vhost_user.dead)
		child_kill(&net->passt.child);
}

static void vhost_user_has_said(struct virtio_device *device, int fd)
{
	struct net *net = from(device);

	if (fd != device->watch_fds[WATCH_OUTPUT])
		vhost_user_readable(&net->vhost_user, device, fd);
	pthread_mutex_lock(&device->lock);
	if (fd == device->watch_fds[WATCH_OUTPUT])
		hear_child(net);
	else if (net->vhost_user.dead && net->link_up)
		lose_link(net);
	pthread_mutex_unlock(&device->lock);
}

static const struct virtio_class NET_VHOST_USER_CLASS = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.config_size = CONFIG_SIZE,
	.read_config = read_config,
	.activate = vhost_user_activate,
	.reset = vhost_user_reset,
	.stop = vhost_user_reset,
	.readable = vhost_user_has_said,
};

/* ---- making one */

/* Whether vhost-net serves this tap: 1 or 0, or -errno when the user insists. */
static int open_vhost(struct net *net, const struct net_options *options, const struct log *log, struct error *err)
{
	struct error why;
	int code;

	if (options->vhost == NET_VHOST_OFF)
		return 0;
	code = vhost_open(&net->vhost, "/dev/vhost-net", "vhost_net", options->option, &why);
	if (code == 0 && (net->vhost.features & NET_FEATURE_MRG_RXBUF) != 0 &&
	    (net->vhost.features & VIRTIO_FEATURE_VERSION_1) != 0)
		return 1;
	if (code == 0) {
		vhost_release(&net->vhost);
		code = error_set(&why, EXIT_STATUS_HOST, ENOTSUP, "%s: the host's vhost-net is too old",
				 options->option);
	}
	if (options->vhost == NET_VHOST_ON) {
		*err = why;
		return code;
	}
	if (log != NULL)
		log_info(log, "%s; without it, frames are copied by spmvm", why.text);
	return 0;
}

static int open_tap(struct net *net, const struct net_options *options, const struct log *log, struct error *err)
{
	int code = tap_open(&net->tap, options->tap, options->option, err);

	if (code < 0)
		return code;
	net->mtu = net->tap.mtu;
	if (!net->tap.up && log != NULL)
		log_warn(log, "%s: %s is down; nothing passes until: ip link set %s up", options->option, options->tap,
			 options->tap);
	code = open_vhost(net, options, log, err);
	if (code < 0)
		return code;
	net->back_end = code == 1 ? NET_VHOST_TAP : NET_PLAIN_TAP;
	return 0;
}

/* Whether passt serves this card by vhost-user: 1 or 0, or -errno when the user insists, or passt cannot be started at all. */
static int start_vhost_user(struct net *net, const struct net_options *options, const struct net_memory *memory,
			    const struct log *log, struct error *err)
{
	const struct vhost_user_options vhost_user = {
		.option = options->option, .peer = "passt", .log = log, .queue_count = QUEUES};
	struct error why;
	int fd, code;

	if (options->vhost == NET_VHOST_OFF || memory->shared_count == 0)
		return 0;
	code = passt_start_vhost_user(&net->passt, options, log, &fd, err);
	if (code < 0)
		return code;
	code = vhost_user_init(&net->vhost_user, &vhost_user, fd, &why);
	if (code == 0)
		code = vhost_user_set_memory(&net->vhost_user, memory->shared, memory->shared_count, &why);
	if (code == 0) {
		/* what it said of its start says nothing about its end */
		child_log(&net->passt.child, log);
		net->passt.child.last[0] = '\0';
		return 1;
	}
	(void)child_ended_early(&net->passt.child, CHILD_END_MS, -code, log, &why);
	vhost_user_release(&net->vhost_user);
	passt_release(&net->passt);
	log_debug(log, "%s (with vhost-user)", why.text);
	if (options->vhost == NET_VHOST_ON)
		return error_set(err, EXIT_STATUS_HOST, -code,
				 "%s: this passt does not serve vhost-user; take Debian 13's or a later one, or leave "
				 "vhost=on out (--log debug shows what it says)",
				 options->option);
	return 0;
}

static int start_passt(struct net *net, const struct net_options *options, const struct net_memory *memory,
		       const struct log *log, struct error *err)
{
	int code = start_vhost_user(net, options, memory, log, err);

	net->mtu = PASST_MTU;
	net->back_end = code == 1 ? NET_VHOST_USER : NET_STREAM;
	return code == 0 ? passt_start(&net->passt, options, net->mac, log, err) : code;
}

static void zero(struct net *net, const struct net_options *options)
{
	memset(net, 0, sizeof(*net));
	net->tap.fd = -1;
	net->passt.stream.fd = -1;
	net->epoll = -1;
	if (options->has_mac)
		memcpy(net->mac, options->mac, NET_MAC_SIZE);
	else
		net_mac_default(options, net->mac);
}

/* What the back end of each kind is, and can: of vhost and vhost-user, as far as they say so themselves. */
static const struct {
	const struct virtio_class *class;
	uint64_t features;
} KINDS[] = {
	[NET_VHOST_TAP] = {&NET_VHOST_CLASS, TAP_FEATURES},
	[NET_PLAIN_TAP] = {&NET_CLASS, TAP_FEATURES},
	[NET_VHOST_USER] = {&NET_VHOST_USER_CLASS, TAP_FEATURES},
	[NET_STREAM] = {&NET_CLASS, STREAM_FEATURES},
};

/* What is common to all, once the back end is there. Releases the card on failure. */
static int finish(struct net *net, const struct net_options *options, const struct guest_mem *mem,
		  const struct log *log, struct error *err)
{
	bool path = KINDS[net->back_end].class == &NET_CLASS;
	int code = path ? net_path_init(net) : 0;

	if (code == 0)
		code = virtio_init(&net->device, KINDS[net->back_end].class, QUEUES, KINDS[net->back_end].features);
	if (code < 0) {
		net_release(net);
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot make the card: %s", options->option,
				 strerror(-code));
	}
	net->device.option = options->option;
	net->device.log = log;
	net->device.mem = mem;
	net->device.always_used = !path;
	if (net->back_end == NET_VHOST_TAP) {
		net->device.offered &= net->vhost.features | ~RING_FEATURES;
		net->device.watch_fds[WATCH_ERROR] = net->vhost.error_fd;
	} else if (net->back_end == NET_VHOST_USER) {
		net->device.offered &= net->vhost_user.features | CARD_FEATURES;
		vhost_user_watch(&net->vhost_user, &net->device);
	} else {
		net->device.watch_fds[WATCH_PATH] = net->epoll;
	}
	net->device.watch_fds[WATCH_OUTPUT] = net->passt.child.name != NULL ? net->passt.child.output : -1;
	net->link_up = true;
	return 0;
}

int net_init(struct net *net, const struct net_options *options, const struct net_memory *memory, const struct log *log,
	     struct error *err)
{
	int code;

	zero(net, options);
	if (options->kind == NET_TAP)
		code = open_tap(net, options, log, err);
	else
		code = start_passt(net, options, memory, log, err);
	if (code < 0) {
		net_release(net);
		return code;
	}
	return finish(net, options, memory->guest, log, err);
}

int net_init_stream(struct net *net, const struct net_options *options, int fd, const struct log *log,
		    struct error *err)
{
	int code;

	zero(net, options);
	net->back_end = NET_STREAM;
	net->mtu = PASST_MTU;
	code = net_stream_init(&net->passt.stream, fd);
	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot use the socket: %s", options->option,
				 strerror(-code));
	return finish(net, options, NULL, log, err);
}

void net_release(struct net *net)
{
	if (net == NULL || net->mtu == 0)
		return;
	virtio_release(&net->device);
	net_path_release(net);
	vhost_release(&net->vhost);
	tap_release(&net->tap);
	vhost_user_release(&net->vhost_user);
	passt_release(&net->passt);
	net->mtu = 0;
}
