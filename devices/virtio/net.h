/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_NET_H
#define SPMVM_DEVICES_VIRTIO_NET_H

#include "devices/virtio/net_frames.h"
#include "devices/virtio/net_options.h"
#include "devices/virtio/passt.h"
#include "devices/virtio/tap.h"
#include "devices/virtio/vhost.h"
#include "devices/virtio/vhost_user.h"

/* §5.1.3 */
#define NET_FEATURE_CSUM       (UINT64_C(1) << 0)
#define NET_FEATURE_GUEST_CSUM (UINT64_C(1) << 1)
#define NET_FEATURE_MTU        (UINT64_C(1) << 3)
#define NET_FEATURE_MAC        (UINT64_C(1) << 5)
#define NET_FEATURE_GUEST_TSO4 (UINT64_C(1) << 7)
#define NET_FEATURE_GUEST_TSO6 (UINT64_C(1) << 8)
#define NET_FEATURE_GUEST_ECN  (UINT64_C(1) << 9)
#define NET_FEATURE_GUEST_UFO  (UINT64_C(1) << 10)
#define NET_FEATURE_HOST_TSO4  (UINT64_C(1) << 11)
#define NET_FEATURE_HOST_TSO6  (UINT64_C(1) << 12)
#define NET_FEATURE_HOST_ECN   (UINT64_C(1) << 13)
#define NET_FEATURE_HOST_UFO   (UINT64_C(1) << 14)
#define NET_FEATURE_MRG_RXBUF  (UINT64_C(1) << 15)
#define NET_FEATURE_STATUS     (UINT64_C(1) << 16)

struct net_counters {
	struct counter frames, bytes; /* moved; without the header of virtio's */
	struct counter dropped;       /* frames */
};

/*
 * A network card (virtio 1.2 §5.1) with one queue pair, connected to
 *	- a tap through the kernel's vhost-net: no frame passes through this process, all offloads;
 *	- a tap without it: the same offloads, frames go through net_path.c;
 *	- passt by vhost-user: no frame passes through this process; instead of segmentation there are frames of 64 KiB (VIRTIO_NET_F_MTU);
 *	- passt's socket: the same, but the checksum is left to us.
 * Offered features say what the back end can. A back end that goes away takes the link down (VIRTIO_NET_S_LINK_UP) with a line in the log; the card stays, and
 * swallows what the guest sends. With vhost-user it needs a reset beside that, as the rings are not known any more.
 */
enum net_back_end { NET_VHOST_TAP, NET_PLAIN_TAP, NET_VHOST_USER, NET_STREAM };

struct net {
	struct virtio_device device; /* first; its lock guards the rest */
	enum net_back_end back_end;
	uint8_t mac[NET_MAC_SIZE];
	uint16_t mtu;
	bool link_up;
	struct tap tap;
	struct vhost vhost;
	struct passt passt;
	struct vhost_user vhost_user;
	bool running; /* between activate and reset */
	/* net_path.c */
	int epoll;                /* watches tap or socket; -1 with vhost and vhost-user */
	bool wants_in, wants_out; /* what it watches for */
	bool out_full;            /* the back end takes nothing now; transmission goes on when it does */
	uint8_t *held;            /* NET_PLAIN_TAP: header and frame that were read and have no room yet */
	size_t held_size;         /* 0: none */
	/* of frames to the guest, and from it; with vhost and vhost-user they are not seen here */
	struct net_counters received, sent;
	struct virtq_chain chain; /* scratch */
};

/* What a back end is given of the machine; all of it is borrowed, and outlives the card. */
struct net_memory {
	const struct guest_mem *guest; /* may be NULL without the kernel's vhost-net */
	/* for a process of its own: RAM first. Without any, passt gets a stream */
	const struct vhost_user_region *shared;
	size_t shared_count;
};

/*
 * Opens the back end, starts passt. The memory is the guest's whole memory by now: vhost-net and passt are told of it here, so that an error is one before the
 * guest starts. log outlives the card, and may be NULL when nothing is shared. EXIT_STATUS_HOST or EXIT_STATUS_CONFIG with one line; nothing is left behind.
 * Main thread, before the first vcpu runs; the card must not move afterwards.
 */
int net_init(struct net *net, const struct net_options *options, const struct net_memory *memory, const struct log *log,
	     struct error *err);

/*
 * A card on a stream socket that somebody else serves, for tests; takes fd over, on failure too. Only option, mac, index of the options count.
 */
int net_init_stream(struct net *net, const struct net_options *options, int fd, const struct log *log,
		    struct error *err);

/* Ends the work, passt too. Takes NULL, a zeroed value and one released before. */
void net_release(struct net *net);

/* ---- between net.c and net_path.c; lock held */

/* DRIVER_OK, and reset. */
void net_path_start(struct net *net);
void net_path_stop(struct net *net);
/* As far as it goes: from the back end to the guest, and from the guest to the back end. -EPIPE when the back end is gone. */
int net_path_receive(struct net *net);
int net_path_transmit(struct net *net);
/* One of the two after net->epoll became readable. */
int net_path_ready(struct net *net);
/* The back end is gone: watches nothing and closes it. */
void net_path_close(struct net *net);
/* Makes net->epoll. -errno. Before the rest. */
int net_path_init(struct net *net);
void net_path_release(struct net *net);

#endif
