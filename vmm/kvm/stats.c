/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/io.h"

/* Far above what Linux has: names of 48 bytes, some 60 statistics, histograms of a few KiB. */
enum { DESCRIPTORS_MAX = 1024, NAME_ROOM_MAX = 256, DATA_MAX = 1 << 20 };

void kvm_stats_init(struct kvm_stats *stats)
{
	*stats = (struct kvm_stats){.fd = -1};
}

void kvm_stats_release(struct kvm_stats *stats)
{
	io_close(&stats->fd);
	free(stats->stats);
	free(stats->data);
	kvm_stats_init(stats);
}

static bool is_name(const char *name, size_t room)
{
	size_t length = strnlen(name, room);

	return length > 0 && length < room && length < KVM_STAT_NAME_SIZE &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

/* Takes a statistic of one number; its place must be one that we are ready to read. */
static int take(struct kvm_stats *stats, const uint8_t *at, size_t name_room)
{
	const char *name = (const char *)at + sizeof(struct kvm_stats_desc);
	struct kvm_stat *stat = &stats->stats[stats->count];
	struct kvm_stats_desc descriptor;
	uint32_t type;

	memcpy(&descriptor, at, sizeof(descriptor));
	type = descriptor.flags & KVM_STATS_TYPE_MASK;
	if (descriptor.size != 1 || type > KVM_STATS_TYPE_PEAK || !is_name(name, name_room))
		return 0;
	if (descriptor.offset > DATA_MAX - sizeof(uint64_t))
		return -EPROTO;
	memcpy(stat->name, name, strlen(name) + 1);
	stat->kind = type == KVM_STATS_TYPE_CUMULATIVE ? COUNTER_TOTAL : COUNTER_GAUGE;
	stat->offset = descriptor.offset;
	if (stat->offset + sizeof(uint64_t) > stats->data_size)
		stats->data_size = stat->offset + sizeof(uint64_t);
	stats->count++;
	return 0;
}

static int take_all(struct kvm_stats *stats, const struct kvm_stats_header *header)
{
	size_t stride = sizeof(struct kvm_stats_desc) + header->name_size;
	uint8_t *descriptors = calloc(header->num_desc, stride);
	int code = -ENOMEM;

	stats->stats = calloc(header->num_desc, sizeof(stats->stats[0]));
	if (descriptors != NULL && stats->stats != NULL)
		code = io_pread_all(stats->fd, descriptors, header->num_desc * stride, header->desc_offset);
	for (size_t i = 0; code == 0 && i < header->num_desc; i++)
		code = take(stats, descriptors + i * stride, header->name_size);
	free(descriptors);
	return code;
}

int kvm_stats_load(struct kvm_stats *stats, int stats_fd)
{
	struct kvm_stats_header header = {0};
	int code;

	kvm_stats_init(stats);
	stats->fd = stats_fd;
	code = io_pread_all(stats_fd, &header, sizeof(header), 0);
	if (code == 0 && (header.num_desc == 0 || header.num_desc > DESCRIPTORS_MAX || header.name_size == 0 ||
			  header.name_size > NAME_ROOM_MAX))
		code = -EPROTO;
	if (code == 0)
		code = take_all(stats, &header);
	stats->data_offset = header.data_offset;
	if (code == 0) {
		stats->data = calloc(1, stats->data_size + 1);
		code = stats->data == NULL ? -ENOMEM : 0;
	}
	if (code < 0)
		kvm_stats_release(stats);
	return code;
}

int kvm_stats_open(struct kvm_stats *stats, int fd)
{
	int stats_fd = ioctl(fd, KVM_GET_STATS_FD, NULL);

	if (stats_fd < 0) {
		kvm_stats_init(stats);
		return -errno;
	}
	/* what KVM opens it with has differed */
	fcntl(stats_fd, F_SETFD, FD_CLOEXEC);
	return kvm_stats_load(stats, stats_fd);
}

int kvm_stats_read(const struct kvm_stats *stats)
{
	return io_pread_all(stats->fd, stats->data, stats->data_size, stats->data_offset);
}

uint64_t kvm_stats_value(const struct kvm_stats *stats, size_t index)
{
	uint64_t value;

	memcpy(&value, stats->data + stats->stats[index].offset, sizeof(value));
	return value;
}
