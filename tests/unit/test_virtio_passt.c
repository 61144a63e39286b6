/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User networking with the real passt: what it needs, what it answers, how it ends; skipped, and said so, where passt is not installed. And with one that is this
 * program again (pretend()), for vhost-user, which the passt of Debian 12 does not have.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/virtio/net.h"
#include "tests/unit/vhost_user_back_end.h"

enum { RX = 0, TX = 1, HEADER = NET_HEADER_SIZE, QUEUE = 16, FRAME = 2048 };

static const uint8_t MAC[NET_MAC_SIZE] = {0x52, 0x54, 0, 1, 2, 3};

/* The two ways of frames: the state of a test that runs with each. */
static enum net_vhost by_stream = NET_VHOST_OFF, by_vhost_user = NET_VHOST_ON;

static bool have_passt(enum net_vhost vhost)
{
	/* as vhost-user.rst has it of every back end, "Backend program conventions" */
	const char *command = vhost == NET_VHOST_ON ? "passt --print-capabilities >/dev/null 2>&1"
						    : "command -v passt >/dev/null 2>&1";

	if (system(command) == 0)
		return true;
	print_message("SKIPPED: there is no passt%s\n", vhost == NET_VHOST_ON ? " with vhost-user" : "");
	return false;
}

static struct net_options user_options(enum net_vhost vhost)
{
	struct net_options options = {.option = "--net user", .kind = NET_USER, .has_mac = true, .vhost = vhost};

	memcpy(options.mac, MAC, sizeof(MAC));
	return options;
}

static void add_forward(struct net_options *options, const char *text)
{
	struct error err;

	assert_int_equal(net_forwards_parse((struct token){text, 1}, options, &err), 0);
}

struct guest {
	struct net net;
	struct virtio_driver driver;
	struct vhost_user_region region;
	struct log log;
	uint64_t rx_gpa[QUEUE];
};

static void give(struct guest *guest)
{
	uint64_t gpa = driver_alloc(&guest->driver, FRAME, 16);
	int head = driver_add(&guest->driver, RX, &(struct driver_buffer){gpa, FRAME, true}, 1);

	assert_true(head >= 0);
	guest->rx_gpa[head] = gpa;
	driver_kick(&guest->driver, RX);
}

static struct guest *guest_new(const struct net_options *options)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct net_memory memory;
	struct error err = {0};
	int code;

	assert_non_null(guest);
	driver_init(&guest->driver, NULL);
	guest->region = (struct vhost_user_region){.gpa = DRIVER_GPA,
						   .size = DRIVER_MEMORY,
						   .fd = guest->driver.memfd,
						   .hva = guest->driver.mem.runs[0].hva,
						   .id = "ram0"};
	memory = (struct net_memory){&guest->driver.mem, &guest->region, 1};
	guest->log = (struct log){.level = LOG_WARN, .fd = STDERR_FILENO};
	code = net_init(&guest->net, options, &memory, &guest->log, &err);
	if (code < 0)
		fail_msg("%s", err.text);
	driver_attach(&guest->driver, &guest->net.device);
	assert_true(driver_start(&guest->driver, DRIVER_ALL_FEATURES, QUEUE));
	for (unsigned i = 0; i < QUEUE; i++)
		give(guest);
	return guest;
}

static void guest_free(struct guest *guest)
{
	net_release(&guest->net);
	driver_release(&guest->driver);
	free(guest);
}

static void guest_send(struct guest *guest, const uint8_t *frame, uint32_t size)
{
	uint64_t gpa = driver_alloc(&guest->driver, HEADER + size, 16);

	memcpy(driver_at(&guest->driver, gpa + HEADER), frame, size);
	assert_true(driver_add(&guest->driver, TX, &(struct driver_buffer){gpa, HEADER + size, false}, 1) >= 0);
	driver_kick(&guest->driver, TX);
}

/* The next frame of the wanted EtherType and, for IPv4, protocol, within 2 s; NULL when there is none. Good until the next call. */
static const uint8_t *guest_receive(struct guest *guest, uint16_t type, uint8_t protocol, size_t *size)
{
	for (unsigned round = 0; round < 200; round++) {
		uint32_t written;
		int head;

		driver_work_once(&guest->driver, 10);
		while ((head = driver_take(&guest->driver, RX, &written)) >= 0) {
			const uint8_t *frame = driver_at(&guest->driver, guest->rx_gpa[head]);

			frame += HEADER;
			give(guest);
			if ((uint16_t)(frame[12] << 8 | frame[13]) != type)
				continue;
			if (type == 0x0800 && frame[23] != protocol)
				continue;
			*size = written - HEADER;
			return frame;
		}
	}
	return NULL;
}

static void put_u16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t checksum(const uint8_t *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Asks by DHCP (RFC 2131) for an address; that of the guest and of the gateway. */
static void dhcp(struct guest *guest, uint8_t address[4], uint8_t gateway[4])
{
	uint8_t frame[342] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t *ip = frame + 14, *udp = ip + 20, *bootp = udp + 8, *option;
	const uint8_t *answer, *end;
	size_t size;

	memcpy(frame + 6, MAC, 6);
	put_u16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put_u16(ip + 2, sizeof(frame) - 14);
	ip[8] = 64;
	ip[9] = 17;
	memset(ip + 16, 0xff, 4);
	put_u16(ip + 10, checksum(ip, 20));
	put_u16(udp, 68);
	put_u16(udp + 2, 67);
	put_u16(udp + 4, sizeof(frame) - 34);
	bootp[0] = bootp[1] = 1;
	bootp[2] = 6;
	memcpy(bootp + 28, MAC, 6);
	memcpy(bootp + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8); /* magic, DISCOVER, end */
	guest_send(guest, frame, sizeof(frame));
	answer = guest_receive(guest, 0x0800, 17, &size);
	assert_non_null(answer);
	assert_true(size >= 282);
	assert_memory_equal(answer, MAC, 6);
	memcpy(address, answer + 42 + 16, 4);
	end = answer + size;
	memset(gateway, 0, 4);
	for (option = (uint8_t *)(uintptr_t)(answer + 42 + 240); option + 6 <= end && *option != 0xff;
	     option += 2 + option[1]) {
		if (option[0] == 3)
			memcpy(gateway, option + 2, 4);
	}
}

static void test_arp_and_dhcp(void **state)
{
	const enum net_vhost *vhost = *state;
	struct net_options options = user_options(*vhost);
	static const uint8_t asked[4] = {10, 1, 2, 3};
	uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, address[4], gateway[4];
	struct guest *guest;
	const uint8_t *answer;
	size_t size;

	if (!have_passt(*vhost))
		skip();
	guest = guest_new(&options);
	memcpy(arp + 6, MAC, 6);
	memcpy(arp + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10);
	memcpy(arp + 22, MAC, 6);
	memcpy(arp + 28, "\x0a\x01\x02\x04", 4);
	memcpy(arp + 38, asked, 4);
	guest_send(guest, arp, sizeof(arp));
	answer = guest_receive(guest, 0x0806, 0, &size);
	assert_non_null(answer);
	assert_int_equal(answer[21], 2);
	assert_memory_equal(answer, MAC, 6);
	assert_memory_equal(answer + 28, asked, 4);
	dhcp(guest, address, gateway);
	print_message("the guest gets %u.%u.%u.%u behind %u.%u.%u.%u\n", address[0], address[1], address[2], address[3],
		      gateway[0], gateway[1], gateway[2], gateway[3]);
	assert_int_not_equal(address[0], 0);
	guest_free(guest);
}

/* A socket of this test, bound to a port of 127.0.0.1 that nobody else has. */
static int bound_socket(int type, uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

/* A datagram and a connection to ports of the host arrive at the guest's ports. */
static void test_forward(void **state)
{
	const enum net_vhost *vhost = *state;
	struct net_options options = user_options(*vhost);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	uint8_t address[4], gateway[4];
	uint16_t udp_port, tcp_port;
	struct guest *guest;
	const uint8_t *frame;
	char text[64];
	size_t size;
	int fd;

	if (!have_passt(*vhost))
		skip();
	close(bound_socket(SOCK_DGRAM, &udp_port));
	close(bound_socket(SOCK_STREAM, &tcp_port));
	snprintf(text, sizeof(text), "udp:%u:5353+tcp:%u:80", udp_port, tcp_port);
	add_forward(&options, text);
	guest = guest_new(&options);
	dhcp(guest, address, gateway);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	to.sin_port = htons(udp_port);
	assert_int_equal(sendto(fd, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	frame = guest_receive(guest, 0x0800, 17, &size);
	assert_non_null(frame);
	assert_memory_equal(frame + 30, address, 4);
	assert_int_equal(frame[36] << 8 | frame[37], 5353);
	assert_memory_equal(frame + 42, "hello", 5);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	to.sin_port = htons(tcp_port);
	connect(fd, (struct sockaddr *)&to, sizeof(to));
	frame = guest_receive(guest, 0x0800, 6, &size);
	assert_non_null(frame);
	assert_memory_equal(frame + 30, address, 4);
	assert_int_equal(frame[36] << 8 | frame[37], 80);
	assert_int_equal(frame[47] & 0x3f, 2); /* SYN */
	close(fd);
	guest_free(guest);
}

static void expect_error(const struct net_options *options, int code, const char *text)
{
	static const struct net_memory NO_MEMORY;
	struct error err = {0};
	struct net net;

	assert_int_equal(net_init(&net, options, &NO_MEMORY, NULL, &err), code);
	print_message("%s\n", err.text);
	assert_non_null(strstr(err.text, text));
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	net_release(&net);
}

static void test_errors(void **state)
{
	struct net_options options = user_options(NET_VHOST_AUTO);
	char text[64], *path = strdup(getenv("PATH"));
	uint16_t port;
	int fd = bound_socket(SOCK_DGRAM, &port);

	(void)state;
	snprintf(text, sizeof(text), "udp:%u:53", port);
	add_forward(&options, text);
	options.passt = "/bin/true";
	expect_error(&options, -EADDRINUSE, "is in use");
	close(fd);
	options = user_options(NET_VHOST_AUTO);
	options.passt = "/bin/true";
	add_forward(&options, "tcp:192.0.2.77:8080:80");
	expect_error(&options, -EADDRNOTAVAIL, "no address 192.0.2.77");
	options = user_options(NET_VHOST_AUTO);
	options.passt = "/nonexistent/passt";
	expect_error(&options, -ENOENT, "cannot start /nonexistent/passt");
	/* it ends without a word, and with one */
	options.passt = "/bin/false";
	expect_error(&options, -ECHILD, "passt ended with status 1: it said nothing");
	options.passt = "/bin/ls";
	expect_error(&options, -ECHILD, "passt ended with status 2: ");
	options.passt = NULL;
	setenv("PATH", "/nonexistent::relative:.", 1);
	expect_error(&options, -ENOENT, "install the package passt");
	setenv("PATH", path, 1);
	free(path);
}

/* The guest sees that its link is down, and no process is left. */
static void kill_passt(struct guest *guest)
{
	pid_t pid = guest->net.passt.child.pid;
	uint8_t status;

	driver_work(&guest->driver, 10);
	driver_wait_interrupt(&guest->driver, 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	for (unsigned i = 0; i < 100 && guest->net.link_up; i++)
		driver_work_once(&guest->driver, 20);
	driver_read_config(&guest->driver, 6, &status, 1);
	assert_int_equal(status, 0);
	assert_int_not_equal(driver_wait_interrupt(&guest->driver, 0) & 2, 0);
	assert_int_equal(driver_needs_reset(&guest->driver), guest->net.back_end == NET_VHOST_USER);
	assert_int_equal(kill(pid, 0), -1);
}

/* The card lives on. */
static void test_killed(void **state)
{
	const enum net_vhost *vhost = *state;
	struct net_options options = user_options(*vhost);
	uint8_t frame[64] = {0};
	struct guest *guest;

	if (!have_passt(*vhost))
		skip();
	guest = guest_new(&options);
	kill_passt(guest);
	guest_send(guest, frame, sizeof(frame));
	driver_work(&guest->driver, 10);
	/* with vhost-user nobody is there who could take it */
	assert_int_equal(driver_take(&guest->driver, TX, NULL) >= 0, *vhost == NET_VHOST_OFF);
	guest_free(guest);
}

static void test_ends_with_the_card(void **state)
{
	const enum net_vhost *vhost = *state;
	struct net_options options = user_options(*vhost);
	struct guest *guest;
	pid_t pid;

	if (!have_passt(*vhost))
		skip();
	guest = guest_new(&options);
	pid = guest->net.passt.child.pid;
	assert_int_equal(kill(pid, 0), 0);
	guest_free(guest);
	assert_int_equal(kill(pid, 0), -1);
}

/* A host without any route, made of a network namespace: root only. */
static void test_offline(void **state)
{
	static const uint8_t expected[4] = {10, 0, 2, 15}, expected_gateway[4] = {10, 0, 2, 2};
	int old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	const enum net_vhost *vhost = *state;
	struct net_options options = user_options(*vhost);
	uint8_t address[4], gateway[4];
	struct guest *guest;

	if (!have_passt(*vhost) || unshare(CLONE_NEWNET) < 0) {
		close(old);
		skip();
	}
	assert_int_equal(system("ip link set lo up"), 0);
	guest = guest_new(&options);
	dhcp(guest, address, gateway);
	assert_memory_equal(address, expected, 4);
	assert_memory_equal(gateway, expected_gateway, 4);
	guest_free(guest);
	assert_int_equal(setns(old, CLONE_NEWNET), 0);
	close(old);
}

/* ---- a passt that is this program */

#define PRETENDED_FEATURES (VIRTIO_FEATURE_VERSION_1 | NET_FEATURE_MRG_RXBUF | PROTOCOL)

/* A descriptor of a ring, and where its buffer is. */
struct entry {
	uint64_t gpa;
	uint32_t size;
	uint16_t flags, next;
};

/* The memory that the front end has named by its own address, and by the guest's. */
static uint8_t *at_user(const struct back_end *b, uint8_t *memory, uint64_t user)
{
	return memory + (user - b->regions[0].user);
}

/* The next available buffer of a ring; NULL when there is none. */
static uint8_t *next_buffer(const struct back_end *b, uint8_t *memory, unsigned index, struct entry *entry,
			    uint16_t *head)
{
	const struct ring *ring = &b->rings[index];
	const volatile uint16_t *available = (uint16_t *)(void *)at_user(b, memory, ring->available);
	const volatile uint16_t *used = (uint16_t *)(void *)at_user(b, memory, ring->used);

	if (!ring->running || ring->enabled == 0 || available[1] == used[1])
		return NULL;
	*head = available[2 + used[1] % ring->number];
	memcpy(entry, at_user(b, memory, ring->descriptors) + sizeof(*entry) * *head, sizeof(*entry));
	return memory + (entry->gpa - b->regions[0].gpa);
}

static void put_used(const struct back_end *b, uint8_t *memory, unsigned index, uint16_t head, uint32_t size)
{
	const struct ring *ring = &b->rings[index];
	volatile uint16_t *used = (uint16_t *)(void *)at_user(b, memory, ring->used);
	uint32_t element[2] = {head, size};
	uint64_t one = 1;

	memcpy(at_user(b, memory, ring->used) + 4 + (size_t)(used[1] % ring->number) * 8, element, sizeof(element));
	atomic_thread_fence(memory_order_seq_cst);
	used[1]++;
	(void)!write(ring->call, &one, sizeof(one));
}

/* Sends each frame back to where it came from. */
static void echo(const struct back_end *b, uint8_t *memory)
{
	struct entry out, in;
	uint16_t out_head, in_head;
	const uint8_t *frame;
	uint8_t *room;

	while ((frame = next_buffer(b, memory, TX, &out, &out_head)) != NULL &&
	       (room = next_buffer(b, memory, RX, &in, &in_head)) != NULL) {
		driver_require(out.size <= in.size && out.flags == 0 && in.flags == DRIVER_DESC_WRITE);
		memcpy(room, frame, out.size);
		put_used(b, memory, RX, in_head, out.size);
		put_used(b, memory, TX, out_head, 0);
	}
}

static int pretend_vhost_user(void)
{
	struct back_end b = {.fd = 3, .features = PRETENDED_FEATURES, .protocol = REPLY_ACK};
	uint8_t *memory = NULL;

	back_end_init(&b);
	for (;;) {
		struct pollfd wait[] = {{b.fd, POLLIN, 0},
					{b.rings[TX].enabled != 0 ? b.rings[TX].kick : -1, POLLIN, 0}};
		uint64_t count;

		poll(wait, 2, -1);
		if (wait[0].revents != 0 && !back_end_answer(&b))
			return 0;
		/* the features are those that it has offered */
		driver_require((b.accepted & ~PRETENDED_FEATURES) == 0);
		if (memory == NULL && b.region_count == 1)
			memory = mmap(NULL, b.regions[0].size, PROT_READ | PROT_WRITE, MAP_SHARED, b.region_fds[0],
				      (off_t)b.regions[0].offset);
		driver_require(memory != MAP_FAILED);
		if (wait[1].revents != 0 && read(b.rings[TX].kick, &count, sizeof(count)) > 0)
			echo(&b, memory);
	}
}

/* One without vhost-user answers ARP, as the card asks it whether it is up. */
static int pretend_stream(void)
{
	uint8_t message[4 + 42];

	while (recv(3, message, sizeof(message), MSG_WAITALL) == (ssize_t)sizeof(message)) {
		message[4 + 21] = 2;
		if (send(3, message, sizeof(message), MSG_NOSIGNAL) != (ssize_t)sizeof(message))
			return 1;
	}
	return 0;
}

/* As passt, when it is started as one. $PRETEND says of which kind. */
static int pretend(int argc, char *const *argv)
{
	bool vhost_user = false;

	for (int i = 1; i < argc; i++)
		vhost_user |= strcmp(argv[i], "--vhost-user") == 0;
	if (!vhost_user)
		return pretend_stream();
	if (strcmp(getenv("PRETEND"), "new") == 0)
		return pretend_vhost_user();
	fprintf(stderr, "passt: unrecognized option '--vhost-user'\nUsage: passt [OPTION]...\n");
	return 1;
}

static struct net_options pretended_options(const char *kind, enum net_vhost vhost)
{
	struct net_options options = user_options(vhost);

	setenv("PRETEND", kind, 1);
	options.passt = "/proc/self/exe";
	return options;
}

static void send_and_receive(struct guest *guest, uint8_t first)
{
	uint8_t frame[1500];
	const uint8_t *back;
	size_t size;

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(first + i);
	put_u16(frame + 12, 0x88b5); /* IEEE 802: for experiments */
	guest_send(guest, frame, sizeof(frame));
	back = guest_receive(guest, 0x88b5, 0, &size);
	assert_non_null(back);
	assert_int_equal(size, sizeof(frame));
	assert_memory_equal(back, frame, sizeof(frame));
	assert_true(driver_take(&guest->driver, TX, NULL) >= 0);
}

static void test_vhost_user(void **state)
{
	struct net_options options = pretended_options("new", NET_VHOST_AUTO);
	struct guest *guest = guest_new(&options);
	uint8_t mtu[2];

	(void)state;
	assert_int_equal(guest->net.back_end, NET_VHOST_USER);
	/* what passt can with rings and frames, and what the configuration is about */
	assert_int_equal(guest->net.device.offered, VIRTIO_FEATURE_VERSION_1 | NET_FEATURE_MRG_RXBUF | NET_FEATURE_MAC |
							    NET_FEATURE_STATUS | NET_FEATURE_MTU);
	driver_read_config(&guest->driver, 10, mtu, sizeof(mtu));
	assert_int_equal(mtu[0] | mtu[1] << 8, PASST_MTU);
	for (uint8_t i = 0; i < 3 * QUEUE; i++)
		send_and_receive(guest, i);
	/* another driver, as after a restart of the guest */
	assert_true(driver_start(&guest->driver, DRIVER_ALL_FEATURES, QUEUE));
	for (unsigned i = 0; i < QUEUE; i++)
		give(guest);
	for (uint8_t i = 0; i < 3 * QUEUE; i++)
		send_and_receive(guest, i);
	kill_passt(guest);
	/* which does not bring it back */
	assert_true(!driver_start(&guest->driver, DRIVER_ALL_FEATURES, QUEUE) || driver_needs_reset(&guest->driver));
	guest_free(guest);
}

/* A passt that does not know it gets a stream, unless the user insists. */
static void test_without_vhost_user(void **state)
{
	struct net_options options = pretended_options("old", NET_VHOST_AUTO);
	struct log log = {.level = LOG_ERROR, .fd = STDERR_FILENO};
	struct guest *guest = guest_new(&options);
	struct net_memory memory = {&guest->driver.mem, &guest->region, 1};
	struct error err = {0};
	struct net net;

	(void)state;
	assert_int_equal(guest->net.back_end, NET_STREAM);
	options.vhost = NET_VHOST_ON;
	assert_int_equal(net_init(&net, &options, &memory, &log, &err), -ENOTCONN);
	assert_string_equal(
		err.text, "--net user: this passt does not serve vhost-user; take Debian 13's or a later one, or leave "
			  "vhost=on out (--log debug shows what it says)");
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	guest_free(guest);
	/* and one that does know it still gets a stream when the user wants that */
	options = pretended_options("new", NET_VHOST_OFF);
	guest = guest_new(&options);
	assert_int_equal(guest->net.back_end, NET_STREAM);
	guest_free(guest);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_vhost_user),
		cmocka_unit_test(test_without_vhost_user),
		cmocka_unit_test_prestate(test_arp_and_dhcp, &by_stream),
		cmocka_unit_test_prestate(test_arp_and_dhcp, &by_vhost_user),
		cmocka_unit_test_prestate(test_forward, &by_stream),
		cmocka_unit_test_prestate(test_forward, &by_vhost_user),
		cmocka_unit_test_prestate(test_killed, &by_stream),
		cmocka_unit_test_prestate(test_killed, &by_vhost_user),
		cmocka_unit_test_prestate(test_ends_with_the_card, &by_stream),
		cmocka_unit_test_prestate(test_ends_with_the_card, &by_vhost_user),
		cmocka_unit_test_prestate(test_offline, &by_stream),
		cmocka_unit_test_prestate(test_offline, &by_vhost_user),
	};

	if (argc > 1)
		return pretend(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
