/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices/serial.c under a small model of the way in which Linux's 8250 driver finds, tests and uses a UART: the questions
 * that the driver is known to ask and the answers that make it a plain 16550A with working interrupts. The model's interrupt thread sleeps on the
 * eventfd, so a lost pulse stops it, and the test fails by its time limit.
 */
#include "devices/serial.h"
#include "tests/unit/unit.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { RBR = 0, THR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
enum { RDI = 1, THRI = 2, RLSI = 4 };
enum { DTR = 1, RTS = 2, OUT2 = 8, LOOP = 16 };
enum { DR = 0x01, THRE = 0x20, TEMT = 0x40, NO_INT = 0x01 };

enum { STREAM_SIZE = 200000, PATIENCE_MS = 20000 };

struct port {
	struct bus bus;
	struct serial serial;
	int irq, room;          /* eventfds: the interrupt, and drained() */
	pthread_mutex_t lock;   /* the driver's port lock */
	unsigned ier;           /* the driver's copy; under lock */
	size_t queued, written; /* output asked for and given to the UART; under lock */
	size_t sent, received;
	unsigned interrupts;
	const char *fault; /* the first thing that went wrong in the thread */
};

/* The stream's byte n, in either direction; its period is prime to every power of two. */
static uint8_t pattern(size_t n)
{
	return (uint8_t)(n % 251);
}

static void on_transmit(void *context, uint8_t byte)
{
	struct port *port = context;

	if (byte != pattern(port->sent))
		port->fault = "a transmitted byte is wrong";
	port->sent++;
}

static void on_drained(void *context)
{
	const struct port *port = context;

	if (eventfd_write(port->room, 1) != 0)
		abort();
}

static unsigned in(const struct port *port, unsigned reg)
{
	uint64_t value;

	bus_read(&port->bus, SERIAL_COM1_PORT + reg, 1, &value);
	return (unsigned)value;
}

static void out(const struct port *port, unsigned reg, unsigned value)
{
	bus_write(&port->bus, SERIAL_COM1_PORT + reg, 1, value);
}

static int plug(void **state)
{
	struct port *port = calloc(1, sizeof(*port));
	struct dev_wants wants;

	assert_non_null(port);
	port->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	port->room = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(port->irq >= 0 && port->room >= 0);
	assert_int_equal(pthread_mutex_init(&port->lock, NULL), 0);
	assert_int_equal(serial_init(&port->serial, on_transmit, on_drained, port), 0);
	serial_set_irq(&port->serial, (struct dev_irq){port->irq});
	serial_wants(&wants);
	assert_int_equal(bus_add(&port->bus, wants.io[0].range, wants.io[0].ops, &port->serial), 0);
	*state = port;
	return 0;
}

static int unplug(void **state)
{
	struct port *port = *state;

	serial_release(&port->serial);
	pthread_mutex_destroy(&port->lock);
	close(port->irq);
	close(port->room);
	free(port);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- finding it */

static void it_is_there(const struct port *port)
{
	unsigned ier = in(port, IER);

	out(port, IER, 0);
	assert_int_equal(in(port, IER) & 0x0f, 0);
	out(port, IER, 0x0f);
	assert_int_equal(in(port, IER) & 0x0f, 0x0f);
	out(port, IER, ier);

	/* in loopback RTS and OUT2 must come back as CTS and DCD, and nothing else */
	unsigned mcr = in(port, MCR);

	out(port, MCR, LOOP | 0x0a);
	assert_int_equal(in(port, MSR) & 0xf0, 0x90);
	out(port, MCR, mcr);
}

static void it_is_a_16550a(const struct port *port)
{
	/* an 8250 has no scratch register */
	out(port, SCR, 0xa5);
	assert_int_equal(in(port, SCR), 0xa5);
	out(port, SCR, 0x5a);
	assert_int_equal(in(port, SCR), 0x5a);
	/* both FIFO bits: not a 16450 (neither), nor a 16550 with the broken FIFO (one) */
	out(port, LCR, 0xbf);
	out(port, 2, 0);
	out(port, LCR, 0);
	out(port, FCR, 0x01);
	assert_int_equal(in(port, IIR) >> 6, 3);
}

/* The later relatives show registers of theirs where a 16550A goes on showing its own. */
static void it_is_nothing_later(const struct port *port)
{
	/* 16650 and its kin: an EFR that reads 0 in place of IIR, at LCR 0x80 or 0xbf */
	out(port, LCR, 0x80);
	assert_int_not_equal(in(port, 2), 0);
	out(port, LCR, 0xbf);
	assert_int_not_equal(in(port, 2), 0);
	/* National's Super I/O: at LCR 0xe0 register 2 follows MCR's LOOP */
	out(port, LCR, 0);

	unsigned mcr = in(port, MCR);

	out(port, MCR, mcr ^ LOOP);
	out(port, LCR, 0xe0);
	assert_int_equal(in(port, 2) & LOOP, 0);
	out(port, LCR, 0);
	out(port, MCR, mcr);
	/* TI 16750: bit 5 of FCR, settable with DLAB only, turns on 64 bytes and shows in IIR */
	out(port, LCR, 0x80);
	out(port, FCR, 0x21);
	assert_int_equal(in(port, IIR) >> 5, 6);
	out(port, FCR, 0x01);
	out(port, LCR, 0);
	/* XScale: a "UART unit enable" at IER's bit 6 */
	out(port, IER, 0x40);
	assert_int_equal(in(port, IER), 0);
}

/* The driver's count of the FIFO: more than fits, in loopback, then what has stayed. */
static void its_fifo_holds_16(const struct port *port)
{
	unsigned count = 0;

	out(port, FCR, 0x07);
	out(port, MCR, LOOP);
	for (unsigned i = 0; i < 256; i++)
		out(port, THR, i);
	while ((in(port, LSR) & DR) != 0 && count < 256) {
		assert_int_equal(in(port, RBR), count);
		count++;
	}
	assert_int_equal(count, 16);
	out(port, MCR, 0);
	out(port, FCR, 0);
}

/* ------------------------------------------------------------------------------------------------- opening it */

static void clear_what_is_left(const struct port *port)
{
	in(port, LSR);
	in(port, RBR);
	in(port, IIR);
	in(port, MSR);
}

static void start_up(struct port *port)
{
	out(port, FCR, 0x01);
	out(port, FCR, 0x07);
	out(port, FCR, 0x00);
	clear_what_is_left(port);
	assert_int_not_equal(in(port, LSR), 0xff);
	/* A UART that raises THRE once, but not at the second enabling, gets a timer (UART_BUG_THRE). */
	for (int i = 0; i < 2; i++) {
		out(port, IER, THRI);
		assert_int_equal(in(port, IIR) & NO_INT, 0);
		out(port, IER, 0);
	}
	out(port, LCR, 0x03);
	out(port, MCR, OUT2);
	/* One that is idle and has no interrupt at once would need a push for each write (UART_BUG_TXEN). */
	out(port, IER, THRI);
	assert_int_equal(in(port, LSR) & TEMT, TEMT);
	assert_int_equal(in(port, IIR) & NO_INT, 0);
	out(port, IER, 0);
	clear_what_is_left(port);
	port->ier = RDI | RLSI;
	out(port, IER, port->ier);
	/* the line's settings: speed, FIFO with trigger 8; then the terminal is open */
	out(port, LCR, 0x83);
	out(port, 0, 1);
	out(port, 1, 0);
	out(port, LCR, 0x03);
	out(port, FCR, 0x01);
	out(port, FCR, 0x81);
	out(port, MCR, DTR | RTS | OUT2);
}

static void autoconfig_takes_it_for_a_16550a(void **state)
{
	const struct port *port = *state;

	it_is_there(port);
	it_is_a_16550a(port);
	it_is_nothing_later(port);
	its_fifo_holds_16(port);
	assert_int_equal(port->sent, 0);
}

/* ------------------------------------------------------------------------------------------------- using it */

static void receive_some(struct port *port)
{
	/* the driver's bound for one call; it may leave bytes behind */
	for (int i = 0; i < 256 && (in(port, LSR) & DR) != 0; i++) {
		if (in(port, RBR) != pattern(port->received))
			port->fault = "a received byte is wrong";
		port->received++;
	}
}

static void transmit_some(struct port *port)
{
	for (int i = 0; i < 16 && port->written < port->queued; i++)
		out(port, THR, pattern(port->written++));
	if (port->written == port->queued) {
		port->ier &= ~(unsigned)THRI;
		out(port, IER, port->ier);
	}
}

/* The handler: until IIR says that nothing is left. */
static void handle_interrupt(struct port *port)
{
	port->interrupts++;
	for (;;) {
		pthread_mutex_lock(&port->lock);
		bool none = (in(port, IIR) & NO_INT) != 0;

		if (!none) {
			unsigned lsr = in(port, LSR);

			if ((lsr & DR) != 0)
				receive_some(port);
			if ((lsr & THRE) != 0 && (port->ier & THRI) != 0)
				transmit_some(port);
		}
		pthread_mutex_unlock(&port->lock);
		if (none)
			return;
	}
}

static bool wait_for(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	eventfd_t count;

	return poll(&wait, 1, PATIENCE_MS) == 1 && eventfd_read(fd, &count) == 0;
}

/* A processor that does nothing but take this interrupt, until both streams are through. */
static void *take_interrupts(void *context)
{
	struct port *port = context;

	while (port->fault == NULL && (port->received < STREAM_SIZE || port->written < STREAM_SIZE)) {
		if (!wait_for(port->irq))
			port->fault = "no interrupt came while work was left";
		else
			handle_interrupt(port);
	}
	return NULL;
}

/* A process that writes to the terminal in pieces; each starts the output anew when it had stopped. */
static void *write_terminal(void *context)
{
	struct port *port = context;

	for (size_t piece = 1; port->queued < STREAM_SIZE; piece = piece * 7 % 1009) {
		pthread_mutex_lock(&port->lock);
		port->queued = port->queued + piece < STREAM_SIZE ? port->queued + piece : STREAM_SIZE;
		if ((port->ier & THRI) == 0) {
			port->ier |= THRI;
			out(port, IER, port->ier);
		}
		pthread_mutex_unlock(&port->lock);
	}
	return NULL;
}

/* The main loop's side: offers the input, and waits for room when some is refused. */
static const char *feed(struct port *port)
{
	uint8_t bytes[64];

	for (size_t given = 0; given < STREAM_SIZE;) {
		size_t count = STREAM_SIZE - given < sizeof(bytes) ? STREAM_SIZE - given : sizeof(bytes);

		for (size_t i = 0; i < count; i++)
			bytes[i] = pattern(given + i);

		size_t taken = serial_receive(&port->serial, bytes, count);

		given += taken;
		if (taken < count && !wait_for(port->room))
			return "drained() was not called";
	}
	return NULL;
}

/* Both directions at once, from three threads; a lost wake-up is a time-out. */
static void long_streams_pass_by_interrupts_alone(void **state)
{
	struct port *port = *state;
	pthread_t processor, process;

	start_up(port);
	assert_int_equal(pthread_create(&processor, NULL, take_interrupts, port), 0);
	assert_int_equal(pthread_create(&process, NULL, write_terminal, port), 0);

	const char *fault = feed(port);

	assert_int_equal(pthread_join(process, NULL), 0);
	assert_int_equal(pthread_join(processor, NULL), 0);
	if (fault != NULL || port->fault != NULL)
		fail_msg("%s; received %zu, sent %zu", fault != NULL ? fault : port->fault, port->received, port->sent);
	assert_int_equal(port->received, STREAM_SIZE);
	assert_int_equal(port->sent, STREAM_SIZE);
	assert_int_equal(counter_read(&port->serial.in_bytes), STREAM_SIZE);
	assert_int_equal(counter_read(&port->serial.out_bytes), STREAM_SIZE);
	print_message("%u interrupts for %d bytes each way\n", port->interrupts, STREAM_SIZE);
}

/* Bytes that were there before the port was found and opened are all still there afterwards. */
static void input_typed_ahead_survives_start_up(void **state)
{
	struct port *port = *state;
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern(i);
	assert_int_equal(serial_receive(&port->serial, bytes, sizeof(bytes)), 0);
	it_is_there(port);
	it_is_a_16550a(port);
	its_fifo_holds_16(port);
	start_up(port);
	assert_true(wait_for(port->room));
	assert_int_equal(serial_receive(&port->serial, bytes, sizeof(bytes)), sizeof(bytes));
	assert_true(wait_for(port->irq));
	handle_interrupt(port);
	assert_int_equal(port->received, sizeof(bytes));
	assert_null(port->fault);
}

/* A console's message in between: interrupts off, bytes out by polling, interrupts as before. Output that was waiting goes on. */
static void polled_messages_do_not_stop_the_output(void **state)
{
	struct port *port = *state;

	start_up(port);
	port->queued = 100;
	port->ier |= THRI;
	out(port, IER, port->ier);
	/* the pulse is taken, and its cause answered, but nothing written yet */
	assert_true(wait_for(port->irq));
	assert_int_equal(in(port, IIR) & 0x0f, 0x02);
	out(port, IER, 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(in(port, LSR) & (THRE | TEMT), THRE | TEMT);
		out(port, THR, pattern(port->written++));
	}
	out(port, IER, port->ier);
	assert_true(wait_for(port->irq));
	handle_interrupt(port);
	assert_int_equal(port->sent, 100);
	assert_null(port->fault);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, plug, unplug)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(autoconfig_takes_it_for_a_16550a),
		TEST(long_streams_pass_by_interrupts_alone),
		TEST(input_typed_ahead_survives_start_up),
		TEST(polled_messages_do_not_stop_the_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
