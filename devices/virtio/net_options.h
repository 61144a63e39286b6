/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_NET_OPTIONS_H
#define SPMVM_DEVICES_VIRTIO_NET_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/parse.h"

/*
 * What a network card is made from, and how a person writes it:
 *	--net tap=tap0[,mac=52:54:00:12:34:56][,vhost=on|off]
 *	--net user[,mac=...][,vhost=on|off][,forward=tcp:8080:80+udp:5353:53+tcp:0.0.0.0:2222:22]
 * Pure: nothing here looks at the host but net_mac_default().
 */
enum { NET_MAC_SIZE = 6, NET_FORWARDS_MAX = 64, NET_TAP_NAME_MAX = 15 };

enum net_kind {
	NET_TAP, /* a tap interface of the host, through the kernel's vhost-net when it is there */
	NET_USER /* through passt, a process without privileges */
};

/* Whether frames go past this process: through the kernel's vhost-net with a tap, through passt's vhost-user with user networking. */
enum net_vhost { NET_VHOST_AUTO, NET_VHOST_ON, NET_VHOST_OFF };

/*
 * Connections to a port of the host go to a port of the guest. Without an address the host listens on 127.0.0.1 alone: what a guest serves is not shown
 * to the network unless somebody asks for it (0.0.0.0).
 */
struct net_forward {
	bool udp;
	char address[INET6_ADDRSTRLEN]; /* where the host listens; never empty */
	uint16_t host_port, guest_port; /* not 0 */
};

struct net_options {
	const char *option; /* "--net tap=tap0", for messages; outlives the device */
	enum net_kind kind;
	const char *tap;      /* NET_TAP: the interface's name; borrowed until net_init() returns */
	enum net_vhost vhost; /* ON refuses to run without, AUTO falls back */
	const char *passt;    /* NET_USER: the program's path; NULL searches $PATH */
	unsigned index;       /* which of the machine's cards this is, from 0: makes default MACs differ */
	bool has_mac;         /* else net_mac_default() */
	uint8_t mac[NET_MAC_SIZE];
	size_t forward_count; /* NET_USER only */
	struct net_forward forwards[NET_FORWARDS_MAX];
};

/* "52:54:00:12:34:56": six hexadecimal pairs, not all zero and not a group address (IEEE 802 §8.2.2). EXIT_STATUS_USAGE. */
int net_mac_parse(struct token token, uint8_t mac[NET_MAC_SIZE], struct error *err);

/* An interface name as Linux takes it: 1 to 15 characters without '/', '%', ':' and white space, not "." or "..". EXIT_STATUS_USAGE. */
int net_tap_parse(struct token token, const char **name, struct error *err);

/*
 * "tcp:8080:80", "udp:5353:53", with an address of the host in front of its port "tcp:192.0.2.1:8080:80" or "tcp:[::1]:8080:80", several of
 * them joined by '+'. Adds them to *options. A port of the host that is named twice for one protocol is refused. EXIT_STATUS_USAGE.
 */
int net_forwards_parse(struct token token, struct net_options *options, struct error *err);

/*
 * A locally administered unicast address that is the same every time (a hash of the host's /etc/machine-id, of what the card is connected to and of its
 * number), so that a guest keeps its leases and names; without a machine-id a random one.
 */
void net_mac_default(const struct net_options *options, uint8_t mac[NET_MAC_SIZE]);

#endif
