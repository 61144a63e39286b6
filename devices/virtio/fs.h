/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_FS_H
#define SPMVM_DEVICES_VIRTIO_FS_H

#include <stdbool.h>
#include <stddef.h>

#include "devices/virtio/vhost_user.h"
#include "devices/virtio/virtio.h"
#include "vmm/base/child.h"

/*
 * A folder of the host in the guest (virtio 1.2 §5.11): "mount -t virtiofs TAG /mnt". The work is virtiofsd's, over vhost-user; here are its start,
 * its end and the device's configuration.
 *
 * virtiofsd sees nothing but the folder (a namespace of its own, or at least chroot). For a user who is not root it runs as root of a user namespace: files
 * that the guest's root makes are the user's, and no other guest user can make any. A read-only share is one by a
 * read-only mount in virtiofsd's mount namespace, so the kernel keeps it and not virtiofsd.
 */
enum {
	VIRTIO_FS_TAG_SIZE = 36, /* §5.11.4 */
	VIRTIO_FS_QUEUES = 2,    /* §5.11.2: hiprio, and one request queue: more is not in every virtiofsd */
};

struct virtio_fs_options {
	const char *option;    /* "--share /srv,tag=srv", for messages; borrowed until release */
	const struct log *log; /* not NULL */
	const char *tag;       /* 1 to 36 bytes */
	const char *path;      /* the folder; NULL with socket */
	bool ro;               /* with path only */
	/*
	 * With path only: it lies below an overlay in the guest. So the guest may remember names, attributes and contents for as long as it likes, and is
	 * not told where something is mounted below the folder: overlayfs takes no such place (EREMOTE).
	 */
	bool overlaid;
	const char *socket;  /* of a virtiofsd that runs; NULL with path; borrowed until release */
	const char *program; /* virtiofsd's path, NULL to look for it; one in a folder named qemu is taken for QEMU's */
	unsigned timeout_ms; /* for its start, and for each answer later; 0: VHOST_USER_TIMEOUT_MS */
};

struct virtio_fs {
	struct virtio_device device;
	struct vhost_user vhost;
	struct child child; /* virtiofsd, when it is ours; started, reaped and released in the main thread */
	char tag[VIRTIO_FS_TAG_SIZE];
};

/*
 * Starts virtiofsd or connects to it, and gives it the memory: regions are borrowed until release. Blocks until virtiofsd answers. EXIT_STATUS_CONFIG for a bad tag
 * or options that exclude each other, EXIT_STATUS_HOST for a folder that is not there, a virtiofsd that is not installed (the error
 * names the package) or does not start (the error holds its last line).
 */
int virtio_fs_init(struct virtio_fs *fs, const struct virtio_fs_options *options,
		   const struct vhost_user_region *regions, size_t region_count, struct error *err);

/* Where virtiofsd is on this host, or NULL. */
const char *virtio_fs_find_program(void);

/* Ends virtiofsd. Takes NULL, a zeroed and a released one too. */
void virtio_fs_release(struct virtio_fs *fs);

#endif
