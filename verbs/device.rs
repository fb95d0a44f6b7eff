// SPDX-License-Identifier: GPL-2.0

//! The device: what it is, what it can do, and the state of its port.

use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::Arc;

use crate::base::workers::Workers;
use crate::transport::opcode::MAX_MESSAGE;
use crate::verbs::abi::limits::MAX_CQE;
use crate::verbs::abi::limits::MAX_QUEUE_WR;
use crate::verbs::abi::limits::MAX_SGE;
use crate::verbs::abi::version;
use crate::verbs::address::HasPaths;
use crate::verbs::address::PathTable;
use crate::verbs::ah::HasPathHandles;
use crate::verbs::ah::PathHandle;
use crate::verbs::counters;
use crate::verbs::counters::Counter;
use crate::verbs::counters::Counters;
use crate::verbs::cq::HasCompletionQueues;
use crate::verbs::cq::UserCompletionQueue;
use crate::verbs::fast_region;
use crate::verbs::limits::MAX_COMPLETION_QUEUES;
use crate::verbs::limits::MAX_MULTICAST_GROUPS;
use crate::verbs::limits::MAX_MULTICAST_MEMBERS;
use crate::verbs::limits::MAX_PATH_HANDLES;
use crate::verbs::limits::MAX_PROTECTION_DOMAINS;
use crate::verbs::limits::MAX_QPS_OF_GROUP;
use crate::verbs::limits::MAX_QUEUE_PAIRS;
use crate::verbs::limits::MAX_REGIONS;
use crate::verbs::limits::MAX_SHARED_RECEIVE_QUEUES;
use crate::verbs::limits::MAX_WINDOWS;
use crate::verbs::mr::HasRegions;
use crate::verbs::mr::RegionTable;
use crate::verbs::multicast::MulticastGroups;
use crate::verbs::mw::UserWindow;
use crate::verbs::netdev::Netdev;
use crate::verbs::owned_region::OwnedRegion;
use crate::verbs::pagers::Pagers;
use crate::verbs::pd::HasProtectionDomains;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::port_speed::port_speed;
use crate::verbs::qp::HasQueuePairs;
use crate::verbs::qp::QpRouteTable;
use crate::verbs::qp::QpTable;
use crate::verbs::qp::UserQueuePair;
use crate::verbs::qp::MAX_RD_ATOMIC;
use crate::verbs::quota::Quota;
use crate::verbs::rdma::Atomicity;
use crate::verbs::rdma::Capabilities;
use crate::verbs::rdma::CounterName;
use crate::verbs::rdma::DeviceAttributes;
use crate::verbs::rdma::DeviceFeature;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::DriverId;
use crate::verbs::rdma::Mtu;
use crate::verbs::rdma::NetDeviceRef;
use crate::verbs::rdma::OnDemandOperation;
use crate::verbs::rdma::OnDemandRegion;
use crate::verbs::rdma::OnDemandSupport;
use crate::verbs::rdma::PhysicalState;
use crate::verbs::rdma::PortAttributes;
use crate::verbs::rdma::PortNumber;
use crate::verbs::rdma::PortState;
use crate::verbs::rdma::PortTraffic;
use crate::verbs::resources::Resources;
use crate::verbs::srq::HasSharedReceiveQueues;
use crate::verbs::srq::SharedReceiveQueue;
use crate::verbs::srq::SrqTable;
use crate::verbs::user_context::ProcessContext;

/// Shown by ibv_devinfo, beside the name: what this is, and what it is not.
pub(crate) const NODE_DESCRIPTION: &CStr = c"usb4_roce: verbs over USB4 cables (not rxe)";

/// Version of the user ABI: for 64-bit machines the same as 1.
const UVERBS_ABI_VERSION: u32 = 2;

/// What drivers without an IEEE OUI of their own use (IBTA A3.3.1).
const VENDOR_ID: u32 = 0xff_ffff;
/// "U4" in ASCII: tells this device from others without an OUI.
const VENDOR_PART_ID: u32 = 0x5534;
/// Version of the driver.
pub(crate) const VERSION: &str = version::TEXT;

/// Longest memory region.
const MAX_REGION_SIZE: u64 = 1 << 46;
/// The kernel's pages and all larger powers of two, as far as the ABI's 32 bits tell.
const PAGE_SIZES: u64 = (u32::MAX as u64) & !(PAGE_SIZE as u64 - 1);

/// Entries of the GID table: link-local and some IP addresses. All of them are of RoCE v2.
const GID_TABLE_LEN: u8 = 32;
/// The only partition key: the default partition, full membership (IBTA 10.9.1).
const DEFAULT_PKEY: u16 = 0xffff;

/// Mb/s in the unit of `ib_device_ops.query_port_speed`.
const SPEED_UNIT: u32 = 100;

/// Encoding of the time within which requests are acknowledged: 4.096 us * 2^15.
const ACK_DELAY: u8 = 15;

/// Who has registered the device.
pub(crate) trait Registrant: Send + Sync {
    /// The device has been unregistered, by whomever. Called with the lock of unregistration held.
    fn unregistered(&self);
}

/// State of the verbs device.
pub(crate) struct RoceDevice {
    node_guid: u64,
    resources: Arc<Resources>,
    routes: Arc<QpRouteTable>,
    netdev: Arc<Netdev>,
    registrant: Arc<dyn Registrant>,
}

impl RoceDevice {
    /// A device with `resources`, whose QPs find their way by `routes`. `registrant` is told when the device has
    /// been unregistered.
    pub(crate) fn new(
        node_guid: u64,
        resources: Arc<Resources>,
        routes: Arc<QpRouteTable>,
        netdev: Arc<Netdev>,
        registrant: Arc<dyn Registrant>,
    ) -> Result<Arc<Self>> {
        let device = Self {
            node_guid,
            resources,
            routes,
            netdev,
            registrant,
        };
        Ok(Arc::new(device, GFP_KERNEL)?)
    }
}

impl HasProtectionDomains for RoceDevice {
    fn protection_domains(&self) -> &Arc<Quota> {
        &self.resources.protection_domains
    }
}

impl HasCompletionQueues for RoceDevice {
    fn completion_queues(&self) -> &Arc<Quota> {
        &self.resources.completion_queues
    }
}

impl HasSharedReceiveQueues for RoceDevice {
    fn shared_receive_queues(&self) -> &Arc<SrqTable> {
        &self.resources.shared_receive_queues
    }
}

impl HasPaths for RoceDevice {
    fn paths(&self) -> &Arc<PathTable> {
        &self.resources.paths
    }
}

impl HasPathHandles for RoceDevice {}

impl HasRegions for RoceDevice {
    fn regions(&self) -> &Arc<RegionTable> {
        &self.resources.regions
    }
}

impl HasQueuePairs for RoceDevice {
    fn queue_pairs(&self) -> &Arc<QpTable> {
        &self.resources.queue_pairs
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.resources.counters
    }

    fn pagers(&self) -> &Arc<Pagers> {
        &self.resources.pagers
    }

    fn workers(&self) -> &Arc<Workers> {
        &self.resources.workers
    }

    fn routes(&self) -> &Arc<QpRouteTable> {
        &self.routes
    }

    fn multicast_groups(&self) -> &Arc<MulticastGroups> {
        &self.resources.multicast_groups
    }
}

impl Driver for RoceDevice {
    const ID: DriverId = DriverId::Rxe;
    const UVERBS_ABI_VERSION: u32 = UVERBS_ABI_VERSION;
    const FIRMWARE: &'static str = version::TEXT;

    const COUNTERS: &'static [CounterName] = counters::NAMES;

    type UserContext = ProcessContext;
    type Pd = ProtectionDomain;
    type Cq = UserCompletionQueue;
    type Qp = UserQueuePair;
    type Srq = Arc<SharedReceiveQueue>;
    type Mr = OwnedRegion;
    type Mw = UserWindow;
    type Ah = PathHandle;

    fn query_device(&self) -> DeviceAttributes {
        DeviceAttributes {
            firmware_version: version::NUMBER,
            system_image_guid: self.node_guid,
            vendor_id: VENDOR_ID,
            vendor_part_id: VENDOR_PART_ID,
            hardware_version: 0,
            max_mr_size: MAX_REGION_SIZE,
            page_sizes: PAGE_SIZES,
            max_qp: MAX_QUEUE_PAIRS as u32,
            max_qp_wr: MAX_QUEUE_WR,
            max_send_sge: MAX_SGE,
            max_recv_sge: MAX_SGE,
            max_read_sge: MAX_SGE,
            max_cq: MAX_COMPLETION_QUEUES as u32,
            max_cqe: MAX_CQE,
            max_mr: MAX_REGIONS as u32,
            max_mw: MAX_WINDOWS as u32,
            max_pd: MAX_PROTECTION_DOMAINS as u32,
            max_ah: MAX_PATH_HANDLES as u32,
            max_qp_rd_atomic: MAX_RD_ATOMIC.into(),
            max_qp_init_rd_atomic: MAX_RD_ATOMIC.into(),
            max_rd_atomic: u32::from(MAX_RD_ATOMIC) * MAX_QUEUE_PAIRS as u32,
            max_fast_pages: fast_region::MAX_PAGES,
            max_srq: MAX_SHARED_RECEIVE_QUEUES as u32,
            max_srq_wr: MAX_QUEUE_WR,
            max_srq_sge: MAX_SGE,
            max_multicast_groups: MAX_MULTICAST_GROUPS as u32,
            max_qps_of_multicast_group: MAX_QPS_OF_GROUP as u32,
            max_multicast_members: MAX_MULTICAST_MEMBERS as u32,
            max_pkeys: 1,
            ack_delay: ACK_DELAY,
            atomicity: Atomicity::Global,
            features: DeviceFeature::RcRnrNak
                | DeviceFeature::SystemImageGuid
                | DeviceFeature::UdAvPortEnforce
                | DeviceFeature::ResizeSrq
                | DeviceFeature::FlushGlobal
                | DeviceFeature::AtomicWrite
                | DeviceFeature::MemoryManagement
                | DeviceFeature::MemoryWindows
                | DeviceFeature::MemoryWindowsType2B,
            on_demand: OnDemandSupport {
                regions: OnDemandRegion::Explicit | OnDemandRegion::Implicit,
                reliable_connection: OnDemandOperation::Send
                    | OnDemandOperation::Receive
                    | OnDemandOperation::Write
                    | OnDemandOperation::Read
                    | OnDemandOperation::SharedReceive
                    | OnDemandOperation::Flush,
                ..OnDemandSupport::default()
            },
        }
    }

    fn query_port(&self, _port: PortNumber) -> PortAttributes {
        let link = self.routes.port_link();
        let (active_speed, active_width) = port_speed(link.rate);
        let (state, physical_state) = match link.rails {
            0 => (PortState::Down, PhysicalState::Polling),
            _ => (PortState::Active, PhysicalState::LinkUp),
        };
        PortAttributes {
            state,
            physical_state,
            max_mtu: Mtu::B4096,
            active_mtu: Mtu::B4096,
            max_message_size: MAX_MESSAGE,
            gid_table_len: GID_TABLE_LEN,
            pkey_table_len: 1,
            active_speed,
            active_width,
            capabilities: Capabilities::RoceV2Managed,
        }
    }

    fn query_port_speed(&self, _port: PortNumber) -> u64 {
        (self.routes.port_link().rate.0 / SPEED_UNIT).into()
    }

    fn net_device(&self, _port: PortNumber) -> Option<NetDeviceRef> {
        // SAFETY: The interface lives as long as `self`.
        Some(unsafe { NetDeviceRef::from_raw(self.netdev.as_ptr()) })
    }

    fn query_pkey(&self, _port: PortNumber, index: u16) -> Result<u16> {
        match index {
            0 => Ok(DEFAULT_PKEY),
            _ => Err(EINVAL),
        }
    }

    fn port_traffic(&self, _port: PortNumber) -> PortTraffic {
        let counters = &self.resources.counters;
        PortTraffic {
            sent_bytes: counters.get(Counter::SentBytes),
            received_bytes: counters.get(Counter::ReceivedBytes),
            sent_packets: counters.get(Counter::SentFrames),
            received_packets: counters.get(Counter::ReceivedFrames),
        }
    }

    fn read_counters(&self, _port: PortNumber, values: &mut [u64]) {
        self.resources.counters.read(values);
    }

    fn unregistered(&self) {
        self.registrant.unregistered();
    }
}
