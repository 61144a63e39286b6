/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/table.h"
#include "acpi/tables.h"

/* §5.2.9: fixed feature flags */
enum {
	FLAG_WBINVD = 1 << 0,
	FLAG_PROC_C1 = 1 << 2,
	FLAG_PWR_BUTTON = 1 << 4, /* set: no power button among the fixed hardware */
	FLAG_SLP_BUTTON = 1 << 5, /* set: no sleep button there */
	FLAG_RESET_REG_SUP = 1 << 10,
	FLAG_HW_REDUCED_ACPI = 1 << 20
};

/*
 * §5.2.9.3: IA-PC boot architecture flags. LEGACY_DEVICES (bit 0) and 8042 (bit 1) stay clear: there is no keyboard controller, and COM1 is
 * found through the DSDT.
 */
enum { BOOT_VGA_NOT_PRESENT = 1 << 2, BOOT_CMOS_RTC_NOT_PRESENT = 1 << 5 };

/* §5.2.3.2, generic address structure: one byte in system I/O space */
static void io_register(struct buf *bytes, uint16_t port)
{
	buf_u8(bytes, 1); /* address space: system I/O */
	buf_u8(bytes, 8); /* register width in bits */
	buf_u8(bytes, 0); /* register offset in bits */
	buf_u8(bytes, 1); /* access size: a byte */
	buf_u64(bytes, port);
}

/* §4.1: the fixed hardware of ACPI 1.0, which hardware-reduced ACPI has none of, as 32-bit ports. */
static void no_fixed_hardware(struct buf *bytes)
{
	buf_u16(bytes, 0); /* SCI_INT */
	buf_u32(bytes, 0); /* SMI_CMD */
	buf_u8(bytes, 0);  /* ACPI_ENABLE */
	buf_u8(bytes, 0);  /* ACPI_DISABLE */
	buf_u8(bytes, 0);  /* S4BIOS_REQ */
	buf_u8(bytes, 0);  /* PSTATE_CNT */
	buf_u32(bytes, 0); /* PM1a_EVT_BLK */
	buf_u32(bytes, 0); /* PM1b_EVT_BLK */
	buf_u32(bytes, 0); /* PM1a_CNT_BLK */
	buf_u32(bytes, 0); /* PM1b_CNT_BLK */
	buf_u32(bytes, 0); /* PM2_CNT_BLK */
	buf_u32(bytes, 0); /* PM_TMR_BLK */
	buf_u32(bytes, 0); /* GPE0_BLK */
	buf_u32(bytes, 0); /* GPE1_BLK */
	buf_u8(bytes, 0);  /* PM1_EVT_LEN */
	buf_u8(bytes, 0);  /* PM1_CNT_LEN */
	buf_u8(bytes, 0);  /* PM2_CNT_LEN */
	buf_u8(bytes, 0);  /* PM_TMR_LEN */
	buf_u8(bytes, 0);  /* GPE0_BLK_LEN */
	buf_u8(bytes, 0);  /* GPE1_BLK_LEN */
	buf_u8(bytes, 0);  /* GPE1_BASE */
	buf_u8(bytes, 0);  /* CST_CNT */
	buf_u16(bytes, 0); /* P_LVL2_LAT */
	buf_u16(bytes, 0); /* P_LVL3_LAT */
	buf_u16(bytes, 0); /* FLUSH_SIZE */
	buf_u16(bytes, 0); /* FLUSH_STRIDE */
	buf_u8(bytes, 0);  /* DUTY_OFFSET */
	buf_u8(bytes, 0);  /* DUTY_WIDTH */
	buf_u8(bytes, 0);  /* DAY_ALRM */
	buf_u8(bytes, 0);  /* MON_ALRM */
	buf_u8(bytes, 0);  /* CENTURY */
}

/* The same blocks again as generic addresses of 12 bytes. */
static void no_extended_fixed_hardware(struct buf *bytes)
{
	buf_zeros(bytes, 12); /* X_PM1a_EVT_BLK */
	buf_zeros(bytes, 12); /* X_PM1b_EVT_BLK */
	buf_zeros(bytes, 12); /* X_PM1a_CNT_BLK */
	buf_zeros(bytes, 12); /* X_PM1b_CNT_BLK */
	buf_zeros(bytes, 12); /* X_PM2_CNT_BLK */
	buf_zeros(bytes, 12); /* X_PM_TMR_BLK */
	buf_zeros(bytes, 12); /* X_GPE0_BLK */
	buf_zeros(bytes, 12); /* X_GPE1_BLK */
}

/* ACPI 6.5 §5.2.9, fixed ACPI description table; revision 6.5 */
void fadt_append(struct buf *bytes, const struct acpi_inputs *inputs, uint64_t dsdt)
{
	size_t start = table_begin(bytes, "FACP", 6);

	buf_u32(bytes, 0); /* FIRMWARE_CTRL: hardware-reduced ACPI needs no FACS */
	buf_u32(bytes, 0); /* DSDT: in X_DSDT */
	buf_u8(bytes, 0);  /* reserved */
	buf_u8(bytes, 0);  /* Preferred_PM_Profile: unspecified */
	no_fixed_hardware(bytes);
	buf_u16(bytes, BOOT_VGA_NOT_PRESENT | BOOT_CMOS_RTC_NOT_PRESENT); /* IAPC_BOOT_ARCH */
	buf_u8(bytes, 0);                                                 /* reserved */
	buf_u32(bytes, FLAG_WBINVD | FLAG_PROC_C1 | FLAG_PWR_BUTTON | FLAG_SLP_BUTTON | FLAG_RESET_REG_SUP |
			       FLAG_HW_REDUCED_ACPI);
	io_register(bytes, inputs->reset_port); /* RESET_REG, §4.8.3.6 */
	buf_u8(bytes, inputs->reset_value);     /* RESET_VALUE */
	buf_u16(bytes, 0);                      /* ARM_BOOT_ARCH */
	buf_u8(bytes, 5);                       /* minor version */
	buf_u64(bytes, 0);                      /* X_FIRMWARE_CTRL */
	buf_u64(bytes, dsdt);                   /* X_DSDT */
	no_extended_fixed_hardware(bytes);
	io_register(bytes, inputs->sleep_control_port); /* SLEEP_CONTROL_REG, §4.8.3.7 */
	io_register(bytes, inputs->sleep_status_port);  /* SLEEP_STATUS_REG */
	buf_u64(bytes, 0);                              /* hypervisor vendor identity */
	table_end(bytes, start);
}
