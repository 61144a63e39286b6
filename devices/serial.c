/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/serial.h"

/* Registers by offset (PC16550D data sheet, table II). 0 and 1 are the divisor while LCR's DLAB is set. */
enum {
	REG_DATA = 0, /* receiver buffer, transmitter holding */
	REG_IER = 1,
	REG_IIR_FCR = 2, /* IIR when read, FCR when written; at any DLAB */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
	REG_COUNT = 8,
};

/* Interrupt enable (§8.5). A set of pending causes is made of the same bits. */
enum { IER_RX = 0x01, IER_THR = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_MASK = 0x0f };

/* Interrupt identification (§8.4, table IV), by falling priority. */
enum {
	IIR_LINE = 0x06,
	IIR_RX = 0x04,
	IIR_RX_TIMEOUT = 0x0c,
	IIR_THR = 0x02,
	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_FIFOS = 0xc0,
};

/* FIFO control (§8.6). */
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_KEPT = 0xc9, FCR_TRIGGER_SHIFT = 6 };

enum { LCR_DLAB = 0x80 };

/* Modem control (§8.7); OUT1 is not connected to anything. */
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_MASK = 0x1f };

/* Line status (§8.3). */
enum { LSR_DATA_READY = 0x01, LSR_OVERRUN = 0x02, LSR_THR_EMPTY = 0x20, LSR_TRANSMITTER_EMPTY = 0x40 };

/* Modem status (§8.8): the lines in bits 4..7, "has changed" of each four bits below. */
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80, MSR_DELTA_SHIFT = 4, MSR_DELTAS = 0x0f };

/* The data sheet leaves the divisor open; this is 115200 baud, what an earlycon that does not set it finds. */
enum { DIVISOR_DEFAULT = 1 };

static size_t fifo_capacity(const struct serial *serial)
{
	return (serial->fcr & FCR_ENABLE) != 0 ? SERIAL_FIFO_SIZE : 1;
}

static void fifo_clear(struct serial *serial)
{
	serial->fifo_head = 0;
	serial->fifo_count = 0;
}

static void fifo_push(struct serial *serial, uint8_t byte)
{
	serial->fifo[(serial->fifo_head + serial->fifo_count) % SERIAL_FIFO_SIZE] = byte;
	serial->fifo_count++;
}

static uint8_t fifo_pop(struct serial *serial)
{
	/* What the buffer holds when nothing has come in is not specified. */
	if (serial->fifo_count == 0)
		return 0;

	uint8_t byte = serial->fifo[serial->fifo_head];

	serial->fifo_head = (serial->fifo_head + 1) % SERIAL_FIFO_SIZE;
	serial->fifo_count--;
	return byte;
}

/* The byte count from which the receiver interrupt is "data available"; with fewer it is the time-out (§8.6, bits 6 and 7). */
static size_t fifo_trigger(const struct serial *serial)
{
	static const uint8_t triggers[4] = {1, 4, 8, 14};

	return triggers[serial->fcr >> FCR_TRIGGER_SHIFT];
}

/*
 * Whether the peer sends. It honours RTS, as a peer with hardware flow control does: Linux raises RTS last, when a process
 * opens the terminal; before, it clears the FIFOs several times and reads away what it finds. So what a person types
 * ahead, or a script pipes in while the guest boots, waits instead of being lost. In loopback the input is cut off.
 */
static bool is_listening(const struct serial *serial)
{
	return (serial->mcr & (MCR_RTS | MCR_LOOP)) == MCR_RTS;
}

/* The modem lines: a peer that is always there, or in loopback our own outputs (§8.7, bit 4). */
static unsigned modem_lines(const struct serial *serial)
{
	unsigned lines = 0;

	if ((serial->mcr & MCR_LOOP) == 0)
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if ((serial->mcr & MCR_RTS) != 0)
		lines |= MSR_CTS;
	if ((serial->mcr & MCR_DTR) != 0)
		lines |= MSR_DSR;
	if ((serial->mcr & MCR_OUT1) != 0)
		lines |= MSR_RI;
	if ((serial->mcr & MCR_OUT2) != 0)
		lines |= MSR_DCD;
	return lines;
}

/* What asks for an interrupt and is enabled, as bits of IER. */
static unsigned causes(const struct serial *serial)
{
	unsigned set = 0;

	if (serial->fifo_count > 0)
		set |= IER_RX;
	if (serial->thr_interrupt)
		set |= IER_THR;
	if (serial->lsr != 0)
		set |= IER_LINE;
	if (serial->msr != 0)
		set |= IER_MODEM;
	return set & serial->ier;
}

/* The same as the interrupt controller sees it: on the PC, OUT2 enables the driver of the interrupt line. */
static unsigned line_causes(const struct serial *serial)
{
	return (serial->mcr & MCR_OUT2) != 0 ? causes(serial) : 0;
}

/*
 * No pulse is owed for a cause that was pending before: the one that it got is still to be answered. A handler of an edge reads IIR
 * until nothing is pending, so what arises before its last look is seen there, and what arises after it is new. That
 * makes one pulse of a burst of transmitted bytes, not one each.
 */
static void pulse_if_new(const struct serial *serial, unsigned before)
{
	if ((line_causes(serial) & ~before) != 0)
		dev_irq_pulse(&serial->irq);
}

/* Whether drained() is due; the caller calls it behind the lock. */
static bool take_drained(struct serial *serial)
{
	bool due = serial->full && serial->fifo_count == 0 && is_listening(serial);

	if (due)
		serial->full = false;
	return due && serial->drained != NULL;
}

/* Reading tells the highest cause; telling of "transmitter empty" answers it (table IV, "reset control"). */
static unsigned read_iir(struct serial *serial)
{
	unsigned set = causes(serial);
	unsigned fifos = (serial->fcr & FCR_ENABLE) != 0 ? IIR_FIFOS : 0;

	if ((set & IER_LINE) != 0)
		return fifos | IIR_LINE;
	/* The time-out of four characters' time is over at once: nothing more is on the way that we know of. */
	if ((set & IER_RX) != 0)
		return fifos | (serial->fifo_count >= fifo_trigger(serial) ? IIR_RX : IIR_RX_TIMEOUT);
	if ((set & IER_THR) != 0) {
		serial->thr_interrupt = false;
		return fifos | IIR_THR;
	}
	return fifos | ((set & IER_MODEM) != 0 ? IIR_MODEM : IIR_NONE);
}

static unsigned read_lsr(struct serial *serial)
{
	unsigned value = serial->lsr | LSR_THR_EMPTY | LSR_TRANSMITTER_EMPTY;

	if (serial->fifo_count > 0)
		value |= LSR_DATA_READY;
	serial->lsr = 0;
	return value;
}

static unsigned read_msr(struct serial *serial)
{
	unsigned value = modem_lines(serial) | serial->msr;

	serial->msr = 0;
	return value;
}

static unsigned read_register(struct serial *serial, uint64_t offset)
{
	bool dlab = (serial->lcr & LCR_DLAB) != 0;

	switch (offset) {
	case REG_DATA:
		return dlab ? serial->divisor & 0xff : fifo_pop(serial);
	case REG_IER:
		return dlab ? serial->divisor >> 8 : serial->ier;
	case REG_IIR_FCR:
		return read_iir(serial);
	case REG_LCR:
		return serial->lcr;
	case REG_MCR:
		return serial->mcr;
	case REG_LSR:
		return read_lsr(serial);
	case REG_MSR:
		return read_msr(serial);
	default:
		return serial->scr;
	}
}

/* In loopback a transmitted byte comes straight back; one too many is lost, or takes the place of the one byte (§8.3, bit 1). */
static void loop_back(struct serial *serial, uint8_t byte)
{
	if (serial->fifo_count < fifo_capacity(serial)) {
		fifo_push(serial, byte);
		return;
	}
	serial->lsr |= LSR_OVERRUN;
	if ((serial->fcr & FCR_ENABLE) == 0)
		serial->fifo[serial->fifo_head] = byte;
}

/* The byte has left by serial_write() unless it is looped back; either way the register is empty again. */
static void write_thr(struct serial *serial, uint8_t byte)
{
	if ((serial->mcr & MCR_LOOP) != 0)
		loop_back(serial, byte);
	serial->thr_interrupt = true;
}

/* Whether a write to this register sends a byte to the outside. */
static bool transmits(const struct serial *serial, uint64_t offset)
{
	return offset == REG_DATA && (serial->lcr & LCR_DLAB) == 0 && (serial->mcr & MCR_LOOP) == 0;
}

static void write_ier(struct serial *serial, uint8_t value)
{
	/*
	 * Enabling "transmitter empty" raises it when the transmitter is empty, also when an earlier IIR read has answered it. Drivers start
	 * their output by this, and Linux takes a UART without it for a broken one (UART_BUG_TXEN, UART_BUG_THRE).
	 */
	if ((value & ~serial->ier & IER_THR) != 0)
		serial->thr_interrupt = true;
	serial->ier = value & IER_MASK;
}

static void write_fcr(struct serial *serial, uint8_t value)
{
	/* Turning the FIFOs on or off clears them; the other bits count only together with ENABLE (§8.6). */
	bool turned = ((value ^ serial->fcr) & FCR_ENABLE) != 0;
	bool enable = (value & FCR_ENABLE) != 0;

	serial->fcr = enable ? value & FCR_KEPT : 0;
	if (turned || (enable && (value & FCR_CLEAR_RX) != 0))
		fifo_clear(serial);
}

static void write_mcr(struct serial *serial, uint8_t value)
{
	unsigned before = modem_lines(serial);

	serial->mcr = value & MCR_MASK;

	unsigned after = modem_lines(serial), changed = before ^ after;

	/* The ring indicator counts only when it ends (§8.8, bit 2). */
	if ((after & MSR_RI) != 0)
		changed &= ~(unsigned)MSR_RI;
	serial->msr |= changed >> MSR_DELTA_SHIFT & MSR_DELTAS;
}

static void write_register(struct serial *serial, uint64_t offset, uint8_t value)
{
	bool dlab = (serial->lcr & LCR_DLAB) != 0;

	switch (offset) {
	case REG_DATA:
		if (dlab)
			serial->divisor = (serial->divisor & 0xff00) | value;
		else
			write_thr(serial, value);
		break;
	case REG_IER:
		if (dlab)
			serial->divisor = (uint16_t)((serial->divisor & 0xff) | value << 8);
		else
			write_ier(serial, value);
		break;
	case REG_IIR_FCR:
		write_fcr(serial, value);
		break;
	case REG_LCR:
		serial->lcr = value;
		break;
	case REG_MCR:
		write_mcr(serial, value);
		break;
	case REG_SCR:
		serial->scr = value;
		break;
	default: /* LSR and MSR: writing them is for factory tests (§8.3, note) */
		break;
	}
}

static uint64_t serial_read(void *device, uint64_t offset, unsigned size)
{
	struct serial *serial = device;

	(void)size;
	pthread_mutex_lock(&serial->lock);
	/* Reading only answers causes, so it never makes a pulse. */
	unsigned value = read_register(serial, offset);
	bool drained = take_drained(serial);
	pthread_mutex_unlock(&serial->lock);
	if (drained)
		serial->drained(serial->context);
	return value;
}

static void serial_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	struct serial *serial = device;

	(void)size;
	pthread_mutex_lock(&serial->lock);
	/* Sending may block for as long as nobody reads the other end, and must not keep serial_receive() waiting meanwhile. */
	if (transmits(serial, offset)) {
		pthread_mutex_unlock(&serial->lock);
		serial->transmit(serial->context, (uint8_t)value);
		pthread_mutex_lock(&serial->lock);
		counter_add(&serial->out_bytes, 1);
	}
	unsigned before = line_causes(serial);
	write_register(serial, offset, (uint8_t)value);
	pulse_if_new(serial, before);
	bool drained = take_drained(serial);
	pthread_mutex_unlock(&serial->lock);
	if (drained)
		serial->drained(serial->context);
}

static const struct bus_ops serial_ops = {.widths = 1, .read = serial_read, .write = serial_write};

static const struct counter_field FIELDS[] = {
	{"in", offsetof(struct serial, in_bytes), COUNTER_TOTAL, UNIT_BYTES, "Bytes to the guest"},
	{"out", offsetof(struct serial, out_bytes), COUNTER_TOTAL, UNIT_BYTES, "Bytes from the guest"},
};
const struct counter_table SERIAL_COUNTERS = {NULL, FIELDS, sizeof(FIELDS) / sizeof(FIELDS[0])};

/* Table III of the data sheet, "register reset configuration". */
static void set_defaults(struct serial *serial)
{
	serial->ier = serial->lcr = serial->mcr = serial->scr = serial->fcr = 0;
	serial->lsr = serial->msr = 0;
	serial->divisor = DIVISOR_DEFAULT;
	serial->thr_interrupt = false;
	fifo_clear(serial);
}

int serial_init(struct serial *serial, void (*transmit)(void *, uint8_t), void (*drained)(void *), void *context)
{
	*serial = (struct serial){.transmit = transmit, .drained = drained, .context = context, .irq = {-1}};
	set_defaults(serial);
	return -pthread_mutex_init(&serial->lock, NULL);
}

void serial_release(struct serial *serial)
{
	if (serial == NULL)
		return;
	pthread_mutex_destroy(&serial->lock);
	*serial = (struct serial){.irq = {-1}};
}

void serial_reset(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	set_defaults(serial);
	pthread_mutex_unlock(&serial->lock);
}

void serial_wants(struct dev_wants *wants)
{
	*wants = (struct dev_wants){
		.io = {{BUS_PIO, {SERIAL_COM1_PORT, REG_COUNT}, &serial_ops}},
		.io_count = 1,
		.irq = true,
		.gsi = SERIAL_COM1_GSI,
		.acpi_name = "COM1",
		.acpi_hid = "PNP0501",
		.acpi_uid = 1,
	};
}

void serial_set_irq(struct serial *serial, struct dev_irq irq)
{
	serial->irq = irq;
}

size_t serial_receive(struct serial *serial, const uint8_t *bytes, size_t count)
{
	size_t taken = 0;

	pthread_mutex_lock(&serial->lock);
	if (is_listening(serial)) {
		while (taken < count && serial->fifo_count < fifo_capacity(serial))
			fifo_push(serial, bytes[taken++]);
	}
	counter_add(&serial->in_bytes, taken);
	if (taken < count)
		serial->full = true;
	/*
	 * Also when bytes were waiting before: a handler may give up after so many rounds and leave some bytes without another look
	 * at IIR (Linux's does, with "too much work for irq"). A pulse too many costs little.
	 */
	if (taken > 0 && (line_causes(serial) & IER_RX) != 0)
		dev_irq_pulse(&serial->irq);
	pthread_mutex_unlock(&serial->lock);
	return taken;
}
