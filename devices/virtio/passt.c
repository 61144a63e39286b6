/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/passt.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/io.h"

enum {
	START_MS = 5000,  /* on a busy machine it takes some tens */
	SILENT_MS = 2000, /* it lives and does not answer ARP: a host with IPv6 only */
	END_MS = 500,
	FORWARD_TEXT = 80,
	ARGUMENTS_MAX = 32 + 2 * NET_FORWARDS_MAX,
};

struct arguments {
	const char *argv[ARGUMENTS_MAX + 1];
	size_t count;
	char forwards[NET_FORWARDS_MAX][FORWARD_TEXT];
};

/* ---- what the host has, asked before the process is started */

int passt_find(char *path, size_t size)
{
	const char *at = getenv("PATH");

	if (at == NULL || *at == '\0')
		at = "/usr/local/bin:/usr/bin:/bin";
	for (;;) {
		size_t part = strcspn(at, ":");

		/* only absolute folders: an empty part would mean the working directory */
		if (*at == '/' && snprintf(path, size, "%.*s/passt", (int)part, at) < (int)size &&
		    access(path, X_OK) == 0)
			return 0;
		if (at[part] == '\0')
			return -ENOENT;
		at += part + 1;
	}
}

static int find_program(const struct net_options *options, char *path, size_t size, struct error *err)
{
	if (options->passt != NULL) {
		snprintf(path, size, "%s", options->passt);
		return 0;
	}
	if (passt_find(path, size) == 0)
		return 0;
	return error_set(
		err, EXIT_STATUS_HOST, ENOENT,
		"%s: user networking needs passt, which is not in $PATH; install the package passt, or use tap=",
		options->option);
}

/*
 * Binds and lets go again. passt complains of a taken port only when it could not bind any address, and then without saying why; somebody else may still take
 * the port in between, and then passt's own words are what the user gets.
 */
static int check_port(const struct net_options *options, const struct net_forward *forward, struct error *err)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address = {.any = {.sa_family = strchr(forward->address, ':') != NULL ? AF_INET6 : AF_INET}};
	bool v6 = address.any.sa_family == AF_INET6;
	int fd = socket(address.any.sa_family, (forward->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	const char *protocol = forward->udp ? "udp" : "tcp";
	int on = 1, code = 0;

	if (v6) {
		inet_pton(AF_INET6, forward->address, &address.v6.sin6_addr);
		address.v6.sin6_port = htons(forward->host_port);
	} else {
		inet_pton(AF_INET, forward->address, &address.v4.sin_addr);
		address.v4.sin_port = htons(forward->host_port);
	}
	/* as passt does it: connections that are only waiting to be forgotten do not hold the port */
	if (fd < 0 || (!forward->udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0) ||
	    bind(fd, &address.any, v6 ? sizeof(address.v6) : sizeof(address.v4)) < 0)
		code = errno;
	io_close(&fd);
	switch (code) {
	case 0:
		return 0;
	case EADDRINUSE:
		return error_set(
			err, EXIT_STATUS_HOST, code,
			"%s: %s port %u of the host (%s) is in use; forward another (ss -lnp shows who has it)",
			options->option, protocol, forward->host_port, forward->address);
	case EACCES:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: no permission for %s port %u of the host; use one from 1024 on, or lower sysctl "
				 "net.ipv4.ip_unprivileged_port_start",
				 options->option, protocol, forward->host_port);
	case EADDRNOTAVAIL:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: the host has no address %s to listen on (ip address shows what it has)",
				 options->option, forward->address);
	default:
		return error_set(err, EXIT_STATUS_HOST, code, "%s: cannot listen on %s %s port %u: %s", options->option,
				 protocol, forward->address, forward->host_port, strerror(code));
	}
}

/* Whether a line of /proc/net/route (destination is field 2) or ipv6_route (device is the last field) is a default route. */
static bool is_default_route(const char *line, bool v6)
{
	char device[32];
	unsigned destination, length;

	if (!v6)
		return sscanf(line, "%31s %8x %*8x %*8x %*d %*d %*d %8x", device, &destination, &length) == 3 &&
		       destination == 0 && length == 0 && strcmp(device, "lo") != 0;
	return sscanf(line, "00000000000000000000000000000000 %2x %*32s %*2s %*32s %*8s %*8s %*8s %*8s %31s", &length,
		      device) == 2 &&
	       length == 0 && strcmp(device, "lo") != 0;
}

static bool has_default_route(void)
{
	static const char *const paths[] = {"/proc/net/route", "/proc/net/ipv6_route"};
	bool found = false;

	for (int v6 = 0; v6 < 2 && !found; v6++) {
		FILE *file = fopen(paths[v6], "re");
		char line[512];

		while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
			found = is_default_route(line, v6 == 1);
		if (file != NULL)
			fclose(file);
	}
	return found;
}

/* ---- the command line */

static void add(struct arguments *arguments, const char *text)
{
	assert(arguments->count < ARGUMENTS_MAX);
	arguments->argv[arguments->count++] = text;
}

static void make_arguments(struct arguments *arguments, const char *program, const struct net_options *options,
			   bool offline, bool vhost_user)
{
	static const char *const common[] = {"--foreground", "--quiet", "--fd", "3", "--mtu", "65520"};
	/* -M: the loopback interface has no address of its own that a guest could send to */
	static const char *const lonely[] = {
		"--ipv4-only", "--interface",         "lo", "--address",        PASST_OFFLINE_GUEST, "--netmask", "24",
		"--gateway",   PASST_OFFLINE_GATEWAY, "-M", "52:55:0a:00:02:02"};

	_Static_assert(PASST_MTU == 65520, "the text above");
	*arguments = (struct arguments){0};
	add(arguments, program);
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		add(arguments, common[i]);
	if (vhost_user)
		add(arguments, "--vhost-user");
	for (size_t i = 0; offline && i < sizeof(lonely) / sizeof(lonely[0]); i++)
		add(arguments, lonely[i]);
	for (size_t i = 0; i < options->forward_count; i++) {
		const struct net_forward *forward = &options->forwards[i];

		snprintf(arguments->forwards[i], FORWARD_TEXT, "%s/%u:%u", forward->address, forward->host_port,
			 forward->guest_port);
		add(arguments, forward->udp ? "--udp-ports" : "--tcp-ports");
		add(arguments, arguments->forwards[i]);
	}
}

/* ---- start */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * An ARP probe (RFC 5227 §2.1.1) for 192.0.0.8, IPv4's dummy address (RFC 7600). passt answers for every address but the guest's own, once its ports are open and
 * it serves the socket.
 */
static void ask(struct net_stream *stream, const uint8_t mac[NET_MAC_SIZE])
{
	static const uint8_t arp[] = {0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01};
	static const uint8_t target[] = {192, 0, 0, 8};
	uint8_t *frame = net_stream_room(stream, 42);

	memset(frame, 0, 42);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, NET_MAC_SIZE);
	memcpy(frame + 12, arp, sizeof(arp));
	memcpy(frame + 22, mac, NET_MAC_SIZE);
	memcpy(frame + 38, target, sizeof(target));
	net_stream_queue(stream, 42);
}

/* Takes what passt has sent so far, up to its answer: 1 when that was there, 0 when not yet, -EPIPE when passt is gone. */
static int listen_for_answer(struct net_stream *stream)
{
	const uint8_t *frame;
	size_t size;
	int code;

	do {
		while ((code = net_stream_peek(stream, &frame, &size)) == 1) {
			bool answer = size >= 42 && frame[12] == 0x08 && frame[13] == 0x06 && frame[21] == 2;

			net_stream_take(stream, size);
			if (answer)
				return 1;
		}
		if (code == 0)
			code = net_stream_receive(stream);
	} while (code == 1);
	return code;
}

static int wait_until_it_answers(struct passt *passt, const char *option, const uint8_t mac[NET_MAC_SIZE],
				 const struct log *log, struct error *err)
{
	int64_t start = now_ms();
	int code;

	ask(&passt->stream, mac);
	do {
		struct pollfd wait[] = {{passt->stream.fd, POLLIN, 0}, {passt->child.output, POLLIN, 0}};

		/* a message that cannot go yet goes the next time round */
		code = net_stream_send(&passt->stream);
		if (code >= 0)
			code = listen_for_answer(&passt->stream);
		if (code == 1)
			return 0;
		if (code < 0 && child_ended_early(&passt->child, END_MS, ECHILD, log, err))
			return -ECHILD;
		if (code < 0)
			return error_set(err, EXIT_STATUS_HOST, -code, "%s: passt has closed its socket", option);
		poll(wait, 2, 50);
		/* a full pipe would keep it from starting */
		child_log(&passt->child, log);
		if (now_ms() - start > SILENT_MS && passt->stream.out_start == passt->stream.out_end &&
		    !child_has_ended(&passt->child))
			return 0;
	} while (now_ms() - start < START_MS);
	return error_set(err, EXIT_STATUS_HOST, ETIMEDOUT, "%s: passt did not start within %d s%s%s", option,
			 START_MS / 1000, passt->child.last[0] != '\0' ? "; it said: " : "", passt->child.last);
}

/* The process, which may not serve yet; *fd is our end of its socket. */
static int launch(struct passt *passt, const struct net_options *options, bool vhost_user, const struct log *log,
		  int *fd, struct error *err)
{
	struct child_options child = {.name = "passt", .option = options->option, .fd_count = 1};
	bool offline = !has_default_route();
	int pair[2] = {-1, -1}, code;
	struct arguments arguments;
	char program[4096];

	*passt = (struct passt){.stream = {.fd = -1}};
	code = find_program(options, program, sizeof(program), err);
	for (size_t i = 0; code == 0 && i < options->forward_count; i++)
		code = check_port(options, &options->forwards[i], err);
	if (code < 0)
		return code;
	if (offline && log != NULL)
		log_info(log,
			 "%s: the host has no default route: the guest gets " PASST_OFFLINE_GUEST
			 " and reaches this host only",
			 options->option);
	make_arguments(&arguments, program, options, offline, vhost_user);
	child.argv = arguments.argv;
	child.fds = &pair[1];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
		code = error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot make a socket: %s", options->option,
				 strerror(errno));
	else
		code = child_start(&passt->child, &child, err);
	io_close(&pair[1]);
	if (code < 0)
		io_close(&pair[0]);
	*fd = pair[0];
	return code;
}

int passt_start(struct passt *passt, const struct net_options *options, const uint8_t mac[NET_MAC_SIZE],
		const struct log *log, struct error *err)
{
	int fd, code = launch(passt, options, false, log, &fd, err);

	if (code < 0)
		return code;
	code = net_stream_init(&passt->stream, fd);
	if (code < 0)
		error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot set up a socket: %s", options->option,
			  strerror(-code));
	else
		code = wait_until_it_answers(passt, options->option, mac, log, err);
	/* what it said of its start says nothing about its end */
	passt->child.last[0] = '\0';
	if (code < 0)
		passt_release(passt);
	return code;
}

int passt_start_vhost_user(struct passt *passt, const struct net_options *options, const struct log *log, int *fd,
			   struct error *err)
{
	return launch(passt, options, true, log, fd, err);
}

void passt_release(struct passt *passt)
{
	if (passt == NULL)
		return;
	/* the end of its socket is what it ends at */
	net_stream_release(&passt->stream);
	child_release(&passt->child, END_MS);
}
