/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/net_options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "vmm/base/io.h"

static int bad_mac(struct token token, const char *why, struct error *err)
{
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "bad MAC address '%s' (column %zu): %s", token.text,
			 token.column, why);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int net_mac_parse(struct token token, uint8_t mac[NET_MAC_SIZE], struct error *err)
{
	static const uint8_t zero[NET_MAC_SIZE];
	uint8_t parsed[NET_MAC_SIZE];

	if (strlen(token.text) != 3 * NET_MAC_SIZE - 1)
		return bad_mac(token, "use six hexadecimal pairs as in 52:54:00:12:34:56", err);
	for (size_t i = 0; i < NET_MAC_SIZE; i++) {
		const char *pair = token.text + 3 * i;
		int high = hex_digit(pair[0]), low = hex_digit(pair[1]);

		if (high < 0 || low < 0 || (i + 1 < NET_MAC_SIZE && pair[2] != ':'))
			return bad_mac(token, "use six hexadecimal pairs as in 52:54:00:12:34:56", err);
		parsed[i] = (uint8_t)(high << 4 | low);
	}
	if ((parsed[0] & 1) != 0)
		return bad_mac(token, "it is a group address; the first pair must be even, as in 52:54:00:12:34:56",
			       err);
	if (memcmp(parsed, zero, sizeof(zero)) == 0)
		return bad_mac(token, "it is zero; use one such as 52:54:00:12:34:56", err);
	memcpy(mac, parsed, sizeof(parsed));
	return 0;
}

int net_tap_parse(struct token token, const char **name, struct error *err)
{
	const char *text = token.text;
	size_t size = strlen(text);
	bool good = size >= 1 && size <= NET_TAP_NAME_MAX && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;

	for (size_t i = 0; good && i < size; i++)
		good = strchr("/%:", text[i]) == NULL && isgraph((unsigned char)text[i]);
	if (!good)
		return error_set(
			err, EXIT_STATUS_USAGE, EINVAL,
			"bad interface name '%s' (column %zu); use 1 to %d characters without '/', ':', '%%' and "
			"spaces, as in tap0",
			text, token.column, NET_TAP_NAME_MAX);
	*name = text;
	return 0;
}

/* ---- forwards */

static int bad_forward(struct token part, const char *why, struct error *err)
{
	return error_set(
		err, EXIT_STATUS_USAGE, EINVAL,
		"bad forward '%s' (column %zu): %s; use tcp:HOSTPORT:GUESTPORT, udp:..., or with the host's address "
		"tcp:127.0.0.1:8080:80",
		part.text, part.column, why);
}

static int parse_port(const char *text, uint16_t *port)
{
	uint32_t value = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		value = 10 * value + (uint32_t)(*text - '0');
		if (value > UINT16_MAX)
			return -ERANGE;
	}
	if (value == 0)
		return -ERANGE;
	*port = (uint16_t)value;
	return 0;
}

/* "127.0.0.1" or "[::1]" to how the kernel writes it. */
static int parse_address(char *text, char address[INET6_ADDRSTRLEN])
{
	size_t size = strlen(text);
	struct in6_addr v6;
	struct in_addr v4;

	if (size > 2 && text[0] == '[' && text[size - 1] == ']') {
		text[size - 1] = '\0';
		if (inet_pton(AF_INET6, text + 1, &v6) != 1)
			return -EINVAL;
		inet_ntop(AF_INET6, &v6, address, INET6_ADDRSTRLEN);
		return 0;
	}
	if (inet_pton(AF_INET, text, &v4) != 1)
		return -EINVAL;
	inet_ntop(AF_INET, &v4, address, INET6_ADDRSTRLEN);
	return 0;
}

static int parse_forward(struct token part, struct net_forward *forward, struct error *err)
{
	char text[128], *guest, *host, *rest = text + 4;

	*forward = (struct net_forward){.address = "127.0.0.1"};
	if (strlen(part.text) >= sizeof(text))
		return bad_forward(part, "it is too long", err);
	memcpy(text, part.text, strlen(part.text) + 1);
	forward->udp = strncmp(text, "udp:", 4) == 0;
	if (!forward->udp && strncmp(text, "tcp:", 4) != 0)
		return bad_forward(part, "it names neither tcp nor udp", err);
	guest = strrchr(rest, ':');
	if (guest == NULL)
		return bad_forward(part, "it has no guest port", err);
	*guest++ = '\0';
	host = strrchr(rest, ':');
	if (host != NULL) {
		*host++ = '\0';
		if (parse_address(rest, forward->address) < 0)
			return bad_forward(part, "the address is neither IPv4 nor [IPv6]", err);
	} else {
		host = rest;
	}
	if (parse_port(host, &forward->host_port) < 0 || parse_port(guest, &forward->guest_port) < 0)
		return bad_forward(part, "a port is not a number from 1 to 65535", err);
	return 0;
}

/* Adds one forward; -errno when there is no room or its host port is taken already by another on the same, or on every, address. */
static int add_forward(struct net_options *options, const struct net_forward *forward, struct token part,
		       struct error *err)
{
	if (options->forward_count == NET_FORWARDS_MAX)
		return error_set(err, EXIT_STATUS_USAGE, E2BIG,
				 "too many forwards at '%s' (column %zu); %d are possible", part.text, part.column,
				 NET_FORWARDS_MAX);
	for (size_t i = 0; i < options->forward_count; i++) {
		const struct net_forward *other = &options->forwards[i];

		if (other->udp == forward->udp && other->host_port == forward->host_port &&
		    strcmp(other->address, forward->address) == 0)
			return bad_forward(part, "the host's port is forwarded already", err);
	}
	options->forwards[options->forward_count++] = *forward;
	return 0;
}

int net_forwards_parse(struct token token, struct net_options *options, struct error *err)
{
	const char *at = token.text;

	for (;;) {
		size_t size = strcspn(at, "+");
		char text[256];
		struct token part = {text, token.column + (size_t)(at - token.text)};
		struct net_forward forward;
		int code;

		if (size >= sizeof(text))
			return bad_forward((struct token){"...", part.column}, "it is too long", err);
		memcpy(text, at, size);
		text[size] = '\0';
		code = parse_forward(part, &forward, err);
		if (code == 0)
			code = add_forward(options, &forward, part, err);
		if (code < 0)
			return code;
		if (at[size] == '\0')
			return 0;
		at += size + 1;
	}
}

/* ---- default address */

/* FNV-1a, 64 bits (Fowler, Noll, Vo): spreads short texts well enough for names. */
static uint64_t hash(uint64_t state, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		state = (state ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
	return state;
}

void net_mac_default(const struct net_options *options, uint8_t mac[NET_MAC_SIZE])
{
	const char *peer = options->kind == NET_TAP ? options->tap : "user";
	uint64_t state = UINT64_C(0xcbf29ce484222325);
	struct buf id = {0};
	struct error err;

	if (io_read_file("/etc/machine-id", 128, &id, EXIT_STATUS_HOST, &err) == 0 && id.size >= 32) {
		state = hash(state, id.data, id.size);
		state = hash(state, peer, strlen(peer) + 1);
		state = hash(state, &options->index, sizeof(options->index));
	} else if (getrandom(&state, sizeof(state), GRND_NONBLOCK) != (ssize_t)sizeof(state)) {
		/* a kernel that has just booted: the address of this variable is different at least */
		state = hash(state, &(uintptr_t){(uintptr_t)&state}, sizeof(uintptr_t));
	}
	buf_release(&id);
	state ^= state >> 29;
	memcpy(mac, &state, NET_MAC_SIZE);
	/* locally administered, and not a group (IEEE 802 §8.2.2, §8.2.3) */
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}
