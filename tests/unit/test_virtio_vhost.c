/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's back ends (vhost-net, vhost-vsock) against a fake kernel: open(), ioctl() and if_nametoindex() are this file's (-Wl,--wrap). It notes
 * the calls, keeps the rules of drivers/vhost, and fails the nth call on demand.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "devices/virtio/net.h"
#include "devices/virtio/vsock.h"
#include "tests/unit/counted.h"
#include "tests/unit/virtio_driver.h"

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, void *argument);
unsigned __wrap_if_nametoindex(const char *name);

#define FEATURES                                                                                                       \
	(UINT64_C(1) << 15 | UINT64_C(1) << 26 | UINT64_C(1) << 1 | VIRTIO_FEATURE_INDIRECT_DESC |                     \
	 VIRTIO_FEATURE_EVENT_IDX | VIRTIO_FEATURE_VERSION_1)

/* What a test has set and what the code under test has done. One thread. */
static struct kernel {
	int open_error;           /* errno of opening /dev/vhost-*, or 0 */
	unsigned fail_nth, calls; /* 0: never */
	int fail_with;
	bool owner, has_memory, running; /* running: vsock, or both queues of net have a back end */
	bool cid_taken;
	uint64_t features, offered, cid;
	struct {
		unsigned size;
		bool addressed;
		int kick, call, error, back_end;
		struct vhost_vring_addr addr;
	} queues[2];
	unsigned region_count;
	struct vhost_memory_region regions[4];
	unsigned long offloads;
	int tap, header_size, set_flags;
} kernel;

static void kernel_reset(void)
{
	kernel = (struct kernel){.offered = FEATURES, .tap = -1};
	for (unsigned i = 0; i < 2; i++)
		kernel.queues[i].kick = kernel.queues[i].call = kernel.queues[i].error = kernel.queues[i].back_end = -1;
}

int __wrap_open(const char *path, int flags, ...)
{
	if (strncmp(path, "/dev/vhost-", 11) == 0) {
		if (kernel.open_error != 0) {
			errno = kernel.open_error;
			return -1;
		}
		return eventfd(0, EFD_CLOEXEC);
	}
	if (strcmp(path, "/dev/net/tun") == 0)
		return kernel.tap = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return __real_open(path, flags, 0600);
}

unsigned __wrap_if_nametoindex(const char *name)
{
	return strcmp(name, "tap0") == 0;
}

static int refuse(int code)
{
	errno = code;
	return -1;
}

static bool queue_is_set(unsigned i)
{
	return kernel.queues[i].size > 0 && kernel.queues[i].addressed;
}

static int set_running(int on)
{
	if (on != 0 && (!queue_is_set(0) || !queue_is_set(1) || !kernel.has_memory))
		return refuse(EFAULT);
	kernel.running = on != 0;
	return 0;
}

static int set_back_end(const struct vhost_vring_file *file)
{
	if (file->fd >= 0 && (!queue_is_set(file->index) || !kernel.has_memory || file->fd != kernel.tap))
		return refuse(EFAULT);
	kernel.queues[file->index].back_end = file->fd;
	kernel.running = kernel.queues[0].back_end >= 0 || kernel.queues[1].back_end >= 0;
	return 0;
}

/* A file of a queue; eventfds must be open. */
static int set_file(int *place, int fd)
{
	if (fd >= 0 && fcntl(fd, F_GETFD) < 0)
		return refuse(EBADF);
	*place = fd;
	return 0;
}

static int set_memory(const struct vhost_memory *table)
{
	if (table->nregions > VHOST_REGIONS_MAX)
		return refuse(E2BIG);
	if (kernel.running)
		return refuse(EBUSY);
	kernel.region_count = table->nregions;
	memcpy(kernel.regions, table->regions,
	       (table->nregions < 4 ? table->nregions : 4) * sizeof(struct vhost_memory_region));
	kernel.has_memory = true;
	return 0;
}

static int vhost_ioctl(unsigned long request, void *argument)
{
	const struct vhost_vring_state *state = argument;
	const struct vhost_vring_file *file = argument;

	if (request == VHOST_SET_OWNER)
		return kernel.owner ? refuse(EBUSY) : (kernel.owner = true, 0);
	if (request == VHOST_GET_FEATURES) {
		*(uint64_t *)argument = kernel.offered;
		return 0;
	}
	if (request == VHOST_VSOCK_SET_GUEST_CID) {
		kernel.cid = *(uint64_t *)argument;
		return kernel.cid_taken ? refuse(EADDRINUSE) : 0;
	}
	if (!kernel.owner)
		return refuse(EPERM);
	switch (request) {
	case VHOST_SET_FEATURES:
		kernel.features = *(uint64_t *)argument;
		return (kernel.features & ~kernel.offered) != 0 ? refuse(EOPNOTSUPP) : 0;
	case VHOST_SET_MEM_TABLE:
		return set_memory(argument);
	case VHOST_SET_VRING_NUM:
		if (kernel.running)
			return refuse(EBUSY);
		kernel.queues[state->index].size = state->num;
		return 0;
	case VHOST_SET_VRING_BASE:
		return kernel.running || state->num != 0 ? refuse(EBUSY) : 0;
	case VHOST_SET_VRING_ADDR:
		kernel.queues[state->index].addr = *(const struct vhost_vring_addr *)argument;
		kernel.queues[state->index].addressed = true;
		return 0;
	case VHOST_SET_VRING_KICK:
		return set_file(&kernel.queues[file->index].kick, file->fd);
	case VHOST_SET_VRING_CALL:
		return set_file(&kernel.queues[file->index].call, file->fd);
	case VHOST_SET_VRING_ERR:
		return set_file(&kernel.queues[file->index].error, file->fd);
	case VHOST_NET_SET_BACKEND:
		return set_back_end(argument);
	case VHOST_VSOCK_SET_RUNNING:
		return set_running(*(int *)argument);
	default:
		return refuse(ENOTTY);
	}
}

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	(void)fd;
	if (++kernel.calls == kernel.fail_nth)
		return refuse(kernel.fail_with);
	switch (request) {
	case TUNSETIFF:
		memcpy(&kernel.set_flags, (uint8_t *)argument + 16, sizeof(short));
		return 0;
	case TUNSETVNETHDRSZ:
		kernel.header_size = *(int *)argument;
		return 0;
	case TUNSETOFFLOAD:
		kernel.offloads = (unsigned long)(uintptr_t)argument;
		return 0;
	default:
		return (request >> 8 & 0xff) == VHOST_VIRTIO ? vhost_ioctl(request, argument) : refuse(ENODEV);
	}
}

/* ---- */

static struct guest_mem_run RUN = {.gpa = {0x100000, 0x1000000}};
static const struct guest_mem MEM = {.runs = &RUN, .count = 1, .capacity = 1};
static const struct net_memory NET_MEMORY = {.guest = &MEM};
static const struct vsock_options VSOCK = {.option = "--vsock cid=42", .cid = 42};

static struct net_options tap_options(void)
{
	return (struct net_options){.option = "--net tap=tap0", .kind = NET_TAP, .tap = "tap0", .vhost = NET_VHOST_ON};
}

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int begin(struct virtio_device *device, struct error *err)
{
	return device->class->begin(device, err);
}

static void expect_vsock_error(int code, const char *text)
{
	struct error err = {0};
	struct vsock vsock;
	int fds = count_fds();

	assert_int_equal(vsock_init(&vsock, &VSOCK, &MEM, NULL, &err), code);
	print_message("%s\n", err.text);
	assert_non_null(strstr(err.text, text));
	assert_int_equal(count_fds(), fds);
	vsock_release(&vsock);
}

static void test_vsock_errors(void **state)
{
	static const uint64_t bad[] = {0, 1, 2, 0xffffffff, 0x100000003, UINT64_MAX};
	static const struct guest_mem_run runs[VHOST_REGIONS_MAX + 1];
	union {
		const struct guest_mem_run *in;
		struct guest_mem_run *out;
	} scattered = {.in = runs};
	const struct guest_mem many = {.runs = scattered.out, .count = VHOST_REGIONS_MAX + 1};
	struct error err = {0};
	struct vsock vsock;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vsock_options options = {.option = "--vsock", .cid = bad[i]};

		kernel_reset();
		assert_int_equal(vsock_init(&vsock, &options, &MEM, NULL, &err), -ERANGE);
		assert_int_equal(err.status, EXIT_STATUS_CONFIG);
		vsock_release(&vsock);
	}
	kernel_reset();
	kernel.open_error = ENOENT;
	expect_vsock_error(-ENOENT, "modprobe vhost_vsock");
	kernel.open_error = EACCES;
	expect_vsock_error(-EACCES, "usermod -aG kvm");
	kernel_reset();
	kernel.cid_taken = true;
	expect_vsock_error(-EADDRINUSE, "cid 42 is in use");
	kernel_reset();
	assert_int_equal(vsock_init(&vsock, &VSOCK, &many, NULL, &err), 0);
	assert_int_equal(begin(&vsock.device, &err), -E2BIG);
	print_message("%s\n", err.text);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	assert_non_null(strstr(err.text, "65 separate runs"));
	vsock_release(&vsock);
}

static void check_queues(const struct virtio_driver *driver)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct driver_queue *queue = &driver->queues[i];

		assert_int_equal(kernel.queues[i].size, queue->size);
		assert_int_equal(kernel.queues[i].kick, driver->device->kick_fds[i]);
		assert_int_equal(kernel.queues[i].call, driver->irq);
		assert_int_equal(kernel.queues[i].error, driver->device->watch_fds[0] >= 0
								 ? driver->device->watch_fds[0]
								 : driver->device->watch_fds[1]);
		assert_ptr_equal((void *)(uintptr_t)kernel.queues[i].addr.desc_user_addr,
				 driver_at(driver, queue->descriptors));
		assert_ptr_equal((void *)(uintptr_t)kernel.queues[i].addr.avail_user_addr,
				 driver_at(driver, queue->available));
		assert_ptr_equal((void *)(uintptr_t)kernel.queues[i].addr.used_user_addr,
				 driver_at(driver, queue->used));
	}
}

static void expect_stopped(void)
{
	assert_false(kernel.running);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(kernel.queues[i].kick, -1);
		assert_int_equal(kernel.queues[i].call, -1);
	}
}

/* The kernel says that a ring is broken; the guest resets; it goes on. */
static void break_ring(struct virtio_driver *driver)
{
	const uint64_t one = 1;

	assert_int_equal(write(kernel.queues[0].error, &one, sizeof(one)), sizeof(one));
	driver_work(driver, 10);
	assert_true(driver_needs_reset(driver));
	expect_stopped();
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 64));
	assert_true(kernel.running);
	/* what it said before a reset is no word on what runs after it */
	assert_int_equal(write(kernel.queues[0].error, &one, sizeof(one)), sizeof(one));
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 64));
	driver_work(driver, 10);
	assert_false(driver_needs_reset(driver));
	assert_true(kernel.running);
	/* the same when the reason was not the kernel's */
	pthread_mutex_lock(&driver->device->lock);
	virtio_needs_reset(driver->device, "a test");
	pthread_mutex_unlock(&driver->device->lock);
	expect_stopped();
	assert_true(driver_start(driver, DRIVER_ALL_FEATURES, 64));
	assert_true(kernel.running);
	assert_int_equal(counted(driver->device, "needs_resets", NULL), 2);
	/* what the kernel does is not seen here, and nothing is said of it: not that it was nothing */
	assert_int_equal(counted(driver->device, "kicks", NULL), NOT_COUNTED);
	assert_int_equal(counted(driver->device, "frames", "to_guest"), NOT_COUNTED);
}

static void test_vsock(void **state)
{
	struct virtio_driver driver;
	struct error err = {0};
	struct vsock vsock;
	uint64_t cid;

	(void)state;
	kernel_reset();
	assert_int_equal(vsock_init(&vsock, &VSOCK, &MEM, NULL, &err), 0);
	assert_int_equal(kernel.cid, 42);
	/* the thread that the kernel makes for its owner comes later */
	assert_false(kernel.owner);
	assert_int_equal(begin(&vsock.device, &err), 0);
	assert_int_equal(kernel.region_count, 1);
	assert_int_equal(kernel.regions[0].guest_phys_addr, 0x100000);
	driver_init(&driver, &vsock.device);
	assert_true(driver_start(&driver, DRIVER_ALL_FEATURES, 64));
	assert_true(kernel.running);
	assert_int_equal(driver_read(&driver, DRIVER_REG_DEVICE_ID), 19);
	driver_read_config(&driver, 0, &cid, sizeof(cid));
	assert_int_equal(cid, 42);
	/* VERSION_1, EVENT_IDX, INDIRECT, SEQPACKET; nothing that was not accepted */
	assert_int_equal(kernel.features, UINT64_C(1) << 32 | 1 << 29 | 1 << 28 | 1 << 1);
	check_queues(&driver);
	/* the kernel interrupts behind our back */
	assert_int_equal(driver_read(&driver, DRIVER_REG_INTERRUPT_STATUS) & 1, 1);
	break_ring(&driver);
	driver_reset(&driver);
	expect_stopped();
	/* a driver that leaves a queue out */
	assert_true(driver_probe(&driver, DRIVER_ALL_FEATURES));
	driver_setup_queue(&driver, 0, 64);
	driver_add_status(&driver, VIRTIO_STATUS_DRIVER_OK);
	assert_true(driver_needs_reset(&driver));
	assert_false(kernel.running);
	assert_true(driver_start(&driver, DRIVER_ALL_FEATURES, 64));
	vsock_release(&vsock);
	expect_stopped();
	vsock_release(&vsock);
	driver_release(&driver);
}

static void test_net(void **state)
{
	struct net_options options = tap_options();
	struct virtio_driver driver;
	struct error err = {0};
	struct net *net = calloc(1, sizeof(*net));

	(void)state;
	kernel_reset();
	assert_int_equal(net_init(net, &options, &NET_MEMORY, NULL, &err), 0);
	assert_int_equal(net->back_end, NET_VHOST_TAP);
	assert_false(kernel.owner);
	assert_int_equal(begin(&net->device, &err), 0);
	assert_int_equal(kernel.header_size, 12);
	assert_int_equal(kernel.set_flags & 0xffff, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	driver_init(&driver, &net->device);
	assert_true(driver_start(&driver, DRIVER_ALL_FEATURES, 256));
	assert_true(kernel.running);
	check_queues(&driver);
	assert_int_equal(kernel.queues[0].back_end, kernel.tap);
	assert_int_equal(kernel.queues[1].back_end, kernel.tap);
	/* checksums and segmentation are the tap's, the kernel's back end hears of the rings alone */
	assert_int_equal(kernel.features, UINT64_C(1) << 32 | 1 << 29 | 1 << 28 | 1 << 15 | 1 << 1);
	assert_int_equal(kernel.offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO);
	assert_null(net->device.class->kick);
	break_ring(&driver);
	/* fewer features, fewer offloads: TSO without checksums is nothing */
	assert_true(driver_start(&driver, VIRTIO_FEATURE_VERSION_1 | 1 << 7, 64));
	assert_int_equal(kernel.offloads, 0);
	assert_int_equal(kernel.features, VIRTIO_FEATURE_VERSION_1);
	assert_true(driver_start(&driver, VIRTIO_FEATURE_VERSION_1 | 1 << 1 | 1 << 9, 64));
	assert_int_equal(kernel.offloads, TUN_F_CSUM);
	/* a driver that leaves a queue out runs with the other */
	assert_true(driver_probe(&driver, DRIVER_ALL_FEATURES));
	driver_setup_queue(&driver, 1, 64);
	driver_add_status(&driver, VIRTIO_STATUS_DRIVER_OK);
	assert_int_equal(kernel.queues[0].back_end, -1);
	assert_int_equal(kernel.queues[1].back_end, kernel.tap);
	net_release(net);
	expect_stopped();
	net_release(net);
	driver_release(&driver);
	free(net);
}

static void test_old_kernel(void **state)
{
	struct net_options options = tap_options();
	struct error err = {0};
	struct net *net = calloc(1, sizeof(*net));
	int fds;

	(void)state;
	fds = count_fds();
	kernel_reset();
	kernel.offered &= ~VIRTIO_FEATURE_VERSION_1;
	assert_int_equal(net_init(net, &options, &NET_MEMORY, NULL, &err), -ENOTSUP);
	assert_int_equal(count_fds(), fds);
	kernel_reset();
	kernel.offered &= ~VIRTIO_FEATURE_EVENT_IDX;
	assert_int_equal(net_init(net, &options, &NET_MEMORY, NULL, &err), 0);
	assert_int_equal(net->device.offered & VIRTIO_FEATURE_EVENT_IDX, 0);
	net_release(net);
	/* AUTO falls back */
	kernel_reset();
	kernel.open_error = ENOENT;
	options.vhost = NET_VHOST_AUTO;
	assert_int_equal(net_init(net, &options, &NET_MEMORY, NULL, &err), 0);
	assert_int_equal(net->back_end, NET_PLAIN_TAP);
	net_release(net);
	assert_int_equal(count_fds(), fds);
	free(net);
}

/* The nth call to the kernel fails: an error with nothing left behind, or a device that waits for a reset and starts after it. */
static void test_fail_nth(void **state)
{
	struct net_options options = tap_options();
	struct error err = {0};
	struct net *net = calloc(1, sizeof(*net));
	int fds = count_fds();
	unsigned failures = 0, broken = 0;

	(void)state;
	for (unsigned nth = 1; nth < 64; nth++) {
		struct virtio_driver driver;
		bool started;

		kernel_reset();
		kernel.fail_nth = nth;
		kernel.fail_with = EIO;
		if (net_init(net, &options, &NET_MEMORY, NULL, &err) < 0) {
			failures++;
			assert_int_equal(count_fds(), fds);
			net_release(net);
			continue;
		}
		if (begin(&net->device, &err) < 0) {
			failures++;
			net_release(net);
			assert_int_equal(count_fds(), fds);
			continue;
		}
		driver_init(&driver, &net->device);
		started = driver_start(&driver, DRIVER_ALL_FEATURES, 64);
		if (!started) {
			broken++;
			assert_true(driver_needs_reset(&driver));
			expect_stopped();
			assert_true(driver_start(&driver, DRIVER_ALL_FEATURES, 64));
		}
		assert_true(kernel.running);
		net_release(net);
		driver_release(&driver);
		assert_int_equal(count_fds(), fds);
	}
	assert_true(failures >= 5 && broken >= 10);
	free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vsock_errors), cmocka_unit_test(test_vsock),    cmocka_unit_test(test_net),
		cmocka_unit_test(test_old_kernel),   cmocka_unit_test(test_fail_nth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
