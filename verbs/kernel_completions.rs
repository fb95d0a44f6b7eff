// SPDX-License-Identifier: GPL-2.0

//! Completions that wait until a user in the kernel polls them.

use kernel::prelude::*;

use crate::transport::frame::Network;
use crate::verbs::abi::completion::Completion;
use crate::verbs::abi::completion::Contents;
use crate::verbs::abi::completion::Extra;
use crate::verbs::abi::send_wqe::Immediate;
use crate::verbs::queue::Overflow;
use crate::verbs::rdma::CompletionExtra;
use crate::verbs::rdma::CompletionNetwork;
use crate::verbs::rdma::QpReference;
use crate::verbs::rdma::WorkCompletion;

/// A completion, and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct KernelCompletion {
    pub(crate) completion: Completion,
    pub(crate) qp: QpReference,
}

impl KernelCompletion {
    /// As its user gets it.
    pub(crate) fn work_completion(self) -> WorkCompletion {
        let Self { completion, qp } = self;
        WorkCompletion {
            wr_id: completion.wr_id,
            status: completion.status as u32,
            opcode: completion.opcode as u32,
            byte_len: completion.byte_len,
            extra: match completion.extra {
                Extra::None => CompletionExtra::None,
                Extra::Immediate(Immediate(immediate)) => CompletionExtra::Immediate(immediate),
                Extra::InvalidatedKey(key) => CompletionExtra::InvalidatedKey(key),
            },
            qp,
            src_qp: completion.src_qp,
            network: match completion.contents {
                Contents::Message => None,
                Contents::NetworkHeader(Network::Ipv4) => Some(CompletionNetwork::Ipv4),
                Contents::NetworkHeader(Network::Ipv6) => Some(CompletionNetwork::Ipv6),
            },
        }
    }
}

/// A ring of completions in memory of the kernel's own.
pub(crate) struct KernelCompletions {
    places: KVVec<Option<KernelCompletion>>,
    /// The oldest.
    head: usize,
    count: usize,
}

impl KernelCompletions {
    /// One for `capacity` completions, at least 1.
    pub(crate) fn new(capacity: u32) -> Result<Self> {
        Ok(Self {
            places: KVVec::from_elem(None, capacity as usize, GFP_KERNEL)?,
            head: 0,
            count: 0,
        })
    }

    /// How many fit.
    pub(crate) fn capacity(&self) -> u32 {
        self.places.len() as u32
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one.
    pub(crate) fn push(&mut self, completion: KernelCompletion) -> Result<(), Overflow> {
        if self.count == self.places.len() {
            return Err(Overflow);
        }
        let place = self.wrapped(self.head + self.count);
        self.places[place] = Some(completion);
        self.count += 1;
        Ok(())
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<KernelCompletion> {
        if self.count == 0 {
            return None;
        }
        let completion = self.places[self.head].take();
        self.head = self.wrapped(self.head + 1);
        self.count -= 1;
        completion
    }

    /// The place after so many from the first, less than two rounds on.
    fn wrapped(&self, places: usize) -> usize {
        places.checked_sub(self.places.len()).unwrap_or(places)
    }
}
