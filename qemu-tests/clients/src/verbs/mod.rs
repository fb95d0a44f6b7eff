// SPDX-License-Identifier: GPL-2.0

//! A small safe wrapper of libibverbs.
//!
//! Objects borrow what they depend on, so they cannot be destroyed in an order that the library
//! forbids. Device access to memory is bounded by [`Mr`], which borrows its [`Buffer`]; keys and
//! addresses in work requests are plain numbers, since a wrong one is refused by the device.

mod ah;
mod completion;
mod context;
mod cq;
mod error;
mod event;
mod extended;
mod gid;
mod keys;
mod memory;
mod mr;
mod pd;
mod qp;
mod qp_attr;
mod srq;
mod sys;
mod work_request;

pub use ah::Ah;
pub use completion::Completion;
pub use completion::Opcode;
pub use completion::Status;
pub use context::device_names;
pub use context::Context;
pub use context::DeviceLimits;
pub use context::PortInfo;
pub use cq::CompChannel;
pub use cq::Cq;
pub use cq::CqId;
pub use cq::Notify;
pub use error::Error;
pub use error::PostError;
pub use error::Result;
pub use event::AsyncEvent;
pub use event::EventKind;
pub use event::Subject;
pub use extended::Posting;
pub use gid::choose_common;
pub use gid::Gid;
pub use gid::GidEntry;
pub use gid::GidKind;
pub use gid::RoceVersion;
pub use keys::GidIndex;
pub use keys::Lkey;
pub use keys::PortNum;
pub use keys::Psn;
pub use keys::Qpn;
pub use keys::RemoteAddr;
pub use keys::Rkey;
pub use memory::Buffer;
pub use memory::Protection;
pub use mr::Access;
pub use mr::Mr;
pub use pd::Pd;
pub use qp::DatagramTarget;
pub use qp::Qp;
pub use qp::QpCapacity;
pub use qp::QpInit;
pub use qp::QpReport;
pub use qp::QpType;
pub use qp_attr::AddressVector;
pub use qp_attr::Mtu;
pub use qp_attr::PathMigration;
pub use qp_attr::QpAttr;
pub use qp_attr::QpState;
pub use srq::Srq;
pub use srq::SrqId;
pub use work_request::Operation;
pub use work_request::Payload;
pub use work_request::RecvRequest;
pub use work_request::SendFlags;
pub use work_request::SendRequest;
pub use work_request::Sge;
