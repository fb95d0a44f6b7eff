// SPDX-License-Identifier: GPL-2.0

//! The objects that the threads of a process share.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::uverbs::Handle;
use crate::uverbs::Mapping;
use crate::uverbs::Queue;

use super::board::MRS;
use super::board::QPS;

/// Protection domains of a process.
pub const PDS: usize = 2;
/// Completion queues of a process.
pub const CQS: usize = 3;
/// Shared receive queues of a process.
pub const SRQS: usize = 2;

/// Locks, also when a thread has died with the lock.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place for an object. Whoever holds what was in it may go on using it after another thread has destroyed it.
pub struct Slot<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Slot<T> {
    /// What is in it.
    pub fn get(&self) -> Option<Arc<T>> {
        lock(&self.0).clone()
    }

    /// Puts something in; what was there before is given back.
    pub fn put(&self, value: Option<T>) -> Option<Arc<T>> {
        std::mem::replace(&mut *lock(&self.0), value.map(Arc::new))
    }
}

/// A completion queue.
pub struct Cq {
    /// Its handle.
    pub handle: Handle,
    /// Its memory, which resizing replaces.
    pub queue: Slot<Queue>,
}

/// A shared receive queue.
pub struct Srq {
    /// Its handle.
    pub handle: Handle,
    /// Its memory, which resizing replaces.
    pub queue: Slot<Queue>,
    /// Held by threads that post in the way the ABI asks for.
    pub turn: Mutex<()>,
}

/// A queue pair.
pub struct Qp {
    /// Its handle.
    pub handle: Handle,
    /// Its number.
    pub number: u32,
    /// Its send queue.
    pub send: Queue,
    /// Its receive queue, if it has its own.
    pub receive: Option<Queue>,
    /// Held by threads that post in the way the ABI asks for.
    pub turn: Mutex<()>,
}

/// A region.
pub struct Mr {
    /// Its handle.
    pub handle: Handle,
    /// Its key.
    pub key: u32,
    /// Where in the memory it begins.
    pub start: usize,
    /// Its bytes.
    pub len: usize,
    /// The memory.
    pub memory: Arc<Mapping>,
}

/// Everything a process has.
#[derive(Default)]
pub struct Objects {
    /// Protection domains.
    pub pds: [Slot<Handle>; PDS],
    /// Completion queues.
    pub cqs: [Slot<Cq>; CQS],
    /// Shared receive queues.
    pub srqs: [Slot<Srq>; SRQS],
    /// Queue pairs.
    pub qps: [Slot<Qp>; QPS],
    /// Regions.
    pub mrs: [Slot<Mr>; MRS],
}
