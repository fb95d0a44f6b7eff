// SPDX-License-Identifier: GPL-2.0

//! Elements of requests of the kernel, on their way into a queue.

use kernel::prelude::*;

use crate::verbs::abi::encode;
use crate::verbs::abi::limits::MAX_SGE;
use crate::verbs::abi::scatter::Sge;
use crate::verbs::abi::scatter::SGE_SIZE;
use crate::verbs::rdma::ElementList;

/// What the elements of a request are written to, on their way into a queue.
pub(crate) type ElementBytes = [[u8; SGE_SIZE]; MAX_SGE as usize];

/// The elements as they go into a queue, of which there are at most `limit`.
pub(crate) fn bytes_of(elements: ElementList<'_>, limit: u32) -> Result<(ElementBytes, usize)> {
    let count = elements.count();
    if count > limit as usize {
        return Err(EINVAL);
    }
    let mut bytes = [[0; SGE_SIZE]; MAX_SGE as usize];
    for (place, element) in bytes.iter_mut().zip(elements.iter()) {
        *place = encode::element(&Sge {
            address: element.address,
            length: element.length,
            lkey: element.lkey,
        });
    }
    Ok((bytes, count))
}
