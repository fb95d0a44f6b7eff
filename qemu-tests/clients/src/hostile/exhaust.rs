// SPDX-License-Identifier: GPL-2.0

//! As many objects of a kind as there can be.

use std::fs;
use std::path::Path;

use clap::ValueEnum;
use nix::errno::Errno;
use serde::Serialize;

use crate::uverbs::Destination;
use crate::uverbs::Handle;
use crate::uverbs::Mapping;
use crate::uverbs::QpPlan;
use crate::uverbs::Session;
use crate::uverbs::FULL_ACCESS;

/// What there can be many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Kind {
    Context,
    Pd,
    Cq,
    Qp,
    Srq,
    Mr,
    Ah,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Context,
        Self::Pd,
        Self::Cq,
        Self::Qp,
        Self::Srq,
        Self::Mr,
        Self::Ah,
    ];
}

/// Why there were no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The kernel refused with this.
    Refused(String),
    /// As many as were asked for.
    Enough,
    /// The host has not much memory left.
    LittleMemory,
}

/// The objects of a round.
pub struct Hoard {
    session: Session,
    kind: Kind,
    depth: u32,
    contexts: Vec<Session>,
    handles: Vec<Handle>,
    memory: Mapping,
    pd: Handle,
    cq: Handle,
    destination: Destination,
}

/// A page: what regions are made of.
const PAGE: u64 = 4096;

impl Hoard {
    /// An empty one; queues are to be of that depth.
    pub fn new(node: &Path, kind: Kind, depth: u32, destination: Destination) -> nix::Result<Self> {
        let session = Session::open(node)?;
        let pd = session.alloc_pd()?;
        let cq = session.create_cq(1)?.handle;
        Ok(Self {
            session,
            kind,
            depth,
            contexts: Vec::new(),
            handles: Vec::new(),
            memory: Mapping::anonymous(PAGE as usize)?,
            pd,
            cq,
            destination,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.contexts.len() + self.handles.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more.
    fn add(&mut self, node: &Path) -> nix::Result<()> {
        let session = &self.session;
        let handle = match self.kind {
            Kind::Context => {
                self.contexts.push(Session::open(node)?);
                return Ok(());
            }
            Kind::Pd => session.alloc_pd()?,
            Kind::Cq => session.create_cq(self.depth)?.handle,
            Kind::Srq => session.create_srq(self.pd, self.depth, 1)?.handle,
            Kind::Mr => {
                let memory = (self.memory.address(), PAGE);
                session.reg_mr(self.pd, memory, FULL_ACCESS)?.handle
            }
            Kind::Ah => session.create_ah(self.pd, self.destination)?.handle,
            Kind::Qp => {
                session
                    .create_qp(&QpPlan {
                        pd: self.pd,
                        send_cq: self.cq,
                        recv_cq: self.cq,
                        srq: None,
                        depth: self.depth,
                        elements: 1,
                        inline: 0,
                    })?
                    .handle
            }
        };
        self.handles.push(handle);
        Ok(())
    }

    /// Adds until there are `most`, the kernel refuses or the host has less than `floor` bytes of memory left.
    pub fn fill(&mut self, node: &Path, most: usize, floor: u64) -> End {
        /// How often memory is looked at.
        const STRIDE: usize = 64;
        while self.len() < most {
            if self.len() % STRIDE == 0 && available_memory() < floor {
                return End::LittleMemory;
            }
            if let Err(errno) = self.add(node) {
                return End::Refused(errno.to_string());
            }
        }
        End::Enough
    }

    /// Destroys everything, one by one.
    pub fn empty(&mut self) -> nix::Result<()> {
        self.contexts.clear();
        let session = &self.session;
        for handle in self.handles.drain(..) {
            match self.kind {
                Kind::Context => Err(Errno::EBADF),
                Kind::Pd => session.dealloc_pd(handle),
                Kind::Cq => session.destroy_cq(handle),
                Kind::Qp => session.destroy_qp(handle),
                Kind::Srq => session.destroy_srq(handle),
                Kind::Mr => session.dereg_mr(handle),
                Kind::Ah => session.destroy_ah(handle),
            }?;
        }
        Ok(())
    }
}

/// Bytes of memory that the host can still give.
pub fn available_memory() -> u64 {
    const KIB: u64 = 1 << 10;
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    words.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * KIB
}
