// SPDX-License-Identifier: GPL-2.0

//! How a work request ended, why a responder refuses a request, and what happens to a queue pair.

/// Status of a completion (IBTA 11.6.2). The numbers are those of `enum ib_wc_status`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u32)]
pub enum CompletionStatus {
    /// Done.
    #[default]
    Success = 0,
    /// The message is longer than the receive request it arrived for, or than a message may be.
    LocalLengthError = 1,
    /// The request cannot be carried out by this queue pair.
    LocalQpOperationError = 2,
    /// A local buffer is not covered by a memory region that allows the access.
    LocalProtectionError = 4,
    /// Did not run, as an earlier request of the queue failed.
    FlushError = 5,
    /// A memory window cannot be bound, or a key not be invalidated, as was asked ("memory management operation error").
    MemoryManagementError = 6,
    /// The responder found the request malformed.
    RemoteInvalidRequestError = 9,
    /// The responder's memory region forbids the access.
    RemoteAccessError = 10,
    /// The responder could not carry the request out.
    RemoteOperationError = 11,
    /// No answer came, however often the request was repeated.
    RetryExceeded = 12,
    /// The responder had no receive request, however often the request was repeated.
    RnrRetryExceeded = 13,
}

/// Why a responder refuses a request for good (IBTA 9.7.5.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum NakCode {
    /// Malformed, out of order within its message, or more READs than agreed.
    InvalidRequest = 1,
    /// The remote key does not allow the access.
    RemoteAccess = 2,
    /// A fault of the responder's own.
    RemoteOperation = 3,
}

impl NakCode {
    /// The code with this number on the wire.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::InvalidRequest),
            2 => Some(Self::RemoteAccess),
            3 => Some(Self::RemoteOperation),
            _ => None,
        }
    }

    /// How the requester's work request ends when it is refused with this code.
    pub const fn requester_status(self) -> CompletionStatus {
        match self {
            Self::InvalidRequest => CompletionStatus::RemoteInvalidRequestError,
            Self::RemoteAccess => CompletionStatus::RemoteAccessError,
            Self::RemoteOperation => CompletionStatus::RemoteOperationError,
        }
    }
}

/// Something the queue pair's owner must act upon.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum QpEvent {
    /// A send request failed: the queue pair must go to the error state. The failed request's
    /// completion tells the cause; there is no asynchronous event (IBTA 11.6.3).
    SendFailed,
    /// A receive failed: the queue pair must go to the error state. As with a send, the completion tells the cause.
    ReceiveFailed,
    /// The responder refused a request as malformed: the queue pair must go to the error state
    /// and its owner gets "invalid request local work queue error".
    InvalidRequest,
    /// The responder refused an access: the queue pair must go to the error state and its owner
    /// gets "local access violation work queue error".
    AccessViolation,
    /// The responder failed in itself: the queue pair must go to the error state and its owner
    /// gets "local work queue catastrophic error".
    Catastrophic,
    /// The first request arrived ("communication established"; of interest in state RTR only).
    CommunicationEstablished,
    /// The send queue was to be drained, and all requests that had been begun are complete.
    SendQueueDrained,
    /// After an error: all receives taken so far have been flushed (with a shared receive queue,
    /// "last WQE reached").
    LastWqeReached,
}
