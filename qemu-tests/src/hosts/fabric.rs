// SPDX-License-Identifier: GPL-2.0

//! Which hosts a lab has and how they are cabled.

use std::collections::HashMap;

use anyhow::bail;
use anyhow::Result;
use lab_agent::protocol::Machine;
use usb4_cable::topology::Cable;
use usb4_cable::topology::FrontEndKind;
use usb4_cable::topology::Host;
use usb4_cable::topology::LinkSpeed;
use usb4_cable::topology::PortRef;
use usb4_cable::topology::Topology;

/// Most hosts of a lab: their names are letters.
pub const MOST_HOSTS: u8 = 8;

/// Most cables between two hosts.
pub const MOST_RAILS: u8 = 8;

/// A full mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fabric {
    /// Number of hosts, named `a`, `b` and so on.
    pub hosts: u8,
    /// Number of cables between each two hosts.
    pub rails: u8,
    /// What the links train to.
    pub speed: LinkSpeed,
}

impl Fabric {
    /// Two hosts joined by one cable.
    pub const PAIR: Fabric = Fabric {
        hosts: 2,
        rails: 1,
        speed: LinkSpeed::Gbps80,
    };

    /// The cables, named `c0`, `c1` and so on: all between `a` and `b`, then between `a` and `c`, then `b` and `c`.
    /// Guests on `machine` reach their NHIs by what that speaks.
    pub fn topology(&self, machine: Machine) -> Result<Topology> {
        if self.hosts == 0 || self.hosts > MOST_HOSTS {
            bail!("a lab has 1 to {MOST_HOSTS} hosts, not {}", self.hosts);
        }
        if self.rails > MOST_RAILS {
            bail!(
                "at most {MOST_RAILS} cables join two hosts, not {}",
                self.rails
            );
        }
        let names: Vec<String> = (b'a'..b'a' + self.hosts)
            .map(|letter| char::from(letter).to_string())
            .collect();
        let mut used: HashMap<&str, u8> = HashMap::new();
        let mut cables = Vec::new();
        for (second, b) in names.iter().enumerate() {
            for a in &names[..second] {
                for _ in 0..self.rails {
                    let mut next = |host| {
                        let port = used.entry(host).or_default();
                        let end = PortRef {
                            host: host.to_owned(),
                            port: *port,
                        };
                        *port += 1;
                        end
                    };
                    cables.push(Cable {
                        name: format!("c{}", cables.len()),
                        a: next(a),
                        b: next(b),
                        speed: self.speed,
                    });
                }
            }
        }
        let front_end = match machine {
            Machine::Qemu => FrontEndKind::VfioUser,
            Machine::UserMode => FrontEndKind::VhostUser,
        };
        let hosts = names.into_iter().map(|name| Host {
            name,
            nhis: None,
            uid: None,
            front_end,
        });
        let topology = Topology {
            hosts: hosts.collect(),
            cables,
        };
        topology.check()?;
        Ok(topology)
    }
}

/// Number of cables of `host`.
pub fn cables_of(topology: &Topology, host: &str) -> usize {
    let ends = topology
        .cables
        .iter()
        .flat_map(|cable| [&cable.a, &cable.b]);
    ends.filter(|end| end.host == host).count()
}

/// How many cables there are between `host` and `others`.
pub fn cables_between(topology: &Topology, host: &str, others: &[&str]) -> usize {
    let joins =
        |one: &PortRef, other: &PortRef| one.host == host && others.contains(&other.host.as_str());
    let cables = topology.cables.iter();
    cables
        .filter(|cable| joins(&cable.a, &cable.b) || joins(&cable.b, &cable.a))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_joins_each_two_hosts_with_every_rail() {
        let fabric = Fabric {
            hosts: 3,
            rails: 2,
            speed: LinkSpeed::Gbps40,
        };
        let topology = fabric.topology(Machine::Qemu).unwrap();
        assert_eq!(topology.cables.len(), 6);
        for host in ["a", "b", "c"] {
            assert_eq!(cables_of(&topology, host), 4);
        }
        assert_eq!(topology.nhis(&topology.hosts[0]), 2);
    }

    #[test]
    fn impossible_fabrics_are_refused() {
        let pair = Fabric::PAIR;
        assert!(Fabric { hosts: 0, ..pair }.topology(Machine::Qemu).is_err());
        assert!(Fabric { hosts: 9, ..pair }.topology(Machine::Qemu).is_err());
        assert!(Fabric { rails: 9, ..pair }.topology(Machine::Qemu).is_err());
        assert!(Fabric { hosts: 1, ..pair }
            .topology(Machine::Qemu)
            .unwrap()
            .cables
            .is_empty());
    }
}
