// SPDX-License-Identifier: GPL-2.0

//! A rank's neighbours.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::endpoint::Device;
use crate::endpoint::Path;

/// The side channels to both neighbours.
pub struct Neighbours {
    next: Peer,
    prev: Peer,
}

impl Neighbours {
    /// Listens at our own address for the previous rank and connects to the next one.
    pub fn connect(addresses: &[String], rank: usize, limit: Duration) -> Result<Self> {
        let own = &addresses[rank];
        let listener = TcpListener::bind(own)
            .with_context(|| format!("rank {rank} cannot listen on {own}"))?;
        // The system accepts on behalf of a listener, so no order of the ranks is needed.
        let next = Peer::connect(&addresses[(rank + 1) % addresses.len()], limit)?;
        let prev = Peer::accept(&listener, limit)?;
        Ok(Self { next, prev })
    }

    /// The neighbours of all ranks, within this process.
    pub fn within_process(ranks: usize, limit: Duration) -> Result<Vec<Self>> {
        let mut to_next = Vec::new();
        let mut from_prev = Vec::new();
        for _ in 0..ranks {
            let (sender, receiver) = Peer::pair(limit)?;
            to_next.push(sender);
            from_prev.push(receiver);
        }
        // The receiving end of a rank's pair belongs to the rank after it.
        from_prev.rotate_right(1);
        Ok(to_next
            .into_iter()
            .zip(from_prev)
            .map(|(next, prev)| Self { next, prev })
            .collect())
    }

    /// Sends a value to each neighbour and receives theirs: the one from the next rank first.
    pub fn exchange<N, P>(&mut self, to_next: &N, to_prev: &P) -> Result<(P, N)>
    where
        N: Serialize + DeserializeOwned,
        P: Serialize + DeserializeOwned,
    {
        // Both before either receive: the ring would wait for itself otherwise.
        self.next.send(to_next)?;
        self.prev.send(to_prev)?;
        let from_next = self.next.recv().context("from the next rank")?;
        let from_prev = self.prev.recv().context("from the previous rank")?;
        Ok((from_next, from_prev))
    }

    /// Waits until both neighbours have come to `point`.
    pub fn barrier(&mut self, point: &str) -> Result<()> {
        let ours = point.to_string();
        let (next, prev) = self.exchange(&ours, &ours)?;
        ensure!(
            next == point && prev == point,
            "out of step: we are at \"{point}\", our neighbours at \"{next}\" and \"{prev}\""
        );
        Ok(())
    }

    /// Tells both that this rank gives up.
    pub fn fail(&mut self, reason: &anyhow::Error) {
        self.next.fail(reason);
        self.prev.fail(reason);
    }
}

/// A rank: its device and the ways to its neighbours.
pub struct Ring<'d> {
    /// The device.
    pub device: &'d Device,
    /// This rank.
    pub rank: usize,
    /// Ranks in all.
    pub ranks: usize,
    /// The side channels.
    pub neighbours: Neighbours,
    /// The way to the next rank.
    pub next: Path,
    /// The way to the previous rank.
    pub prev: Path,
}

impl<'d> Ring<'d> {
    /// Agrees with both neighbours on addresses.
    pub fn new(
        device: &'d Device,
        rank: usize,
        ranks: usize,
        mut neighbours: Neighbours,
    ) -> Result<Self> {
        let offer = device.path_offer();
        let (next, prev) = neighbours.exchange(&offer, &offer)?;
        Ok(Self {
            device,
            rank,
            ranks,
            neighbours,
            next: device.choose_path(&next)?,
            prev: device.choose_path(&prev)?,
        })
    }
}
