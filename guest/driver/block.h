/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SPM_CLAIM_BLOCK_H
#define SPM_CLAIM_BLOCK_H

/*
 * A block is one Soft Reserved range: one device of this driver, one claim at a time, one proximity domain.
 *
 * A claim lasts from a write to "claim" until one to "release", and takes all of the block. Files are opened, and so
 * mapped, only while there is a claim, and a claim ends only while no file is open: so what a file's operations use of
 * the block cannot change below them.
 */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/types.h>

/* How a claimed block is mapped for the kernel. The names are those of "claim" and "method". */
enum method {
	METHOD_NONE,     /* not claimed */
	METHOD_REGION,   /* not at all; user space gets plain 4K mappings (remap_pfn_range) */
	METHOD_MEMREMAP, /* memremap(): no struct pages; user space gets mappings by fault */
	METHOD_PAGES,    /* devm_memremap_pages(): struct pages, so it can be a target of direct I/O and be pinned */
	METHODS
};
extern const char *const method_names[METHODS];

/* What has its time taken: the last duration of each is in time_ns/. */
enum step {
	STEP_FIND,    /* resource tree, node and SRAT entry */
	STEP_REQUEST, /* request_mem_region() */
	STEP_MAP,     /* memremap() or devm_memremap_pages() */
	STEP_UNMAP,
	STEP_RELEASE, /* release_mem_region() */
	STEP_TAKE,    /* dax_hmem's driver unbound */
	STEP_GIVE,    /* and bound again */
	STEPS
};

enum fault_size { FAULT_PTE, FAULT_PMD, FAULT_PUD, FAULT_SIZES };

struct block {
	struct device dev;
	struct cdev cdev;
	struct list_head list;
	u64 start, size;
	int node; /* what phys_to_target_node() says, which may be offline; NUMA_NO_NODE without an SRAT entry */
	int pxm;  /* the SRAT's proximity domain, -1 without an entry */

	struct mutex lock; /* guards all below but what is atomic */
	enum method method;
	unsigned long
		align; /* of struct pages and of huge mappings, for the next claim: PAGE_SIZE, PMD_SIZE or PUD_SIZE */
	unsigned long mapping; /* size of an entry in this claim's mappings */
	unsigned int files;    /* that are open */
	pid_t owner;
	char owner_name[TASK_COMM_LEN];
	void *kernel; /* where the kernel has it mapped, or NULL */
	struct dev_pagemap pagemap;

	bool retired; /* no more claims */
	bool taken;   /* dax_hmem was bound to it before us */
	atomic64_t faults[FAULT_SIZES];
	atomic64_t step_ns[STEPS];
};

static inline struct block *to_block(struct device *dev)
{
	return container_of(dev, struct block, dev);
}

/* Remembers how long a step took that began at a ktime_get_ns(). */
void block_step(struct block *block, enum step step, u64 began);

/*
 * claim.c. 0, or -EBUSY (a claim, open files, a range that another driver has), -EINVAL (alignment), -ENOMEM: each with
 * a line in the kernel log; -ENXIO for a release without a claim.
 */
int block_claim(struct block *block, enum method method);
int block_release(struct block *block);
/* Ends a claim and refuses all others: before the device goes, as its going would undo devm_memremap_pages(). */
void block_retire(struct block *block);
int block_set_align(struct block *block, unsigned long align);
unsigned long block_default_align(const struct block *block);

/*
 * dax.c: takes the block from dax_hmem and whatever is bound to its dax device, and gives it back. -ENODEV: dax_hmem
 * has no device for this range, or is not loaded. -EBUSY: the block is claimed; or some of it is online as system RAM,
 * which only user space can take offline. -EINVAL: given back what was not taken.
 */
int dax_take(struct block *block);
int dax_give(struct block *block);
int dax_init(void);
void dax_exit(void);

/* map.c */
extern const struct file_operations block_file_operations;

/* sysfs.c */
extern const struct attribute_group *block_groups[];

#endif
