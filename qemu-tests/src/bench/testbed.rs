// SPDX-License-Identifier: GPL-2.0

//! The lab with everything that is compared up at once.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use super::figure::Transport;
use crate::hosts::instance::Instance;
use crate::hosts::soft_roce;
use crate::hosts::stage::Stage;
use crate::hosts::streams;
use crate::roce;
use crate::roce::FIND_GID;

/// Time limit of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// The host that serves; the other one measures.
pub const SERVER: &str = "a";

/// The host that measures.
pub const CLIENT: &str = "b";

/// The stream for raw bytes.
const RAW: &str = "raw";

/// Everything that is compared, up and running.
pub struct Testbed<'a> {
    stage: &'a Stage<'a>,
    gids: Vec<Gid>,
}

/// The GID index of a device.
struct Gid {
    transport: Transport,
    host: &'static str,
    index: u16,
}

impl<'a> Testbed<'a> {
    /// Brings everything up on the first cable.
    pub fn set_up(stage: &'a Stage<'a>) -> Result<Self> {
        let mut testbed = Self {
            stage,
            gids: Vec::new(),
        };
        let instance = stage.instance();
        let hosts = [SERVER, CLIENT];
        soft_roce::network_up(stage, &hosts, |host| address(Transport::Tcp, host))?;
        streams::make(instance, RAW)?;
        soft_roce::make_devices(stage, &hosts)?;
        for host in instance.names() {
            roce::load(instance, &host)?;
        }
        roce::use_rails(instance, 1)?;
        testbed.find_gids(&[Transport::Roce, Transport::Rxe])?;
        Ok(testbed)
    }

    /// Brings usb4_roce up, with nothing beside it, over so many streams of each cable.
    pub fn set_up_streams(stage: &'a Stage<'a>, streams: u32) -> Result<Self> {
        let mut testbed = Self {
            stage,
            gids: Vec::new(),
        };
        let instance = stage.instance();
        for host in instance.names() {
            roce::load(instance, &host)?;
        }
        roce::use_streams(instance, streams)?;
        testbed.find_gids(&[Transport::Roce])?;
        Ok(testbed)
    }

    fn find_gids(&mut self, transports: &[Transport]) -> Result<()> {
        for &transport in transports {
            for host in [SERVER, CLIENT] {
                let index = find_gid(self.stage, transport, host)?;
                self.gids.push(Gid {
                    transport,
                    host,
                    index,
                });
            }
        }
        Ok(())
    }

    /// Index of the RoCE v2 GID with the IPv4 address of `host` on its device for `transport`.
    pub fn gid(&self, transport: Transport, host: &str) -> Result<u16> {
        let mut gids = self.gids.iter();
        let found = gids.find(|gid| gid.transport == transport && gid.host == host);
        let found = found.with_context(|| format!("{} has no GIDs", transport.name()))?;
        Ok(found.index)
    }

    /// The commands' stage.
    pub fn stage(&self) -> &'a Stage<'a> {
        self.stage
    }

    /// The lab.
    pub fn instance(&self) -> &'a Instance {
        self.stage.instance()
    }
}

fn find_gid(stage: &Stage<'_>, transport: Transport, host: &str) -> Result<u16> {
    let device = verbs_device(transport).context("this takes a verbs device")?;
    let script = format!("device={device}\n{FIND_GID}\necho $gid");
    let index = stage.shell(host, &script, LIMIT)?;
    index
        .trim()
        .parse()
        .with_context(|| format!("GID index {index:?}"))
}

/// The first raw stream: the first stream made on a host.
pub fn raw_device() -> &'static str {
    "/dev/tbstream0"
}

/// The verbs device of a transport that is one.
pub fn verbs_device(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Roce => Some(roce::DEVICE),
        Transport::Rxe => Some(soft_roce::DEVICE),
        Transport::Stream | Transport::Tcp | Transport::RoceTcp => None,
    }
}

/// IPv4 address of `host` where `transport` reaches it.
pub fn address(transport: Transport, host: &str) -> String {
    let ours = roce::address(host);
    match transport {
        Transport::Roce | Transport::RoceTcp => ours,
        // The same number in another network.
        _ => ours.replacen("10.55.0.", "10.56.0.", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_have_networks_of_their_own() {
        assert_ne!(
            address(Transport::Roce, SERVER),
            address(Transport::Tcp, SERVER)
        );
        assert_eq!(
            address(Transport::Rxe, CLIENT),
            address(Transport::Tcp, CLIENT)
        );
    }
}
