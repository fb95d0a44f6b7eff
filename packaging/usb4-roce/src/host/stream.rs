// SPDX-License-Identifier: GPL-2.0

//! Streams over the cables, as the stream driver's configfs shows them.

use serde::Serialize;

use crate::root::Root;

/// A stream.
#[derive(Clone, Debug, Serialize)]
pub struct Stream {
    /// The stream service that it is over.
    pub service: String,
    /// Its name, which is the same on both hosts.
    pub name: String,
    /// The number of its device, `/dev/tbstreamN`.
    pub index: Option<u32>,
}

const STREAMS: &str = "/sys/kernel/config/thunderbolt/stream";

impl Stream {
    /// All streams.
    pub fn all(root: &Root) -> Vec<Self> {
        let mut all = Vec::new();
        for service in root.directories(STREAMS) {
            for name in root.directories(&format!("{STREAMS}/{service}")) {
                all.push(Self {
                    index: root.parsed(&format!("{STREAMS}/{service}/{name}/index")),
                    service: service.clone(),
                    name,
                });
            }
        }
        all
    }

    /// Its device.
    pub fn device(&self) -> Option<String> {
        Some(format!("/dev/tbstream{}", self.index?))
    }
}
