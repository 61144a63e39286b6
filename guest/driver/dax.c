// SPDX-License-Identifier: GPL-2.0-only
/*
 * Beside dax_hmem. It has a platform device "hmem.N" for each Soft Reserved range, and when its driver is bound to
 * that, a dax device which is bound in turn: to device_dax (/dev/daxN.0) or to kmem (system RAM). Unbinding hmem.N
 * undoes all of it.
 *
 * kmem has one chance to remove its memory when it is unbound; what is online then stays until the next boot, with its
 * range. The kernel exports no way to take memory offline, so that is left to user space, and a block that is online is
 * refused. Between that check and the unbinding nobody may bring it online: a notifier sees to that.
 */
#include "block.h"

#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/notifier.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>

#include "compat.h"

/* The range that is being taken, and the one that is coming online (the kernel does one at a time), as page frames. */
struct frames {
	unsigned long first, count;
};
static DEFINE_SPINLOCK(frames_lock); /* guards both */
static struct frames barred, onlining;
static DEFINE_MUTEX(take_lock); /* one block at a time has its range barred */

static bool overlap(const struct frames *a, const struct frames *b)
{
	return a->first < b->first + b->count && b->first < a->first + a->count;
}

static int notified(struct notifier_block *notifier, unsigned long action, void *data)
{
	const struct memory_notify *notice = data;
	struct frames frames = {.first = notice->start_pfn, .count = notice->nr_pages};
	int answer = NOTIFY_OK;

	spin_lock(&frames_lock);
	if (action == MEM_GOING_ONLINE) {
		if (overlap(&frames, &barred))
			answer = NOTIFY_BAD;
		else
			onlining = frames;
	} else if (action == MEM_ONLINE || action == MEM_CANCEL_ONLINE) {
		onlining.count = 0;
	}
	spin_unlock(&frames_lock);
	return answer;
}

static struct notifier_block notifier = {.notifier_call = notified};

int dax_init(void)
{
	return register_memory_notifier(&notifier);
}

void dax_exit(void)
{
	unregister_memory_notifier(&notifier);
}

static bool is_online(const struct frames *frames)
{
	unsigned long pfn;

	for (pfn = frames->first; pfn < frames->first + frames->count; pfn += PAGES_PER_SECTION) {
		if (pfn_to_online_page(pfn))
			return true;
	}
	return pfn_to_online_page(frames->first + frames->count - 1) != NULL;
}

/* From now on none of it comes online, when none of it is. */
static bool bar(const struct frames *frames)
{
	bool coming;

	spin_lock(&frames_lock);
	coming = overlap(frames, &onlining);
	if (!coming)
		barred = *frames;
	spin_unlock(&frames_lock);
	return !coming && !is_online(frames);
}

static void unbar(void)
{
	spin_lock(&frames_lock);
	barred.count = 0;
	spin_unlock(&frames_lock);
}

static int is_hmem_of(struct device *dev, const void *data)
{
	const struct block *block = data;
	u64 start, size;

	return strncmp(dev_name(dev), "hmem.", 5) == 0 && compat_hmem_range(dev, &start, &size) &&
	       start == block->start && size == block->size;
}

/* hmem.N of the block, for put_device(); or NULL. */
static struct device *find_hmem(const struct block *block)
{
	return bus_find_device(&platform_bus_type, NULL, block, is_hmem_of);
}

static bool is_bound(struct device *dev)
{
	bool bound;

	device_lock(dev);
	bound = dev->driver != NULL;
	device_unlock(dev);
	return bound;
}

static int take_from(struct block *block, struct device *hmem)
{
	struct frames frames = {.first = PHYS_PFN(block->start), .count = PHYS_PFN(block->size)};
	u64 began = ktime_get_ns();
	int error = 0;

	if (!is_bound(hmem))
		return -ENODEV;
	mutex_lock(&take_lock);
	if (bar(&frames)) {
		device_release_driver(hmem);
		block->taken = true;
		block_step(block, STEP_TAKE, began);
	} else {
		dev_warn(
			&block->dev,
			"not taken from %s: it is online as system RAM; first: daxctl offline-memory of its dax device\n",
			dev_name(hmem));
		error = -EBUSY;
	}
	unbar();
	mutex_unlock(&take_lock);
	return error;
}

int dax_take(struct block *block)
{
	struct device *hmem;
	int error = -ENODEV;

	mutex_lock(&block->lock);
	hmem = find_hmem(block);
	if (block->method != METHOD_NONE)
		error = -EBUSY;
	else if (hmem)
		error = take_from(block, hmem);
	mutex_unlock(&block->lock);
	put_device(hmem);
	return error;
}

int dax_give(struct block *block)
{
	struct device *hmem;
	u64 began = ktime_get_ns();
	int error = -ENODEV, bound;

	mutex_lock(&block->lock);
	hmem = find_hmem(block);
	if (!block->taken) {
		error = -EINVAL;
	} else if (block->method != METHOD_NONE) {
		error = -EBUSY;
	} else if (hmem) {
		bound = device_attach(hmem);
		error = bound < 0 ? bound : bound == 0 ? -ENODEV : 0;
	}
	if (!error) {
		block->taken = false;
		block_step(block, STEP_GIVE, began);
	}
	mutex_unlock(&block->lock);
	put_device(hmem);
	return error;
}
