// SPDX-License-Identifier: GPL-2.0

//! Which hosts there are and which cables join them: the topology file.
//!
//! ```
//! let text = r#"{
//!     "hosts": [{"name": "alice"}, {"name": "bob"}],
//!     "cables": [{"name": "c0", "a": {"host": "alice", "port": 0}, "b": {"host": "bob", "port": 0}}]
//! }"#;
//! let topology = usb4_cable::topology::Topology::from_json(text).unwrap();
//! assert_eq!(topology.nhis(&topology.hosts[0]), 1);
//! ```

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

/// USB4 ports (cable sockets) of one NHI's host router; each has two lane adapters.
///
/// Two is what client host routers have, and what leaves enough MSI-X vectors (one per ring) for a
/// stream and a network on every port.
pub const PORTS_PER_NHI: u8 = 2;

/// Hosts, and the cables between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The hosts; names are unique.
    pub hosts: Vec<Host>,
    /// The cables; names are unique and no port is used twice.
    pub cables: Vec<Cable>,
}

/// A host: one or more NHIs, each with [`PORTS_PER_NHI`] ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Name of the host: letters, digits, `-` and `_`; part of the socket names.
    pub name: String,
    /// Number of NHIs, or as many as the cables need (at least one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nhis: Option<u8>,
    /// Unique ID of the host's first router (`ROUTER_CS_7` and `_8`); the following routers count
    /// up from it. Derived from the name if absent. The driver makes the XDomain's UUID from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u64>,
    /// How its guest reaches its NHIs.
    #[serde(default)]
    pub front_end: FrontEndKind,
}

/// How a guest reaches its NHIs: what is spoken over their sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrontEndKind {
    /// vfio-user, for QEMU's `vfio-user-pci` device.
    #[default]
    VfioUser,
    /// vhost-user with the PCI protocol of User-Mode Linux (`linux/virtio_pcidev.h`).
    VhostUser,
}

/// A cable between two ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cable {
    /// Name of the cable: letters, digits, `-` and `_`.
    pub name: String,
    /// One end.
    pub a: PortRef,
    /// The other end.
    pub b: PortRef,
    /// What the link trains to.
    #[serde(default)]
    pub speed: LinkSpeed,
}

/// A port of a host. Port `n` is port `n % PORTS_PER_NHI` of NHI `n / PORTS_PER_NHI`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRef {
    /// Name of the host.
    pub host: String,
    /// Port number, counted over all NHIs of the host from 0.
    pub port: u8,
}

/// What a link trains to. It shows in the XDomain's `rx_speed`, `rx_lanes` and so on and decides
/// how the hosts bring the link up; it does not cap the data rate (a fault of the cable does).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkSpeed {
    /// Gen 2, two lanes bonded by the hosts' connection managers.
    #[serde(rename = "20g")]
    Gbps20,
    /// Gen 3, two lanes bonded by the hosts' connection managers.
    #[serde(rename = "40g")]
    Gbps40,
    /// Gen 4 symmetric, two lanes, bonded from the start: the fastest to come up.
    #[default]
    #[serde(rename = "80g")]
    Gbps80,
}

/// One NHI of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NhiRef {
    /// Name of the host.
    pub host: String,
    /// Number of the NHI within the host, from 0.
    pub nhi: u8,
}

impl NhiRef {
    /// The NHI's socket below the directory `dir` given to the `usb4-cable` program.
    pub fn socket(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}-nhi{}.sock", self.host, self.nhi))
    }
}

impl PortRef {
    /// The NHI this port belongs to.
    pub fn nhi(&self) -> NhiRef {
        NhiRef {
            host: self.host.clone(),
            nhi: self.port / PORTS_PER_NHI,
        }
    }
}

/// The control socket below the directory `dir` given to the `usb4-cable` program.
pub fn control_socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// What is wrong with a topology.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The file cannot be read.
    #[error("cannot read topology {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not the JSON expected.
    #[error("topology is not valid: {0}")]
    Parse(#[from] serde_json::Error),
    /// A name is empty or has other characters than letters, digits, `-` and `_`.
    #[error("name {0:?} must be of letters, digits, '-' and '_'")]
    BadName(String),
    /// Two hosts or two cables have the same name.
    #[error("name {0:?} is used twice")]
    DuplicateName(String),
    /// A cable ends at a host that is not in the list.
    #[error("cable {cable:?} ends at host {host:?}, which is not in the list of hosts")]
    UnknownHost {
        /// The cable.
        cable: String,
        /// The host it names.
        host: String,
    },
    /// A cable ends at a port the host does not have.
    #[error("cable {cable:?} ends at port {port} of host {host:?}, which has only {ports}")]
    NoSuchPort {
        /// The cable.
        cable: String,
        /// The host.
        host: String,
        /// The port the cable names.
        port: u8,
        /// How many ports the host has.
        ports: u16,
    },
    /// Two cables in one port.
    #[error("port {port} of host {host:?} has more than one cable")]
    PortInUse {
        /// The host.
        host: String,
        /// The port.
        port: u8,
    },
    /// Both ends in one router, which no connection manager supports.
    #[error("both ends of cable {0:?} are in the same NHI; use two NHIs or two hosts")]
    Loop(String),
    /// A host asks for no NHI at all.
    #[error("host {0:?} has no NHI")]
    NoNhi(String),
}

impl Topology {
    /// Parses and checks the topology in `text`.
    pub fn from_json(text: &str) -> Result<Self, TopologyError> {
        let topology: Self = serde_json::from_str(text)?;
        topology.check()?;
        Ok(topology)
    }

    /// Reads and checks the topology in the file `path`.
    pub fn from_file(path: &Path) -> Result<Self, TopologyError> {
        let text = std::fs::read_to_string(path).map_err(|source| TopologyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(&text)
    }

    /// Checks names and references; a topology that passes can be run.
    pub fn check(&self) -> Result<(), TopologyError> {
        check_names(self.hosts.iter().map(|host| host.name.as_str()))?;
        check_names(self.cables.iter().map(|cable| cable.name.as_str()))?;
        if let Some(host) = self.hosts.iter().find(|host| host.nhis == Some(0)) {
            return Err(TopologyError::NoNhi(host.name.clone()));
        }
        let hosts: HashMap<_, _> = self.hosts.iter().map(|host| (&host.name, host)).collect();
        let mut ports = HashSet::new();
        for cable in &self.cables {
            for end in [&cable.a, &cable.b] {
                let host = hosts
                    .get(&end.host)
                    .ok_or_else(|| TopologyError::UnknownHost {
                        cable: cable.name.clone(),
                        host: end.host.clone(),
                    })?;
                if end.nhi().nhi >= self.nhis(host) {
                    return Err(TopologyError::NoSuchPort {
                        cable: cable.name.clone(),
                        host: end.host.clone(),
                        port: end.port,
                        ports: u16::from(self.nhis(host)) * u16::from(PORTS_PER_NHI),
                    });
                }
                if !ports.insert(end) {
                    return Err(TopologyError::PortInUse {
                        host: end.host.clone(),
                        port: end.port,
                    });
                }
            }
            if cable.a.nhi() == cable.b.nhi() {
                return Err(TopologyError::Loop(cable.name.clone()));
            }
        }
        Ok(())
    }

    /// Number of NHIs of `host`: as it says, or as many as its cables need, at least one.
    pub fn nhis(&self, host: &Host) -> u8 {
        host.nhis.unwrap_or_else(|| {
            self.cables
                .iter()
                .flat_map(|cable| [&cable.a, &cable.b])
                .filter(|end| end.host == host.name)
                .map(|end| end.port / PORTS_PER_NHI + 1)
                .max()
                .unwrap_or(1)
        })
    }

    /// All NHIs of all hosts, in the order of the hosts.
    pub fn all_nhis(&self) -> Vec<NhiRef> {
        self.hosts
            .iter()
            .flat_map(|host| {
                (0..self.nhis(host)).map(|nhi| NhiRef {
                    host: host.name.clone(),
                    nhi,
                })
            })
            .collect()
    }
}

impl Host {
    /// Unique ID of the router of NHI number `nhi`.
    pub fn router_uid(&self, nhi: u8) -> u64 {
        // Stable over runs, so that a host keeps its XDomain UUID; the constant keeps it clear of
        // zero, which the driver takes for "no UID".
        const DERIVED: u64 = 0x7562_3400_0000_0000;
        let first = self.uid.unwrap_or_else(|| {
            DERIVED | u64::from(crc32c::crc32c(self.name.as_bytes())) << u8::BITS
        });
        first.wrapping_add(u64::from(nhi))
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), TopologyError> {
    let mut seen = HashSet::new();
    for name in names {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(TopologyError::BadName(name.to_owned()));
        }
        if !seen.insert(name) {
            return Err(TopologyError::DuplicateName(name.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(hosts: &str, cables: &str) -> Result<Topology, TopologyError> {
        Topology::from_json(&format!(r#"{{"hosts": [{hosts}], "cables": [{cables}]}}"#))
    }

    fn cable(name: &str, a: (&str, u8), b: (&str, u8)) -> String {
        format!(
            r#"{{"name": "{name}", "a": {{"host": "{}", "port": {}}}, "b": {{"host": "{}", "port": {}}}}}"#,
            a.0, a.1, b.0, b.1
        )
    }

    const TWO_HOSTS: &str = r#"{"name": "h0"}, {"name": "h1", "nhis": 1}"#;

    #[test]
    fn as_many_nhis_as_the_cables_need() {
        let cables = [cable("c0", ("h0", 3), ("h1", 0))].join(",");
        let topology = parse(TWO_HOSTS, &cables).unwrap();
        assert_eq!(topology.nhis(&topology.hosts[0]), 2);
        assert_eq!(topology.nhis(&topology.hosts[1]), 1);
        assert_eq!(topology.all_nhis().len(), 3);
        assert_eq!(topology.cables[0].speed, LinkSpeed::Gbps80);
        assert_eq!(
            topology.cables[0].a.nhi().socket(Path::new("/run/x")),
            Path::new("/run/x/h0-nhi1.sock")
        );
    }

    #[test]
    fn front_ends() {
        let hosts = r#"{"name": "a"}, {"name": "b", "front_end": "vhost-user"}"#;
        let topology = parse(hosts, "").unwrap();
        let kinds: Vec<_> = topology.hosts.iter().map(|host| host.front_end).collect();
        assert_eq!(kinds, [FrontEndKind::VfioUser, FrontEndKind::VhostUser]);
        assert!(parse(r#"{"name": "a", "front_end": "vhost"}"#, "").is_err());
    }

    #[test]
    fn router_uids_are_stable_and_differ() {
        let topology = parse(TWO_HOSTS, "").unwrap();
        let [h0, h1] = &topology.hosts[..] else {
            panic!()
        };
        assert_eq!(h0.router_uid(0), h0.clone().router_uid(0));
        assert_ne!(h0.router_uid(0), h0.router_uid(1));
        assert_ne!(h0.router_uid(0), h1.router_uid(0));
    }

    #[test]
    fn errors_are_told_apart() {
        use TopologyError::*;
        let c = cable;
        let two = |x: String, y: String| parse(TWO_HOSTS, &format!("{x},{y}"));
        assert!(matches!(parse(r#"{"name": "a/b"}"#, ""), Err(BadName(_))));
        assert!(matches!(parse(r#"{"name": ""}"#, ""), Err(BadName(_))));
        assert!(matches!(
            parse(r#"{"name": "a"}, {"name": "a"}"#, ""),
            Err(DuplicateName(_))
        ));
        assert!(matches!(
            parse(r#"{"name": "a", "nhis": 0}"#, ""),
            Err(NoNhi(_))
        ));
        assert!(matches!(
            parse(TWO_HOSTS, &c("c", ("h0", 0), ("h2", 0))),
            Err(UnknownHost { .. })
        ));
        assert!(matches!(
            parse(TWO_HOSTS, &c("c", ("h0", 0), ("h1", 2))),
            Err(NoSuchPort { .. })
        ));
        assert!(matches!(
            parse(TWO_HOSTS, &c("c", ("h0", 0), ("h0", 1))),
            Err(Loop(_))
        ));
        assert!(matches!(
            two(c("c", ("h0", 0), ("h1", 0)), c("d", ("h0", 0), ("h1", 1))),
            Err(PortInUse { .. })
        ));
        assert!(matches!(
            parse(r#"{"name": "a", "colour": "red"}"#, ""),
            Err(Parse(_))
        ));
    }
}
