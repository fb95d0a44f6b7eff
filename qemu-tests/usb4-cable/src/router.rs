// SPDX-License-Identifier: GPL-2.0

//! The host router behind an NHI: its config spaces, as the connection manager in the host's
//! kernel reads and writes them over the control channel.

mod adapter;
mod path;
mod space;

use adapter::Adapter;
use path::PathTable;
use space::RouterSpace;

pub use adapter::LaneWidth;
pub use path::PathEntry;

use crate::control_packet::error_body;
use crate::control_packet::ConfigAddress;
use crate::control_packet::ControlPacket;
use crate::control_packet::ErrorCode;
use crate::control_packet::PacketKind;
use crate::control_packet::Route;
use crate::control_packet::Space;
use crate::ids::AdapterNumber;
use crate::ids::HopId;
use crate::ids::PortNumber;
use crate::ids::NHI_ADAPTER;
use crate::link::LinkState;
use crate::topology::LinkSpeed;

/// Most dwords of a read or write (`TB_MAX_CONFIG_RW_LENGTH`).
const MAX_CONFIG_DWORDS: usize = 60;

/// A host router.
pub struct Router {
    space: RouterSpace,
    /// Adapter 0 is the router's own and has no space.
    adapters: Vec<Adapter>,
    paths: Vec<PathTable>,
}

impl Router {
    /// A router just out of reset, with unique ID `uid`.
    pub fn new(uid: u64) -> Self {
        let adapters = (0..=NHI_ADAPTER.0).map(|number| Adapter::new(AdapterNumber(number)));
        Self {
            space: RouterSpace::new(uid),
            adapters: adapters.collect(),
            paths: (0..=NHI_ADAPTER.0).map(|_| PathTable::new()).collect(),
        }
    }

    /// Back to the state after power-on; what the ports are cabled with stays.
    pub fn reset(&mut self) {
        self.space.reset();
        for adapter in &mut self.adapters {
            adapter.reset();
        }
        self.paths.fill_with(PathTable::new);
    }

    /// Whether the connection manager has put it to sleep.
    pub fn is_asleep(&self) -> bool {
        self.space.is_asleep()
    }

    /// Wakes it, if it sleeps. It has kept everything.
    pub fn wake(&mut self) {
        self.space.wake();
    }

    /// Whether the connection manager takes hotplug events of `port`.
    pub fn is_port_ready(&self, port: PortNumber) -> bool {
        self.space.is_valid()
            && !self.space.is_asleep()
            && self.lane(port.lane_0()).is_hotplug_enabled()
    }

    /// Shows the link of `port` up or down.
    pub fn set_link(&mut self, port: PortNumber, link: LinkState) {
        for lane in [port.lane_0(), port.lane_1()] {
            self.lane_mut(lane).set_link(link);
        }
    }

    /// Says what the link of `port` trains to.
    pub fn set_speed(&mut self, port: PortNumber, speed: LinkSpeed) {
        for lane in [port.lane_0(), port.lane_1()] {
            self.lane_mut(lane).set_speed(speed);
        }
    }

    /// The width the connection manager wants the link of `port` to have.
    pub fn wanted_width(&self, port: PortNumber) -> LaneWidth {
        self.lane(port.lane_0()).wanted_width()
    }

    /// Shows the link of `port` with another width.
    pub fn set_width(&mut self, port: PortNumber, width: LaneWidth) {
        for lane in [port.lane_0(), port.lane_1()] {
            self.lane_mut(lane).set_width(width);
        }
    }

    /// The path that enters through `adapter` as `hop`, if there is one.
    pub fn path(&self, adapter: AdapterNumber, hop: HopId) -> Option<PathEntry> {
        self.paths
            .get(usize::from(adapter.0))?
            .get(hop)
            .filter(|entry| entry.is_enabled())
    }

    /// Executes a read or write of a config space and returns the answer; `None` for a packet
    /// that is neither.
    pub fn configure(&mut self, request: &ControlPacket) -> Option<ControlPacket> {
        let (address, data) = match request.body.split_first() {
            Some((address, data)) => (ConfigAddress(*address), data),
            None => return Some(refusal(ErrorCode::InvalidSpace, AdapterNumber(0))),
        };
        let invalid = refusal(ErrorCode::InvalidSpace, address.adapter());
        if address.dwords() > MAX_CONFIG_DWORDS {
            return Some(invalid);
        }
        let mut body = vec![address.with_adapter(NHI_ADAPTER).0];
        let done = match request.kind {
            PacketKind::Read => self.read(address).map(|dwords| body.extend(dwords)),
            PacketKind::Write if data.len() == address.dwords() => self.write(address, data),
            PacketKind::Write => None,
            _ => return None,
        };
        Some(match done {
            Some(()) => ControlPacket {
                kind: request.kind,
                route: Route::HOST,
                body,
            },
            None => invalid,
        })
    }

    /// The dwords at `address`, unless some do not exist.
    fn read(&self, address: ConfigAddress) -> Option<Vec<u32>> {
        let adapter = usize::from(address.adapter().0);
        let dword = |offset| match address.space() {
            Space::Router => self.space.read(offset),
            Space::Adapter => self.adapters.get(adapter)?.read(offset),
            Space::Paths => self.paths.get(adapter)?.read(offset),
            Space::Counters => self.adapters.get(adapter).map(|_| 0),
        };
        (address.offset()..address.offset() + address.dwords())
            .map(dword)
            .collect()
    }

    /// Writes the dwords at `address`, unless some do not exist.
    fn write(&mut self, address: ConfigAddress, data: &[u32]) -> Option<()> {
        let adapter = usize::from(address.adapter().0);
        self.read(address)?;
        for (offset, value) in (address.offset()..).zip(data) {
            match address.space() {
                Space::Router => self.space.write(offset, *value),
                Space::Adapter => self.adapters.get_mut(adapter)?.write(offset, *value),
                Space::Paths => self.paths.get_mut(adapter)?.write(offset, *value),
                Space::Counters => (),
            }
        }
        Some(())
    }

    fn lane(&self, adapter: AdapterNumber) -> &Adapter {
        &self.adapters[usize::from(adapter.0)]
    }

    fn lane_mut(&mut self, adapter: AdapterNumber) -> &mut Adapter {
        &mut self.adapters[usize::from(adapter.0)]
    }
}

fn refusal(code: ErrorCode, adapter: AdapterNumber) -> ControlPacket {
    ControlPacket {
        kind: PacketKind::Error,
        route: Route::HOST,
        body: vec![error_body(code, adapter)],
    }
}
