/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/kernel_key.h"

#include <inttypes.h>
#include <linux/magic.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "vmm/base/io.h"

/*
 * What is remembered are symbolic links that lead nowhere: made and read by one call each, so that nobody sees a half
 * of one. The number of names is bounded, and with it that of the links: a new one takes the place of whatever has
 * its name.
 */
struct memory {
	char link[32];  /* its name; empty when this image's key cannot be remembered */
	char text[200]; /* what it must start with: the image's identity. The key follows. */
};
enum { LINKS = 64, SETTLED_SECONDS = 60, BOOT_ID = 36 };
#define XFS_MAGIC UINT32_C(0x58465342) /* "XFSB"; linux/magic.h lacks it */

_Static_assert(sizeof(KERNEL_KEY_PREFIX) + (size_t)2 * SHA256_DIGEST_SIZE == KERNEL_KEY_SIZE, "the size of a key");

bool kernel_key_is(const char *text)
{
	size_t prefix = strlen(KERNEL_KEY_PREFIX);

	return strlen(text) == KERNEL_KEY_SIZE - 1 && strncmp(text, KERNEL_KEY_PREFIX, prefix) == 0 &&
	       strspn(text + prefix, "0123456789abcdef") == KERNEL_KEY_SIZE - 1 - prefix;
}

static struct memory memory_of(const struct bzimage *image)
{
	struct memory memory = {0}, none = {0};
	struct buf boot = {0};
	struct statfs system;
	struct timespec now;
	struct stat status;
	struct error ignored;

	if (fstatfs(image->fd, &system) < 0 || fstat(image->fd, &status) < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0)
		return none;
	if (system.f_type != EXT4_SUPER_MAGIC && system.f_type != XFS_MAGIC && system.f_type != BTRFS_SUPER_MAGIC)
		return none;
	if (status.st_ctim.tv_sec + SETTLED_SECONDS >= now.tv_sec)
		return none;
	if (io_read_file("/proc/sys/kernel/random/boot_id", 64, &boot, EXIT_STATUS_HOST, &ignored) == 0 &&
	    boot.size >= BOOT_ID) {
		snprintf(memory.text, sizeof(memory.text), "%.*s:%jx:%jx:%jx:%jx.%lx:%jx.%lx:", BOOT_ID,
			 (const char *)boot.data, (uintmax_t)status.st_dev, (uintmax_t)status.st_ino,
			 (uintmax_t)status.st_size, (uintmax_t)status.st_mtim.tv_sec,
			 (unsigned long)status.st_mtim.tv_nsec, (uintmax_t)status.st_ctim.tv_sec,
			 (unsigned long)status.st_ctim.tv_nsec);
		snprintf(memory.link, sizeof(memory.link), "spmvm-known-%02x",
			 (unsigned)(XXH3_64bits(memory.text, strlen(memory.text)) % LINKS));
	}
	buf_release(&boot);
	return memory;
}

bool kernel_key_recall(int folder, const struct bzimage *image, char key[KERNEL_KEY_SIZE])
{
	struct memory memory = memory_of(image);
	size_t length = strlen(memory.text);
	char text[sizeof(memory.text) + KERNEL_KEY_SIZE];
	ssize_t got = memory.link[0] == '\0' ? -1 : readlinkat(folder, memory.link, text, sizeof(text) - 1);

	if (got < 0)
		return false;
	text[got] = '\0';
	if (strncmp(text, memory.text, length) != 0 || !kernel_key_is(text + length))
		return false;
	memcpy(key, text + length, KERNEL_KEY_SIZE);
	return true;
}

/* If that fails (no links on this file system, another spmvm was faster), the image is hashed the next time, too. */
static void remember(int folder, const struct memory *memory, const char *key)
{
	char text[sizeof(memory->text) + KERNEL_KEY_SIZE];

	if (memory->link[0] == '\0')
		return;
	snprintf(text, sizeof(text), "%s%s", memory->text, key);
	unlinkat(folder, memory->link, 0);
	(void)!symlinkat(text, folder, memory->link);
}

static void write_key(char key[KERNEL_KEY_SIZE], struct sha256_ctx *sha256)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	char *at = stpcpy(key, KERNEL_KEY_PREFIX);

	sha256_digest(sha256, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		at += sprintf(at, "%02x", digest[i]);
}

bool kernel_key_matches(const char key[KERNEL_KEY_SIZE], const uint8_t *packed, size_t size)
{
	char own[KERNEL_KEY_SIZE];
	struct sha256_ctx sha256;

	sha256_init(&sha256);
	sha256_update(&sha256, size, packed);
	write_key(own, &sha256);
	return strcmp(own, key) == 0;
}

/* By nettle: as fast as OpenSSL, as both use the processor's SHA instructions, and a fifteenth of it to load. */
int kernel_key_hash(int folder, const struct bzimage *image, char key[KERNEL_KEY_SIZE])
{
	/* before the first byte is read: if the file changes after that, it is another one */
	struct memory memory = memory_of(image);
	struct sha256_ctx sha256;
	uint8_t chunk[32768];

	key[0] = '\0';
	sha256_init(&sha256);
	for (uint64_t done = 0; done < image->payload_size;) {
		uint64_t left = image->payload_size - done;
		size_t size = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);
		int code = io_pread_all(image->fd, chunk, size, image->payload_offset + done);

		if (code < 0)
			return code;
		sha256_update(&sha256, size, chunk);
		done += size;
	}
	write_key(key, &sha256);
	remember(folder, &memory, key);
	return 0;
}
