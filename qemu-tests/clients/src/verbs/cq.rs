// SPDX-License-Identifier: GPL-2.0

//! Completion queues and the channels that announce them.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::time::Duration;

use super::error::check;
use super::error::report_leak;
use super::error::Error;
use super::error::Result;
use super::event::wait_readable;
use super::sys;
use super::Completion;
use super::Context;

/// CQEs taken from the device per library call.
const POLL_BATCH: usize = 16;

/// Tells completion queues of one context apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CqId(usize);

impl CqId {
    pub(super) fn from_raw(raw: *mut sys::ibv_cq) -> Self {
        Self(raw.addr())
    }
}

/// Which completions raise an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// The next one.
    Any,
    /// The next receive of a solicited message, or the next error.
    Solicited,
}

/// Delivers completion events of the queues made with it.
pub struct CompChannel<'a> {
    raw: NonNull<sys::ibv_comp_channel>,
    context: PhantomData<&'a Context>,
}

impl<'a> CompChannel<'a> {
    /// Makes a channel.
    pub fn new(context: &'a Context) -> Result<Self> {
        // SAFETY: The context is open.
        let raw = unsafe { sys::ibv_create_comp_channel(context.raw()) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or_else(|| Error::last("ibv_create_comp_channel"))?,
            context: PhantomData,
        })
    }

    /// Waits up to `timeout` for an event and acknowledges it.
    pub fn wait(&self, timeout: Duration) -> Result<Option<CqId>> {
        // SAFETY: The library keeps the channel's descriptor open until it is destroyed.
        let fd = unsafe { BorrowedFd::borrow_raw(self.raw.as_ref().fd) };
        if !wait_readable(fd, timeout)? {
            return Ok(None);
        }
        let mut cq = std::ptr::null_mut();
        let mut cq_context = std::ptr::null_mut();
        // SAFETY: The channel is alive, and both pointers are valid for the writes.
        check("ibv_get_cq_event", unsafe {
            sys::ibv_get_cq_event(self.raw.as_ptr(), &mut cq, &mut cq_context)
        })?;
        // SAFETY: ibv_destroy_cq waits until events are acknowledged, so a queue whose event was
        // just taken is alive; each event is acknowledged once.
        unsafe { sys::ibv_ack_cq_events(cq, 1) };
        Ok(Some(CqId::from_raw(cq)))
    }
}

impl Drop for CompChannel<'_> {
    fn drop(&mut self) {
        // SAFETY: Every queue on the channel borrows it and is gone.
        report_leak("ibv_destroy_comp_channel", unsafe {
            sys::ibv_destroy_comp_channel(self.raw.as_ptr())
        });
    }
}

/// A completion queue.
pub struct Cq<'a> {
    raw: NonNull<sys::ibv_cq>,
    owner: PhantomData<&'a Context>,
}

impl<'a> Cq<'a> {
    /// Makes a queue with room for at least `depth` entries.
    pub fn new(
        context: &'a Context,
        depth: u32,
        channel: Option<&'a CompChannel<'_>>,
    ) -> Result<Self> {
        let depth = i32::try_from(depth).unwrap_or(i32::MAX);
        let channel = channel.map_or(std::ptr::null_mut(), |channel| channel.raw.as_ptr());
        // SAFETY: The context and the channel (or none) are alive; no user context is passed.
        let raw =
            unsafe { sys::ibv_create_cq(context.raw(), depth, std::ptr::null_mut(), channel, 0) };
        Ok(Self {
            raw: NonNull::new(raw).ok_or_else(|| Error::last("ibv_create_cq"))?,
            owner: PhantomData,
        })
    }

    pub(super) fn raw(&self) -> *mut sys::ibv_cq {
        self.raw.as_ptr()
    }

    /// What events about this queue name.
    pub fn id(&self) -> CqId {
        CqId::from_raw(self.raw())
    }

    /// The room granted, at least what was asked for.
    pub fn depth(&self) -> usize {
        // SAFETY: The queue is alive; the library keeps the field up to date.
        usize::try_from(unsafe { self.raw.as_ref().cqe }).unwrap_or(0)
    }

    /// Appends up to `limit` completions to `into` and gives their number. Never waits.
    pub fn poll(&self, into: &mut Vec<Completion>, limit: usize) -> Result<usize> {
        // SAFETY: ibv_wc is plain data; zeroes are a valid value.
        let mut batch: [sys::ibv_wc; POLL_BATCH] = unsafe { std::mem::zeroed() };
        let wanted = limit.min(POLL_BATCH);
        // SAFETY: The queue and its context are alive; this is what the header's inline
        // ibv_poll_cq does. The batch has room for `wanted` entries.
        let count = unsafe {
            let poll_cq = (*(*self.raw()).context)
                .ops
                .poll_cq
                .expect("every provider polls");
            poll_cq(self.raw(), wanted as i32, batch.as_mut_ptr())
        };
        let count = usize::try_from(count)
            .map_err(|_| Error::new("ibv_poll_cq", count.unsigned_abs() as i32))?;
        into.extend(batch[..count].iter().map(Completion::from_raw));
        Ok(count)
    }

    /// Asks for one event on the queue's channel.
    pub fn request_notify(&self, notify: Notify) -> Result<()> {
        let solicited_only = match notify {
            Notify::Any => 0,
            Notify::Solicited => 1,
        };
        // SAFETY: As for `poll`; this is the header's inline ibv_req_notify_cq.
        check("ibv_req_notify_cq", unsafe {
            let req_notify = (*(*self.raw()).context)
                .ops
                .req_notify_cq
                .expect("every provider notifies");
            req_notify(self.raw(), solicited_only)
        })
    }

    /// Changes the queue's room to at least `depth` entries.
    pub fn resize(&self, depth: u32) -> Result<()> {
        let depth = i32::try_from(depth).unwrap_or(i32::MAX);
        // SAFETY: The queue is alive.
        check("ibv_resize_cq", unsafe {
            sys::ibv_resize_cq(self.raw(), depth)
        })
    }
}

impl Drop for Cq<'_> {
    fn drop(&mut self) {
        // SAFETY: Every queue pair on it borrows it and is gone; all events were acknowledged.
        report_leak("ibv_destroy_cq", unsafe { sys::ibv_destroy_cq(self.raw()) });
    }
}
