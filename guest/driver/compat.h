/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SPM_CLAIM_COMPAT_H
#define SPM_CLAIM_COMPAT_H

/*
 * What differs between the kernels that the driver is built for (Debian's 6.1, 6.12 and 7.2), all of it here. A
 * function that stands for several of the kernel's says what it does; the driver's own decisions are elsewhere.
 */
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/ioport.h>
#include <linux/memregion.h>
#include <linux/mm.h>
#include <linux/platform_device.h>
#include <linux/sched/mm.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#include <linux/pfn_t.h>
#endif

/*
 * Calls func for each Soft Reserved range until it fails, and returns what it did; -EINVAL when there is none. From 7.0
 * on these ranges are a tree of their own, not in /proc/iomem.
 */
static inline int compat_walk_soft_reserved(void *arg, int (*func)(struct resource *, void *))
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	return walk_soft_reserve_res(0, U64_MAX, arg, func);
#else
	return walk_iomem_res_desc(IORES_DESC_SOFT_RESERVED, IORESOURCE_MEM, 0, U64_MAX, arg, func);
#endif
}

static inline struct class *compat_class_create(const char *name)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return class_create(name);
#else
	return class_create(THIS_MODULE, name);
#endif
}

/* The online node nearest to one that may not be online: struct pages come from there. */
static inline int compat_nearest_node(int node)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	return numa_nearest_node(node, N_ONLINE);
#else
	return numa_map_to_online_node(node);
#endif
}

/* The range of one of dax_hmem's platform devices, "hmem.N"; false when it has none. */
static inline bool compat_hmem_range(struct device *dev, u64 *start, u64 *size)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	const struct memregion_info *info = dev_get_platdata(dev);

	if (!info)
		return false;
	*start = info->range.start;
	*size = range_len(&info->range);
#else
	const struct resource *res = platform_get_resource(to_platform_device(dev), IORESOURCE_MEM, 0);

	if (!res)
		return false;
	*start = res->start;
	*size = resource_size(res);
#endif
	return true;
}

static inline void compat_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

static inline unsigned long compat_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
						 unsigned long pgoff, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	return mm_get_unmapped_area(file, addr, len, pgoff, flags);
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
	return mm_get_unmapped_area(current->mm, file, addr, len, pgoff, flags);
#else
	return current->mm->get_unmapped_area(file, addr, len, pgoff, flags);
#endif
}

/* Page orders of the three sizes of a mapping's entries. */
#define COMPAT_PMD_ORDER (PMD_SHIFT - PAGE_SHIFT)
#define COMPAT_PUD_ORDER (PUD_SHIFT - PAGE_SHIFT)

/*
 * Whether memory without struct pages can be mapped by huge entries: only where the kernel marks these as special, else
 * get_user_pages() looks for pages that do not exist.
 */
static inline bool compat_huge_pfnmap(void)
{
	return IS_ENABLED(CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP);
}

/* Whether mprotect() knows entries of 1G. Where it does not, it takes them for damage: "bad pud", and clears them. */
static inline bool compat_protects_puds(void)
{
	return LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0);
}

/* Maps one entry of the order at the fault: of a range with struct pages (folios of that order), or without any. */
static inline vm_fault_t compat_insert(struct vm_fault *vmf, unsigned long pfn, unsigned int order, bool pages)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	struct page *page = pages ? pfn_to_page(pfn) : NULL;

	switch (order) {
	case 0:
		return pages ? vmf_insert_page_mkwrite(vmf, page, write) : vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	case COMPAT_PMD_ORDER:
		return pages ? vmf_insert_folio_pmd(vmf, page_folio(page), write) : vmf_insert_pfn_pmd(vmf, pfn, write);
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	case COMPAT_PUD_ORDER:
		return pages ? vmf_insert_folio_pud(vmf, page_folio(page), write) : vmf_insert_pfn_pud(vmf, pfn, write);
#endif
	}
#else
	/* here an entry itself says that its page is a device's */
	pfn_t entry = __pfn_to_pfn_t(pfn, pages ? PFN_DEV | PFN_MAP : PFN_DEV);

	switch (order) {
	case 0:
		return pages ? vmf_insert_mixed(vmf->vma, vmf->address, entry)
			     : vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	case COMPAT_PMD_ORDER:
		return vmf_insert_pfn_pmd(vmf, entry, write);
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	case COMPAT_PUD_ORDER:
		return vmf_insert_pfn_pud(vmf, entry, write);
#endif
	}
#endif
	return VM_FAULT_FALLBACK;
}

/* vm_operations_struct's huge_fault, told the order of the entry that is missing. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define COMPAT_HUGE_FAULT(name, fault_of_order)                                                                        \
	static vm_fault_t name(struct vm_fault *vmf, unsigned int order)                                               \
	{                                                                                                              \
		return fault_of_order(vmf, order);                                                                     \
	}
#else
#define COMPAT_HUGE_FAULT(name, fault_of_order)                                                                        \
	static vm_fault_t name(struct vm_fault *vmf, enum page_entry_size size)                                        \
	{                                                                                                              \
		return fault_of_order(vmf, size == PE_SIZE_PUD   ? COMPAT_PUD_ORDER                                    \
					   : size == PE_SIZE_PMD ? COMPAT_PMD_ORDER                                    \
								 : 0);                                                 \
	}
#endif

#endif
