// SPDX-License-Identifier: GPL-2.0

//! Asynchronous events of a device.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;

use super::error::check;
use super::error::Error;
use super::error::Result;
use super::sys;
use super::Context;
use super::CqId;
use super::PortNum;
use super::Qpn;
use super::SrqId;

/// The event's type, by the names of `enum ibv_event_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventKind(sys::ibv_event_type);

impl EventKind {
    /// A completion queue overran.
    pub const CQ_ERR: Self = Self(sys::IBV_EVENT_CQ_ERR);
    /// A queue pair failed.
    pub const QP_FATAL: Self = Self(sys::IBV_EVENT_QP_FATAL);
    /// A responder refused an invalid request.
    pub const QP_REQ_ERR: Self = Self(sys::IBV_EVENT_QP_REQ_ERR);
    /// A responder refused an access.
    pub const QP_ACCESS_ERR: Self = Self(sys::IBV_EVENT_QP_ACCESS_ERR);
    /// The first message arrived on a queue pair that is not yet in RTS.
    pub const COMM_EST: Self = Self(sys::IBV_EVENT_COMM_EST);
    /// A queue pair in ERR uses no more WQEs of its shared receive queue.
    pub const QP_LAST_WQE_REACHED: Self = Self(sys::IBV_EVENT_QP_LAST_WQE_REACHED);
    /// A shared receive queue holds fewer WQEs than its limit.
    pub const SRQ_LIMIT_REACHED: Self = Self(sys::IBV_EVENT_SRQ_LIMIT_REACHED);
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: The function takes any number and gives a static C string.
        let text = unsafe { CStr::from_ptr(sys::ibv_event_type_str(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A completion queue.
    Cq(CqId),
    /// A queue pair.
    Qp(Qpn),
    /// A shared receive queue.
    Srq(SrqId),
    /// A port, or the whole device.
    Port(PortNum),
}

/// An asynchronous event, already acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncEvent {
    /// What happened.
    pub kind: EventKind,
    /// To whom.
    pub subject: Subject,
}

/// Waits until `fd` can be read; `false` when `timeout` passes first.
pub(super) fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let millis = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, millis) {
            Ok(0) if left.is_zero() => return Ok(false),
            // Rounded down to whole milliseconds: look again until the time has really passed.
            Ok(0) => continue,
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Error::new("poll", errno as i32)),
        }
    }
}

impl Context {
    /// Waits up to `timeout` for the next asynchronous event and acknowledges it.
    pub fn async_event(&self, timeout: Duration) -> Result<Option<AsyncEvent>> {
        if !wait_readable(self.async_fd(), timeout)? {
            return Ok(None);
        }
        // SAFETY: ibv_async_event is a plain union and a number; zeroes are a valid value.
        let mut event: sys::ibv_async_event = unsafe { std::mem::zeroed() };
        // SAFETY: The context is open and `event` is valid for the write.
        check("ibv_get_async_event", unsafe {
            sys::ibv_get_async_event(self.raw(), &mut event)
        })?;
        let element = event.element;
        let subject = match event.event_type {
            sys::IBV_EVENT_CQ_ERR => {
                // SAFETY: The union holds a CQ for this type of event (libibverbs verbs.c).
                Subject::Cq(CqId::from_raw(unsafe { element.cq }))
            }
            sys::IBV_EVENT_QP_FATAL
            | sys::IBV_EVENT_QP_REQ_ERR
            | sys::IBV_EVENT_QP_ACCESS_ERR
            | sys::IBV_EVENT_COMM_EST
            | sys::IBV_EVENT_SQ_DRAINED
            | sys::IBV_EVENT_PATH_MIG
            | sys::IBV_EVENT_PATH_MIG_ERR
            | sys::IBV_EVENT_QP_LAST_WQE_REACHED => {
                // SAFETY: The union holds a QP for these events, and ibv_destroy_qp would wait for
                // the acknowledgement below, so it is alive.
                Subject::Qp(Qpn(unsafe { (*element.qp).qp_num }))
            }
            sys::IBV_EVENT_SRQ_ERR | sys::IBV_EVENT_SRQ_LIMIT_REACHED => {
                // SAFETY: The union holds an SRQ for these types of event.
                Subject::Srq(SrqId::from_raw(unsafe { element.srq }))
            }
            _ => {
                // SAFETY: All other events are about a port, or carry a number nobody reads.
                let port = unsafe { element.port_num };
                Subject::Port(PortNum(u8::try_from(port).unwrap_or(0)))
            }
        };
        // SAFETY: `event` came from ibv_get_async_event and is acknowledged once.
        unsafe { sys::ibv_ack_async_event(&mut event) };
        Ok(Some(AsyncEvent {
            kind: EventKind(event.event_type),
            subject,
        }))
    }
}
