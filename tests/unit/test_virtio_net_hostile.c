/* SPDX-License-Identifier: Apache-2.0 */
/* The network card and what comes from both sides by mistake, by malice and by chance. */
#include "tests/unit/counted.h"
#include "tests/unit/virtio_card.h"

/* A reference that shares nothing with the device's: sums 16-bit words in the network's order. */
static uint16_t sum(const uint8_t *bytes, size_t size, uint32_t start)
{
	for (size_t i = 0; i < size; i++)
		start += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	while (start > 0xffff)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)start;
}

static void test_checksum(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	struct prng prng = prng_new("checksum");
	static uint8_t frame[BIG], got[BIG];
	const size_t start = 34;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		size_t size = 60 + (size_t)prng_below(&prng, 300);
		struct net_header header = {.flags = NET_NEEDS_CHECKSUM, .checksum_start = 34, .checksum_offset = 16};
		uint16_t pseudo = round == 1 ? 0xffff : (uint16_t)prng_next(&prng);

		for (size_t i = 0; i < size; i++)
			frame[i] = (uint8_t)(round <= 1 ? 0 : prng_next(&prng));
		frame[start + 16] = (uint8_t)(pseudo >> 8);
		frame[start + 17] = (uint8_t)pseudo;
		transmit(card, &header, frame, size);
		assert_int_equal(peer_receive(card, got), size);
		/* the receiver's check: everything with the pseudo header sums to all ones */
		assert_int_equal(sum(got + start, size - start, pseudo), 0xffff);
		assert_true(got[start + 16] != 0 || got[start + 17] != 0);
		assert_memory_equal(got, frame, start + 16);
		assert_memory_equal(got + start + 18, frame + start + 18, size - start - 18);
		reclaim(card);
		card->driver.next = DRIVER_GPA + 0x100000;
	}
	card_free(card);
}

static void test_hostile_headers(void **state)
{
	static const struct net_header headers[] = {
		{.flags = 1, .checksum_start = 0xffff, .checksum_offset = 0xffff},
		{.flags = 1, .checksum_start = 59, .checksum_offset = 0},
		{.flags = 1, .checksum_start = 0, .checksum_offset = 59},
		{.gso_type = 1, .gso_size = 1460, .header_length = 54},
		{.gso_type = 0x83, .gso_size = 0},
	};
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	uint8_t frame[60] = {0}, got[100];

	(void)state;
	for (size_t i = 0; i < 5; i++)
		transmit(card, &headers[i], frame, sizeof(frame));
	transmit(card, &PLAIN, frame, sizeof(frame));
	assert_int_equal(peer_receive(card, got), 60);
	assert_int_equal(peer_receive(card, got), 0);
	assert_int_equal(counted(&card->net.device, "dropped", "from_guest"), 5);
	reclaim(card);
	assert_int_equal(card->driver.queues[TX].free_count, QUEUE);
	card_free(card);
}

static void expect_needs_reset(struct card *card, unsigned queue, const struct driver_buffer *buffers, unsigned count)
{
	uint8_t frame[64] = {0};

	assert_true(driver_add(&card->driver, queue, buffers, count) >= 0);
	driver_kick_always(&card->driver, queue);
	peer_send(card, frame, sizeof(frame));
	driver_work(&card->driver, 10);
	assert_true(driver_needs_reset(&card->driver));
	/* and after a reset it works again */
	assert_true(driver_start(&card->driver, DRIVER_ALL_FEATURES, QUEUE));
	transmit(card, &PLAIN, frame, sizeof(frame));
	assert_int_equal(peer_receive(card, frame), 64);
	card_free(card);
}

static void test_hostile_chains(void **state)
{
	struct card *card;

	(void)state;
	card = card_new(DRIVER_ALL_FEATURES);
	expect_needs_reset(card, TX, (struct driver_buffer[]){{DRIVER_GPA, 11, false}}, 1);
	card = card_new(DRIVER_ALL_FEATURES);
	expect_needs_reset(card, TX, (struct driver_buffer[]){{DRIVER_GPA, 100, false}, {DRIVER_GPA, 100, true}}, 2);
	card = card_new(DRIVER_ALL_FEATURES);
	expect_needs_reset(card, RX, (struct driver_buffer[]){{DRIVER_GPA, 100, false}, {DRIVER_GPA, 100, true}}, 2);
	card = card_new(DRIVER_ALL_FEATURES);
	expect_needs_reset(card, RX, (struct driver_buffer[]){{DRIVER_GPA, 11, true}}, 1);
	card = card_new(DRIVER_ALL_FEATURES);
	expect_needs_reset(card, RX, (struct driver_buffer[]){{UINT64_MAX - 5, 2048, true}}, 1);
	card = card_new(DRIVER_ALL_FEATURES);
	expect_needs_reset(card, TX, (struct driver_buffer[]){{DRIVER_GPA + DRIVER_MEMORY - 4, 2048, false}}, 1);
}

/* A whole ring of tiny buffers is not enough for a frame: it goes, the card lives. */
static void test_tiny_buffers(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];
	struct net_header header;

	(void)state;
	for (unsigned i = 0; i < QUEUE; i++)
		give(card, 16);
	fill(frame, 2000, 1);
	peer_send(card, frame, 2000);
	peer_send(card, frame, QUEUE * 16 - HEADER);
	driver_work(&card->driver, 10);
	assert_int_equal(counted(&card->net.device, "dropped", "to_guest"), 1);
	assert_int_equal(take(card, got, &header), QUEUE * 16 - HEADER);
	assert_memory_equal(got, frame, QUEUE * 16 - HEADER);
	assert_int_equal(header.buffer_count, QUEUE);
	card_free(card);
}

static void expect_link_down(struct card *card)
{
	uint8_t status, frame[64] = {0};

	driver_work(&card->driver, 10);
	assert_false(driver_needs_reset(&card->driver));
	assert_int_not_equal(driver_wait_interrupt(&card->driver, 0) & 2, 0);
	driver_read_config(&card->driver, 6, &status, 1);
	assert_int_equal(status & 1, 0);
	/* what the guest has sent and sends is swallowed */
	reclaim(card);
	for (unsigned i = 0; i < 3 * QUEUE; i++) {
		assert_true(transmit(card, &PLAIN, frame, sizeof(frame)) >= 0);
		driver_work(&card->driver, 0);
		reclaim(card);
	}
	assert_true(driver_start(&card->driver, DRIVER_ALL_FEATURES, QUEUE));
	driver_work(&card->driver, 10);
	card_free(card);
}

static void test_peer_ends(void **state)
{
	static const uint8_t zero[4], long_one[4] = {0, 1, 0, 0}, huge[4] = {0xff, 0xff, 0xff, 0xff};
	static const uint8_t *const lengths[] = {zero, long_one, huge};
	struct card *card;
	uint8_t frame[64] = {0};

	(void)state;
	for (unsigned i = 0; i < 3; i++) { /* the stream cannot be followed: as bad as its end */
		card = card_new(DRIVER_ALL_FEATURES);
		peer_write(card, lengths[i], 4);
		expect_link_down(card);
	}
	card = card_new(DRIVER_ALL_FEATURES); /* at rest */
	close(card->peer);
	card->peer = -1;
	expect_link_down(card);
	card = card_new(DRIVER_ALL_FEATURES); /* while a frame waits for room */
	peer_send(card, frame, 64);
	driver_work(&card->driver, 10);
	close(card->peer);
	card->peer = -1;
	give(card, 2048);
	expect_link_down(card);
	card = card_new(DRIVER_ALL_FEATURES); /* while it does not read */
	for (unsigned i = 0; i < QUEUE / 2; i++) {
		static uint8_t big[40000];

		transmit(card, &PLAIN, big, sizeof(big));
	}
	driver_work(&card->driver, 10);
	close(card->peer);
	card->peer = -1;
	expect_link_down(card);
}

/* A reset in the middle of a frame to the peer: the stream stays whole. */
static void test_reset_keeps_the_stream(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];
	unsigned sent = 0, seen = 0;

	(void)state;
	fill(frame, 60000, 5);
	for (; sent < 6; sent++)
		transmit(card, &PLAIN, frame, 60000);
	driver_work(&card->driver, 0);
	driver_reset(&card->driver);
	while (peer_receive(card, got) == 60000) {
		assert_memory_equal(got, frame, 60000);
		seen++;
	}
	assert_true(seen > 0 && seen <= sent);
	assert_true(driver_start(&card->driver, DRIVER_ALL_FEATURES, QUEUE));
	transmit(card, &PLAIN, frame, 777);
	assert_int_equal(peer_receive(card, got), 777);
	card_free(card);
}

/* Everything at once, sizes and order by chance; each direction is compared with what was put in. */
static void random_traffic(uint64_t features)
{
	struct card *card = card_new(features);
	struct prng prng = prng_new("traffic");
	static uint8_t frame[BIG], got[BIG];
	static size_t in[4096], out[4096];
	unsigned in_sent = 0, in_seen = 0, out_sent = 0, out_seen = 0;
	uint64_t memory = card->driver.next;
	struct net_header header;
	size_t size;

	for (unsigned step = 0; step < 3000 || in_seen < in_sent || out_seen < out_sent; step++) {
		uint64_t what = prng_below(&prng, 8);
		bool more = step < 3000;

		if (what < 2 && more && in_sent - in_seen < 3) {
			in[in_sent] = NET_STREAM_FRAME_MIN + prng_below(&prng, 20000);
			fill(frame, in[in_sent], in_sent);
			peer_send(card, frame, in[in_sent++]);
		} else if (what < 4 && more && out_sent - out_seen < 8) {
			out[out_sent] = NET_STREAM_FRAME_MIN + prng_below(&prng, 20000);
			fill(frame, out[out_sent], out_sent);
			if (transmit(card, &PLAIN, frame, out[out_sent]) >= 0)
				out_sent++;
		} else if (what < 6) {
			if (card->driver.queues[RX].free_count > 0)
				give(card, (uint32_t)(HEADER + 1 + prng_below(&prng, 4096)));
		}
		driver_work(&card->driver, 0);
		while ((size = take(card, got, &header)) > 0) {
			assert_int_equal(size, in[in_seen]);
			fill(frame, size, in_seen++);
			assert_memory_equal(got, frame, size);
		}
		if (what == 7 && out_seen < out_sent && (size = peer_receive(card, got)) > 0) {
			assert_int_equal(size, out[out_seen]);
			fill(frame, size, out_seen++);
			assert_memory_equal(got, frame, size);
		}
		reclaim(card);
		/* memory starts anew when nothing is in flight */
		if (card->driver.next > DRIVER_GPA + DRIVER_MEMORY - 0x100000) {
			assert_true(driver_start(&card->driver, features, QUEUE));
			break;
		}
	}
	assert_true(card->driver.next > memory);
	assert_int_equal(counted(&card->net.device, "dropped", "from_guest"), 0);
	assert_int_equal(counted(&card->net.device, "dropped", "to_guest"), 0);
	assert_true(in_seen > 50 && out_seen > 50);
	card_free(card);
}

static void test_random_traffic(void **state)
{
	(void)state;
	random_traffic(DRIVER_ALL_FEATURES);
	random_traffic(DRIVER_ALL_FEATURES & ~VIRTIO_FEATURE_EVENT_IDX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum),       cmocka_unit_test(test_hostile_headers),
		cmocka_unit_test(test_hostile_chains), cmocka_unit_test(test_tiny_buffers),
		cmocka_unit_test(test_peer_ends),      cmocka_unit_test(test_reset_keeps_the_stream),
		cmocka_unit_test(test_random_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
