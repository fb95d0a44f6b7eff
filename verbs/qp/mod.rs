// SPDX-License-Identifier: GPL-2.0

//! Queue pairs.
//!
//! The protocol is `transport`'s. A QP here owns the mapped rings, keeps the scatter lists of what the
//! protocol is working on, resolves them to pages, and turns the protocol's results into completions
//! and events.
//!
//! [`QueuePair`] is one type in several files: `queue_pair` has its data, each other file one side of what it
//! does.

mod aim;
mod attributes;
mod create;
mod datagrams;
mod departure;
mod departures;
mod description;
mod events;
mod execution;
mod limits;
mod local;
mod local_work;
mod modify;
mod on_demand_placement;
mod pager;
mod paging;
mod payload;
mod poster;
mod queue_pair;
mod receive_queue;
mod reliable;
mod rx;
mod send_queue;
mod service;
mod timer;
mod tx;
mod unreliable;
mod whereabouts;

pub(crate) use create::HasQueuePairs;
pub(crate) use create::UserQueuePair;
pub(crate) use departure::Departure;
pub(crate) use limits::FEATURES;
pub(crate) use limits::LIMITS;
pub(crate) use limits::MAX_RD_ATOMIC;
pub(crate) use queue_pair::QpRoute;
pub(crate) use queue_pair::QpRouteTable;
pub(crate) use queue_pair::QpTable;
pub(crate) use queue_pair::QueuePair;
pub(crate) use rx::RxFrame;
pub(crate) use rx::RxVerdict;
pub(crate) use tx::FramePayload;
pub(crate) use tx::TxFrame;
