/* SPDX-License-Identifier: Apache-2.0 */
/* Frames both ways through the network card: byte-exact, in order, whatever is full or cut. */
#include "tests/unit/counted.h"
#include "tests/unit/virtio_card.h"

static void test_config(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static const uint8_t expected[12] = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xf0, 0xff};
	uint8_t config[12];

	(void)state;
	driver_read_config(&card->driver, 0, config, sizeof(config));
	assert_memory_equal(config, expected, sizeof(expected));
	assert_int_equal(driver_read(&card->driver, DRIVER_REG_DEVICE_ID), 1);
	assert_int_equal(driver_offered(&card->driver) & 0xfffff,
			 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 15 | 1 << 16);
	card_free(card);
}

static void test_to_guest(void **state)
{
	static const size_t sizes[] = {14, 60, 1514, 1515};
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];
	struct net_header header;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		give(card, 2048);
	for (size_t i = 0; i < 4; i++) {
		fill(frame, sizes[i], (unsigned)i);
		peer_send(card, frame, sizes[i]);
		driver_work(&card->driver, 20);
		assert_int_not_equal(driver_wait_interrupt(&card->driver, 100) & 1, 0);
		assert_int_equal(take(card, got, &header), sizes[i]);
		driver_enable_interrupts(&card->driver, RX);
		assert_memory_equal(got, frame, sizes[i]);
		assert_int_equal(header.flags, NET_DATA_VALID);
		assert_int_equal(header.buffer_count, 1);
	}
	card_free(card);
}

static void test_mergeable(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];
	struct net_header header;

	(void)state;
	fill(frame, 65534, 3);
	peer_send(card, frame, 65534);
	/* not enough yet: nothing may come */
	for (unsigned i = 0; i < 20; i++)
		give(card, 1536);
	driver_work(&card->driver, 10);
	assert_int_equal(take(card, got, &header), 0);
	for (unsigned i = 0; i < 30; i++)
		give(card, 1536);
	driver_work(&card->driver, 10);
	assert_int_equal(take(card, got, &header), 65534);
	assert_memory_equal(got, frame, 65534);
	assert_int_equal(header.buffer_count, (65534 + HEADER + 1535) / 1536);
	/* the rest is still there for the next frame */
	peer_send(card, frame, 5000);
	driver_work(&card->driver, 10);
	assert_int_equal(take(card, got, &header), 5000);
	card_free(card);
}

static void test_not_mergeable(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES & ~NET_FEATURE_MRG_RXBUF & ~NET_FEATURE_GUEST_CSUM);
	static uint8_t frame[BIG], got[BIG];
	struct net_header header;

	(void)state;
	give(card, 1526);
	give(card, 1526);
	fill(frame, 3000, 1);
	peer_send(card, frame, 3000); /* too large for any one: dropped, the buffer stays */
	peer_send(card, frame, 1514);
	driver_work(&card->driver, 10);
	assert_int_equal(take(card, got, &header), 1514);
	assert_int_equal(header.flags, 0);
	assert_int_equal(counted(&card->net.device, "dropped", "to_guest"), 1);
	assert_int_equal(counted(&card->net.device, "frames", "to_guest"), 1);
	assert_int_equal(counted(&card->net.device, "transferred", "to_guest"), 1514);
	assert_int_equal(counted(&card->net.device, "frames", "from_guest"), 0);
	card_free(card);
}

/* Each byte alone, then two frames in one write. */
static void test_partial_frames(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];
	uint8_t stream[2 * (4 + 100)] = {0};
	struct net_header header;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		give(card, 2048);
	fill(frame, 100, 9);
	stream[3] = 100;
	memcpy(stream + 4, frame, 100);
	memcpy(stream + 104, stream, 104);
	for (unsigned i = 0; i < 104; i++) {
		assert_int_equal(take(card, got, &header), 0);
		peer_write(card, stream + i, 1);
		driver_work(&card->driver, 0);
	}
	assert_int_equal(take(card, got, &header), 100);
	peer_write(card, stream, sizeof(stream));
	driver_work(&card->driver, 10);
	assert_int_equal(take(card, got, &header), 100);
	assert_int_equal(take(card, got, &header), 100);
	assert_memory_equal(got, frame, 100);
	card_free(card);
}

/* The guest gives no room: nothing is lost, nothing spins. */
static void test_starved(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];
	struct net_header header;

	(void)state;
	driver_work(&card->driver, 0);
	for (unsigned i = 0; i < 50; i++) {
		fill(frame, 1000, i);
		peer_send(card, frame, 1000);
	}
	driver_work(&card->driver, 10); /* aborts when it does not rest */
	for (unsigned i = 0; i < 50; i++) {
		give(card, 2048);
		driver_work(&card->driver, 0);
		assert_int_equal(take(card, got, &header), 1000);
		fill(frame, 1000, i);
		assert_memory_equal(got, frame, 1000);
	}
	card_free(card);
}

static void test_from_guest(void **state)
{
	static const size_t sizes[] = {14, 42, 1514, 9014, 65534, 65535};
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill(frame, sizes[i], (unsigned)i);
		assert_true(transmit(card, &PLAIN, frame, sizes[i]) >= 0);
		driver_work(&card->driver, 0);
		assert_int_equal(peer_receive(card, got), sizes[i]);
		assert_memory_equal(got, frame, sizes[i]);
		reclaim(card);
	}
	/* too short and too long are dropped, and used up */
	assert_true(transmit(card, &PLAIN, frame, 13) >= 0);
	assert_true(transmit(card, &PLAIN, frame, 65536) >= 0);
	driver_work(&card->driver, 0);
	assert_int_equal(peer_receive(card, got), 0);
	assert_int_equal(counted(&card->net.device, "dropped", "from_guest"), 2);
	assert_false(driver_needs_reset(&card->driver));
	card_free(card);
}

/* The peer does not read: the ring fills up, and all comes out in order afterwards. */
static void test_peer_that_does_not_read(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	static uint8_t frame[BIG], got[BIG];
	unsigned queued = 0, seen = 0;

	(void)state;
	for (unsigned round = 0; round < 200 && card->driver.queues[TX].free_count >= 2; round++) {
		fill(frame, 30000, queued);
		if (transmit(card, &PLAIN, frame, 30000) < 0)
			break;
		queued++;
		driver_work(&card->driver, 0);
		reclaim(card);
	}
	assert_true(queued > 20);
	assert_true(card->driver.queues[TX].free_count < 2);
	while (peer_receive(card, got) == 30000) {
		fill(frame, 30000, seen++);
		assert_memory_equal(got, frame, 30000);
		reclaim(card);
	}
	assert_int_equal(seen, queued);
	assert_int_equal(card->driver.queues[TX].free_count, QUEUE);
	card_free(card);
}

/*
 * What a peer reads at once never ends inside of a length, however full the socket was: the passt of Debian 12 forgets the beginning of such
 * a length.
 */
static void test_lengths_are_never_cut(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES & ~VIRTIO_FEATURE_EVENT_IDX);
	static uint8_t frame[64], bytes[1024 * 1024];
	size_t left = 0, size = 0;
	unsigned queued = 0, seen = 0;
	int small = 8192;

	(void)state;
	assert_int_equal(setsockopt(card->net.passt.stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned i = 0; i < QUEUE / 2; i++)
			queued += transmit(card, &PLAIN, frame, 14 + round % 7) >= 0;
		driver_work(&card->driver, 0);
		reclaim(card);
		card->driver.next = DRIVER_GPA + 0x100000;
		if (round % 40 != 39)
			continue;
		for (ssize_t got; (got = recv(card->peer, bytes, sizeof(bytes), 0)) > 0;
		     driver_work(&card->driver, 0)) {
			for (ssize_t at = 0; at < got;) {
				if (left == 0) {
					assert_true(got - at > 4);
					size = left = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
					assert_true(size >= 14 && size <= 20);
					at += 4;
					seen++;
				}
				size = left < (size_t)(got - at) ? left : (size_t)(got - at);
				left -= size;
				at += (ssize_t)size;
			}
		}
		reclaim(card);
	}
	assert_true(queued > 5000);
	driver_work(&card->driver, 0);
	while (recv(card->peer, bytes, sizeof(bytes), 0) > 0)
		driver_work(&card->driver, 0);
	assert_true(seen > queued / 2);
	card_free(card);
}

struct loop {
	struct card *card;
	atomic_bool stop;
};

static void *run_loop(void *context)
{
	struct loop *loop = context;

	while (!atomic_load(&loop->stop))
		driver_work_once(&loop->card->driver, 1);
	return NULL;
}

/* The driver polls while the card delivers: it must never see a part of a frame's buffers. */
static void test_mergeable_and_polling(void **state)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	enum { COUNT = (8000 + HEADER + 127) / 128 };
	struct loop loop = {.card = card};
	static uint8_t frame[BIG], got[BIG];
	struct net_header header;
	uint64_t used = card->driver.queues[RX].used + 2;
	pthread_t thread;
	uint16_t index;
	size_t size;

	(void)state;
	fill(frame, 8000, 1);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, &loop), 0);
	for (unsigned round = 0; round < 1000; round++) {
		uint8_t prefix[4] = {0, 0, 8000 >> 8, 8000 & 0xff};

		/* by turns, so that the buffer that is left over keeps its memory */
		card->driver.next = DRIVER_GPA + 0x100000 + round % 2 * 0x100000;
		while (card->driver.queues[RX].free_count > 0)
			give(card, 128);
		assert_int_equal(send(card->peer, prefix, 4, 0), 4);
		assert_int_equal(send(card->peer, frame, 8000, 0), 8000);
		/* all of them at once */
		while ((index = driver_load(&card->driver, used)) == card->driver.queues[RX].next_used)
			;
		assert_int_equal((uint16_t)(index - card->driver.queues[RX].next_used), COUNT);
		size = take(card, got, &header);
		assert_int_equal(size, 8000);
		assert_memory_equal(got, frame, 8000);
		assert_int_equal(header.buffer_count, COUNT);
	}
	atomic_store(&loop.stop, true);
	pthread_join(thread, NULL);
	card_free(card);
}

/* A card with queues of 256 and 300 small frames from the peer in its own buffer, all of them for a guest without room. */
static struct card *card_with_backlog(void)
{
	struct card *card = card_new(DRIVER_ALL_FEATURES);
	uint8_t frames[300][4 + 20] = {0};

	assert_true(driver_start(&card->driver, DRIVER_ALL_FEATURES, VIRTQ_SIZE_MAX));
	driver_work(&card->driver, 0);
	for (unsigned i = 0; i < 300; i++)
		frames[i][3] = 20;
	peer_write(card, frames, sizeof(frames));
	driver_work(&card->driver, 0);
	return card;
}

static unsigned take_all(struct card *card)
{
	struct net_header header;
	uint8_t frame[64];
	unsigned count = 0;

	driver_work(&card->driver, 0);
	while (take(card, frame, &header) == 20)
		count++;
	return count;
}

/* As many frames as are done in one go, and as many as the rings hold: neither side waits for the other afterwards. */
static void test_one_go(void **state)
{
	struct card *card = card_with_backlog();
	static uint8_t frame[20], got[64];

	(void)state;
	for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++)
		give(card, 64);
	assert_int_equal(take_all(card), VIRTQ_SIZE_MAX);
	for (unsigned i = 0; i < 50; i++)
		give(card, 64);
	assert_int_equal(take_all(card), 300 - VIRTQ_SIZE_MAX);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++) {
			uint64_t gpa = driver_alloc(&card->driver, HEADER + sizeof(frame), 16);
			const struct driver_buffer buffer = {gpa, HEADER + sizeof(frame), false};

			assert_true(driver_add(&card->driver, TX, &buffer, 1) >= 0);
		}
		driver_kick(&card->driver, TX);
		for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++)
			assert_int_equal(peer_receive(card, got), sizeof(frame));
		reclaim(card);
		assert_int_equal(card->driver.queues[TX].free_count, VIRTQ_SIZE_MAX);
	}
	card_free(card);
}

/* What came before a reset and is in our own buffer is given to the next driver without more coming. */
static void test_backlog_after_reset(void **state)
{
	struct card *card = card_with_backlog();

	(void)state;
	assert_true(driver_start(&card->driver, DRIVER_ALL_FEATURES, VIRTQ_SIZE_MAX));
	for (unsigned i = 0; i < 10; i++) {
		uint64_t gpa = driver_alloc(&card->driver, 64, 16);
		int head = driver_add(&card->driver, RX, &(struct driver_buffer){gpa, 64, true}, 1);

		card->rx_gpa[head] = gpa;
		card->rx_size[head] = 64;
	}
	/* no kick */
	assert_int_equal(take_all(card), 10);
	card_free(card);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_to_guest),
		cmocka_unit_test(test_mergeable),
		cmocka_unit_test(test_not_mergeable),
		cmocka_unit_test(test_partial_frames),
		cmocka_unit_test(test_starved),
		cmocka_unit_test(test_from_guest),
		cmocka_unit_test(test_peer_that_does_not_read),
		cmocka_unit_test(test_lengths_are_never_cut),
		cmocka_unit_test(test_mergeable_and_polling),
		cmocka_unit_test(test_one_go),
		cmocka_unit_test(test_backlog_after_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
