// SPDX-License-Identifier: GPL-2.0

//! What a run is asked to do. The client's settings are sent to the server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use serde::Serialize;

/// How completions are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// By polling the completion queue.
    Poll,
    /// By events of a completion channel.
    Event,
}

/// Where receives are posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Receiving {
    /// Each queue pair has its receive queue.
    Own,
    /// All queue pairs take from one shared receive queue.
    Shared,
}

/// Which completions share a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CqLayout {
    /// One completion queue for everything.
    One,
    /// One for sends, one for receives.
    PerDirection,
}

/// A way of using the device. Each is run with queue pairs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Polling, own receive queues, one completion queue
    PollRq,
    /// Events, own receive queues, a completion queue per direction
    EventRq,
    /// Polling, shared receive queue, a completion queue per direction
    PollSrq,
    /// Events, shared receive queue, one completion queue
    EventSrq,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PollRq, Self::EventRq, Self::PollSrq, Self::EventSrq];

    /// How it waits.
    pub fn waiting(self) -> Waiting {
        match self {
            Self::PollRq | Self::PollSrq => Waiting::Poll,
            Self::EventRq | Self::EventSrq => Waiting::Event,
        }
    }

    /// Where it receives.
    pub fn receiving(self) -> Receiving {
        match self {
            Self::PollRq | Self::EventRq => Receiving::Own,
            Self::PollSrq | Self::EventSrq => Receiving::Shared,
        }
    }

    /// Its completion queues.
    pub fn cq_layout(self) -> CqLayout {
        match self {
            Self::PollRq | Self::EventSrq => CqLayout::One,
            Self::EventRq | Self::PollSrq => CqLayout::PerDirection,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PollRq => "poll-rq",
            Self::EventRq => "event-rq",
            Self::PollSrq => "poll-srq",
            Self::EventSrq => "event-srq",
        })
    }
}

/// When a variant has done enough.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Duty {
    /// After so many rounds.
    Rounds(u64),
    /// After so much time.
    Time(Duration),
    /// After the round in which this file came into being at the client's end.
    Until(PathBuf),
}

/// The client's wishes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// What all randomness derives from.
    pub seed: u64,
    /// Variants to run, in this order.
    pub variants: Vec<Variant>,
    /// How long each runs.
    pub duty: Duty,
    /// Queue pairs.
    pub qps: usize,
    /// The longest message in bytes.
    pub max_message: usize,
    /// In one of so many rounds receives are posted after the peer began to send; 0 for never.
    pub late_receives: u64,
    /// Bytes of one extra, large WRITE and READ; 0 for none.
    pub large: usize,
    /// Bytes of one extra WRITE, READ and SEND over repeated memory; 0 for none.
    pub tiled: usize,
}
