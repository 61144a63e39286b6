/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/io.h"

/* <net/if.h> has it too, but that header and <linux/if.h> exclude each other */
extern unsigned if_nametoindex(const char *name);

enum { HEADER_SIZE = sizeof(struct virtio_net_hdr_v1) };

static int open_tun(const char *option, struct error *err)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int code = errno;

	if (fd >= 0)
		return fd;
	if (code == ENOENT || code == ENODEV)
		return error_set(err, EXIT_STATUS_HOST, ENODEV,
				 "%s: the host has no /dev/net/tun; load the module: modprobe tun", option);
	if (code == EACCES || code == EPERM)
		return error_set(
			err, EXIT_STATUS_HOST, code,
			"%s: no permission for /dev/net/tun; chmod 0666 /dev/net/tun, be root, or use --net user",
			option);
	return error_set(err, EXIT_STATUS_HOST, code, "%s: cannot open /dev/net/tun: %s", option, strerror(code));
}

static int attach_error(const char *name, const char *option, int code, struct error *err)
{
	switch (code) {
	case EBUSY:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: tap %s is in use by another process; end that one or make another: ip tuntap add "
				 "dev NAME mode tap",
				 option, name);
	case EPERM:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: tap %s belongs to another user; make it yours: ip tuntap del dev %s mode tap && "
				 "ip tuntap add dev %s mode tap user $USER",
				 option, name, name, name);
	case EINVAL:
		return error_set(
			err, EXIT_STATUS_HOST, code,
			"%s: %s is not a tap with one queue; make one under another name: ip tuntap add dev NAME "
			"mode tap",
			option, name);
	default:
		return error_set(err, EXIT_STATUS_HOST, code, "%s: cannot attach to tap %s: %s", option, name,
				 strerror(code));
	}
}

/* MTU and state; what cannot be read stays at what most interfaces have. */
static void look(struct tap *tap, const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	tap->mtu = 1500;
	tap->up = true;
	if (fd < 0)
		return;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(fd, SIOCGIFMTU, &request) == 0 && request.ifr_mtu >= 68 && request.ifr_mtu <= UINT16_MAX)
		tap->mtu = (uint16_t)request.ifr_mtu;
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0)
		tap->up = (request.ifr_flags & IFF_UP) != 0;
	close(fd);
}

int tap_open(struct tap *tap, const char *name, const char *option, struct error *err)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int header = HEADER_SIZE, fd, code;

	*tap = (struct tap){.fd = -1};
	fd = open_tun(option, err);
	if (fd < 0)
		return fd;
	/* TUNSETIFF would make an interface that nobody has connected to anything */
	if (if_nametoindex(name) == 0) {
		close(fd);
		return error_set(
			err, EXIT_STATUS_HOST, ENODEV,
			"%s: the host has no interface %s; make it: ip tuntap add dev %s mode tap user $USER && "
			"ip link set %s up",
			option, name, name, name);
	}
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		code = attach_error(name, option, errno, err);
		close(fd);
		return code;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) {
		code = error_set(err, EXIT_STATUS_HOST, errno, "%s: tap %s cannot carry virtio headers: %s", option,
				 name, strerror(errno));
		close(fd);
		return code;
	}
	tap->fd = fd;
	look(tap, name);
	return 0;
}

void tap_release(struct tap *tap)
{
	if (tap != NULL)
		io_close(&tap->fd);
}

int tap_set_offloads(const struct tap *tap, uint64_t features)
{
	static const struct {
		unsigned feature, flag;
	} table[] = {
		{VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
		{VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
		{VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
		{VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO},
	};
	unsigned long flags = 0;

	/* each of the others needs checksum offload (§5.1.3.1), for the kernel too */
	if ((features >> VIRTIO_NET_F_GUEST_CSUM & 1) != 0) {
		flags = TUN_F_CSUM;
		for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
			flags |= (features >> table[i].feature & 1) != 0 ? table[i].flag : 0;
		/* ECN is a property of TSO and is refused without it */
		if ((flags & (TUN_F_TSO4 | TUN_F_TSO6)) == 0)
			flags &= ~(unsigned long)TUN_F_TSO_ECN;
	}
	return ioctl(tap->fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}
