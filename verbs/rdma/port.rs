// SPDX-License-Identifier: GPL-2.0

//! Ports.

use crate::verbs::bindings;
use kernel::prelude::*;

/// Number of a port, from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortNumber(u32);

impl PortNumber {
    /// The first port.
    pub const FIRST: Self = Self(1);

    pub(super) fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Largest payload of a packet, as the specification knows it (IBTA 9.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mtu {
    /// 256 bytes.
    B256,
    /// 512 bytes.
    B512,
    /// 1024 bytes.
    B1024,
    /// 2048 bytes.
    B2048,
    /// 4096 bytes.
    B4096,
}

impl Mtu {
    pub(super) fn from_raw(raw: bindings::ib_mtu) -> Result<Self> {
        Ok(match raw {
            bindings::ib_mtu_IB_MTU_256 => Self::B256,
            bindings::ib_mtu_IB_MTU_512 => Self::B512,
            bindings::ib_mtu_IB_MTU_1024 => Self::B1024,
            bindings::ib_mtu_IB_MTU_2048 => Self::B2048,
            bindings::ib_mtu_IB_MTU_4096 => Self::B4096,
            _ => return Err(EINVAL),
        })
    }

    pub(super) fn into_raw(self) -> bindings::ib_mtu {
        match self {
            Self::B256 => bindings::ib_mtu_IB_MTU_256,
            Self::B512 => bindings::ib_mtu_IB_MTU_512,
            Self::B1024 => bindings::ib_mtu_IB_MTU_1024,
            Self::B2048 => bindings::ib_mtu_IB_MTU_2048,
            Self::B4096 => bindings::ib_mtu_IB_MTU_4096,
        }
    }

    /// Number of bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::B256 => 256,
            Self::B512 => 512,
            Self::B1024 => 1024,
            Self::B2048 => 2048,
            Self::B4096 => 4096,
        }
    }
}

/// Logical state of a port (IBTA 7.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PortState {
    /// The port cannot be used.
    Down,
    /// The port can be used.
    Active,
}

/// Physical state of a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PhysicalState {
    /// Looking for a link.
    Polling,
    /// Switched off.
    Disabled,
    /// The link is up.
    LinkUp,
}

/// Speed of one lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkSpeed {
    /// 2.5 Gb/s.
    Sdr,
    /// 5 Gb/s.
    Ddr,
    /// 10 Gb/s.
    Qdr,
    /// 14 Gb/s.
    Fdr,
    /// 25 Gb/s.
    Edr,
    /// 50 Gb/s.
    Hdr,
    /// 100 Gb/s.
    Ndr,
}

impl LinkSpeed {
    /// All, the fastest first.
    pub const ALL: [Self; 7] = [
        Self::Ndr,
        Self::Hdr,
        Self::Edr,
        Self::Fdr,
        Self::Qdr,
        Self::Ddr,
        Self::Sdr,
    ];

    /// Mb/s of a lane, as `ib_core` counts them (`rate_show()` in its `sysfs.c`).
    pub fn megabits(self) -> u32 {
        match self {
            Self::Sdr => 2_500,
            Self::Ddr => 5_000,
            Self::Qdr => 10_000,
            Self::Fdr => 14_000,
            Self::Edr => 25_000,
            Self::Hdr => 50_000,
            Self::Ndr => 100_000,
        }
    }

    fn into_raw(self) -> u16 {
        let raw = match self {
            Self::Sdr => bindings::ib_port_speed_IB_SPEED_SDR,
            Self::Ddr => bindings::ib_port_speed_IB_SPEED_DDR,
            Self::Qdr => bindings::ib_port_speed_IB_SPEED_QDR,
            Self::Fdr => bindings::ib_port_speed_IB_SPEED_FDR,
            Self::Edr => bindings::ib_port_speed_IB_SPEED_EDR,
            Self::Hdr => bindings::ib_port_speed_IB_SPEED_HDR,
            Self::Ndr => bindings::ib_port_speed_IB_SPEED_NDR,
        };
        raw as u16
    }
}

/// Number of lanes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkWidth {
    /// One.
    X1,
    /// Two.
    X2,
    /// Four.
    X4,
    /// Eight.
    X8,
    /// Twelve.
    X12,
}

impl LinkWidth {
    /// All, the most common first.
    pub const ALL: [Self; 5] = [Self::X4, Self::X8, Self::X12, Self::X2, Self::X1];

    /// Number of lanes.
    pub fn lanes(self) -> u32 {
        match self {
            Self::X1 => 1,
            Self::X2 => 2,
            Self::X4 => 4,
            Self::X8 => 8,
            Self::X12 => 12,
        }
    }

    fn into_raw(self) -> u8 {
        let raw = match self {
            Self::X1 => bindings::ib_port_width_IB_WIDTH_1X,
            Self::X2 => bindings::ib_port_width_IB_WIDTH_2X,
            Self::X4 => bindings::ib_port_width_IB_WIDTH_4X,
            Self::X8 => bindings::ib_port_width_IB_WIDTH_8X,
            Self::X12 => bindings::ib_port_width_IB_WIDTH_12X,
        };
        raw as u8
    }
}

/// What the management stack of the kernel may do with a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capabilities {
    /// RoCE v2 with neither management datagrams nor connection management, which both need a
    /// queue pair 1.
    RoceV2,
    /// RoCE v2 with all services.
    RoceV2Managed,
}

impl Capabilities {
    pub(super) fn into_raw(self) -> u32 {
        let plain = bindings::RDMA_CORE_CAP_PROT_ROCE_UDP_ENCAP
            | bindings::RDMA_CORE_CAP_AF_IB
            | bindings::RDMA_CORE_CAP_ETH_AH;
        match self {
            Self::RoceV2 => plain,
            Self::RoceV2Managed => {
                plain | bindings::RDMA_CORE_CAP_IB_MAD | bindings::RDMA_CORE_CAP_IB_CM
            }
        }
    }

    pub(super) fn max_mad_size(self) -> u32 {
        match self {
            Self::RoceV2 => 0,
            Self::RoceV2Managed => bindings::IB_MGMT_MAD_SIZE,
        }
    }
}

/// State and limits of a port.
#[derive(Clone, Copy, Debug)]
pub struct PortAttributes {
    /// Logical state.
    pub state: PortState,
    /// Physical state.
    pub physical_state: PhysicalState,
    /// Largest MTU.
    pub max_mtu: Mtu,
    /// Current MTU.
    pub active_mtu: Mtu,
    /// Longest message in bytes.
    pub max_message_size: u32,
    /// Entries of the GID table. Must not change while the device is registered.
    pub gid_table_len: u8,
    /// Entries of the table of partition keys. Must not change while the device is registered.
    pub pkey_table_len: u16,
    /// Speed of one lane.
    pub active_speed: LinkSpeed,
    /// Number of lanes.
    pub active_width: LinkWidth,
    /// Services. Must not change while the device is registered.
    pub capabilities: Capabilities,
}

impl PortAttributes {
    pub(super) fn into_raw(self) -> bindings::ib_port_attr {
        let mut raw = bindings::ib_port_attr {
            state: match self.state {
                PortState::Down => bindings::ib_port_state_IB_PORT_DOWN,
                PortState::Active => bindings::ib_port_state_IB_PORT_ACTIVE,
            },
            phys_state: match self.physical_state {
                PhysicalState::Polling => {
                    bindings::ib_port_phys_state_IB_PORT_PHYS_STATE_POLLING as u8
                }
                PhysicalState::Disabled => {
                    bindings::ib_port_phys_state_IB_PORT_PHYS_STATE_DISABLED as u8
                }
                PhysicalState::LinkUp => {
                    bindings::ib_port_phys_state_IB_PORT_PHYS_STATE_LINK_UP as u8
                }
            },
            max_mtu: self.max_mtu.into_raw(),
            active_mtu: self.active_mtu.into_raw(),
            phys_mtu: self.active_mtu.bytes(),
            gid_tbl_len: self.gid_table_len.into(),
            port_cap_flags: match self.capabilities {
                Capabilities::RoceV2 => 0,
                Capabilities::RoceV2Managed => {
                    bindings::ib_port_capability_mask_bits_IB_PORT_CM_SUP
                }
            },
            max_msg_sz: self.max_message_size,
            pkey_tbl_len: self.pkey_table_len,
            // The specification requires at least one virtual lane, which is data lane 0.
            max_vl_num: 1,
            active_width: self.active_width.into_raw(),
            active_speed: self.active_speed.into_raw(),
            ..pin_init::zeroed()
        };
        // GIDs are IP addresses.
        raw.set_ip_gids(1);
        raw
    }
}
