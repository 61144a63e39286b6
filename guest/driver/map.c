// SPDX-License-Identifier: GPL-2.0-only
/*
 * The character device of a claimed block: read and write through the kernel's mapping of it, mmap straight to the
 * memory.
 *
 * A claim has one size of entry for all mappings, block->mapping, and mappings must be aligned to it: so an address is
 * mapped by entries of one size in every process, a folio of struct pages is an entry, and no entry has to be split.
 */
#include "block.h"

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "compat.h"

static int block_open(struct inode *inode, struct file *file)
{
	struct block *block = container_of(inode->i_cdev, struct block, cdev);
	int error = 0;

	mutex_lock(&block->lock);
	if (block->method == METHOD_NONE) {
		error = -ENXIO;
	} else {
		block->files++;
		file->private_data = block;
		/* The kernel asks for huge entries of pages only where a file is DAX: memory, without a page cache. */
		inode_set_flags(inode, block->method == METHOD_PAGES ? S_DAX : 0, S_DAX);
	}
	mutex_unlock(&block->lock);
	return error;
}

/* The last reference to an open file; each mapping has one. */
static int block_close(struct inode *inode, struct file *file)
{
	struct block *block = file->private_data;

	mutex_lock(&block->lock);
	block->files--;
	mutex_unlock(&block->lock);
	return 0;
}

static loff_t block_seek(struct file *file, loff_t offset, int whence)
{
	struct block *block = file->private_data;

	return fixed_size_llseek(file, offset, whence, block->size);
}

/* One call stays inside of one folio, as hardened user copies want it: it may do less than it was asked for. */
static size_t piece(const struct block *block, loff_t position, size_t count)
{
	size_t most = min(block->align, PMD_SIZE);

	return min_t(size_t, count, most - (position & (most - 1)));
}

static ssize_t block_read(struct file *file, char __user *to, size_t count, loff_t *position)
{
	struct block *block = file->private_data;

	if (!block->kernel)
		return -EOPNOTSUPP;
	return simple_read_from_buffer(to, piece(block, *position, count), position, block->kernel, block->size);
}

static ssize_t block_write(struct file *file, const char __user *from, size_t count, loff_t *position)
{
	struct block *block = file->private_data;

	if (!block->kernel)
		return -EOPNOTSUPP;
	if (*position >= block->size)
		return -ENOSPC;
	return simple_write_to_buffer(block->kernel, block->size, position, from, piece(block, *position, count));
}

static struct block *block_of(const struct vm_area_struct *vma)
{
	return vma->vm_file->private_data;
}

static vm_fault_t fault_of_order(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct block *block = block_of(vma);
	unsigned long size = PAGE_SIZE << order, addr = vmf->address & ~(size - 1), pfn;
	bool pages = block->method == METHOD_PAGES;
	vm_fault_t result;

	if (size > block->mapping)
		return VM_FAULT_FALLBACK;
	/* Only where huge pages are switched off for this process or mapping. */
	if (size < block->mapping && (pages || order > 0))
		return pages ? VM_FAULT_SIGBUS : VM_FAULT_FALLBACK;
	if (addr < vma->vm_start || vma->vm_end - addr < size)
		return pages ? VM_FAULT_SIGBUS : VM_FAULT_FALLBACK;
	pfn = PHYS_PFN(block->start) + vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
	if (WARN_ON_ONCE(!IS_ALIGNED(pfn, 1UL << order)))
		return pages ? VM_FAULT_SIGBUS : VM_FAULT_FALLBACK;
	result = compat_insert(vmf, pfn, order, pages);
	if (result == VM_FAULT_NOPAGE)
		atomic64_inc(&block->faults[order == 0                  ? FAULT_PTE
					    : order == COMPAT_PMD_ORDER ? FAULT_PMD
									: FAULT_PUD]);
	return result;
}

static vm_fault_t block_fault(struct vm_fault *vmf)
{
	return fault_of_order(vmf, 0);
}

COMPAT_HUGE_FAULT(block_huge_fault, fault_of_order)

static int block_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return IS_ALIGNED(addr, block_of(vma)->mapping) ? 0 : -EINVAL;
}

static int block_mprotect(struct vm_area_struct *vma, unsigned long start, unsigned long end, unsigned long flags)
{
	return block_of(vma)->mapping < PUD_SIZE || compat_protects_puds() ? 0 : -EINVAL;
}

static unsigned long block_pagesize(struct vm_area_struct *vma)
{
	return block_of(vma)->mapping;
}

static const struct vm_operations_struct fault_operations = {
	.fault = block_fault,
	.huge_fault = block_huge_fault,
	.may_split = block_may_split,
	.mprotect = block_mprotect,
	.pagesize = block_pagesize,
};

/* The kernel keeps the memory type of a mapping by remap_pfn_range() for the whole of it. */
static int never_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static const struct vm_operations_struct region_operations = {
	.may_split = never_split,
};

static int block_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct block *block = file->private_data;
	u64 pages = block->size >> PAGE_SHIFT;

	/* A private mapping would copy what is written to ordinary memory. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_pgoff > pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	if (!IS_ALIGNED(vma->vm_start | vma->vm_end | (vma->vm_pgoff << PAGE_SHIFT), block->mapping))
		return -EINVAL;

	if (block->method == METHOD_REGION) {
		vma->vm_ops = &region_operations;
		return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(block->start) + vma->vm_pgoff,
				       vma->vm_end - vma->vm_start, vma->vm_page_prot);
	}
	vma->vm_ops = &fault_operations;
	compat_vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_HUGEPAGE);
	if (block->method == METHOD_MEMREMAP)
		compat_vm_flags_set(vma, VM_IO | VM_PFNMAP);
	return 0;
}

/*
 * An address that is as far from a multiple of the size of entries as the offset is. mmap() and mremap() ask for
 * addresses that they were given, too (MAP_FIXED): so nothing is moved to where its entries do not fit.
 */
static unsigned long block_unmapped_area(struct file *file, unsigned long addr, unsigned long len, unsigned long pgoff,
					 unsigned long flags)
{
	struct block *block = file->private_data;
	unsigned long align = block->mapping, offset = pgoff << PAGE_SHIFT, found;

	if (IS_ALIGNED(addr ^ offset, align) && (addr || (flags & MAP_FIXED) || align == PAGE_SIZE))
		return compat_unmapped_area(file, addr, len, pgoff, flags);
	if ((flags & MAP_FIXED) || len > TASK_SIZE - align)
		return (flags & MAP_FIXED) ? -EINVAL : -ENOMEM;
	found = compat_unmapped_area(file, 0, len + align, pgoff, flags);
	return IS_ERR_VALUE(found) ? found : found + ((offset - found) & (align - 1));
}

const struct file_operations block_file_operations = {
	.owner = THIS_MODULE,
	.open = block_open,
	.release = block_close,
	.llseek = block_seek,
	.read = block_read,
	.write = block_write,
	.mmap = block_mmap,
	.get_unmapped_area = block_unmapped_area,
};
