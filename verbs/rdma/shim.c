// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/shm.h>
#include <linux/vmalloc.h>

#include "shim.h"

struct ib_device *rdma_shim_ib_alloc_device(size_t size)
{
	return _ib_alloc_device(size, &init_net);
}

void rdma_shim_ib_mark_name_assigned_by_user(struct ib_device *device)
{
	ib_mark_name_assigned_by_user(device);
}

bool rdma_shim_ib_device_try_get(struct ib_device *device)
{
	return ib_device_try_get(device);
}

void rdma_shim_get_device(struct ib_device *device)
{
	get_device(&device->dev);
}

void rdma_shim_put_device(struct ib_device *device)
{
	put_device(&device->dev);
}

/* Untyped, because the module comes from bindings that are not generated with these. */
bool rdma_shim_try_module_get(void *module)
{
	return try_module_get(module);
}

void rdma_shim_module_put(void *module)
{
	module_put(module);
}

struct ib_ucontext *rdma_shim_udata_context(struct ib_udata *udata)
{
	return rdma_udata_to_uverbs_attr_bundle(udata)->context;
}

struct ib_udata *rdma_shim_bundle_udata(struct uverbs_attr_bundle *attrs)
{
	return attrs ? &attrs->driver_udata : NULL;
}

int rdma_shim_ib_no_udata_io(struct ib_udata *udata)
{
	return ib_no_udata_io(udata);
}

struct ib_umem *rdma_shim_ib_umem_get_va(struct ib_device *device, unsigned long address,
					 size_t size, int access)
{
	return ib_umem_get_va(device, address, size, access);
}

struct scatterlist *rdma_shim_sg_next(struct scatterlist *entry)
{
	return sg_next(entry);
}

#if !defined(CONFIG_SPARSEMEM_VMEMMAP) && !defined(CONFIG_FLATMEM)
#error "neighbouring struct pages must stand for neighbouring memory: SPARSEMEM_VMEMMAP or FLATMEM is needed"
#endif

struct page *rdma_shim_sg_nth_page(struct scatterlist *entry, size_t index)
{
	return sg_page(entry) + index;
}

/* As vmalloc_user(), but charged to the control group of the process, whose fault it is if there is too little. */
void *rdma_shim_alloc_user(size_t size)
{
	return __vmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
}

/* As remap_vmalloc_range(), which only takes memory of vmalloc_user(). */
int rdma_shim_map_user(struct vm_area_struct *vma, void *memory)
{
	unsigned long address;
	int ret;

	for (address = vma->vm_start; address < vma->vm_end; address += PAGE_SIZE) {
		ret = vm_insert_page(vma, address, vmalloc_to_page(memory));
		if (ret)
			return ret;
		memory += PAGE_SIZE;
	}
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

u64 rdma_shim_shmlba(void)
{
	return SHMLBA;
}

/* The page with this byte of the kernel's memory. */
struct page *rdma_shim_kernel_page(const void *address)
{
	return is_vmalloc_addr(address) ? vmalloc_to_page(address) : virt_to_page(address);
}

void rdma_shim_dev_hold(struct net_device *dev)
{
	dev_hold(dev);
}

void rdma_shim_dev_put(struct net_device *dev)
{
	dev_put(dev);
}
