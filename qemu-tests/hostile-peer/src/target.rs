// SPDX-License-Identifier: GPL-2.0

//! What the victim offers: queue pairs that believe to be connected to this host, and memory.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;

/// A queue pair of the victim.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Target {
    /// Its number.
    pub qpn: u32,
    /// The number it believes its peer to have.
    pub peer_qpn: u32,
    /// The first PSN in both directions.
    pub psn: u32,
}

/// What a peer may do with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rights {
    /// Write and read.
    Write,
    /// Read.
    Read,
    /// Nothing.
    None,
}

/// A region of the victim.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Region {
    /// Its key.
    pub key: u32,
    /// Its address.
    pub address: u64,
    /// Its length.
    pub length: u32,
    /// What may be done with it.
    pub rights: Rights,
}

/// All that is known of the victim.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Victim {
    /// Its queue pairs.
    pub queue_pairs: Vec<Target>,
    /// Its memory.
    pub regions: Vec<Region>,
}

impl Victim {
    /// Reads what `verbs-victim` has written.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
    }
}
