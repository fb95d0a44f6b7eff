// SPDX-License-Identifier: GPL-2.0

#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/shm.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>
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

/* The page with this byte of the kernel's memory; NULL if that is neither mapped directly nor of vmalloc(). */
struct page *rdma_shim_kernel_page(const void *address)
{
	if (is_vmalloc_addr(address))
		return vmalloc_to_page(address);
	return virt_addr_valid(address) ? virt_to_page(address) : NULL;
}

void rdma_shim_dev_hold(struct net_device *dev)
{
	dev_hold(dev);
}

void rdma_shim_dev_put(struct net_device *dev)
{
	dev_put(dev);
}

/* Whether the calling thread works in the address space, as the threads of its process do. */
bool rdma_shim_mm_is_current(const void *mm)
{
	return current->mm == mm;
}

/* Lets the calling thread, which has no address space, work in this one, unless that has ended. */
bool rdma_shim_mm_borrow(void *mm)
{
	if (!mmget_not_zero(mm))
		return false;
	kthread_use_mm(mm);
	return true;
}

void rdma_shim_mm_give_back(void *mm)
{
	kthread_unuse_mm(mm);
	/* The last user would release all memory of the process, which may sleep. */
	mmput_async(mm);
}

/* Whether the calling thread may borrow an address space. */
bool rdma_shim_mm_may_borrow(void)
{
	return (current->flags & PF_KTHREAD) && !current->mm;
}

/* Makes the page with that address present. Sleeps. */
static int fault_in(void *mm, u64 address, unsigned int flags)
{
	bool unlocked = false;
	int ret;

	if (!mmget_not_zero(mm))
		return -EFAULT;
	ret = mmap_read_lock_killable(mm);
	if (!ret) {
		ret = fixup_user_fault(mm, address, flags | FAULT_FLAG_REMOTE, &unlocked);
		mmap_read_unlock(mm);
	}
	mmput_async(mm);
	return ret;
}

int rdma_shim_mm_fault_in_to_read(void *mm, u64 address)
{
	return fault_in(mm, address, 0);
}

int rdma_shim_mm_fault_in_to_write(void *mm, u64 address)
{
	return fault_in(mm, address, FAULT_FLAG_WRITE);
}

/*
 * The following two are for the address space that the calling thread works in, and do not sleep. They stop where a page is
 * not present, or does not allow the access, and return how many bytes they have copied.
 *
 * Preemption is off, because User-Mode Linux looks a page up and copies to it afterwards.
 */

size_t rdma_shim_read_user(void *to, u64 from, size_t len)
{
	const void __user *user = u64_to_user_ptr(from);
	size_t left;

	if (!access_ok(user, len))
		return 0;
	preempt_disable();
	pagefault_disable();
	left = __copy_from_user_inatomic(to, user, len);
	pagefault_enable();
	preempt_enable();
	return len - left;
}

/* Single bytes up to the first aligned word, aligned words one after the other, single bytes. */
static size_t store_in_order(void __user *to, const void *from, size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t left = len - done;

		if (left >= sizeof(u64) && IS_ALIGNED((unsigned long)to + done, sizeof(u64))) {
			/* Everything before is visible before the last word is. */
			if (left < 2 * sizeof(u64))
				smp_wmb();
			if (__put_user(get_unaligned((const u64 *)(from + done)),
				       (u64 __user *)(to + done)))
				break;
			done += sizeof(u64);
		} else {
			if (__put_user(*(const u8 *)(from + done), (u8 __user *)(to + done)))
				break;
			done++;
		}
	}
	return done;
}

/* The last `ordered` bytes become visible in the order of their addresses, and after all others. */
size_t rdma_shim_write_user(u64 to, const void *from, size_t len, size_t ordered)
{
	void __user *user = u64_to_user_ptr(to);
	const size_t bulk = len - ordered;
	size_t done;

	if (!access_ok(user, len))
		return 0;
	preempt_disable();
	pagefault_disable();
	done = bulk - __copy_to_user_inatomic(user, from, bulk);
	if (done == bulk) {
		smp_wmb();
		done += store_in_order(user + bulk, from + bulk, ordered);
	}
	pagefault_enable();
	preempt_enable();
	return done;
}
