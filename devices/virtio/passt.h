/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_PASST_H
#define SPMVM_DEVICES_VIRTIO_PASST_H

#include "devices/virtio/net_options.h"
#include "devices/virtio/net_stream.h"
#include "vmm/base/child.h"

/*
 * User networking: a passt process (https://passt.top) that turns the guest's frames into ordinary sockets of the host's. It needs no privilege,
 * shuts itself into namespaces and a seccomp filter, and holds the whole TCP state that a hostile guest could attack; that is why it is preferred to libslirp, which
 * would parse the guest's packets in this process. It gives the guest the host's own addresses by DHCP, DHCPv6 and NDP; the guest reaches the host itself as
 * its gateway.
 *
 * Frames go between it and the guest in one of two ways. By vhost-user, passt takes them from the guest's memory and puts them there itself: passt has that
 * since the end of 2024. By a stream socket, each behind its length, every passt takes them from this process, which copies them.
 *
 * passt wants an interface with a default route. On a host without one it is given the loopback interface and the addresses below: the guest then
 * reaches this host, and forwards work.
 */
#define PASST_OFFLINE_GUEST   "10.0.2.15"
#define PASST_OFFLINE_GATEWAY "10.0.2.2"

enum { PASST_MTU = 65520 }; /* what it tells the guest too: large frames do what segmentation offload does elsewhere */

struct passt {
	struct child child;
	struct net_stream stream; /* descriptor -1 with vhost-user */
};

/*
 * Starts it with a stream and waits until it answers (5 s at most). mac is the guest's. EXIT_STATUS_HOST with one line, nothing left behind: -ENOENT without the
 * program (package passt), -EADDRINUSE or -EACCES for a port of a forward, or what passt itself said. Main thread; options and their texts outlive the value.
 */
int passt_start(struct passt *passt, const struct net_options *options, const uint8_t mac[NET_MAC_SIZE],
		const struct log *log, struct error *err);

/*
 * The same with vhost-user; *fd is this end of its socket, the caller's, and the first answer that comes there says that it is up. One that has no vhost-user
 * ends by itself at once. Main thread.
 */
int passt_start_vhost_user(struct passt *passt, const struct net_options *options, const struct log *log, int *fd,
			   struct error *err);

/* Finds passt in $PATH; -ENOENT. */
int passt_find(char *path, size_t size);

/* Ends it. Takes NULL, a zeroed value and one released before. */
void passt_release(struct passt *passt);

#endif
