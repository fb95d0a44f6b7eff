// SPDX-License-Identifier: GPL-2.0

//! Paths to ports.

use super::{
    gid::{
        Gid,
        GidType, //
    },
    port::PortNumber, //
};
use crate::verbs::bindings;
use kernel::prelude::*;

/// The local end of a path.
#[derive(Clone, Copy, Debug)]
pub struct SourceGid {
    /// The identifier.
    pub gid: Gid,
    /// How packets are encapsulated.
    pub gid_type: GidType,
}

/// A path to a port of a RoCE network.
#[derive(Clone, Copy, Debug)]
pub struct AhAttributes {
    /// Local port.
    pub port: PortNumber,
    /// The entry of the port's GID table that packets leave from.
    pub source_index: u8,
    /// What that entry holds. `None` when told by a driver: `ib_core` knows it.
    pub source: Option<SourceGid>,
    /// Where packets go.
    pub destination: Gid,
    /// Hardware address of the next hop.
    pub destination_mac: [u8; 6],
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Service level.
    pub service_level: u8,
    /// Maximum static rate (`enum ib_rate`).
    pub static_rate: u8,
}

impl AhAttributes {
    /// # Safety
    ///
    /// `raw.grh.sgid_attr` must be null or valid.
    ///
    /// # Errors
    ///
    /// `EINVAL` when this is no path of a RoCE network.
    pub(super) unsafe fn from_raw(raw: &bindings::rdma_ah_attr) -> Result<Self> {
        if raw.type_ != bindings::rdma_ah_attr_type_RDMA_AH_ATTR_TYPE_ROCE
            || u32::from(raw.ah_flags) & bindings::ib_ah_flags_IB_AH_GRH == 0
        {
            return Err(EINVAL);
        }
        // SAFETY: By the requirements of this function.
        let source = unsafe { raw.grh.sgid_attr.as_ref() }.map(|attr| SourceGid {
            gid: Gid::from_raw(&attr.gid),
            gid_type: GidType::from_raw(attr.gid_type),
        });

        Ok(Self {
            port: PortNumber::from_raw(raw.port_num),
            source_index: raw.grh.sgid_index,
            source,
            destination: Gid::from_raw(&raw.grh.dgid),
            // SAFETY: `type_` says which member of the union is set.
            destination_mac: unsafe { raw.__bindgen_anon_1.roce.dmac },
            flow_label: raw.grh.flow_label,
            hop_limit: raw.grh.hop_limit,
            traffic_class: raw.grh.traffic_class,
            service_level: raw.sl,
            static_rate: raw.static_rate,
        })
    }

    pub(super) fn into_raw(self) -> bindings::rdma_ah_attr {
        bindings::rdma_ah_attr {
            grh: bindings::ib_global_route {
                sgid_attr: core::ptr::null(),
                dgid: self.destination.into_raw(),
                flow_label: self.flow_label,
                sgid_index: self.source_index,
                hop_limit: self.hop_limit,
                traffic_class: self.traffic_class,
            },
            sl: self.service_level,
            static_rate: self.static_rate,
            port_num: self.port.get(),
            ah_flags: bindings::ib_ah_flags_IB_AH_GRH as u8,
            type_: bindings::rdma_ah_attr_type_RDMA_AH_ATTR_TYPE_ROCE,
            __bindgen_anon_1: bindings::rdma_ah_attr__bindgen_ty_1 {
                roce: bindings::roce_ah_attr {
                    dmac: self.destination_mac,
                },
            },
        }
    }
}
