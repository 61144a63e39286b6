/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/gzip.h"
#include "tests/unit/kernel_image.h"

#include <errno.h>

#include "vmm/boot/payload.h"

enum { PLAIN_SIZE = 5000, ROOM = 1 << 14, PAYLOAD_AT = IMAGE_CODE + IMAGE_ENTRY_64 };

/* bytes as the payload of a bzImage, which is then unpacked; told, if not NULL, goes behind the bytes. */
struct result {
	struct buf out;
	struct error err;
	int code;
};

static void unpack(struct result *result, const void *bytes, size_t size, const uint32_t *told)
{
	uint8_t code[ROOM];
	struct kernel_image image;
	struct memory_file file;
	struct bzimage kernel;

	assert_true(size + 4 <= sizeof(code));
	memcpy(code, bytes, size);
	if (told != NULL) {
		for (size_t i = 0; i < 4; i++)
			code[size++] = (uint8_t)(*told >> (8 * i));
	}
	image = image_new_payload(code, size);
	file = memory_file_new(image.bytes, image.size);
	*result = (struct result){0};
	buf_text(&result->out, "before");
	assert_int_equal(bzimage_open(&kernel, file.path, &result->err), 0);
	assert_int_equal(kernel.payload_offset, PAYLOAD_AT);
	assert_int_equal(kernel.payload_size, size);
	result->code = payload_unpack(&kernel, &result->out, &result->err);
	bzimage_release(&kernel);
	close(file.fd);
	image_free(&image);
}

static void assert_refused(struct result *result, int code, const char *why)
{
	assert_int_equal(result->code, code);
	assert_int_equal(result->err.status, EXIT_STATUS_IMAGE);
	if (strstr(result->err.text, why) == NULL)
		fail_msg("\"%s\" is not in: %s", why, result->err.text);
	assert_int_equal(result->out.size, 6);
	buf_release(&result->out);
}

static size_t pack_gzip(uint8_t *packed, uint8_t *plain)
{
	for (size_t i = 0; i < PLAIN_SIZE; i++)
		plain[i] = (uint8_t)(i * i >> 4);
	return gzip_pack(plain, PLAIN_SIZE, packed, ROOM);
}

static void gzip_unpacks_and_ends_with_its_size(void **state)
{
	uint8_t packed[ROOM], plain[PLAIN_SIZE];
	size_t size = pack_gzip(packed, plain);
	struct result result;

	(void)state;
	unpack(&result, packed, size, NULL);
	assert_int_equal(result.code, 0);
	assert_int_equal(result.out.size, 6 + PLAIN_SIZE);
	assert_memory_equal(result.out.data + 6, plain, PLAIN_SIZE);
	buf_release(&result.out);
	packed[size - 5] ^= 1; /* the checksum */
	unpack(&result, packed, size, NULL);
	assert_refused(&result, -EBADMSG, "the packed kernel in it: is damaged; take a good copy");
}

/* 16 literals: the smallest lz4 block that says anything. */
static const uint8_t LZ4[] = {0x02, 0x21, 0x4c, 0x18, 18,  0,   0,   0,   0xf0, 1,   '0', '1', '2',
			      '3',  '4',  '5',  '6',  '7', '8', '9', 'a', 'b',  'c', 'd', 'e', 'f'};

static void other_formats_have_the_size_behind_them(void **state)
{
	const uint32_t right = 16, more = 17, less = 15, huge = 0x20000001;
	struct result result;

	(void)state;
	unpack(&result, LZ4, sizeof(LZ4), &right);
	assert_int_equal(result.code, 0);
	assert_int_equal(result.out.size, 22);
	assert_memory_equal(result.out.data, "before0123456789abcdef", 22);
	buf_release(&result.out);
	unpack(&result, LZ4, sizeof(LZ4), &more);
	assert_refused(&result, -EBADMSG, "damaged");
	unpack(&result, LZ4, sizeof(LZ4), &less);
	assert_refused(&result, -EBADMSG, "damaged");
	unpack(&result, LZ4, sizeof(LZ4), &huge);
	assert_refused(&result, -EFBIG, "larger than what the header has room for");
}

/* What tells of more than its bzImage has room for is not unpacked at all. */
static void a_bomb_is_not_lit(void **state)
{
	uint8_t packed[ROOM], plain[PLAIN_SIZE];
	size_t size = pack_gzip(packed, plain);
	const uint32_t more = IMAGE_INIT_SIZE + 1;
	struct result result;

	(void)state;
	memcpy(packed + size - 4, &more, 4); /* gzip's own size; it is not believed alone, see above */
	unpack(&result, packed, size, NULL);
	assert_refused(&result, -EFBIG, "larger than what the header has room for");
	unpack(&result, LZ4, sizeof(LZ4), &more);
	assert_refused(&result, -EFBIG, "larger than what the header has room for");
}

static void what_is_no_payload_is_refused(void **state)
{
	const uint32_t some = 100;
	struct result result;

	(void)state;
	unpack(&result, "BZh91AY&SY............", 22, &some);
	assert_refused(&result, -EBADMSG, "damaged");
	unpack(&result, "\x89LZO\0\r\n\x1a\n...............", 24, &some);
	assert_refused(&result, -EBADMSG, "damaged");
	unpack(&result, "nothing that Linux knows", 24, NULL);
	assert_refused(&result, -ENOTSUP, "by a program that spmvm does not know");
	unpack(&result, "short", 5, NULL);
	assert_refused(&result, -ENOENT, "names no payload");
}

/* A payload that is not within the code is no reason to refuse the kernel, but it is not there. */
static void out_of_bounds_is_no_payload(void **state)
{
	static const struct {
		uint32_t offset, size;
	} WRONG[] = {{0, 0}, {0xfffffff0, 64}, {0x200, 0xffffffff}, {0x210, 64}, {1 << 20, 1}};
	uint8_t code[64] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		struct kernel_image image = image_new(code, sizeof(code));
		struct memory_file file;
		struct bzimage kernel;
		struct error err;
		struct buf out = {0};

		image_put(&image, IMAGE_PAYLOAD_OFFSET, WRONG[i].offset, 4);
		image_put(&image, IMAGE_PAYLOAD_LENGTH, WRONG[i].size, 4);
		file = memory_file_new(image.bytes, image.size);
		assert_int_equal(bzimage_open(&kernel, file.path, &err), 0);
		assert_int_equal(kernel.payload_size, 0);
		assert_int_equal(payload_unpack(&kernel, &out, &err), -ENOENT);
		bzimage_release(&kernel);
		close(file.fd);
		image_free(&image);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gzip_unpacks_and_ends_with_its_size),
		cmocka_unit_test(other_formats_have_the_size_behind_them),
		cmocka_unit_test(a_bomb_is_not_lit),
		cmocka_unit_test(what_is_no_payload_is_refused),
		cmocka_unit_test(out_of_bounds_is_no_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
