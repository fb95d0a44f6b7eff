// SPDX-License-Identifier: GPL-2.0

//! The verbs device and its port.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;

use serde::Serialize;

use crate::root::Root;

/// The verbs device. It has one port.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name, which udev may have changed.
    pub name: String,
    /// Version of the module that made it.
    pub version: Option<String>,
    /// Its node GUID.
    pub guid: Option<String>,
    /// The port's state, such as `ACTIVE`.
    pub port_state: Option<String>,
    /// The port's rate as verbs tell it: the nearest that InfiniBand has a name for.
    pub port_rate: Option<String>,
    /// GIDs that are in use.
    pub gids: Vec<Gid>,
    /// Its device node for programs.
    pub node: Option<Node>,
    /// What it counts, by name.
    pub counters: BTreeMap<String, u64>,
}

/// A device node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its path.
    pub path: String,
    /// Who may open it.
    pub access: Access,
}

/// Who may open a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All users.
    Everybody,
    /// This user, and not all.
    ThisUser,
    /// Others.
    Others,
}

/// A GID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gid {
    /// Its number, as programs are told.
    pub index: u32,
    /// The address that it is.
    pub ip: IpAddr,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: String,
    /// The network interface that it belongs to.
    pub interface: Option<String>,
}

/// What is at the beginning of our devices' description, which no rule changes.
const DESCRIPTION: &str = "usb4_roce";

const DEVICES: &str = "/sys/class/infiniband";

impl Device {
    /// Finds it.
    pub fn find(root: &Root) -> Option<Self> {
        let mut names = root.names(DEVICES).into_iter();
        let name = names.find(|name| {
            let description = root.value(&format!("{DEVICES}/{name}/node_desc"));
            description.is_some_and(|text| text.starts_with(DESCRIPTION))
        })?;
        let device = format!("{DEVICES}/{name}");
        let port = format!("{device}/ports/1");
        // Such as "4: ACTIVE".
        let state = root.value(&format!("{port}/state"));
        Some(Self {
            version: root.value(&format!("{device}/fw_ver")),
            guid: root.value(&format!("{device}/node_guid")),
            port_state: state.map(|text| match text.split_once(": ") {
                Some((_, state)) => state.to_owned(),
                None => text,
            }),
            port_rate: root.value(&format!("{port}/rate")),
            gids: gids(root, &port),
            node: node(root, &name),
            counters: counters(root, &format!("{port}/hw_counters")),
            name,
        })
    }

    /// Whether programs can use the port.
    pub fn is_active(&self) -> bool {
        self.port_state.as_deref() == Some("ACTIVE")
    }

    /// The network interface that its GIDs belong to.
    pub fn interface(&self) -> Option<&str> {
        self.gids.iter().find_map(|gid| gid.interface.as_deref())
    }

    /// The first RoCE v2 GID that is an address of that kind.
    pub fn gid(&self, kind: AddressKind) -> Option<&Gid> {
        self.gids
            .iter()
            .find(|gid| gid.is_roce_v2() && AddressKind::of(gid.ip) == kind)
    }

    /// The counter `name`; one that is not there has counted nothing.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

impl Gid {
    /// Whether it is for RoCE v2.
    pub fn is_roce_v2(&self) -> bool {
        self.kind == "RoCE v2"
    }
}

/// Kinds of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum AddressKind {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressKind {
    /// The kind of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

fn gids(root: &Root, port: &str) -> Vec<Gid> {
    let gids = root.names(&format!("{port}/gids")).into_iter();
    gids.filter_map(|index| {
        let ip: Ipv6Addr = root.parsed(&format!("{port}/gids/{index}"))?;
        (!ip.is_unspecified()).then_some(())?;
        Some(Gid {
            ip: IpAddr::V6(ip).to_canonical(),
            kind: root.value(&format!("{port}/gid_attrs/types/{index}"))?,
            interface: root.value(&format!("{port}/gid_attrs/ndevs/{index}")),
            index: index.parse().ok()?,
        })
    })
    .collect()
}

fn node(root: &Root, device: &str) -> Option<Node> {
    const NODES: &str = "/sys/class/infiniband_verbs";
    let mut nodes = root.names(NODES).into_iter();
    let name = nodes.find(|node| {
        let owner = root.value(&format!("{NODES}/{node}/ibdev"));
        owner.as_deref() == Some(device)
    })?;
    let path = format!("/dev/infiniband/{name}");
    Some(Node {
        access: access(root, &path)?,
        path,
    })
}

fn access(root: &Root, path: &str) -> Option<Access> {
    const ALL_READ_AND_WRITE: u32 = 0o006;
    Some(
        if root.mode(path)? & ALL_READ_AND_WRITE == ALL_READ_AND_WRITE {
            Access::Everybody
        } else if root.is_accessible(path) {
            Access::ThisUser
        } else {
            Access::Others
        },
    )
}

fn counters(root: &Root, directory: &str) -> BTreeMap<String, u64> {
    /// How long values are kept: no counter.
    const LIFESPAN: &str = "lifespan";
    let names = root.names(directory).into_iter();
    names
        .filter(|name| name != LIFESPAN)
        .filter_map(|name| Some((root.parsed(&format!("{directory}/{name}"))?, name)))
        .map(|(value, name)| (name, value))
        .collect()
}
