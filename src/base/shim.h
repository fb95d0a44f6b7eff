/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the base's C headers, as functions that Rust can call. */
#ifndef _USB4_ROCE_BASE_SHIM_H
#define _USB4_ROCE_BASE_SHIM_H

#include <linux/notifier.h>
#include <linux/pm_qos.h>
#include <linux/types.h>
#include <linux/workqueue.h>

/* What a file in debugfs is made from. */
struct base_shim_debug_source {
	/* Writes it to a struct seq_file, untyped because that comes from bindings that are not generated with these. */
	void (*show)(void *file, const struct base_shim_debug_source *source);
};

const char *base_shim_machine_uuid(void);
void base_shim_host_name(char *name, size_t size);
void base_shim_smp_wmb(void);
unsigned long base_shim_lock_irqsave(void *lock);
bool base_shim_trylock_irqsave(void *lock, unsigned long *flags);
bool base_shim_irqs_disabled(void);
void base_shim_unlock_irqrestore(void *lock, unsigned long flags);
void base_shim_forbid_io(void);
bool base_shim_has_fast_crc32c(void);
unsigned int base_shim_hrtimer_resolution(void);
void *base_shim_block_alloc(size_t size);
void *base_shim_block_valloc(size_t size);
bool base_shim_block_is_lendable(const void *block);
bool base_shim_block_is_lent(const void *block);
void base_shim_block_put(void *block);
void base_shim_limit_cpu_latency(struct pm_qos_request *request, s32 microseconds);
void base_shim_unlimit_cpu_latency(struct pm_qos_request *request);
void *base_shim_add_sleeper(const char *name, int (*fall_asleep)(const void *of),
			    void (*wake)(const void *of), const void *of);
void base_shim_remove_sleeper(void *sleeper);
struct workqueue_struct *base_shim_alloc_sleepers(const char *name);
struct workqueue_struct *base_shim_alloc_reserved_workers(const char *name);
void base_shim_flush_workqueue(struct workqueue_struct *queue);
void *base_shim_debug_file(const char *directory, const char *name,
			   const struct base_shim_debug_source *source);
void base_shim_debug_remove(void *directory);

#endif
