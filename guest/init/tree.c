/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/tree.h"

#include <stdbool.h>
#include <string.h>

#define MAGIC     0xd00dfeedu
#define SLOT_KIND "spmvm,spm"

/* Offsets in the header. */
enum { STRUCT_START = 8, STRINGS_START = 12, STRINGS_SIZE = 32, STRUCT_SIZE = 36, HEADER_SIZE = 40 };

enum token { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, NOP = 4, END = 9 };

enum { SLOT_DEPTH = 2 /* in the root */, WORD = 4, REG_SIZE = 16 };

/* A part of the tree that is read from front to back; data is NULL once it was asked for more than there is. */
struct block {
	const uint8_t *data;
	size_t size;
};

/* What is known of the node that is being read. */
struct node {
	struct tree_slot slot;
	bool is_slot, has_id, has_reg;
};

static uint64_t number(const uint8_t *bytes, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* The next bytes of a block, which is read in whole words; NULL when there are not as many. */
static const uint8_t *take(struct block *block, size_t size)
{
	const uint8_t *bytes = block->data;
	size_t padded = (size + WORD - 1) & ~(size_t)(WORD - 1);

	if (bytes == NULL || size > block->size || padded > block->size) {
		block->data = NULL;
		return NULL;
	}
	block->data += padded;
	block->size -= padded;
	return bytes;
}

/* The next word; END behind the last. */
static uint32_t take_word(struct block *block)
{
	const uint8_t *bytes = take(block, WORD);

	return bytes == NULL ? END : (uint32_t)number(bytes, WORD);
}

/* A text that ends within size bytes; NULL when it does not. */
static const char *text_in(const uint8_t *bytes, size_t size)
{
	return memchr(bytes, '\0', size) != NULL ? (const char *)bytes : NULL;
}

static bool skip_name(struct block *block)
{
	const char *name = block->data != NULL ? text_in(block->data, block->size) : NULL;

	return name != NULL && take(block, strlen(name) + 1) != NULL;
}

static bool can_be_file(const char *id)
{
	return id[0] != '\0' && id[0] != '.' && strchr(id, '/') == NULL && strlen(id) < TREE_ID_SIZE;
}

static void read_value(struct node *node, const char *name, const uint8_t *value, size_t size)
{
	const char *text = text_in(value, size);

	if (strcmp(name, "compatible") == 0) {
		node->is_slot = text != NULL && strcmp(text, SLOT_KIND) == 0;
	} else if (strcmp(name, "id") == 0 && text != NULL && can_be_file(text)) {
		memcpy(node->slot.id, text, strlen(text) + 1);
		node->has_id = true;
	} else if (strcmp(name, "reg") == 0 && size >= REG_SIZE) {
		node->slot.start = number(value, 8);
		node->has_reg = true;
	}
}

/* False when the property makes no sense. */
static bool read_property(struct block *block, struct block strings, struct node *node)
{
	uint32_t size = take_word(block), name_start = take_word(block);
	const uint8_t *value = take(block, size);
	const char *name;

	if (value == NULL || name_start >= strings.size)
		return false;
	name = text_in(strings.data + name_start, strings.size - name_start);
	if (name == NULL)
		return false;
	read_value(node, name, value, size);
	return true;
}

/* A block whose place the header tells; empty when it is not within the tree. */
static struct block block_at(const uint8_t *tree, size_t size, size_t start_at, size_t size_at)
{
	size_t start = number(tree + start_at, WORD), length = number(tree + size_at, WORD);

	if (start > size || length > size - start)
		return (struct block){NULL, 0};
	return (struct block){tree + start, length};
}

size_t tree_slots(const void *tree, size_t size, struct tree_slot *slots, size_t room)
{
	struct block block, strings;
	struct node node = {0};
	size_t depth = 0, count = 0;
	bool good = true;

	if (size < HEADER_SIZE || number(tree, WORD) != MAGIC)
		return 0;
	block = block_at(tree, size, STRUCT_START, STRUCT_SIZE);
	strings = block_at(tree, size, STRINGS_START, STRINGS_SIZE);
	while (good && block.data != NULL && strings.data != NULL) {
		switch (take_word(&block)) {
		case BEGIN_NODE:
			node = (struct node){0};
			good = skip_name(&block);
			depth++;
			break;
		case PROPERTY:
			good = read_property(&block, strings, &node);
			break;
		case END_NODE:
			if (depth == SLOT_DEPTH && node.is_slot && node.has_id && node.has_reg) {
				if (count < room)
					slots[count] = node.slot;
				count++;
			}
			node = (struct node){0};
			good = depth-- > 0;
			break;
		case NOP:
			break;
		default:
			return count;
		}
	}
	return count;
}
