/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "vmm/base/buf.h"

enum { NAME_ROOM = 48 };

struct made {
	const char *name;
	uint32_t flags;
	uint16_t size;
	uint32_t offset;
};

/* A file as KVM's is: header, id, descriptors, data (api.rst §4.133). */
static int file_of(struct kvm_stats_header header, const struct made *made, size_t count, const uint64_t *data,
		   size_t data_count)
{
	int fd = memfd_create("stats", MFD_CLOEXEC);

	assert_true(fd >= 0);
	header.id_offset = sizeof(header);
	header.desc_offset = sizeof(header) + NAME_ROOM;
	header.data_offset =
		header.desc_offset + (uint32_t)count * (uint32_t)(sizeof(struct kvm_stats_desc) + NAME_ROOM);
	assert_int_equal(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	for (size_t i = 0; i < count; i++) {
		struct kvm_stats_desc descriptor = {
			.flags = made[i].flags, .size = made[i].size, .offset = made[i].offset};
		char name[NAME_ROOM] = {0};
		off_t at = (off_t)(header.desc_offset + i * (sizeof(descriptor) + NAME_ROOM));

		memcpy(name, made[i].name, strnlen(made[i].name, NAME_ROOM));
		assert_int_equal(pwrite(fd, &descriptor, sizeof(descriptor), at), sizeof(descriptor));
		assert_int_equal(pwrite(fd, name, NAME_ROOM, at + (off_t)sizeof(descriptor)), NAME_ROOM);
	}
	if (data_count > 0)
		assert_int_equal(pwrite(fd, data, data_count * 8, header.data_offset), (ssize_t)(data_count * 8));
	return fd;
}

static void numbers_have_names(void **state)
{
	static const struct made MADE[] = {
		{"exits", KVM_STATS_TYPE_CUMULATIVE, 1, 0},
		{"histogram", KVM_STATS_TYPE_LOG_HIST, 2, 8},
		{"guest_mode", KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_BOOLEAN, 1, 24},
		{"max_pages", KVM_STATS_TYPE_PEAK, 1, 32},
		{"Not a name", KVM_STATS_TYPE_CUMULATIVE, 1, 0},
		{"", KVM_STATS_TYPE_CUMULATIVE, 1, 0},
		{"a_name_that_has_no_end_within_its_room__________", KVM_STATS_TYPE_CUMULATIVE, 1, 0},
	};
	const uint64_t data[] = {7, 1, 2, 1, UINT64_MAX}, later[] = {8};
	struct kvm_stats stats;
	int fd = file_of((struct kvm_stats_header){.name_size = NAME_ROOM, .num_desc = 7}, MADE, 7, data, 5);

	(void)state;
	assert_int_equal(kvm_stats_load(&stats, fd), 0);
	assert_int_equal(stats.count, 3);
	assert_int_equal(kvm_stats_read(&stats), 0);
	assert_string_equal(stats.stats[0].name, "exits");
	assert_int_equal(stats.stats[0].kind, COUNTER_TOTAL);
	assert_int_equal(kvm_stats_value(&stats, 0), 7);
	assert_string_equal(stats.stats[1].name, "guest_mode");
	assert_int_equal(stats.stats[1].kind, COUNTER_GAUGE);
	assert_int_equal(kvm_stats_value(&stats, 1), 1);
	assert_string_equal(stats.stats[2].name, "max_pages");
	assert_int_equal(kvm_stats_value(&stats, 2), UINT64_MAX);
	/* read anew each time */
	assert_int_equal(pwrite(fd, later, sizeof(later), (off_t)stats.data_offset), sizeof(later));
	assert_int_equal(kvm_stats_value(&stats, 0), 7);
	assert_int_equal(kvm_stats_read(&stats), 0);
	assert_int_equal(kvm_stats_value(&stats, 0), 8);
	kvm_stats_release(&stats);
	kvm_stats_release(&stats);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void what_breaks_the_format_is_refused(void **state)
{
	static const struct made GOOD[] = {{"exits", KVM_STATS_TYPE_CUMULATIVE, 1, 0}};
	static const struct made FAR[] = {{"exits", KVM_STATS_TYPE_CUMULATIVE, 1, UINT32_MAX - 7}};
	const struct {
		struct kvm_stats_header header;
		const struct made *made;
		int code;
	} cases[] = {
		{{.name_size = 0, .num_desc = 1}, GOOD, -EPROTO},
		{{.name_size = 257, .num_desc = 1}, GOOD, -EPROTO},
		{{.name_size = NAME_ROOM, .num_desc = 0}, GOOD, -EPROTO},
		{{.name_size = NAME_ROOM, .num_desc = UINT32_MAX}, GOOD, -EPROTO},
		{{.name_size = NAME_ROOM, .num_desc = 2}, GOOD, -EIO}, /* the file ends in the second */
		{{.name_size = NAME_ROOM, .num_desc = 1}, FAR, -EPROTO},
	};
	struct kvm_stats stats;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fd = file_of(cases[i].header, cases[i].made, 1, NULL, 0);
		assert_int_equal(kvm_stats_load(&stats, fd), cases[i].code);
		assert_int_equal(stats.fd, -1);
		assert_null(stats.stats);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
	/* descriptors, but no data */
	fd = file_of((struct kvm_stats_header){.name_size = NAME_ROOM, .num_desc = 1}, GOOD, 1, NULL, 0);
	assert_int_equal(kvm_stats_load(&stats, fd), 0);
	assert_int_equal(kvm_stats_read(&stats), -EIO);
	kvm_stats_release(&stats);
	assert_int_equal(kvm_stats_load(&stats, memfd_create("empty", MFD_CLOEXEC)), -EIO);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(kvm_stats_open(&stats, fd), -ENOTTY);
	assert_int_equal(stats.fd, -1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_names),
		cmocka_unit_test(what_breaks_the_format_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
