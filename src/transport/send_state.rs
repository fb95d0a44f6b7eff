// SPDX-License-Identifier: GPL-2.0

//! What becomes of the messages in a send queue.

use super::message_number::MessageNumber;
use super::status::CompletionStatus;

/// State of the sending half of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SendState {
    /// Not connected.
    Idle,
    /// Working.
    Running,
    /// A message is known to fail; those before it are still being worked on.
    Failing(Failure),
    /// Everything left is flushed.
    Flushing,
}

/// A message that fails once all before it are complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) message: MessageNumber,
    pub(crate) status: CompletionStatus,
}

impl SendState {
    /// A message is known to fail. Of several, the first one does; none was posted before `oldest`.
    pub(crate) fn fail(&mut self, failure: Failure, oldest: MessageNumber) {
        match self {
            Self::Running => *self = Self::Failing(failure),
            Self::Failing(known) => {
                if failure.message.is_before(known.message, oldest) {
                    *known = failure;
                }
            }
            Self::Idle | Self::Flushing => {}
        }
    }

    /// Whether a message that is not complete is not (behind one that is) known to fail; none was posted before `oldest`.
    pub(crate) const fn may_send(self, message: MessageNumber, oldest: MessageNumber) -> bool {
        match self {
            Self::Running => true,
            Self::Failing(failure) => message.is_before(failure.message, oldest),
            Self::Idle | Self::Flushing => false,
        }
    }
}
