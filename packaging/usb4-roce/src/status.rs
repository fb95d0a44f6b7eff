// SPDX-License-Identifier: GPL-2.0

//! What there is, and what it does now.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::host::device::Device;
use crate::host::device::Gid;
use crate::host::interface::Interface;
use crate::host::link_rate::LinkRate;
use crate::host::module::USB4_ROCE;
use crate::host::rail::Counters;
use crate::host::rail::Peer;
use crate::host::rail::Rail;
use crate::host::rail::State;
use crate::host::Host;
use crate::host::Source;

pub mod sample;
pub mod text;

/// The status of a host.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of this program.
    pub version: &'static str,
    /// Grows when a field changes its meaning.
    pub format: u32,
    /// The host's name.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The module.
    pub module: ModuleStatus,
    /// The verbs device.
    pub device: Option<DeviceStatus>,
    /// The network interface.
    pub interface: Option<InterfaceStatus>,
    /// Hosts that rails lead to.
    pub peers: Vec<Peer>,
    /// Whether this user sees more of rails than their names.
    pub rails_are_readable: bool,
    /// Rails.
    pub rails: Vec<RailStatus>,
    /// Cables that have no rail.
    pub cables_without_rail: Vec<CableStatus>,
    /// What all rails move; nothing if it could not be measured.
    pub throughput: Option<Throughput>,
}

/// The module.
#[derive(Clone, Debug, Serialize)]
pub struct ModuleStatus {
    /// Whether it is loaded.
    pub loaded: bool,
    /// Its version, where it says one.
    pub version: Option<String>,
}

/// The verbs device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceStatus {
    /// Its name.
    pub name: String,
    /// Its node GUID.
    pub guid: Option<String>,
    /// The port's state.
    pub port_state: Option<String>,
    /// The port's rate as verbs tell it.
    pub port_rate: Option<String>,
    /// GIDs that are in use.
    pub gids: Vec<Gid>,
    /// Segments that were sent again.
    pub resent_segments: u64,
    /// Times that an acknowledgement did not come.
    pub ack_timeouts: u64,
    /// Requests that failed.
    pub failed_sends: u64,
}

/// The network interface.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Whether it is set up.
    pub up: bool,
    /// Its Ethernet address.
    pub mac: Option<String>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A rail.
#[derive(Clone, Debug, Serialize)]
pub struct RailStatus {
    /// Its name.
    pub name: String,
    /// The stream service of its cable.
    pub service: String,
    /// The device of its stream.
    pub stream: Option<String>,
    /// Where it stands.
    pub state: Option<State>,
    /// What the host at its other end calls itself.
    pub peer: Option<String>,
    /// That host's node GUID.
    pub peer_guid: Option<String>,
    /// What its cable carries to the other host.
    pub tx: Option<LinkRate>,
    /// What its cable carries from there.
    pub rx: Option<LinkRate>,
    /// What it has counted.
    pub counters: Option<Counters>,
    /// What it moves.
    pub throughput: Option<Throughput>,
}

/// A cable that has no rail.
#[derive(Clone, Debug, Serialize)]
pub struct CableStatus {
    /// What the kernel calls the host at its other end.
    pub name: String,
    /// What that host calls itself.
    pub peer: Option<String>,
    /// Whether that host offers streams.
    pub offers_streams: bool,
    /// What it carries to the other host.
    pub tx: Option<LinkRate>,
}

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Throughput {
    /// To other hosts.
    pub out_bps: f64,
    /// From other hosts.
    pub in_bps: f64,
}

/// Format of the JSON document.
const FORMAT: u32 = 1;

/// How long is measured.
pub const MOMENT: Duration = Duration::from_millis(500);

impl Status {
    /// Looks at a host twice, the second time after `moment`.
    pub fn look(source: &Source, moment: Duration) -> Self {
        let before = sample::Sample::take(&source.root);
        std::thread::sleep(moment);
        let after = sample::Sample::take(&source.root);
        let mut status = Self::of(&Host::read(source));
        status.put_throughput(&before, &after);
        status
    }

    /// What `host` is like, without what it moves.
    pub fn of(host: &Host) -> Self {
        let device = host.device.as_ref();
        let version = host.modules.version.clone();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            format: FORMAT,
            host: host.name.clone(),
            kernel: host.kernel.release.clone(),
            module: ModuleStatus {
                loaded: host.modules.is_present(USB4_ROCE),
                version: version.or_else(|| device?.version.clone()),
            },
            device: device.map(DeviceStatus::of),
            interface: host.interface().map(InterfaceStatus::of),
            peers: peers(host),
            rails_are_readable: !host.rails.iter().any(|rail| rail.details.is_hidden()),
            rails: host
                .rails
                .iter()
                .map(|rail| RailStatus::of(host, rail))
                .collect(),
            cables_without_rail: cables_without_rail(host),
            throughput: None,
        }
    }

    fn put_throughput(&mut self, before: &sample::Sample, after: &sample::Sample) {
        self.throughput = after.since(before);
        for rail in &mut self.rails {
            rail.throughput = after.of_rail_since(before, &rail.name);
        }
    }
}

impl DeviceStatus {
    fn of(device: &Device) -> Self {
        Self {
            name: device.name.clone(),
            guid: device.guid.clone(),
            port_state: device.port_state.clone(),
            port_rate: device.port_rate.clone(),
            gids: device.gids.clone(),
            resent_segments: device.counter("repeated_requests")
                + device.counter("repeated_responses"),
            ack_timeouts: device.counter("ack_timeouts"),
            failed_sends: device.counter("failed_sends"),
        }
    }
}

impl InterfaceStatus {
    fn of(interface: &Interface) -> Self {
        Self {
            name: interface.name.clone(),
            up: interface.up,
            mac: interface.mac.clone(),
            mtu: interface.mtu,
            addresses: interface
                .addresses
                .iter()
                .map(|address| address.ip)
                .collect(),
        }
    }
}

impl RailStatus {
    fn of(host: &Host, rail: &Rail) -> Self {
        let service = rail.service_name();
        // Also one whose other end offers no streams any more.
        let at_end = service.split('.').next().unwrap_or(service);
        let cable = host.bus.cables.iter().find(|cable| cable.name == at_end);
        let details = rail.details.found();
        let peer = details.and_then(|details| details.peer.as_ref());
        let name = peer.map(|peer| peer.name.clone());
        Self {
            name: rail.name.clone(),
            service: service.to_owned(),
            stream: details.and_then(|details| details.stream.clone()),
            state: details.map(|details| details.state.clone()),
            peer: name.or_else(|| cable?.peer.clone()),
            peer_guid: peer.map(|peer| peer.guid.clone()),
            tx: cable.and_then(|cable| cable.tx),
            rx: cable.and_then(|cable| cable.rx),
            counters: details.map(|details| details.counters.clone()),
            throughput: None,
        }
    }
}

fn peers(host: &Host) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for rail in &host.rails {
        let peer = rail
            .details
            .found()
            .and_then(|details| details.peer.as_ref());
        if let Some(peer) = peer.filter(|peer| peers.iter().all(|known| known.guid != peer.guid)) {
            peers.push(peer.clone());
        }
    }
    peers
}

fn cables_without_rail(host: &Host) -> Vec<CableStatus> {
    let cables = host.bus.cables.iter();
    let without = cables.filter(|cable| match cable.stream_service() {
        Some(service) => host.rails_of(&service.name).next().is_none(),
        None => true,
    });
    without
        .map(|cable| CableStatus {
            name: cable.name.clone(),
            peer: cable.peer.clone(),
            offers_streams: cable.stream_service().is_some(),
            tx: cable.tx,
        })
        .collect()
}
