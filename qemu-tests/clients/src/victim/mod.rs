// SPDX-License-Identifier: GPL-2.0

//! A program whose peer may do anything: what it has not lent stays as it was, and what it has posted completes once.

mod connection;
mod memory;

use std::fs;
use std::path::Path as FilePath;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::endpoint::Device;
use crate::endpoint::PathOffer;
use crate::verbs::Buffer;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Gid;
use crate::verbs::Pd;

use connection::Connection;
use connection::DEPTH;
use memory::Zone;

/// Pause when nothing completes.
const PAUSE: Duration = Duration::from_millis(1);

/// How often memory that must not change is looked at.
const CHECK_EVERY: Duration = Duration::from_millis(300);

/// How long the region that comes and goes is there, and is not.
const PASSING: Duration = Duration::from_millis(120);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Job {
    /// Ethernet address of the host that queue pairs are connected to.
    pub peer: [u8; 6],
    /// How many queue pairs.
    pub queue_pairs: usize,
    /// The chance of what is posted.
    pub seed: u64,
    /// Where the peer is told of queue pairs and memory.
    pub offer: PathBuf,
    /// The end comes when this file does.
    pub until: PathBuf,
    /// How long a posted request may take to complete once its queue pair is in the error state.
    pub limit: Duration,
}

/// A queue pair as the peer has to know it.
#[derive(Serialize)]
struct OfferedQueuePair {
    qpn: u32,
    peer_qpn: u32,
    psn: u32,
}

/// Memory as the peer has to know it.
#[derive(Serialize)]
struct OfferedRegion {
    key: u32,
    address: u64,
    length: usize,
    rights: &'static str,
}

#[derive(Serialize)]
struct Offer {
    queue_pairs: Vec<OfferedQueuePair>,
    regions: Vec<OfferedRegion>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tally {
    /// Requests and receives that were posted.
    pub posted: u64,
    /// Those that were successful.
    pub good: u64,
    /// Those that failed, or were flushed.
    pub bad: u64,
    /// Times a queue pair was connected anew.
    pub restarts: u64,
    /// Times a region was taken away.
    pub withdrawals: u64,
    /// Times all memory was compared.
    pub checks: u64,
}

/// The link-local GID that the kernel makes of an Ethernet address (RFC 4291, appendix A).
fn link_local(mac: [u8; 6]) -> Gid {
    let [a, b, c, d, e, f] = mac;
    let mut gid = [0; 16];
    gid[..2].copy_from_slice(&[0xfe, 0x80]);
    gid[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Gid(gid)
}

fn write_offer(path: &FilePath, connections: &[Connection<'_>], zones: &[Zone<'_>]) -> Result<()> {
    let offer = Offer {
        queue_pairs: connections
            .iter()
            .map(|connection| OfferedQueuePair {
                qpn: connection.qpn().0,
                peer_qpn: connection.peer_qpn().0,
                psn: connection.psn().0,
            })
            .collect(),
        regions: zones
            .iter()
            .filter_map(|zone| {
                let remote = zone.remote()?;
                Some(OfferedRegion {
                    key: remote.rkey.0,
                    address: remote.address,
                    length: zone.len(),
                    rights: zone.rights(),
                })
            })
            .collect(),
    };
    // Whoever waits for the file finds all of it.
    let draft = path.with_extension("draft");
    fs::write(&draft, serde_json::to_string(&offer)?).context("write the offer")?;
    fs::rename(&draft, path).context("write the offer")
}

/// Lives with the peer until the end.
pub fn run(device: &Device, job: &Job) -> Result<Tally> {
    let offer = PathOffer::of(link_local(job.peer), device.port_info.active_mtu);
    let path = device.choose_path(&offer)?;
    let pd = Pd::new(&device.context)?;
    let room = u32::try_from(2 * DEPTH * job.queue_pairs)?;
    let cq = Cq::new(&device.context, room, None)?;
    let layout = memory::Layout::new(job.queue_pairs);
    let buffer = Buffer::new(layout.len())?;
    memory::fill(&buffer);
    let mut zones = layout.zones(&pd, &buffer)?;
    let mut tally = Tally::default();
    let mut connections = Vec::new();
    for number in 0..job.queue_pairs {
        let rng = ChaCha8Rng::seed_from_u64(job.seed.wrapping_add(number as u64));
        connections.push(Connection::new(&pd, &cq, path, number, rng)?);
    }
    write_offer(&job.offer, &connections, &zones)?;
    let mut found = Vec::new();
    let (mut checked, mut changed) = (Instant::now(), Instant::now());
    while !job.until.exists() {
        for connection in &mut connections {
            connection.fill(&zones, &mut tally)?;
        }
        take(&cq, &mut found, &mut connections, &mut tally)?;
        for connection in &mut connections {
            connection.settle(job.limit, &mut tally)?;
        }
        if changed.elapsed() >= PASSING {
            changed = Instant::now();
            for zone in &mut zones {
                tally.withdrawals += u64::from(zone.change(&pd, &buffer)?);
            }
        }
        if checked.elapsed() >= CHECK_EVERY {
            memory::check(&buffer, &zones)?;
            tally.checks += 1;
            checked = Instant::now();
        }
        if found.is_empty() {
            thread::sleep(PAUSE);
        }
    }
    end(&mut connections, &cq, job.limit, &mut tally)?;
    memory::check(&buffer, &zones)?;
    tally.checks += 1;
    Ok(tally)
}

/// Takes what has completed, as far as `found` has room, and tells the queue pairs.
fn take(
    cq: &Cq<'_>,
    found: &mut Vec<Completion>,
    connections: &mut [Connection<'_>],
    tally: &mut Tally,
) -> Result<()> {
    found.clear();
    cq.poll(found, DEPTH)?;
    for completion in &*found {
        let connection = connections
            .iter_mut()
            .find(|connection| connection.qpn() == completion.qpn)
            .with_context(|| format!("a completion of no queue pair: {completion:?}"))?;
        connection.complete(completion, tally)?;
    }
    Ok(())
}

/// Fails all queue pairs; everything that was posted must complete.
fn end(
    connections: &mut [Connection<'_>],
    cq: &Cq<'_>,
    limit: Duration,
    tally: &mut Tally,
) -> Result<()> {
    for connection in &mut *connections {
        connection.fail()?;
    }
    let deadline = Instant::now() + limit;
    let mut found = Vec::new();
    while connections.iter().any(|connection| !connection.is_idle()) {
        ensure!(
            Instant::now() < deadline,
            "requests of queue pairs in the error state do not complete"
        );
        take(cq, &mut found, connections, tally)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_made_of_ethernet_addresses() {
        let gid = link_local([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);
        assert_eq!(gid.to_string(), "fe80::11:22ff:fe33:4455");
    }
}
