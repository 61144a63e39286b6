/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/base/io.h"

static int open_error(const char *path, const char *module, const char *option, int code, struct error *err)
{
	switch (code) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return error_set(err, EXIT_STATUS_HOST, code, "%s: the host has no %s; load the module: modprobe %s",
				 option, path, module);
	case EACCES:
	case EPERM:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: no permission for %s; be root or in its group (often kvm: usermod -aG kvm $USER)",
				 option, path);
	default:
		return error_set(err, EXIT_STATUS_HOST, code, "%s: cannot open %s: %s", option, path, strerror(code));
	}
}

int vhost_open(struct vhost *vhost, const char *path, const char *module, const char *option, struct error *err)
{
	uint64_t features = 0;
	int code;

	*vhost = (struct vhost){.fd = -1, .error_fd = -1, .path = path};
	vhost->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (vhost->fd < 0)
		return open_error(path, module, option, errno, err);
	vhost->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vhost->error_fd < 0 || ioctl(vhost->fd, VHOST_GET_FEATURES, &features) < 0) {
		code = error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot set up %s: %s", option, path,
				 strerror(errno));
		vhost_release(vhost);
		return code;
	}
	vhost->features = features;
	return 0;
}

void vhost_release(struct vhost *vhost)
{
	if (vhost == NULL || vhost->path == NULL)
		return;
	io_close(&vhost->fd);
	io_close(&vhost->error_fd);
	vhost->path = NULL;
}

static int set_memory(const struct vhost *vhost, const struct guest_mem *mem, const char *option, struct error *err)
{
	struct vhost_memory *table = calloc(1, sizeof(*table) + mem->count * sizeof(table->regions[0]));
	int code = 0;

	if (table == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory");
	table->nregions = (uint32_t)mem->count;
	for (size_t i = 0; i < mem->count; i++) {
		table->regions[i].guest_phys_addr = mem->runs[i].gpa.start;
		table->regions[i].memory_size = mem->runs[i].gpa.size;
		table->regions[i].userspace_addr = (uintptr_t)mem->runs[i].hva;
	}
	if (ioctl(vhost->fd, VHOST_SET_MEM_TABLE, table) < 0)
		code = errno;
	free(table);
	if (code == E2BIG)
		return error_set(
			err, EXIT_STATUS_CONFIG, E2BIG,
			"%s: the guest's memory is in %zu separate runs, %s takes %d; let SPM blocks touch each "
			"other (no addr=), or raise the module's bound: modprobe vhost max_mem_regions=%zu",
			option, mem->count, vhost->path, VHOST_REGIONS_MAX, mem->count);
	if (code != 0)
		return error_set(err, EXIT_STATUS_HOST, code, "%s: %s does not take the guest's memory: %s", option,
				 vhost->path, strerror(code));
	return 0;
}

int vhost_begin(const struct vhost *vhost, const struct guest_mem *mem, const char *option, struct error *err)
{
	if (ioctl(vhost->fd, VHOST_SET_OWNER) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot set up %s: %s", option, vhost->path,
				 strerror(errno));
	return set_memory(vhost, mem, option, err);
}

int vhost_set_features(const struct vhost *vhost, uint64_t accepted)
{
	uint64_t features = accepted & vhost->features;

	return ioctl(vhost->fd, VHOST_SET_FEATURES, &features) < 0 ? -errno : 0;
}

int vhost_set_queue(const struct vhost *vhost, const struct virtio_device *device, unsigned index)
{
	const struct virtq *queue = &device->queues[index];
	const struct vhost_vring_state size = {.index = index, .num = queue->size};
	const struct vhost_vring_state base = {.index = index, .num = 0};
	const struct vhost_vring_addr addr = {
		.index = index,
		.desc_user_addr = (uintptr_t)queue->descriptor_table,
		.avail_user_addr = (uintptr_t)queue->available_ring,
		.used_user_addr = (uintptr_t)queue->used_ring,
	};
	const struct vhost_vring_file error = {.index = index, .fd = vhost->error_fd};
	/* VHOST_FILE_UNBIND, which swallows interrupts, is -1 as an unset eventfd is */
	const struct vhost_vring_file call = {.index = index, .fd = device->irq.eventfd};
	const struct vhost_vring_file kick = {.index = index, .fd = device->kick_fds[index]};

	if (ioctl(vhost->fd, VHOST_SET_VRING_NUM, &size) < 0 || ioctl(vhost->fd, VHOST_SET_VRING_BASE, &base) < 0 ||
	    ioctl(vhost->fd, VHOST_SET_VRING_ADDR, &addr) < 0 || ioctl(vhost->fd, VHOST_SET_VRING_ERR, &error) < 0 ||
	    ioctl(vhost->fd, VHOST_SET_VRING_CALL, &call) < 0 || ioctl(vhost->fd, VHOST_SET_VRING_KICK, &kick) < 0)
		return -errno;
	return 0;
}

void vhost_unset_queue(const struct vhost *vhost, unsigned index)
{
	const struct vhost_vring_file none = {.index = index, .fd = VHOST_FILE_UNBIND};

	/* neither can fail for a queue that is stopped, and there is nobody to tell */
	(void)ioctl(vhost->fd, VHOST_SET_VRING_KICK, &none);
	(void)ioctl(vhost->fd, VHOST_SET_VRING_CALL, &none);
	(void)vhost_failed(vhost);
}

int vhost_net_set_back_end(const struct vhost *vhost, unsigned index, int fd)
{
	const struct vhost_vring_file file = {.index = index, .fd = fd};

	return ioctl(vhost->fd, VHOST_NET_SET_BACKEND, &file) < 0 ? -errno : 0;
}

int vhost_vsock_set_running(const struct vhost *vhost, bool running)
{
	int on = running;

	return ioctl(vhost->fd, VHOST_VSOCK_SET_RUNNING, &on) < 0 ? -errno : 0;
}

int vhost_vsock_set_cid(const struct vhost *vhost, uint64_t cid)
{
	return ioctl(vhost->fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ? -errno : 0;
}

bool vhost_failed(const struct vhost *vhost)
{
	uint64_t count;

	return vhost->error_fd >= 0 && read(vhost->error_fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}
