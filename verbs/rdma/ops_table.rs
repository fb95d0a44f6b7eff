// SPDX-License-Identifier: GPL-2.0

//! The table of operations that `ib_core` calls.

use super::{
    address_handle,
    address_handle::{
        AddressHandle,
        AhOps, //
    },
    completion_queue,
    completion_queue::{
        Cq,
        CqOps, //
    },
    counters,
    device,
    device::Device,
    driver::Driver,
    memory_region,
    memory_region::MrOps,
    memory_window,
    memory_window::{
        Mw,
        MwOps, //
    },
    net_device_ref::NetDeviceRef,
    performance,
    port::PortNumber,
    protection_domain,
    protection_domain::Pd,
    queue_pair,
    queue_pair::Qp,
    shared_receive_queue,
    shared_receive_queue::{
        Srq,
        SrqOps, //
    },
    user_context,
    user_context::UserContext, //
};
use crate::verbs::bindings;
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::c_int,
    ThisModule, //
};

/// Commands of user space that `ib_core` refuses unless asked to let them pass: those that other
/// devices do not need the kernel for.
pub(super) const USER_COMMANDS: u64 = 1
    << bindings::ib_uverbs_write_cmds_IB_USER_VERBS_CMD_POST_SEND
    | 1 << bindings::ib_uverbs_write_cmds_IB_USER_VERBS_CMD_REQ_NOTIFY_CQ;

/// The operations of `D`.
pub(super) fn build<D: Driver>(module: &'static ThisModule) -> bindings::ib_device_ops {
    let mut ops = bindings::ib_device_ops {
        owner: module.as_ptr().cast(),
        driver_id: D::ID.into_raw(),
        uverbs_abi_ver: D::UVERBS_ABI_VERSION,

        dealloc_driver: Some(device::dealloc_driver::<D>),
        query_device: Some(query_device::<D>),
        get_dev_fw_str: Some(get_dev_fw_str::<D>),
        query_port: Some(query_port::<D>),
        query_port_speed: Some(query_port_speed::<D>),
        query_pkey: Some(query_pkey::<D>),
        process_mad: Some(performance::process_mad::<D>),
        get_port_immutable: Some(get_port_immutable::<D>),
        get_link_layer: Some(get_link_layer),
        get_netdev: Some(get_netdev::<D>),

        alloc_ucontext: Some(user_context::alloc_ucontext::<D>),
        dealloc_ucontext: Some(user_context::dealloc_ucontext::<D>),
        disassociate_ucontext: Some(user_context::disassociate_ucontext),
        mmap: Some(user_context::mmap::<D>),
        size_ib_ucontext: UserContext::<D>::SIZE,

        alloc_pd: Some(protection_domain::alloc_pd::<D>),
        dealloc_pd: Some(protection_domain::dealloc_pd::<D>),
        size_ib_pd: Pd::<D>::SIZE,

        create_cq: Some(completion_queue::create_cq::<D>),
        destroy_cq: Some(completion_queue::destroy_cq::<D>),
        resize_user_cq: if <D::Cq as CqOps<D>>::HAS_RESIZE {
            Some(completion_queue::resize_user_cq::<D>)
        } else {
            None
        },
        poll_cq: Some(completion_queue::poll_cq::<D>),
        req_notify_cq: Some(completion_queue::req_notify_cq::<D>),
        size_ib_cq: Cq::<D>::SIZE,

        create_qp: Some(queue_pair::create_qp::<D>),
        modify_qp: Some(queue_pair::modify_qp::<D>),
        query_qp: Some(queue_pair::query_qp::<D>),
        destroy_qp: Some(queue_pair::destroy_qp::<D>),
        post_send: Some(queue_pair::post_send::<D>),
        post_recv: Some(queue_pair::post_recv::<D>),
        attach_mcast: Some(queue_pair::attach_mcast::<D>),
        detach_mcast: Some(queue_pair::detach_mcast::<D>),
        size_ib_qp: Qp::<D>::SIZE,

        get_dma_mr: Some(memory_region::get_dma_mr::<D>),
        alloc_mr: Some(memory_region::alloc_mr::<D>),
        map_mr_sg: Some(memory_region::map_mr_sg::<D>),
        reg_user_mr: Some(memory_region::reg_user_mr::<D>),
        rereg_user_mr: if <D::Mr as MrOps<D>>::HAS_CHANGE {
            Some(memory_region::rereg_user_mr::<D>)
        } else {
            None
        },
        dereg_mr: Some(memory_region::dereg_mr::<D>),

        alloc_hw_port_stats: if D::COUNTERS.is_empty() {
            None
        } else {
            Some(counters::alloc_hw_port_stats::<D>)
        },
        get_hw_stats: Some(counters::get_hw_stats::<D>),

        ..pin_init::zeroed()
    };
    if <D::Srq as SrqOps<D>>::SUPPORTED {
        ops.create_srq = Some(shared_receive_queue::create_srq::<D>);
        ops.modify_srq = Some(shared_receive_queue::modify_srq::<D>);
        ops.query_srq = Some(shared_receive_queue::query_srq::<D>);
        ops.post_srq_recv = Some(shared_receive_queue::post_srq_recv::<D>);
        ops.destroy_srq = Some(shared_receive_queue::destroy_srq::<D>);
        ops.size_ib_srq = Srq::<D>::SIZE;
    }
    if <D::Ah as AhOps<D>>::SUPPORTED {
        ops.create_ah = Some(address_handle::create_ah::<D>);
        ops.create_user_ah = Some(address_handle::create_ah::<D>);
        ops.destroy_ah = Some(address_handle::destroy_ah::<D>);
        ops.size_ib_ah = AddressHandle::<D>::SIZE;
    }
    if <D::Mw as MwOps<D>>::SUPPORTED {
        ops.alloc_mw = Some(memory_window::alloc_mw::<D>);
        ops.dealloc_mw = Some(memory_window::dealloc_mw::<D>);
        ops.size_ib_mw = Mw::<D>::SIZE;
    }
    ops
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.query_device` of a device of `D`.
unsafe extern "C" fn query_device<D: Driver>(
    device: *mut bindings::ib_device,
    attr: *mut bindings::ib_device_attr,
    udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes the call's `udata`, or null.
        to_result(unsafe { bindings::rdma_shim_ib_no_udata_io(udata) })?;
        // SAFETY: `ib_core` passes a device of `D` and attributes to fill in.
        unsafe {
            *attr = Device::<D>::from_raw(&device)
                .driver()
                .query_device()
                .into_raw()
        };
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.get_dev_fw_str` of a device of `D`.
unsafe extern "C" fn get_dev_fw_str<D: Driver>(
    _device: *mut bindings::ib_device,
    text: *mut kernel::ffi::c_char,
) {
    const {
        assert!(D::FIRMWARE.len() < bindings::IB_FW_VERSION_NAME_MAX as usize);
    }
    let from = D::FIRMWARE;
    let text = text.cast::<u8>();

    // SAFETY: `ib_core` passes `IB_FW_VERSION_NAME_MAX` bytes to fill in, and these are not more.
    unsafe {
        core::ptr::copy_nonoverlapping(from.as_ptr(), text, from.len());
        text.add(from.len()).write(0);
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.query_port` of a device of `D`.
unsafe extern "C" fn query_port<D: Driver>(
    device: *mut bindings::ib_device,
    port: u32,
    attr: *mut bindings::ib_port_attr,
) -> c_int {
    // SAFETY: `ib_core` passes a device of `D` and attributes to fill in.
    unsafe {
        let device = Device::<D>::from_raw(&device);

        *attr = device
            .driver()
            .query_port(PortNumber::from_raw(port))
            .into_raw();
    }
    0
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.query_port_speed` of a device of `D`.
unsafe extern "C" fn query_port_speed<D: Driver>(
    device: *mut bindings::ib_device,
    port: u32,
    speed: *mut u64,
) -> c_int {
    // SAFETY: `ib_core` passes a device of `D` and a speed to fill in.
    unsafe {
        let device = Device::<D>::from_raw(&device);

        *speed = device.driver().query_port_speed(PortNumber::from_raw(port));
    }
    0
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.query_pkey` of a device of `D`.
unsafe extern "C" fn query_pkey<D: Driver>(
    device: *mut bindings::ib_device,
    port: u32,
    index: u16,
    pkey: *mut u16,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes a device of `D`.
        let device = unsafe { Device::<D>::from_raw(&device) };
        let key = device
            .driver()
            .query_pkey(PortNumber::from_raw(port), index)?;

        // SAFETY: `ib_core` passes a key to fill in.
        unsafe { *pkey = key };
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.get_port_immutable` of a device of `D`.
unsafe extern "C" fn get_port_immutable<D: Driver>(
    device: *mut bindings::ib_device,
    port: u32,
    immutable: *mut bindings::ib_port_immutable,
) -> c_int {
    // SAFETY: `ib_core` passes a device of `D` and properties to fill in.
    let (device, immutable) = unsafe { (Device::<D>::from_raw(&device), &mut *immutable) };
    let port = device.driver().query_port(PortNumber::from_raw(port));

    immutable.pkey_tbl_len = port.pkey_table_len.into();
    immutable.gid_tbl_len = port.gid_table_len.into();
    immutable.core_cap_flags = port.capabilities.into_raw();
    immutable.max_mad_size = port.capabilities.max_mad_size();
    0
}

/// # Safety
///
/// None; `unsafe` as the type of the operation requires.
unsafe extern "C" fn get_link_layer(
    _device: *mut bindings::ib_device,
    _port: u32,
) -> bindings::rdma_link_layer {
    bindings::rdma_link_layer_IB_LINK_LAYER_ETHERNET
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.get_netdev` of a device of `D`.
unsafe extern "C" fn get_netdev<D: Driver>(
    device: *mut bindings::ib_device,
    port: u32,
) -> *mut bindings::net_device {
    // SAFETY: `ib_core` passes a device of `D`.
    let device = unsafe { Device::<D>::from_raw(&device) };

    // `ib_core` drops the reference.
    device
        .driver()
        .net_device(PortNumber::from_raw(port))
        .map_or(core::ptr::null_mut(), NetDeviceRef::into_raw)
}
