// SPDX-License-Identifier: GPL-2.0

//! Limits and identity of a device.

use crate::verbs::bindings;
use kernel::impl_flags;

/// Limits and identity of a device (IBTA 11.2.1.2 Query HCA).
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceAttributes {
    /// Firmware version, of which user space shows the three upper 16-bit parts.
    pub firmware_version: u64,
    /// Identity of the machine.
    pub system_image_guid: u64,
    /// Vendor (an IEEE OUI).
    pub vendor_id: u32,
    /// Vendor's number of the part.
    pub vendor_part_id: u32,
    /// Hardware version.
    pub hardware_version: u32,
    /// Longest memory region in bytes.
    pub max_mr_size: u64,
    /// Bit n: pages of 2^n bytes are supported.
    pub page_sizes: u64,
    /// Queue pairs.
    pub max_qp: u32,
    /// Work requests of a queue.
    pub max_qp_wr: u32,
    /// Gather elements of a send work request.
    pub max_send_sge: u32,
    /// Scatter elements of a receive.
    pub max_recv_sge: u32,
    /// Scatter elements of a READ.
    pub max_read_sge: u32,
    /// Completion queues.
    pub max_cq: u32,
    /// Entries of a completion queue.
    pub max_cqe: u32,
    /// Memory regions.
    pub max_mr: u32,
    /// Memory windows.
    pub max_mw: u32,
    /// Protection domains.
    pub max_pd: u32,
    /// Address handles.
    pub max_ah: u32,
    /// READs and atomics that a queue pair accepts at a time.
    pub max_qp_rd_atomic: u32,
    /// READs and atomics that a queue pair starts at a time.
    pub max_qp_init_rd_atomic: u32,
    /// READs and atomics that the device accepts at a time.
    pub max_rd_atomic: u32,
    /// Pages of a memory region that the kernel registers by work requests.
    pub max_fast_pages: u32,
    /// Shared receive queues.
    pub max_srq: u32,
    /// Receives of a shared receive queue.
    pub max_srq_wr: u32,
    /// Scatter elements of a receive of a shared receive queue.
    pub max_srq_sge: u32,
    /// Multicast groups that queue pairs are in.
    pub max_multicast_groups: u32,
    /// Queue pairs in one of them.
    pub max_qps_of_multicast_group: u32,
    /// Queue pairs in all of them, counted once for each.
    pub max_multicast_members: u32,
    /// Entries of a port's table of partition keys.
    pub max_pkeys: u16,
    /// Typical delay of an acknowledgement: 4.096 µs * 2^n.
    pub ack_delay: u8,
    /// What atomic operations are atomic with regard to.
    pub atomicity: Atomicity,
    /// Optional features.
    pub features: DeviceFeatures,
    /// Which memory regions may be without pinned pages.
    pub on_demand: OnDemandSupport,
}

/// What atomic operations exclude (IBTA 11.2.1.2; `enum ib_atomic_cap`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Atomicity {
    /// There are none.
    #[default]
    None,
    /// Each other, and atomic instructions of all processors and devices of the host.
    Global,
}

impl Atomicity {
    fn into_raw(self) -> bindings::ib_atomic_cap {
        match self {
            Self::None => bindings::ib_atomic_cap_IB_ATOMIC_NONE,
            Self::Global => bindings::ib_atomic_cap_IB_ATOMIC_GLOB,
        }
    }
}
/// What can be done with memory whose pages are found on demand ([`Access::OnDemand`](super::Access::OnDemand)).
#[derive(Clone, Copy, Debug, Default)]
pub struct OnDemandSupport {
    /// Kinds of regions. None: there are no such regions.
    pub regions: OnDemandRegions,
    /// Operations of reliable connections.
    pub reliable_connection: OnDemandOperations,
    /// Operations of unreliable connections.
    pub unreliable_connection: OnDemandOperations,
    /// Operations of unreliable datagrams.
    pub unreliable_datagram: OnDemandOperations,
}

impl_flags!(
    /// Kinds of regions whose pages are found on demand.
    #[derive(Debug, Clone, Default, Copy, PartialEq, Eq)]
    pub struct OnDemandRegions(u64);

    /// A kind of region (`enum ib_odp_general_cap_bits`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum OnDemandRegion {
        /// A range of addresses.
        Explicit = bindings::ib_odp_general_cap_bits_IB_ODP_SUPPORT as u64,
        /// All of a process's memory.
        Implicit = bindings::ib_odp_general_cap_bits_IB_ODP_SUPPORT_IMPLICIT as u64,
    }
);

impl_flags!(
    /// Operations that may access memory whose pages are found on demand.
    #[derive(Debug, Clone, Default, Copy, PartialEq, Eq)]
    pub struct OnDemandOperations(u32);

    /// An operation (`enum ib_odp_transport_cap_bits`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum OnDemandOperation {
        /// SEND from it.
        Send = bindings::ib_odp_transport_cap_bits_IB_ODP_SUPPORT_SEND,
        /// Receiving into it.
        Receive = bindings::ib_odp_transport_cap_bits_IB_ODP_SUPPORT_RECV,
        /// WRITE from and to it.
        Write = bindings::ib_odp_transport_cap_bits_IB_ODP_SUPPORT_WRITE,
        /// READ from and to it.
        Read = bindings::ib_odp_transport_cap_bits_IB_ODP_SUPPORT_READ,
        /// Receives of shared receive queues into it.
        SharedReceive = bindings::ib_odp_transport_cap_bits_IB_ODP_SUPPORT_SRQ_RECV,
        /// FLUSH of it.
        Flush = bindings::ib_odp_transport_cap_bits_IB_ODP_SUPPORT_FLUSH,
    }
);

impl_flags!(
    /// Optional features of a device.
    #[derive(Debug, Clone, Default, Copy, PartialEq, Eq)]
    pub struct DeviceFeatures(u64);

    /// An optional feature (`enum ib_device_cap_flags`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum DeviceFeature {
        /// There are memory windows of type 1.
        MemoryWindows = bindings::ib_device_cap_flags_IB_DEVICE_MEM_WINDOW as u64,
        /// There are memory windows of type 2B: each belongs to a queue pair, and is checked for its domain when it is
        /// used. A queue pair with windows can be destroyed.
        MemoryWindowsType2B = bindings::ib_device_cap_flags_IB_DEVICE_MEM_WINDOW_TYPE_2B as u64,
        /// Shared receive queues may be resized.
        ResizeSrq = bindings::ib_device_cap_flags_IB_DEVICE_SRQ_RESIZE as u64,
        /// An address handle must be of the port that it is used at.
        UdAvPortEnforce = bindings::ib_device_cap_flags_IB_DEVICE_UD_AV_PORT_ENFORCE as u64,
        /// A responder whose receive queue is empty says so instead of closing the connection.
        RcRnrNak = bindings::ib_device_cap_flags_IB_DEVICE_RC_RNR_NAK_GEN as u64,
        /// The system image GUID is set.
        SystemImageGuid = bindings::ib_device_cap_flags_IB_DEVICE_SYS_IMAGE_GUID as u64,
        /// The kernel may register memory, and make keys invalid, by work requests.
        MemoryManagement = bindings::ib_device_cap_flags_IB_DEVICE_MEM_MGT_EXTENSIONS as u64,
        /// A peer may have what was written before made visible to everybody.
        FlushGlobal = bindings::ib_device_cap_flags_IB_DEVICE_FLUSH_GLOBAL as u64,
        /// A peer may write an aligned word at once.
        AtomicWrite = bindings::ib_device_cap_flags_IB_DEVICE_ATOMIC_WRITE as u64,
    }
);

/// A limit as `ib_core` keeps it: `int` until Linux 7.2, `u32` since.
trait Limit {
    fn clamp_from(limit: u32) -> Self;
}

impl Limit for i32 {
    fn clamp_from(limit: u32) -> Self {
        limit.try_into().unwrap_or(i32::MAX)
    }
}

impl Limit for u32 {
    fn clamp_from(limit: u32) -> Self {
        limit
    }
}

impl OnDemandSupport {
    fn into_raw(self) -> bindings::ib_odp_caps {
        bindings::ib_odp_caps {
            general_caps: self.regions.into(),
            per_transport_caps: bindings::ib_odp_caps__bindgen_ty_1 {
                rc_odp_caps: self.reliable_connection.into(),
                uc_odp_caps: self.unreliable_connection.into(),
                ud_odp_caps: self.unreliable_datagram.into(),
                ..pin_init::zeroed()
            },
        }
    }
}

impl DeviceAttributes {
    /// `enum ib_kernel_cap_flags`.
    fn kernel_features(&self) -> u64 {
        // Queue pairs of the kernel name its memory by key 0.
        let always = bindings::ib_kernel_cap_flags_IBK_LOCAL_DMA_LKEY;
        let features = if self.on_demand.regions == OnDemandRegions::empty() {
            always
        } else {
            always | bindings::ib_kernel_cap_flags_IBK_ON_DEMAND_PAGING
        };
        features.into()
    }

    pub(super) fn into_raw(self) -> bindings::ib_device_attr {
        bindings::ib_device_attr {
            fw_ver: self.firmware_version,
            sys_image_guid: self.system_image_guid.to_be(),
            max_mr_size: self.max_mr_size,
            page_size_cap: self.page_sizes,
            vendor_id: self.vendor_id,
            vendor_part_id: self.vendor_part_id,
            hw_ver: self.hardware_version,
            max_qp: Limit::clamp_from(self.max_qp),
            max_qp_wr: Limit::clamp_from(self.max_qp_wr),
            device_cap_flags: self.features.into(),
            kernel_cap_flags: self.kernel_features(),
            odp_caps: self.on_demand.into_raw(),
            max_send_sge: Limit::clamp_from(self.max_send_sge),
            max_recv_sge: Limit::clamp_from(self.max_recv_sge),
            max_sge_rd: Limit::clamp_from(self.max_read_sge),
            max_cq: Limit::clamp_from(self.max_cq),
            max_cqe: Limit::clamp_from(self.max_cqe),
            max_mr: Limit::clamp_from(self.max_mr),
            max_mw: Limit::clamp_from(self.max_mw),
            max_pd: Limit::clamp_from(self.max_pd),
            max_qp_rd_atom: Limit::clamp_from(self.max_qp_rd_atomic),
            max_res_rd_atom: Limit::clamp_from(self.max_rd_atomic),
            max_qp_init_rd_atom: Limit::clamp_from(self.max_qp_init_rd_atomic),
            atomic_cap: self.atomicity.into_raw(),
            max_ah: Limit::clamp_from(self.max_ah),
            max_fast_reg_page_list_len: self.max_fast_pages,
            max_srq: Limit::clamp_from(self.max_srq),
            max_srq_wr: Limit::clamp_from(self.max_srq_wr),
            max_srq_sge: Limit::clamp_from(self.max_srq_sge),
            max_mcast_grp: Limit::clamp_from(self.max_multicast_groups),
            max_mcast_qp_attach: Limit::clamp_from(self.max_qps_of_multicast_group),
            max_total_mcast_qp_attach: Limit::clamp_from(self.max_multicast_members),
            max_pkeys: self.max_pkeys,
            local_ca_ack_delay: self.ack_delay,
            ..pin_init::zeroed()
        }
    }
}
