// SPDX-License-Identifier: GPL-2.0-only
/*
 * spm_claim: finds the guest's Specific-Purpose Memory, one device a block, and lends each to whoever claims it, as an
 * accelerator's driver would. It is what drives blocks in tests, and what a driver's author may start from.
 */
#include "block.h"

#include <linux/acpi.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "compat.h"

enum { BLOCKS_MAX = 256 };

static LIST_HEAD(blocks);
static unsigned int block_count;
static dev_t first_number;
static struct class *block_class;

void block_step(struct block *block, enum step step, u64 began)
{
	atomic64_set(&block->step_ns[step], ktime_get_ns() - began);
}

/* The proximity domain of the enabled SRAT entry (ACPI 6.5 §5.2.16.2) that has the range, or -1. */
static int find_pxm(u64 start, u64 size)
{
	struct acpi_table_header *table;
	struct acpi_subtable_header *entry;
	void *end;
	int pxm = -1;

	if (ACPI_FAILURE(acpi_get_table(ACPI_SIG_SRAT, 0, &table)))
		return -1;
	end = (void *)table + table->length;
	for (entry = (void *)table + sizeof(struct acpi_table_srat); (void *)(entry + 1) <= end && entry->length > 0;
	     entry = (void *)entry + entry->length) {
		const struct acpi_srat_mem_affinity *memory = (void *)entry;

		if (entry->type != ACPI_SRAT_TYPE_MEMORY_AFFINITY || (void *)(memory + 1) > end ||
		    !(memory->flags & ACPI_SRAT_MEM_ENABLED))
			continue;
		if (start >= memory->base_address && size <= memory->length &&
		    start - memory->base_address <= memory->length - size) {
			pxm = memory->proximity_domain;
			break;
		}
	}
	acpi_put_table(table);
	return pxm;
}

static void block_free(struct device *dev)
{
	struct block *block = to_block(dev);

	mutex_destroy(&block->lock);
	kfree(block);
}

static int block_new(struct resource *res, void *arg)
{
	u64 *began = arg;
	struct block *block;
	int error;

	if (block_count == BLOCKS_MAX) {
		pr_warn("spm_claim: %pR is left alone: %d blocks are the most\n", res, BLOCKS_MAX);
		return 0;
	}
	block = kzalloc(sizeof(*block), GFP_KERNEL);
	if (!block)
		return -ENOMEM;
	block->start = res->start;
	block->size = resource_size(res);
	block->node = phys_to_target_node(block->start);
	block->pxm = find_pxm(block->start, block->size);
	block->align = block_default_align(block);
	mutex_init(&block->lock);

	device_initialize(&block->dev);
	block->dev.class = block_class;
	block->dev.devt = MKDEV(MAJOR(first_number), block_count);
	block->dev.groups = block_groups;
	block->dev.release = block_free;
	cdev_init(&block->cdev, &block_file_operations);
	block->cdev.owner = THIS_MODULE;
	block_step(block, STEP_FIND, *began);
	error = dev_set_name(&block->dev, "spm%u", block_count);
	if (!error)
		error = cdev_device_add(&block->cdev, &block->dev);
	if (error) {
		put_device(&block->dev);
		return error;
	}
	list_add_tail(&block->list, &blocks);
	block_count++;
	dev_info(&block->dev, "[mem %#llx-%#llx], node %d, proximity domain %d\n", block->start,
		 block->start + block->size - 1, block->node, block->pxm);
	*began = ktime_get_ns();
	return 0;
}

/* Nobody has a file open: that would hold the module. With the device go its attributes: nobody can write to them. */
static void block_remove(struct block *block)
{
	block_retire(block);
	cdev_device_del(&block->cdev, &block->dev);
	if (block->taken && dax_give(block))
		dev_warn(&block->dev, "not given back: dax_hmem is not there any more\n");
	put_device(&block->dev);
}

static void blocks_remove(void)
{
	struct block *block, *next;

	list_for_each_entry_safe (block, next, &blocks, list) {
		list_del(&block->list);
		block_remove(block);
	}
}

static int __init spm_claim_init(void)
{
	u64 began;
	int error = alloc_chrdev_region(&first_number, 0, BLOCKS_MAX, "spm_claim");

	if (error)
		return error;
	block_class = compat_class_create("spm_claim");
	if (IS_ERR(block_class)) {
		error = PTR_ERR(block_class);
		goto no_class;
	}
	error = dax_init();
	if (error)
		goto no_dax;
	began = ktime_get_ns();
	error = compat_walk_soft_reserved(&began, block_new);
	if (!error)
		return 0;

	if (block_count == 0 && error == -EINVAL) {
		pr_info("spm_claim: this machine has no Soft Reserved memory\n");
		error = -ENODEV;
	}
	blocks_remove();
	dax_exit();
no_dax:
	class_destroy(block_class);
no_class:
	unregister_chrdev_region(first_number, BLOCKS_MAX);
	return error;
}

static void __exit spm_claim_exit(void)
{
	blocks_remove();
	dax_exit();
	class_destroy(block_class);
	unregister_chrdev_region(first_number, BLOCKS_MAX);
}

module_init(spm_claim_init);
module_exit(spm_claim_exit);
MODULE_DESCRIPTION("Claims Specific-Purpose Memory, one block at a time");
MODULE_AUTHOR("The spmvm authors");
MODULE_LICENSE("GPL");
