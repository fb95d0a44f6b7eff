// SPDX-License-Identifier: GPL-2.0

//! Memory of which some is lent: what is between the regions, and what may not be written, never changes.

use std::ops::Range;

use anyhow::bail;
use anyhow::Result;

use crate::pattern::Pattern;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::Mr;
use crate::verbs::Pd;
use crate::verbs::RemoteAddr;

use super::connection::DEPTH;

/// Regions begin and end this far inside their pages: bytes count, not pages.
const MARGIN: usize = 100;

const PAGE: usize = 4096;

/// Bytes for each receive, and for each READ's answer; what is asked for is less.
pub const RECEIVE_SLOT: usize = 4096;
/// See [`RECEIVE_SLOT`].
pub const ANSWER_SLOT: usize = 16 << 10;

/// How much of a slot may be written to.
pub const fn lent(slot: usize) -> usize {
    slot - MARGIN
}

/// What a region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Peers may write and read.
    Writable,
    /// Peers may read.
    Readable,
    /// Peers may do nothing; messages are taken from here.
    Hidden,
    /// As `Writable`, but it comes and goes.
    Passing,
    /// For messages of peers.
    Receives,
    /// For answers to our READs.
    Answers,
}

const PURPOSES: [Purpose; 6] = [
    Purpose::Writable,
    Purpose::Readable,
    Purpose::Hidden,
    Purpose::Passing,
    Purpose::Receives,
    Purpose::Answers,
];

impl Purpose {
    fn access(self) -> Access {
        match self {
            Self::Writable | Self::Passing => {
                Access::LOCAL_WRITE | Access::REMOTE_WRITE | Access::REMOTE_READ
            }
            Self::Readable => Access::REMOTE_READ,
            Self::Hidden => Access::empty(),
            Self::Receives | Self::Answers => Access::LOCAL_WRITE,
        }
    }
}

/// Where everything is.
pub struct Layout {
    queue_pairs: usize,
}

impl Layout {
    /// For so many queue pairs.
    pub fn new(queue_pairs: usize) -> Self {
        Self { queue_pairs }
    }

    /// Whole pages of a region.
    fn pages_of(&self, purpose: Purpose) -> usize {
        match purpose {
            Purpose::Writable | Purpose::Readable => 256 << 10,
            Purpose::Hidden => 128 << 10,
            Purpose::Passing => 16 << 10,
            Purpose::Receives => self.queue_pairs * DEPTH * RECEIVE_SLOT + PAGE,
            Purpose::Answers => self.queue_pairs * ANSWER_SLOT + PAGE,
        }
    }

    /// Bytes of it all: each region lies between two pages that are nobody's.
    pub fn len(&self) -> usize {
        let regions = PURPOSES.map(|purpose| self.pages_of(purpose) + PAGE);
        regions.iter().sum::<usize>() + PAGE
    }

    /// Registers all regions.
    pub fn zones<'a>(&self, pd: &'a Pd<'_>, buffer: &'a Buffer) -> Result<Vec<Zone<'a>>> {
        let mut start = PAGE;
        let mut zones = Vec::new();
        for purpose in PURPOSES {
            let pages = self.pages_of(purpose);
            let range = start + MARGIN..start + pages - MARGIN;
            let region = Mr::new(pd, buffer, range.clone(), purpose.access())?;
            zones.push(Zone {
                purpose,
                range,
                region: Some(region),
                kept: None,
            });
            start += pages + PAGE;
        }
        Ok(zones)
    }
}

/// A region.
pub struct Zone<'a> {
    purpose: Purpose,
    range: Range<usize>,
    /// Nothing while it is taken away.
    region: Option<Mr<'a>>,
    /// What was in it when it was taken away.
    kept: Option<Vec<u8>>,
}

impl<'a> Zone<'a> {
    /// The region, while there is one.
    pub fn region(&self) -> Option<&Mr<'a>> {
        self.region.as_ref()
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Its bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// The name of what peers may do, to be told.
    pub fn rights(&self) -> &'static str {
        match self.purpose {
            Purpose::Writable | Purpose::Passing => "write",
            Purpose::Readable => "read",
            Purpose::Hidden | Purpose::Receives | Purpose::Answers => "none",
        }
    }

    /// Where it is, for peers; the one that comes and goes is told of otherwise.
    pub fn remote(&self) -> Option<RemoteAddr> {
        match self.purpose {
            Purpose::Passing => None,
            _ => self.region.as_ref().map(Mr::remote),
        }
    }

    /// Takes the region away, or registers it again, if it is the one that comes and goes. True if it was taken away.
    pub fn change(&mut self, pd: &'a Pd<'_>, buffer: &'a Buffer) -> Result<bool> {
        if self.purpose != Purpose::Passing {
            return Ok(false);
        }
        if let Some(region) = self.region.take() {
            region.deregister()?;
            self.kept = Some(buffer.to_vec(self.range.clone()));
            return Ok(true);
        }
        self.check_kept(buffer)?;
        self.kept = None;
        let access = self.purpose.access();
        self.region = Some(Mr::new(pd, buffer, self.range.clone(), access)?);
        Ok(false)
    }

    fn check_kept(&self, buffer: &Buffer) -> Result<()> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        if let Some(at) = buffer.first_difference(self.range.start, kept) {
            bail!("byte {at} of a region changed after it was deregistered");
        }
        Ok(())
    }

    /// The parts of the region that may be written to.
    fn lent(&self) -> Vec<Range<usize>> {
        let slots = |size: usize| {
            // As many as fit in whole: the page that is more than that is nobody's.
            let count = self.range.len() / size;
            let starts = self.range.clone().step_by(size).take(count);
            starts.map(|start| start..start + lent(size)).collect()
        };
        match self.purpose {
            Purpose::Writable | Purpose::Passing => vec![self.range.clone()],
            Purpose::Readable | Purpose::Hidden => Vec::new(),
            Purpose::Receives => slots(RECEIVE_SLOT),
            Purpose::Answers => slots(ANSWER_SLOT),
        }
    }
}

fn pattern() -> Pattern {
    Pattern::new(&[0x7669_6374_696d])
}

/// Writes what must stay.
pub fn fill(buffer: &Buffer) {
    buffer.write(0, &pattern().bytes(0, buffer.len()));
}

/// Fails if anything has changed that nobody may change.
pub fn check(buffer: &Buffer, zones: &[Zone<'_>]) -> Result<()> {
    let mut start = 0;
    let lent = zones.iter().flat_map(Zone::lent);
    let ends = std::iter::once(buffer.len()..buffer.len());
    for lent in lent.chain(ends) {
        let expected = pattern().bytes(start, lent.start - start);
        if let Some(at) = buffer.first_difference(start, &expected) {
            let at = start + at;
            let zone = zones.iter().find(|zone| zone.range.contains(&at));
            bail!(
                "byte {at} has changed, in {:?}",
                zone.map(|zone| zone.purpose)
            );
        }
        start = lent.end;
    }
    zones.iter().try_for_each(|zone| zone.check_kept(buffer))
}
