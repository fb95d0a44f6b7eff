// SPDX-License-Identifier: GPL-2.0

//! Options that the programs share.

use std::time::Duration;

use clap::Args;

use super::seconds;

/// Which device, port and GID to use.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Verbs device; may be left out when there is only one
    #[arg(long)]
    pub device: Option<String>,

    /// Port of the device
    #[arg(long, default_value_t = 1)]
    pub port: u8,

    /// GID table index; by default the RoCE v2 GID of a kind that both ends have: IPv4, then
    /// link-local, then other IPv6
    #[arg(long)]
    pub gid_index: Option<u8>,
}

/// Where the other end is.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct PeerArgs {
    /// Wait for the other end here (address:port); the other end's options rule
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Connect to the other end (host:port, [v6]:port, [fe80::1%if]:port)
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: Option<String>,

    /// Run both ends in this process, on one device
    #[arg(long)]
    pub loopback: bool,
}

/// How results are shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One JSON object on standard output.
    Json,
    /// Text for people.
    Text,
}

impl OutputArgs {
    /// What was asked for.
    pub fn output(self) -> Output {
        if self.json {
            Output::Json
        } else {
            Output::Text
        }
    }
}

/// Two ends over one device.
#[derive(Args, Clone, Debug)]
pub struct EndsArgs {
    /// The device.
    #[command(flatten)]
    pub device: DeviceArgs,

    /// The other end.
    #[command(flatten)]
    pub peer: PeerArgs,

    /// Seconds without progress after which it counts as hung
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub timeout: Duration,

    /// How the result is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}
