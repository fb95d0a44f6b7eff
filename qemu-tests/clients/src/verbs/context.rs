// SPDX-License-Identifier: GPL-2.0

//! Devices, an open device, and its ports.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use super::error::check;
use super::error::report_leak;
use super::error::Error;
use super::error::Result;
use super::sys;
use super::Gid;
use super::GidEntry;
use super::GidIndex;
use super::Mtu;
use super::PortNum;
use super::RoceVersion;

/// Room for the GID tables of all devices there are; a larger one is read in part.
const GID_ENTRIES_READ: usize = 256;

/// The list of devices as the library allocates it.
struct DeviceList {
    list: NonNull<*mut sys::ibv_device>,
    count: usize,
}

impl DeviceList {
    fn new() -> Result<Self> {
        let mut count = 0;
        // SAFETY: `count` is valid for the write.
        let list = unsafe { sys::ibv_get_device_list(&mut count) };
        let list = NonNull::new(list).ok_or_else(|| Error::last("ibv_get_device_list"))?;
        Ok(Self {
            list,
            count: usize::try_from(count).unwrap_or(0),
        })
    }

    fn devices(&self) -> impl Iterator<Item = (*mut sys::ibv_device, String)> + '_ {
        (0..self.count).map(|index| {
            // SAFETY: The library made an array of `count` device pointers, alive until `drop`.
            let device = unsafe { *self.list.as_ptr().add(index) };
            // SAFETY: A listed device's name is a C string within the device structure.
            let name = unsafe { CStr::from_ptr(sys::ibv_get_device_name(device)) };
            (device, name.to_string_lossy().into_owned())
        })
    }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: The list came from ibv_get_device_list and is freed once; an opened device stays
        // valid without it.
        unsafe { sys::ibv_free_device_list(self.list.as_ptr()) }
    }
}

/// The names of all verbs devices.
pub fn device_names() -> Result<Vec<String>> {
    Ok(DeviceList::new()?.devices().map(|(_, name)| name).collect())
}

/// What a device can do at most.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLimits {
    /// Protection domains.
    pub max_pd: u32,
    /// Completion queues.
    pub max_cq: u32,
    /// Queue pairs.
    pub max_qp: u32,
    /// Memory regions.
    pub max_mr: u32,
    /// Address handles.
    pub max_ah: u32,
    /// WQEs in one work queue.
    pub max_qp_wr: u32,
    /// Scatter/gather elements in one WQE.
    pub max_sge: u32,
    /// CQEs in one completion queue.
    pub max_cqe: u32,
    /// Incoming READs and atomics that a QP serves at a time.
    pub max_qp_rd_atom: u8,
    /// READs and atomics that a QP has outstanding at a time.
    pub max_qp_init_rd_atom: u8,
    /// Shared receive queues; 0 when there is no support.
    pub max_srq: u32,
    /// WQEs in one shared receive queue.
    pub max_srq_wr: u32,
    /// Scatter/gather elements in one WQE of a shared receive queue.
    pub max_srq_sge: u32,
}

/// The state of a port.
#[derive(Clone, Copy, Debug)]
pub struct PortInfo {
    /// Whether it carries traffic.
    pub active: bool,
    /// The largest payload of a packet now.
    pub active_mtu: Mtu,
    /// The longest message in bytes.
    pub max_message: u32,
}

/// An open device.
///
/// Not `Send`: each thread opens its own, as separate processes would.
pub struct Context {
    raw: NonNull<sys::ibv_context>,
    name: String,
}

impl Context {
    /// Opens the device called `name`.
    pub fn open(name: &str) -> Result<Self> {
        let list = DeviceList::new()?;
        let (device, name) = list
            .devices()
            .find(|(_, candidate)| candidate == name)
            .ok_or_else(|| Error::new("ibv_open_device", nix::errno::Errno::ENODEV as i32))?;
        // SAFETY: `device` is an entry of the live list.
        let raw = unsafe { sys::ibv_open_device(device) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::last("ibv_open_device"))?;
        Ok(Self { raw, name })
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn raw(&self) -> *mut sys::ibv_context {
        self.raw.as_ptr()
    }

    pub(super) fn async_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: The library keeps `async_fd` open until ibv_close_device, and the result borrows
        // `self`.
        unsafe { BorrowedFd::borrow_raw(self.raw.as_ref().async_fd) }
    }

    /// Queries the device's limits.
    pub fn limits(&self) -> Result<DeviceLimits> {
        // SAFETY: ibv_device_attr is plain integers and byte arrays; zeroes are a valid value.
        let mut attr: sys::ibv_device_attr = unsafe { std::mem::zeroed() };
        // SAFETY: The context is open and `attr` is valid for the write.
        check("ibv_query_device", unsafe {
            sys::ibv_query_device(self.raw(), &mut attr)
        })?;
        let count = |value: i32| u32::try_from(value).unwrap_or(0);
        let small = |value: i32| u8::try_from(value.max(0)).unwrap_or(u8::MAX);
        Ok(DeviceLimits {
            max_pd: count(attr.max_pd),
            max_cq: count(attr.max_cq),
            max_qp: count(attr.max_qp),
            max_mr: count(attr.max_mr),
            max_ah: count(attr.max_ah),
            max_qp_wr: count(attr.max_qp_wr),
            max_sge: count(attr.max_sge),
            max_cqe: count(attr.max_cqe),
            max_qp_rd_atom: small(attr.max_qp_rd_atom),
            max_qp_init_rd_atom: small(attr.max_qp_init_rd_atom),
            max_srq: count(attr.max_srq),
            max_srq_wr: count(attr.max_srq_wr),
            max_srq_sge: count(attr.max_srq_sge),
        })
    }

    /// Queries a port.
    pub fn port(&self, port: PortNum) -> Result<PortInfo> {
        // SAFETY: ibv_port_attr is plain integers; zeroes are a valid value.
        let mut attr: sys::ibv_port_attr = unsafe { std::mem::zeroed() };
        // SAFETY: The symbol fills the leading part of ibv_port_attr that all library versions
        // share, which the header calls `_compat_ibv_port_attr`; the rest stays zero.
        check("ibv_query_port", unsafe {
            sys::ibv_query_port(self.raw(), port.0, (&raw mut attr).cast())
        })?;
        Ok(PortInfo {
            active: attr.state == sys::IBV_PORT_ACTIVE,
            active_mtu: Mtu::from_raw(attr.active_mtu),
            max_message: attr.max_msg_sz,
        })
    }

    /// Reads the used entries of a port's GID table, in the table's order.
    pub fn gids(&self, port: PortNum) -> Result<Vec<GidEntry>> {
        // SAFETY: ibv_gid_entry is plain integers; zeroes are a valid value.
        let unused: sys::ibv_gid_entry = unsafe { std::mem::zeroed() };
        let mut table = vec![unused; GID_ENTRIES_READ];
        // SAFETY: The table has room for as many entries of this size as are named.
        let count = unsafe {
            sys::_ibv_query_gid_table(
                self.raw(),
                table.as_mut_ptr(),
                table.len(),
                0,
                size_of::<sys::ibv_gid_entry>(),
            )
        };
        let count = usize::try_from(count)
            .map_err(|_| Error::new("ibv_query_gid_table", count.unsigned_abs() as i32))?;
        table.truncate(count);
        Ok(table
            .into_iter()
            .filter(|entry| entry.port_num == u32::from(port.0))
            .filter_map(|entry| {
                Some(GidEntry {
                    index: GidIndex(u8::try_from(entry.gid_index).ok()?),
                    // SAFETY: All variants of the union are 16 bytes of plain data.
                    gid: Gid(unsafe { entry.gid.raw }),
                    version: match entry.gid_type {
                        sys::IBV_GID_TYPE_ROCE_V1 => RoceVersion::V1,
                        sys::IBV_GID_TYPE_ROCE_V2 => RoceVersion::V2,
                        _ => RoceVersion::Other,
                    },
                })
            })
            .collect())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: Every object made from the context borrows it, so all are gone.
        report_leak("ibv_close_device", unsafe {
            sys::ibv_close_device(self.raw())
        });
    }
}
