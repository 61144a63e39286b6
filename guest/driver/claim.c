// SPDX-License-Identifier: GPL-2.0-only
#include "block.h"

#include <linux/io.h>
#include <linux/ioport.h>

#include "compat.h"

const char *const method_names[METHODS] = {
	[METHOD_NONE] = "none",
	[METHOD_REGION] = "region",
	[METHOD_MEMREMAP] = "memremap",
	[METHOD_PAGES] = "pages",
};

static bool aligned(const struct block *block, unsigned long align)
{
	return IS_ALIGNED(block->start | block->size, align);
}

unsigned long block_default_align(const struct block *block)
{
	return aligned(block, PMD_SIZE) ? PMD_SIZE : PAGE_SIZE;
}

static bool pud_mappings(void)
{
	return IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) && boot_cpu_has(X86_FEATURE_GBPAGES);
}

int block_set_align(struct block *block, unsigned long align)
{
	int error = 0;

	mutex_lock(&block->lock);
	if (align != PAGE_SIZE && align != PMD_SIZE && (align != PUD_SIZE || !pud_mappings())) {
		dev_warn(&block->dev, "cannot align to %#lx: %#lx, %#lx%s are possible\n", align, PAGE_SIZE, PMD_SIZE,
			 pud_mappings() ? " and 1G" : "");
		error = -EINVAL;
	} else if (!aligned(block, align)) {
		dev_warn(&block->dev, "cannot align to %#lx: its start or its size is not\n", align);
		error = -EINVAL;
	} else if (block->method != METHOD_NONE) {
		error = -EBUSY;
	} else {
		block->align = align;
	}
	mutex_unlock(&block->lock);
	return error;
}

static int map_memremap(struct block *block)
{
	block->kernel = memremap(block->start, block->size, MEMREMAP_WB);
	return block->kernel ? 0 : -ENOMEM;
}

static int map_pages(struct block *block)
{
	void *kernel;

	/* Pages are added by the subsection. */
	if (!aligned(block, PMD_SIZE)) {
		dev_warn(&block->dev, "struct pages need a start and a size aligned to %#lx\n", PMD_SIZE);
		return -EINVAL;
	}
	memset(&block->pagemap, 0, sizeof(block->pagemap)); /* what another claim has left in it */
	block->pagemap.type = MEMORY_DEVICE_GENERIC;
	block->pagemap.range.start = block->start;
	block->pagemap.range.end = block->start + block->size - 1;
	block->pagemap.nr_range = 1;
	block->pagemap.vmemmap_shift = order_base_2(block->align >> PAGE_SHIFT);
	/* The block's own node need not be online, and is not when all of it is blocks. */
	set_dev_node(&block->dev, block->node == NUMA_NO_NODE ? NUMA_NO_NODE : compat_nearest_node(block->node));
	kernel = devm_memremap_pages(&block->dev, &block->pagemap);
	if (IS_ERR(kernel))
		return PTR_ERR(kernel);
	block->kernel = kernel;
	return 0;
}

static int map(struct block *block, enum method method)
{
	switch (method) {
	case METHOD_MEMREMAP:
		return map_memremap(block);
	case METHOD_PAGES:
		return map_pages(block);
	default:
		return 0;
	}
}

static void unmap(struct block *block)
{
	if (block->method == METHOD_MEMREMAP)
		memunmap(block->kernel);
	else if (block->method == METHOD_PAGES)
		devm_memunmap_pages(&block->dev, &block->pagemap);
	block->kernel = NULL;
}

static unsigned long mapping_size(const struct block *block, enum method method)
{
	if (method == METHOD_PAGES || (method == METHOD_MEMREMAP && compat_huge_pfnmap()))
		return block->align;
	return PAGE_SIZE;
}

static int claim_locked(struct block *block, enum method method)
{
	u64 end = block->start + block->size - 1, began;
	int error;

	if (block->retired)
		return -ENODEV;
	if (block->method != METHOD_NONE) {
		dev_warn(&block->dev, "[mem %#llx-%#llx] refused to %s[%d]: %s[%d] has claimed it (%s)\n", block->start,
			 end, current->comm, task_tgid_nr(current), block->owner_name, block->owner,
			 method_names[block->method]);
		return -EBUSY;
	}
	began = ktime_get_ns();
	if (!request_mem_region(block->start, block->size, dev_name(&block->dev))) {
		dev_warn(&block->dev, "[mem %#llx-%#llx] refused to %s[%d]: another driver has it, see /proc/iomem\n",
			 block->start, end, current->comm, task_tgid_nr(current));
		return -EBUSY;
	}
	block_step(block, STEP_REQUEST, began);

	began = ktime_get_ns();
	error = map(block, method);
	if (error) {
		dev_warn(&block->dev, "[mem %#llx-%#llx] cannot be mapped (%s): error %d\n", block->start, end,
			 method_names[method], error);
		release_mem_region(block->start, block->size);
		return error;
	}
	block_step(block, STEP_MAP, began);
	block->method = method;
	block->mapping = mapping_size(block, method);
	block->owner = task_tgid_nr(current);
	get_task_comm(block->owner_name, current);
	return 0;
}

int block_claim(struct block *block, enum method method)
{
	int error;

	mutex_lock(&block->lock);
	error = claim_locked(block, method);
	mutex_unlock(&block->lock);
	return error;
}

static int release_locked(struct block *block)
{
	u64 began;

	if (block->method == METHOD_NONE)
		return -ENXIO;
	if (block->files > 0) {
		dev_warn(&block->dev, "not released: %u files of it are open or mapped\n", block->files);
		return -EBUSY;
	}
	began = ktime_get_ns();
	unmap(block);
	block_step(block, STEP_UNMAP, began);

	began = ktime_get_ns();
	release_mem_region(block->start, block->size);
	block_step(block, STEP_RELEASE, began);
	block->method = METHOD_NONE;
	return 0;
}

int block_release(struct block *block)
{
	int error;

	mutex_lock(&block->lock);
	error = release_locked(block);
	mutex_unlock(&block->lock);
	return error;
}

void block_retire(struct block *block)
{
	mutex_lock(&block->lock);
	if (block->method != METHOD_NONE)
		release_locked(block);
	block->retired = true;
	mutex_unlock(&block->lock);
}
