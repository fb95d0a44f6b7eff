/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the RDMA headers, as functions that Rust can call. */
#ifndef _RDMA_SHIM_H
#define _RDMA_SHIM_H

#include <linux/netdevice.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>
#include <rdma/uverbs_ioctl.h>

struct ib_device *rdma_shim_ib_alloc_device(size_t size);
void rdma_shim_ib_mark_name_assigned_by_user(struct ib_device *device);
bool rdma_shim_ib_device_try_get(struct ib_device *device);
void rdma_shim_get_device(struct ib_device *device);
void rdma_shim_put_device(struct ib_device *device);

bool rdma_shim_try_module_get(void *module);
void rdma_shim_module_put(void *module);

struct ib_ucontext *rdma_shim_udata_context(struct ib_udata *udata);
struct ib_udata *rdma_shim_bundle_udata(struct uverbs_attr_bundle *attrs);
int rdma_shim_ib_no_udata_io(struct ib_udata *udata);

struct ib_umem *rdma_shim_ib_umem_get_va(struct ib_device *device, unsigned long address,
					 size_t size, int access);
struct scatterlist *rdma_shim_sg_next(struct scatterlist *entry);
struct page *rdma_shim_sg_nth_page(struct scatterlist *entry, size_t index);

void *rdma_shim_alloc_user(size_t size);
int rdma_shim_map_user(struct vm_area_struct *vma, void *memory);
u64 rdma_shim_shmlba(void);
struct page *rdma_shim_kernel_page(const void *address);

/* Untyped, as address spaces come from bindings that are not generated with these. */
bool rdma_shim_mm_is_current(const void *mm);
bool rdma_shim_mm_may_borrow(void);
bool rdma_shim_mm_borrow(void *mm);
void rdma_shim_mm_give_back(void *mm);
int rdma_shim_mm_fault_in_to_read(void *mm, u64 address);
int rdma_shim_mm_fault_in_to_write(void *mm, u64 address);
size_t rdma_shim_read_user(void *to, u64 from, size_t len);
size_t rdma_shim_write_user(u64 to, const void *from, size_t len, size_t ordered);

void rdma_shim_dev_hold(struct net_device *dev);
void rdma_shim_dev_put(struct net_device *dev);

#endif
