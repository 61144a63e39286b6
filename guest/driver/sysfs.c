// SPDX-License-Identifier: GPL-2.0-only
/* /sys/class/spm_claim/spmN: each attribute is in the README. */
#include "block.h"

#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#define BLOCK_SHOW(name, format, ...)                                                                                  \
	static ssize_t name##_show(struct device *dev, struct device_attribute *attribute, char *text)                 \
	{                                                                                                              \
		struct block *block = to_block(dev);                                                                   \
		ssize_t length;                                                                                        \
                                                                                                                       \
		mutex_lock(&block->lock);                                                                              \
		length = sysfs_emit(text, format "\n", __VA_ARGS__);                                                   \
		mutex_unlock(&block->lock);                                                                            \
		return length;                                                                                         \
	}

BLOCK_SHOW(start, "%#llx", block->start)
BLOCK_SHOW(size, "%llu", block->size)
BLOCK_SHOW(node, "%d", block->node)
BLOCK_SHOW(pxm, "%d", block->pxm)
BLOCK_SHOW(method, "%s", method_names[block->method])
BLOCK_SHOW(mapping, "%lu", block->method == METHOD_NONE ? 0 : block->mapping)
BLOCK_SHOW(files, "%u", block->files)
BLOCK_SHOW(align, "%lu", block->align)
BLOCK_SHOW(dax, "%s", block->taken ? "taken" : "left")

static ssize_t owner_show(struct device *dev, struct device_attribute *attribute, char *text)
{
	struct block *block = to_block(dev);
	ssize_t length = 0;

	mutex_lock(&block->lock);
	if (block->method != METHOD_NONE)
		length = sysfs_emit(text, "%d %s\n", block->owner, block->owner_name);
	mutex_unlock(&block->lock);
	return length;
}

static ssize_t align_store(struct device *dev, struct device_attribute *attribute, const char *text, size_t count)
{
	unsigned long align;
	int error = kstrtoul(text, 0, &align);

	if (!error)
		error = block_set_align(to_block(dev), align);
	return error ? error : (ssize_t)count;
}

static ssize_t claim_store(struct device *dev, struct device_attribute *attribute, const char *text, size_t count)
{
	int method = sysfs_match_string(method_names, text), error;

	if (method <= METHOD_NONE)
		return -EINVAL;
	error = block_claim(to_block(dev), method);
	return error ? error : (ssize_t)count;
}

static ssize_t release_store(struct device *dev, struct device_attribute *attribute, const char *text, size_t count)
{
	int error = block_release(to_block(dev));

	return error ? error : (ssize_t)count;
}

static ssize_t dax_store(struct device *dev, struct device_attribute *attribute, const char *text, size_t count)
{
	int error = -EINVAL;

	if (sysfs_streq(text, "take"))
		error = dax_take(to_block(dev));
	else if (sysfs_streq(text, "give"))
		error = dax_give(to_block(dev));
	return error ? error : (ssize_t)count;
}

static DEVICE_ATTR_RO(start);
static DEVICE_ATTR_RO(size);
static DEVICE_ATTR_RO(node);
static DEVICE_ATTR_RO(pxm);
static DEVICE_ATTR_RO(method);
static DEVICE_ATTR_RO(mapping);
static DEVICE_ATTR_RO(owner);
static DEVICE_ATTR_RO(files);
static DEVICE_ATTR_RW(align);
static DEVICE_ATTR_RW(dax);
static DEVICE_ATTR_WO(claim);
static DEVICE_ATTR_WO(release);

static struct attribute *block_attributes[] = {
	&dev_attr_start.attr,
	&dev_attr_size.attr,
	&dev_attr_node.attr,
	&dev_attr_pxm.attr,
	&dev_attr_method.attr,
	&dev_attr_mapping.attr,
	&dev_attr_owner.attr,
	&dev_attr_files.attr,
	&dev_attr_align.attr,
	&dev_attr_dax.attr,
	&dev_attr_claim.attr,
	&dev_attr_release.attr,
	NULL,
};
static const struct attribute_group block_group = {.attrs = block_attributes};

/* A number of an array, told by the place of its attribute. */
struct number_attribute {
	struct device_attribute attribute;
	unsigned int index;
};

static unsigned int index_of(struct device_attribute *attribute)
{
	return container_of(attribute, struct number_attribute, attribute)->index;
}

static ssize_t step_show(struct device *dev, struct device_attribute *attribute, char *text)
{
	return sysfs_emit(text, "%lld\n", atomic64_read(&to_block(dev)->step_ns[index_of(attribute)]));
}

static ssize_t fault_show(struct device *dev, struct device_attribute *attribute, char *text)
{
	return sysfs_emit(text, "%lld\n", atomic64_read(&to_block(dev)->faults[index_of(attribute)]));
}

#define NUMBER(variable, name, show, place)                                                                            \
	static struct number_attribute variable = {                                                                    \
		.attribute = __ATTR(name, 0444, show, NULL),                                                           \
		.index = place,                                                                                        \
	}

NUMBER(step_find, find, step_show, STEP_FIND);
NUMBER(step_request, request, step_show, STEP_REQUEST);
NUMBER(step_map, map, step_show, STEP_MAP);
NUMBER(step_unmap, unmap, step_show, STEP_UNMAP);
NUMBER(step_release, release, step_show, STEP_RELEASE);
NUMBER(step_take, take, step_show, STEP_TAKE);
NUMBER(step_give, give, step_show, STEP_GIVE);
NUMBER(fault_pte, pte, fault_show, FAULT_PTE);
NUMBER(fault_pmd, pmd, fault_show, FAULT_PMD);
NUMBER(fault_pud, pud, fault_show, FAULT_PUD);

static struct attribute *step_attributes[] = {
	&step_find.attribute.attr,    &step_request.attribute.attr,
	&step_map.attribute.attr,     &step_unmap.attribute.attr,
	&step_release.attribute.attr, &step_take.attribute.attr,
	&step_give.attribute.attr,    NULL,
};
static const struct attribute_group step_group = {.name = "time_ns", .attrs = step_attributes};

static struct attribute *fault_attributes[] = {
	&fault_pte.attribute.attr,
	&fault_pmd.attribute.attr,
	&fault_pud.attribute.attr,
	NULL,
};
static const struct attribute_group fault_group = {.name = "faults", .attrs = fault_attributes};

const struct attribute_group *block_groups[] = {&block_group, &step_group, &fault_group, NULL};
