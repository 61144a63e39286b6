/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <unistd.h>

#include "devices/virtio/net_options.h"

static struct token token(const char *text)
{
	return (struct token){text, 5};
}

static void test_mac(void **state)
{
	static const char *const bad[] = {"",
					  "52:54:00:12:34",
					  "52:54:00:12:34:5",
					  "52:54:00:12:34:567",
					  "52-54-00-12-34-56",
					  "5g:54:00:12:34:56",
					  "53:54:00:12:34:56",
					  "ff:ff:ff:ff:ff:ff",
					  "00:00:00:00:00:00",
					  " 2:54:00:12:34:56"};
	static const uint8_t expected[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
	uint8_t mac[6] = {0};
	struct error err;

	(void)state;
	assert_int_equal(net_mac_parse(token("52:54:00:aB:Cd:ef"), mac, &err), 0);
	assert_memory_equal(mac, expected, 6);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(net_mac_parse(token(bad[i]), mac, &err), -EINVAL);
		assert_int_equal(err.status, EXIT_STATUS_USAGE);
		assert_memory_equal(mac, expected, 6);
	}
}

static void test_tap(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "tap%d", "tap 0", "eth0:1", "abcdefghijklmnop", "\t"};
	const char *name;
	struct error err;

	(void)state;
	assert_int_equal(net_tap_parse(token("tap0"), &name, &err), 0);
	assert_string_equal(name, "tap0");
	assert_int_equal(net_tap_parse(token("abcdefghijklmno"), &name, &err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(net_tap_parse(token(bad[i]), &name, &err), -EINVAL);
}

static void test_forwards(void **state)
{
	struct net_options options = {0};
	struct error err;

	(void)state;
	assert_int_equal(net_forwards_parse(token("tcp:8080:80+udp:0.0.0.0:53:5353+tcp:[::1]:65535:1"), &options, &err),
			 0);
	assert_int_equal(options.forward_count, 3);
	assert_false(options.forwards[0].udp);
	assert_string_equal(options.forwards[0].address, "127.0.0.1");
	assert_int_equal(options.forwards[0].host_port, 8080);
	assert_int_equal(options.forwards[0].guest_port, 80);
	assert_true(options.forwards[1].udp);
	assert_string_equal(options.forwards[1].address, "0.0.0.0");
	assert_string_equal(options.forwards[2].address, "::1");
	assert_int_equal(options.forwards[2].host_port, 65535);
	/* the same port for the other protocol is another port */
	assert_int_equal(net_forwards_parse(token("udp:8080:80"), &options, &err), 0);
	assert_int_equal(options.forward_count, 4);
	assert_int_equal(net_forwards_parse(token("tcp:8080:81"), &options, &err), -EINVAL);
	assert_non_null(strstr(err.text, "already"));
}

static void test_bad_forwards(void **state)
{
	static const char *const bad[] = {
		"",           "tcp",          "tcp:",         "tcp:80",           "sctp:80:80",
		"tcp:0:80",   "tcp:80:0",     "tcp:65536:80", "tcp:80:65536",     "tcp:80:",
		"tcp::80",    "tcp:-1:80",    "tcp: 80:80",   "tcp:80:80+",       "+tcp:80:80",
		"tcp:a:1:2",  "tcp:[::1:1:2", "tcp:::1:1:2",  "tcp:1.2.3:1:2",    "tcp:1.2.3.4.5:1:2",
		"tcp:[]:1:2", "TCP:80:80",    "tcp:80:80;ls", "tcp:4294967376:80"};
	struct net_options options = {0};
	char many[2048] = "tcp:1:1", huge[600];
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		options.forward_count = 0;
		assert_int_equal(net_forwards_parse(token(bad[i]), &options, &err), -EINVAL);
		assert_int_equal(err.status, EXIT_STATUS_USAGE);
	}
	memset(huge, '1', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	memcpy(huge, "tcp:", 4);
	assert_int_equal(net_forwards_parse(token(huge), &options, &err), -EINVAL);
	huge[200] = '\0';
	assert_int_equal(net_forwards_parse(token(huge), &options, &err), -EINVAL);
	for (unsigned i = 2; i <= NET_FORWARDS_MAX + 1; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "+tcp:%u:1", i);
	options.forward_count = 0;
	assert_int_equal(net_forwards_parse(token(many), &options, &err), -E2BIG);
	/* the column is that of the part */
	options.forward_count = 0;
	assert_int_equal(net_forwards_parse(token("tcp:80:80+bad"), &options, &err), -EINVAL);
	assert_non_null(strstr(err.text, "(column 15)"));
}

static void test_default_mac(void **state)
{
	struct net_options options = {.kind = NET_TAP, .tap = "tap0"};
	uint8_t first[6], again[6], other[6];
	int machine_id = access("/etc/machine-id", R_OK);

	(void)state;
	net_mac_default(&options, first);
	net_mac_default(&options, again);
	if (machine_id == 0)
		assert_memory_equal(first, again, 6);
	assert_int_equal(first[0] & 3, 2);
	options.index = 1;
	net_mac_default(&options, other);
	assert_memory_not_equal(first, other, 6);
	options.index = 0;
	options.tap = "tap1";
	net_mac_default(&options, other);
	assert_memory_not_equal(first, other, 6);
	options.kind = NET_USER;
	net_mac_default(&options, other);
	assert_memory_not_equal(first, other, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mac),         cmocka_unit_test(test_tap),
		cmocka_unit_test(test_forwards),    cmocka_unit_test(test_bad_forwards),
		cmocka_unit_test(test_default_mac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
