// SPDX-License-Identifier: GPL-2.0

//! Requests of the kernel's queue pairs, written as a process's provider would write them.
//!
//! Their queues are of the same kind as those of processes, but that no process has them mapped; so there is one way from a
//! queue to the protocol.

use super::bytes::load_array;
use super::bytes::load_u32;
use super::bytes::store;
use super::receive_wqe;
use super::scatter::Sge;
use super::scatter::SGE_SIZE;
use super::send_wqe;
use super::send_wqe::Immediate;
use super::send_wqe::RemoteAddress;
use super::send_wqe::SendFlags;
use super::send_wqe::SendOperation;
use crate::transport::frame::Operands;
use crate::transport::unreliable_datagram::Gid;
use crate::transport::unreliable_datagram::Path;

/// Where a datagram's request says where it goes: `datagram_wqe` has what a process says.
mod at {
    pub(super) const QPN: usize = 24;
    pub(super) const QKEY: usize = 28;
    /// A datagram's way: where a process's provider copies what it knows of it, and behind that.
    pub(super) const MAC: usize = 58;
    pub(super) const DESTINATION: usize = 64;
    pub(super) const FLOW_LABEL: usize = 80;
    pub(super) const HOP_LIMIT: usize = 85;
    pub(super) const TRAFFIC_CLASS: usize = 86;
    pub(super) const SOURCE: usize = 88;
}

/// What follows a send request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// That many elements.
    Elements(u32),
    /// That many bytes of payload.
    Bytes(u32),
}

/// An operation that users in the kernel have no requests for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOfTheKernel;

/// Where the kernel's datagram goes, by which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Hardware address of the next hop.
    pub mac: [u8; 6],
    /// What the receiver is told of it.
    pub path: Path,
}

const SIZE: usize = send_wqe::HEADER_SIZE;

type Header = [u8; SIZE];

fn immediate(header: &mut Header, Immediate(immediate): Immediate) {
    store::<{ send_wqe::IMMEDIATE }, 4, SIZE>(header, immediate.to_be_bytes());
}

fn remote(header: &mut Header, remote: RemoteAddress) {
    store::<{ send_wqe::REMOTE_ADDRESS }, 8, SIZE>(header, remote.address.to_ne_bytes());
    store::<{ send_wqe::REMOTE_KEY }, 4, SIZE>(header, remote.rkey.to_ne_bytes());
}

fn atomic(header: &mut Header, word: RemoteAddress, operands: Operands) {
    store::<{ send_wqe::REMOTE_ADDRESS }, 8, SIZE>(header, word.address.to_ne_bytes());
    store::<{ send_wqe::ATOMIC_KEY }, 4, SIZE>(header, word.rkey.to_ne_bytes());
    store::<{ send_wqe::COMPARE_ADD }, 8, SIZE>(header, operands.first.to_ne_bytes());
    store::<{ send_wqe::SWAP }, 8, SIZE>(header, operands.second.to_ne_bytes());
}

/// What the operation has in the header beside its number.
fn arguments(header: &mut Header, operation: &SendOperation) -> Result<(), NotOfTheKernel> {
    match *operation {
        SendOperation::Send => {}
        SendOperation::SendImmediate(data) => immediate(header, data),
        SendOperation::Write(to) | SendOperation::Read(to) => remote(header, to),
        SendOperation::WriteImmediate(to, data) => {
            remote(header, to);
            immediate(header, data);
        }
        SendOperation::CompareSwap(word, operands) | SendOperation::FetchAdd(word, operands) => {
            atomic(header, word, operands);
        }
        SendOperation::SendInvalidate(key) | SendOperation::LocalInvalidate(key) => {
            store::<{ send_wqe::IMMEDIATE }, 4, SIZE>(header, key.to_ne_bytes());
        }
        SendOperation::Register(registration) => {
            store::<{ send_wqe::REGISTER_ADDRESS }, 8, SIZE>(
                header,
                registration.address.to_ne_bytes(),
            );
            store::<{ send_wqe::REGISTER_LENGTH }, 8, SIZE>(
                header,
                registration.length.to_ne_bytes(),
            );
            store::<{ send_wqe::REGISTER_KEY }, 4, SIZE>(header, registration.key.to_ne_bytes());
            store::<{ send_wqe::REGISTER_ACCESS }, 4, SIZE>(
                header,
                registration.access.to_ne_bytes(),
            );
        }
        SendOperation::BindWindow(_) | SendOperation::Flush(..) | SendOperation::AtomicWrite(_) => {
            return Err(NotOfTheKernel)
        }
    }
    Ok(())
}

/// The header of a request.
///
/// # Errors
///
/// For operations that users in the kernel have no requests for.
pub fn send_header(
    wr_id: u64,
    operation: &SendOperation,
    flags: SendFlags,
    follows: Follows,
) -> Result<Header, NotOfTheKernel> {
    let mut header = [0; SIZE];
    store::<{ send_wqe::WR_ID }, 8, SIZE>(&mut header, wr_id.to_ne_bytes());
    store::<{ send_wqe::OPCODE }, 4, SIZE>(&mut header, operation.opcode().to_ne_bytes());
    arguments(&mut header, operation)?;
    store::<{ send_wqe::FLAGS }, 4, SIZE>(&mut header, flags.bits().to_ne_bytes());
    match follows {
        Follows::Elements(count) => {
            store::<{ send_wqe::NUM_SGE }, 4, SIZE>(&mut header, count.to_ne_bytes());
        }
        Follows::Bytes(length) => {
            store::<{ send_wqe::LENGTH }, 4, SIZE>(&mut header, length.to_ne_bytes());
        }
    }
    Ok(header)
}

/// Adds where a datagram goes.
pub fn address(header: &mut Header, qpn: u32, qkey: u32, way: &Way) {
    store::<{ at::QPN }, 4, SIZE>(header, qpn.to_ne_bytes());
    store::<{ at::QKEY }, 4, SIZE>(header, qkey.to_ne_bytes());
    store::<{ at::MAC }, 6, SIZE>(header, way.mac);
    store::<{ at::DESTINATION }, 16, SIZE>(header, way.path.destination.0);
    store::<{ at::SOURCE }, 16, SIZE>(header, way.path.source.0);
    store::<{ at::FLOW_LABEL }, 4, SIZE>(header, way.path.flow_label.to_ne_bytes());
    store::<{ at::HOP_LIMIT }, 1, SIZE>(header, [way.path.hop_limit]);
    store::<{ at::TRAFFIC_CLASS }, 1, SIZE>(header, [way.path.traffic_class]);
}

/// The way that [`address`] has added.
pub fn way(header: &Header) -> Way {
    Way {
        mac: load_array::<{ at::MAC }, 6, SIZE>(header),
        path: Path {
            source: Gid(load_array::<{ at::SOURCE }, 16, SIZE>(header)),
            destination: Gid(load_array::<{ at::DESTINATION }, 16, SIZE>(header)),
            traffic_class: header[at::TRAFFIC_CLASS],
            flow_label: load_u32::<{ at::FLOW_LABEL }, SIZE>(header),
            hop_limit: header[at::HOP_LIMIT],
        },
    }
}

/// The header of a receive with that many elements.
pub fn receive_header(wr_id: u64, elements: u32) -> [u8; receive_wqe::HEADER_SIZE] {
    const LENGTH: usize = receive_wqe::HEADER_SIZE;
    let mut header = [0; LENGTH];
    store::<{ receive_wqe::WR_ID }, 8, LENGTH>(&mut header, wr_id.to_ne_bytes());
    store::<{ receive_wqe::NUM_SGE }, 4, LENGTH>(&mut header, elements.to_ne_bytes());
    header
}

/// An element as it follows a header.
pub fn element(sge: &Sge) -> [u8; SGE_SIZE] {
    let mut bytes = [0; SGE_SIZE];
    store::<0, 8, SGE_SIZE>(&mut bytes, sge.address.to_ne_bytes());
    store::<8, 4, SGE_SIZE>(&mut bytes, sge.length.to_ne_bytes());
    store::<12, 4, SGE_SIZE>(&mut bytes, sge.lkey.to_ne_bytes());
    bytes
}
