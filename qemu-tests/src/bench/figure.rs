// SPDX-License-Identifier: GPL-2.0

//! What was measured.

use std::collections::BTreeMap;

use serde::Serialize;

use super::spread::Spread;

/// What moves the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A program on `/dev/tbstreamN`.
    Stream,
    /// usb4_roce.
    Roce,
    /// rdma_rxe over thunderbolt_net.
    Rxe,
    /// TCP over thunderbolt_net.
    Tcp,
    /// TCP over usb4_roce's interface.
    RoceTcp,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Stream,
        Self::Roce,
        Self::Rxe,
        Self::Tcp,
        Self::RoceTcp,
    ];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "raw stream",
            Self::Roce => "usb4_roce",
            Self::Rxe => "rxe",
            Self::Tcp => "TCP over thunderbolt_net",
            Self::RoceTcp => "TCP over usb4r0",
        }
    }

    /// What a message moves by at the least.
    pub fn plainest(self) -> Verb {
        match self {
            Self::Roce | Self::Rxe => Verb::Write,
            Self::Stream | Self::Tcp | Self::RoceTcp => Verb::Bytes,
        }
    }
}

/// How a message moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Bytes written into a stream or a socket.
    Bytes,
    /// RDMA WRITE.
    Write,
    /// RDMA READ.
    Read,
    /// SEND.
    Send,
    /// Reads of another host's disk, by NVMe over Fabrics.
    NvmeRead,
    /// Writes to it.
    NvmeWrite,
    /// Reads of another host's file, by NFS.
    NfsRead,
    /// Writes to it.
    NfsWrite,
}

impl Verb {
    /// Those of verbs devices.
    pub const RDMA: [Self; 3] = [Self::Write, Self::Read, Self::Send];

    /// Those of disks and files.
    pub const STORAGE: [Self; 4] = [
        Self::NvmeRead,
        Self::NvmeWrite,
        Self::NfsRead,
        Self::NfsWrite,
    ];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Write => "WRITE",
            Self::Read => "READ",
            Self::Send => "SEND",
            Self::NvmeRead => "NVMe read",
            Self::NvmeWrite => "NVMe write",
            Self::NfsRead => "NFS read",
            Self::NfsWrite => "NFS write",
        }
    }
}

/// Which cables are in use, and how they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cables {
    /// One, as fast as the emulation.
    One,
    /// One with a rate cap.
    OneCapped,
    /// One with a rate cap which corrupts one frame in a thousand.
    OneCorrupting,
    /// Two with rate caps of 2:1.
    TwoToOne,
    /// Four with the same rate cap.
    FourCapped,
    /// One with four streams, the ring of each with the same rate cap.
    FourRings,
    /// Two with two streams each, the ring of each with the same rate cap.
    TwoByTwoRings,
}

impl Cables {
    /// Their name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "one cable",
            Self::OneCapped => "one capped cable",
            Self::OneCorrupting => "one capped cable, 1 frame in 1000 corrupted",
            Self::TwoToOne => "two cables of 2:1",
            Self::FourCapped => "four equal cables",
            Self::FourRings => "one cable of four capped rings",
            Self::TwoByTwoRings => "two cables of two capped rings each",
        }
    }
}

/// What a number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Payload bytes per second.
    Bandwidth,
    /// The same in each direction, while messages move in both.
    Duplex,
    /// Payload bytes per second as a share of what the cables' caps let through.
    Goodput,
    /// The same in each direction, while messages move in both.
    DuplexGoodput,
    /// Bytes per second that an all-reduce in NCCL's pattern moves in each direction.
    AllReduce,
    /// Messages per second, of which sixteen are under way on each QP.
    Rate,
    /// Microseconds: one way, for a READ the round trip; the median of a measurement.
    Latency,
    /// Reads or writes of another host's disk or file per second, at random places, with several under way.
    Accesses,
    /// Bytes per second of reads or writes of such a disk or file, one place after the other, with several under way.
    AccessBandwidth,
    /// CPU time of both hosts together in seconds, for one of them.
    AccessCpu,
    /// Instructions that both hosts together execute for a message.
    Instructions,
    /// CPU time of both hosts together in seconds, for 4 KiB of payload.
    Cpu,
    /// Share of a CPU that a host takes while nothing is to be done, with usb4_roce loaded and its rails up.
    Idle,
    /// The same without the module.
    IdleBare,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    /// The kind of number.
    pub metric: Metric,
    /// Over which cables.
    pub cables: Cables,
    /// What moved the messages.
    pub transport: Transport,
    /// In which way.
    pub verb: Verb,
    /// Bytes of a message.
    pub bytes: u64,
    /// Number of QPs, or of connections, at once.
    pub flows: u32,
}

impl Subject {
    /// Messages over one cable, on one QP or connection.
    pub fn new(metric: Metric, transport: Transport, verb: Verb, bytes: u64) -> Self {
        Self {
            metric,
            cables: Cables::One,
            transport,
            verb,
            bytes,
            flows: 1,
        }
    }

    /// What is measured of usb4_roce without any messages.
    pub fn idle(metric: Metric) -> Self {
        Self::new(metric, Transport::Roce, Verb::Write, 0)
    }
}

/// All measurements of a run.
#[derive(Default)]
pub struct Figures {
    samples: BTreeMap<Subject, Vec<f64>>,
}

/// A subject with its samples.
#[derive(Serialize)]
pub struct Figure<'a> {
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// What the samples say.
    #[serde(flatten)]
    pub spread: Spread,
    /// The repeats, in order.
    pub samples: &'a [f64],
}

impl Figures {
    /// Adds a measurement.
    pub fn add(&mut self, subject: Subject, value: f64) {
        self.samples.entry(subject).or_default().push(value);
    }

    /// The measurements of `subject`, one of each repeat.
    pub fn samples(&self, subject: Subject) -> &[f64] {
        self.samples.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// What was measured of `subject`, if anything was.
    pub fn spread(&self, subject: Subject) -> Option<Spread> {
        Spread::of(self.samples(subject))
    }

    /// `relation` of what was measured of two subjects in the same repeat, if both were in any: between repeats the machine may
    /// become faster or slower, which is then in both.
    pub fn compare(
        &self,
        ours: Subject,
        theirs: Subject,
        relation: impl Fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let pairs = self.samples(ours).iter().zip(self.samples(theirs));
        let related: Vec<f64> = pairs
            .map(|(ours, theirs)| relation(*ours, *theirs))
            .collect();
        Spread::of(&related)
    }

    /// Everything.
    pub fn all(&self) -> impl Iterator<Item = Figure<'_>> {
        self.samples.iter().filter_map(|(subject, samples)| {
            Some(Figure {
                subject: *subject,
                spread: Spread::of(samples)?,
                samples,
            })
        })
    }
}
