/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/serial.h"
#include "tests/unit/unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* Register offsets and bits under the names of the data sheet. */
enum { RBR = 0, THR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
enum { RDI = 1, THRI = 2, RLSI = 4, MSI = 8 };
enum { DTR = 1, RTS = 2, OUT1 = 4, OUT2 = 8, LOOP = 16 };
enum { DR = 0x01, OE = 0x02, IDLE = 0x60 };

struct fixture {
	struct bus bus;
	struct serial serial;
	int irq;
	uint8_t sent[1024];
	size_t sent_count;
	int drained;
	bool refill; /* drained() gives more at once */
};

static void on_transmit(void *context, uint8_t byte)
{
	struct fixture *fixture = context;

	fixture->sent[fixture->sent_count++ % sizeof(fixture->sent)] = byte;
}

static void on_drained(void *context)
{
	struct fixture *fixture = context;

	fixture->drained++;
	if (fixture->refill)
		assert_int_equal(serial_receive(&fixture->serial, (const uint8_t *)"more", 4), 4);
}

static int plug(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct dev_wants wants;

	assert_non_null(fixture);
	fixture->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(fixture->irq >= 0);
	assert_int_equal(serial_init(&fixture->serial, on_transmit, on_drained, fixture), 0);
	serial_set_irq(&fixture->serial, (struct dev_irq){fixture->irq});
	serial_wants(&wants);
	assert_int_equal(wants.io_count, 1);
	assert_int_equal(bus_add(&fixture->bus, wants.io[0].range, wants.io[0].ops, &fixture->serial), 0);
	*state = fixture;
	return 0;
}

static int unplug(void **state)
{
	struct fixture *fixture = *state;

	serial_release(&fixture->serial);
	serial_release(&fixture->serial);
	serial_release(NULL);
	close(fixture->irq);
	free(fixture);
	return 0;
}

static unsigned in(const struct fixture *fixture, unsigned reg)
{
	uint64_t value;

	bus_read(&fixture->bus, SERIAL_COM1_PORT + reg, 1, &value);
	return (unsigned)value;
}

static void out(const struct fixture *fixture, unsigned reg, unsigned value)
{
	bus_write(&fixture->bus, SERIAL_COM1_PORT + reg, 1, value);
}

/* The pulses since the last call. */
static unsigned pulses(const struct fixture *fixture)
{
	eventfd_t count = 0;

	return eventfd_read(fixture->irq, &count) == 0 ? (unsigned)count : 0;
}

static size_t offer(struct fixture *fixture, const char *text)
{
	return serial_receive(&fixture->serial, (const uint8_t *)text, strlen(text));
}

/* As an opened terminal leaves it: FIFOs with the given control, modem lines up. */
static void open_port(struct fixture *fixture, unsigned fcr, unsigned ier)
{
	out(fixture, FCR, fcr);
	out(fixture, MCR, DTR | RTS | OUT2);
	out(fixture, IER, ier);
	pulses(fixture);
}

static void wants_com1(void **state)
{
	struct dev_wants wants;

	(void)state;
	serial_wants(&wants);
	assert_int_equal(wants.io[0].space, BUS_PIO);
	assert_int_equal(wants.io[0].range.start, 0x3f8);
	assert_int_equal(wants.io[0].range.size, 8);
	assert_int_equal(wants.io[0].ops->widths, 1);
	assert_true(wants.irq);
	assert_int_equal(wants.gsi, 4);
	assert_string_equal(wants.acpi_name, "COM1");
	assert_string_equal(wants.acpi_hid, "PNP0501");
}

static void assert_defaults(const struct fixture *fixture)
{
	/* divisor 1 behind DLAB; the data sheet's reset values otherwise, with the peer's CTS, DSR and DCD */
	const unsigned expected[8] = {0, 0, 0x01, 0, 0, IDLE, 0xb0, 0};

	for (unsigned reg = 0; reg < 8; reg++)
		assert_int_equal(in(fixture, reg), expected[reg]);
	out(fixture, LCR, 0x80);
	assert_int_equal(in(fixture, 0), 1);
	assert_int_equal(in(fixture, 1), 0);
	out(fixture, LCR, 0);
}

static void starts_and_resets_to_defaults(void **state)
{
	struct fixture *fixture = *state;

	assert_defaults(fixture);
	open_port(fixture, 0xc7, 0x0f);
	out(fixture, SCR, 0x5a);
	out(fixture, LCR, 0x83);
	out(fixture, 0, 0x34);
	out(fixture, 1, 0x12);
	assert_int_equal(offer(fixture, "lost in the reset of the port"), 16);
	serial_reset(&fixture->serial);
	assert_defaults(fixture);
	/* the refused rest is asked for when the guest listens again */
	assert_int_equal(fixture->drained, 0);
	out(fixture, MCR, RTS);
	assert_int_equal(fixture->drained, 1);
}

static void registers_keep_their_bits(void **state)
{
	const struct {
		unsigned reg, lcr, kept;
	} cases[] = {{IER, 0, 0x0f}, {LCR, 0, 0x7f}, {MCR, 0, 0x1f}, {SCR, 0, 0xff}, {0, 0x80, 0xff}, {1, 0x80, 0xff}};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned value = 0; value < 256; value++) {
			out(fixture, LCR, cases[i].lcr);
			out(fixture, cases[i].reg, value & ~(cases[i].reg == LCR ? 0x80u : 0));
			assert_int_equal(in(fixture, cases[i].reg), value & cases[i].kept);
		}
		out(fixture, LCR, 0);
		out(fixture, IER, 0);
	}
	/* The divisor is apart from the data and the enables, and both halves from each other. */
	out(fixture, LCR, 0x80);
	out(fixture, 0, 0x34);
	out(fixture, 1, 0x12);
	assert_int_equal(fixture->serial.divisor, 0x1234);
	out(fixture, LCR, 0);
	assert_int_equal(in(fixture, IER), 0);
	assert_int_equal(fixture->sent_count, 0);
	/* LSR and MSR cannot be written. */
	out(fixture, MCR, 0);
	in(fixture, MSR);
	out(fixture, LSR, 0xff);
	out(fixture, MSR, 0xff);
	assert_int_equal(in(fixture, LSR), IDLE);
	assert_int_equal(in(fixture, MSR), 0xb0);
}

static void takes_bytes_only(void **state)
{
	struct fixture *fixture = *state;
	uint64_t value;

	assert_false(bus_write(&fixture->bus, SERIAL_COM1_PORT, 2, 0x4141));
	assert_false(bus_read(&fixture->bus, SERIAL_COM1_PORT + 4, 4, &value));
	assert_int_equal(fixture->sent_count, 0);
}

static void transmits_in_order(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 600; i++) {
		out(fixture, THR, i & 0xff);
		assert_int_equal(in(fixture, LSR), IDLE);
	}
	assert_int_equal(fixture->sent_count, 600);
	for (unsigned i = 0; i < 600; i++)
		assert_int_equal(fixture->sent[i], i & 0xff);
}

static void receives_in_order_and_refuses_when_full(void **state)
{
	struct fixture *fixture = *state;

	open_port(fixture, 0x01, 0);
	/* twice, so that the ring turns */
	for (int round = 0; round < 3; round++) {
		assert_int_equal(offer(fixture, "0123456789"), 10);
		assert_int_equal(offer(fixture, "abcdefghij"), 6);
		assert_int_equal(offer(fixture, "z"), 0);
		assert_int_equal(fixture->drained, round);
		for (const char *c = "0123456789abcdef"; *c != 0; c++) {
			assert_int_equal(in(fixture, LSR), IDLE | DR);
			assert_int_equal(in(fixture, RBR), *c);
		}
		assert_int_equal(fixture->drained, round + 1);
		assert_int_equal(in(fixture, LSR), IDLE);
		assert_int_equal(in(fixture, RBR), 0);
	}
	/* nothing was refused, so nobody is told */
	assert_int_equal(offer(fixture, "x"), 1);
	in(fixture, RBR);
	assert_int_equal(fixture->drained, 3);
}

static void drained_may_offer_more(void **state)
{
	struct fixture *fixture = *state;

	open_port(fixture, 0x01, 0);
	fixture->refill = true;
	assert_int_equal(offer(fixture, "0123456789abcdefXY"), 16);
	for (int i = 0; i < 16; i++)
		in(fixture, RBR);
	for (const char *c = "more"; *c != 0; c++)
		assert_int_equal(in(fixture, RBR), *c);
	assert_int_equal(in(fixture, LSR), IDLE);
}

static void nobody_need_hear_drained(void **state)
{
	struct fixture *fixture = *state;

	fixture->serial.drained = NULL;
	assert_int_equal(offer(fixture, "x"), 0);
	out(fixture, MCR, RTS);
	assert_int_equal(offer(fixture, "x"), 1);
}

/* Input waits outside until RTS, whatever the guest does to its FIFOs before, and during loopback. */
static void input_waits_for_rts(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(offer(fixture, "typed ahead"), 0);
	out(fixture, FCR, 0x07);
	out(fixture, FCR, 0x00);
	in(fixture, RBR);
	out(fixture, MCR, DTR | OUT2);
	out(fixture, MCR, LOOP | RTS);
	assert_int_equal(offer(fixture, "typed ahead"), 0);
	assert_int_equal(fixture->drained, 0);
	out(fixture, MCR, DTR | RTS | OUT2);
	assert_int_equal(fixture->drained, 1);
	/* the FIFO is off: one byte, as in a 16450 */
	assert_int_equal(offer(fixture, "typed ahead"), 1);
	assert_int_equal(in(fixture, RBR), 't');
	assert_int_equal(fixture->drained, 2);
}

static void clearing_the_fifo_drops_bytes_and_asks_for_more(void **state)
{
	const struct {
		unsigned fcr;
		bool dropped;
		unsigned iir;
	} cases[] = {
		{0x01, false, 0xc0}, {0x03, true, 0xc0}, {0x05, false, 0xc0},
		{0x00, true, 0x00},  {0x02, true, 0x00}, {0xc1, false, 0xc0},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		open_port(fixture, 0x07, 0);
		fixture->drained = 0;
		assert_int_equal(offer(fixture, "0123456789abcdefg"), 16);
		out(fixture, FCR, cases[i].fcr);
		assert_int_equal(in(fixture, LSR) & DR, cases[i].dropped ? 0 : DR);
		assert_int_equal(fixture->drained, cases[i].dropped);
		assert_int_equal(in(fixture, IIR) & 0xf0, cases[i].iir);
	}
	/* without ENABLE the clear bit counts for nothing in 16450 mode */
	out(fixture, FCR, 0);
	assert_int_equal(offer(fixture, "1"), 1);
	out(fixture, FCR, 0x02);
	assert_int_equal(in(fixture, RBR), '1');
}

static void iir_tells_the_highest_cause_first(void **state)
{
	struct fixture *fixture = *state;

	open_port(fixture, 0x41, 0); /* trigger 4 */
	in(fixture, MSR);
	/* an overrun and a full FIFO by looping back 17 bytes; modem changes by loopback itself */
	out(fixture, MCR, LOOP | RTS | OUT2);
	for (int i = 0; i < 17; i++)
		out(fixture, THR, 'a' + i);
	out(fixture, IER, RDI | THRI | RLSI | MSI);
	assert_int_equal(in(fixture, IIR), 0xc6);
	assert_int_equal(in(fixture, IIR), 0xc6);
	assert_int_equal(in(fixture, LSR), IDLE | DR | OE);
	assert_int_equal(in(fixture, LSR), IDLE | DR);
	for (int i = 0; i < 16; i++) {
		/* at the trigger level "data available", below it the time-out */
		assert_int_equal(in(fixture, IIR), 16 - i >= 4 ? 0xc4 : 0xcc);
		assert_int_equal(in(fixture, RBR), 'a' + i);
	}
	assert_int_equal(in(fixture, IIR), 0xc2);
	assert_int_equal(in(fixture, IIR), 0xc0);
	assert_int_not_equal(in(fixture, MSR) & 0x0f, 0);
	assert_int_equal(in(fixture, IIR), 0xc1);
	out(fixture, FCR, 0);
	assert_int_equal(in(fixture, IIR), 0x01);
}

static void trigger_levels_are_1_4_8_14(void **state)
{
	const unsigned levels[] = {1, 4, 8, 14};
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 4; i++) {
		open_port(fixture, 0x03 | i << 6, RDI);
		for (unsigned count = 1; count <= 16; count++) {
			offer(fixture, "x");
			assert_int_equal(in(fixture, IIR), count >= levels[i] ? 0xc4 : 0xcc);
		}
	}
}

static void overrun_without_fifo_replaces_the_byte(void **state)
{
	struct fixture *fixture = *state;

	out(fixture, MCR, LOOP);
	out(fixture, THR, '1');
	out(fixture, THR, '2');
	assert_int_equal(in(fixture, LSR), IDLE | DR | OE);
	assert_int_equal(in(fixture, RBR), '2');
	assert_int_equal(fixture->sent_count, 0);
}

static void loopback_joins_the_modem_lines(void **state)
{
	const unsigned wires[][2] = {{RTS, 0x10}, {DTR, 0x20}, {OUT1, 0x40}, {OUT2, 0x80}};
	struct fixture *fixture = *state;

	for (unsigned mcr = 0; mcr < 16; mcr++) {
		unsigned expected = 0;

		for (int i = 0; i < 4; i++)
			expected |= (mcr & wires[i][0]) != 0 ? wires[i][1] : 0;
		out(fixture, MCR, LOOP | mcr);
		assert_int_equal(in(fixture, MSR) & 0xf0, expected);
		assert_int_equal(in(fixture, MSR), expected);
	}
	out(fixture, MCR, 0);
	assert_int_equal(in(fixture, MSR) & 0xf0, 0xb0);
}

static void modem_changes_are_told_once(void **state)
{
	/* from one MCR to the next in loopback: the "has changed" bits; the ring counts only at its end */
	const unsigned steps[][2] = {{RTS, 0x01},       {RTS | DTR, 0x02}, {RTS | DTR | OUT1, 0},
				     {RTS | DTR, 0x04}, {OUT2, 0x0b},      {OUT2, 0}};
	struct fixture *fixture = *state;

	out(fixture, MCR, LOOP);
	in(fixture, MSR);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		out(fixture, MCR, LOOP | steps[i][0]);
		assert_int_equal(in(fixture, MSR) & 0x0f, steps[i][1]);
		assert_int_equal(in(fixture, MSR) & 0x0f, 0);
	}
}

/* ------------------------------------------------------------------------------------------- interrupts */

static void enabling_thri_raises_it_each_time(void **state)
{
	struct fixture *fixture = *state;

	open_port(fixture, 0x01, 0);
	for (int round = 0; round < 3; round++) {
		out(fixture, IER, THRI);
		assert_int_equal(pulses(fixture), 1);
		assert_int_equal(in(fixture, IIR), 0xc2);
		assert_int_equal(in(fixture, IIR), 0xc1);
		/* not on writing the same again */
		out(fixture, IER, THRI | RDI);
		assert_int_equal(pulses(fixture), 0);
		assert_int_equal(in(fixture, IIR), 0xc1);
		out(fixture, IER, 0);
	}
}

static void one_pulse_for_a_burst(void **state)
{
	struct fixture *fixture = *state;

	open_port(fixture, 0x01, THRI);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(in(fixture, IIR), 0xc2);
		assert_int_equal(pulses(fixture), 0);
		for (int i = 0; i < 16; i++)
			out(fixture, THR, 'x');
		assert_int_equal(pulses(fixture), 1);
	}
	/* an answer to another cause does not answer this one */
	offer(fixture, "r");
	out(fixture, IER, THRI | RDI);
	assert_int_equal(pulses(fixture), 1);
	assert_int_equal(in(fixture, IIR), 0xc4);
	in(fixture, RBR);
	assert_int_equal(in(fixture, IIR), 0xc2);
}

static void received_bytes_pulse_when_enabled(void **state)
{
	struct fixture *fixture = *state;

	open_port(fixture, 0x01, 0);
	offer(fixture, "a");
	assert_int_equal(pulses(fixture), 0);
	out(fixture, IER, RDI);
	assert_int_equal(pulses(fixture), 1);
	/* more behind an unread byte: again, see serial_receive() */
	offer(fixture, "bcd");
	assert_int_equal(pulses(fixture), 1);
	offer(fixture, "0123456789abcdef");
	assert_int_equal(pulses(fixture), 1);
	assert_int_equal(offer(fixture, "none fits"), 0);
	assert_int_equal(pulses(fixture), 0);
}

static void out2_connects_the_interrupt(void **state)
{
	struct fixture *fixture = *state;

	out(fixture, MCR, RTS);
	out(fixture, IER, THRI | RDI);
	offer(fixture, "a");
	assert_int_equal(pulses(fixture), 0);
	/* a poller sees the cause all the same */
	assert_int_equal(in(fixture, IIR), 0x04);
	out(fixture, MCR, RTS | OUT2);
	assert_int_equal(pulses(fixture), 1);
	out(fixture, MCR, RTS | OUT2 | DTR);
	assert_int_equal(pulses(fixture), 0);
}

static void line_and_modem_causes_pulse(void **state)
{
	struct fixture *fixture = *state;

	open_port(fixture, 0, RLSI | MSI);
	out(fixture, MCR, LOOP | OUT2);
	assert_int_equal(pulses(fixture), 1);
	assert_int_equal(in(fixture, IIR), 0x00);
	in(fixture, MSR);
	out(fixture, THR, '1');
	assert_int_equal(pulses(fixture), 0);
	out(fixture, THR, '2');
	assert_int_equal(pulses(fixture), 1);
	assert_int_equal(in(fixture, IIR), 0x06);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, plug, unplug)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wants_com1),
		TEST(starts_and_resets_to_defaults),
		TEST(registers_keep_their_bits),
		TEST(takes_bytes_only),
		TEST(transmits_in_order),
		TEST(receives_in_order_and_refuses_when_full),
		TEST(drained_may_offer_more),
		TEST(nobody_need_hear_drained),
		TEST(input_waits_for_rts),
		TEST(clearing_the_fifo_drops_bytes_and_asks_for_more),
		TEST(iir_tells_the_highest_cause_first),
		TEST(trigger_levels_are_1_4_8_14),
		TEST(overrun_without_fifo_replaces_the_byte),
		TEST(loopback_joins_the_modem_lines),
		TEST(modem_changes_are_told_once),
		TEST(enabling_thri_raises_it_each_time),
		TEST(one_pulse_for_a_burst),
		TEST(received_bytes_pulse_when_enabled),
		TEST(out2_connects_the_interrupt),
		TEST(line_and_modem_causes_pulse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
