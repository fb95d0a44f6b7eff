// SPDX-License-Identifier: GPL-2.0

#include <linux/build_bug.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/dmi.h>
#include <linux/gfp.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "bindings_helper.h"
#include "layout_generated.h"

#if !defined(CONFIG_SPARSEMEM_VMEMMAP) && !defined(CONFIG_FLATMEM)
#error "lists of pages take neighbouring struct pages for neighbouring memory: SPARSEMEM_VMEMMAP or FLATMEM is needed"
#endif

const char *base_shim_machine_uuid(void)
{
	return dmi_get_system_info(DMI_PRODUCT_UUID);
}

void base_shim_host_name(char *name, size_t size)
{
	/* Not locked: uts_sem is not exported. A name that is just being changed may come out mixed. */
	strscpy_pad(name, init_uts_ns.name.nodename, size);
}

void base_shim_smp_wmb(void)
{
	smp_wmb();
}

/* Untyped, because the lock comes from bindings that are not generated with these. */
unsigned long base_shim_lock_irqsave(void *lock)
{
	unsigned long flags;

	spin_lock_irqsave((spinlock_t *)lock, flags);
	return flags;
}

bool base_shim_trylock_irqsave(void *lock, unsigned long *flags)
{
	return spin_trylock_irqsave((spinlock_t *)lock, *flags);
}

bool base_shim_irqs_disabled(void)
{
	return irqs_disabled();
}

void base_shim_unlock_irqrestore(void *lock, unsigned long flags)
{
	spin_unlock_irqrestore((spinlock_t *)lock, flags);
}

/*
 * From now on no allocation of this thread waits for I/O: a file system may be at the other end of what it moves.
 * memalloc_noio_save() is inline.
 */
void base_shim_forbid_io(void)
{
	memalloc_noio_save();
}

bool base_shim_has_fast_crc32c(void)
{
	return crc32_optimizations() & CRC32C_OPTIMIZATION;
}

/* A macro in a kernel without timers of high resolution. */
unsigned int base_shim_hrtimer_resolution(void)
{
	return hrtimer_resolution;
}

/* Pages in a row, with one counter of references, if there are any: nothing is reclaimed, nor compacted, for them. */
void *base_shim_block_alloc(size_t size)
{
	const gfp_t gfp = (GFP_KERNEL & ~__GFP_RECLAIM) | __GFP_COMP | __GFP_NORETRY | __GFP_NOWARN;
	struct page *page = alloc_pages(gfp, get_order(size));

	return page ? page_address(page) : NULL;
}

void *base_shim_block_valloc(size_t size)
{
	return vmalloc(size);
}

bool base_shim_block_is_lendable(const void *block)
{
	return !is_vmalloc_addr(block);
}

bool base_shim_block_is_lent(const void *block)
{
	return !is_vmalloc_addr(block) && page_ref_count(virt_to_page(block)) > 1;
}

void base_shim_block_put(void *block)
{
	if (is_vmalloc_addr(block))
		vfree(block);
	else
		put_page(virt_to_page(block));
}

/* Without CONFIG_CPU_IDLE what these call is inline. */
void base_shim_limit_cpu_latency(struct pm_qos_request *request, s32 microseconds)
{
	*request = (struct pm_qos_request){};
	cpu_latency_qos_add_request(request, microseconds);
}

void base_shim_unlimit_cpu_latency(struct pm_qos_request *request)
{
	cpu_latency_qos_remove_request(request);
}

/*
 * A device that is there for whoever has to do something before any other device is suspended. The kernel suspends devices in the
 * reverse of the order in which they were added, so a second one is added whenever the kernel prepares them: from then on no driver
 * gets a new device (device_block_probing()), and nothing that anybody can use is younger.
 */
struct sleeper {
	struct device device;
	/* From preparation to completion. */
	struct device *youngest;
	int (*fall_asleep)(const void *of);
	void (*wake)(const void *of);
	const void *of;
};

static int suspend_youngest(struct device *youngest)
{
	const struct sleeper *sleeper = container_of(youngest->parent, struct sleeper, device);

	return sleeper->fall_asleep(sleeper->of);
}

static const struct dev_pm_ops youngest_pm_ops = {
	SYSTEM_SLEEP_PM_OPS(suspend_youngest, NULL)
};

static const struct device_type youngest_type = {
	.name = "youngest",
	.pm = pm_sleep_ptr(&youngest_pm_ops),
};

static void free_youngest(struct device *youngest)
{
	kfree(youngest);
}

/* Adds a device that was allocated, or frees it. */
static int add_device(struct device *device, const char *name)
{
	int error = dev_set_name(device, "%s", name);

	if (!error)
		error = device_add(device);
	if (error)
		put_device(device);
	return error;
}

static int prepare_sleeper(struct device *device)
{
	struct sleeper *sleeper = container_of(device, struct sleeper, device);
	struct device *youngest = kzalloc(sizeof(*youngest), GFP_KERNEL);
	int error;

	if (!youngest)
		return -ENOMEM;
	device_initialize(youngest);
	youngest->parent = device;
	youngest->type = &youngest_type;
	youngest->release = free_youngest;
	error = add_device(youngest, "youngest");
	if (!error)
		sleeper->youngest = youngest;
	return error;
}

static void complete_sleeper(struct device *device)
{
	struct sleeper *sleeper = container_of(device, struct sleeper, device);

	sleeper->wake(sleeper->of);
	device_unregister(sleeper->youngest);
}

static const struct dev_pm_ops sleeper_pm_ops = {
	.prepare = prepare_sleeper,
	.complete = complete_sleeper,
};

static const struct device_type sleeper_type = {
	.name = "sleeper",
	.pm = pm_sleep_ptr(&sleeper_pm_ops),
};

static void free_sleeper(struct device *device)
{
	kfree(container_of(device, struct sleeper, device));
}

void *base_shim_add_sleeper(const char *name, int (*fall_asleep)(const void *of),
			    void (*wake)(const void *of), const void *of)
{
	struct sleeper *sleeper = kzalloc(sizeof(*sleeper), GFP_KERNEL);
	int error;

	if (!sleeper)
		return ERR_PTR(-ENOMEM);
	sleeper->fall_asleep = fall_asleep;
	sleeper->wake = wake;
	sleeper->of = of;
	device_initialize(&sleeper->device);
	sleeper->device.type = &sleeper_type;
	sleeper->device.release = free_sleeper;
	error = add_device(&sleeper->device, name);
	return error ? ERR_PTR(error) : sleeper;
}

/* Processes that do this are frozen before anybody is told. */
void base_shim_remove_sleeper(void *sleeper)
{
	device_unregister(&((struct sleeper *)sleeper)->device);
}

/* Threads for works that may sleep for long: as many as there are works, up to the kernel's limit. */
struct workqueue_struct *base_shim_alloc_sleepers(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND, WQ_UNBOUND_MAX_ACTIVE, name);
}

/* Threads for works that freeing memory may wait for: one is set aside. */
struct workqueue_struct *base_shim_alloc_reserved_workers(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND | WQ_MEM_RECLAIM, 0, name);
}

void base_shim_flush_workqueue(struct workqueue_struct *queue)
{
	flush_workqueue(queue);
}

static int base_shim_debug_show(struct seq_file *file, void *unused)
{
	const struct base_shim_debug_source *source = file->private;

	source->show(file, source);
	return 0;
}

/* These operations have an owner, the module of this file: it stays as long as such a file is open. */
DEFINE_SHOW_ATTRIBUTE(base_shim_debug);

/* A file for root alone, in a directory of its own, which is to be removed by the function below. */
void *base_shim_debug_file(const char *directory, const char *name,
			   const struct base_shim_debug_source *source)
{
	struct dentry *parent = debugfs_create_dir(directory, NULL);

	debugfs_create_file(name, 0400, parent, (void *)source, &base_shim_debug_fops);
	return parent;
}

/* Returns when nobody is in show() any more, and nobody will be. */
void base_shim_debug_remove(void *directory)
{
	debugfs_remove(directory);
}
