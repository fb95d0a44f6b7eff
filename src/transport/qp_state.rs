// SPDX-License-Identifier: GPL-2.0

//! States of a queue pair and the transitions between them (IBTA 10.3.1).

/// State of a queue pair. The numbers are those of `enum ib_qp_state`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u32)]
pub enum QpState {
    /// New, or reset.
    #[default]
    Reset = 0,
    /// Receives may be posted.
    Init = 1,
    /// Ready to receive.
    ReadyToReceive = 2,
    /// Ready to send.
    ReadyToSend = 3,
    /// Send requests in progress are finished, no new ones are begun.
    SendQueueDrain = 4,
    /// A send request failed, receiving goes on. Not entered by reliable connections.
    SendQueueError = 5,
    /// Everything is flushed.
    Error = 6,
}

/// What makes a queue pair change its state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum QpStimulus {
    /// The user asks for this state.
    Modify(QpState),
    /// A send request failed.
    SendFailure,
    /// The responder failed, or the device goes away.
    Fault,
}

/// What has to be done along with a change of state, in this order: the fields are independent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QpAction {
    /// Nothing.
    Nothing,
    /// Forget everything: requester and responder are reset.
    Reset,
    /// Start the responder.
    StartResponder,
    /// Start the requester.
    StartRequester,
    /// Begin no new send requests.
    Drain,
    /// Begin new send requests again.
    Resume,
    /// Flush requester and responder.
    Flush,
}

/// The state may not be left that way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadTransition;

impl QpState {
    /// The state with this number in `enum ib_qp_state`.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Reset),
            1 => Some(Self::Init),
            2 => Some(Self::ReadyToReceive),
            3 => Some(Self::ReadyToSend),
            4 => Some(Self::SendQueueDrain),
            5 => Some(Self::SendQueueError),
            6 => Some(Self::Error),
            _ => None,
        }
    }

    /// The state that follows, and what has to be done.
    ///
    /// # Errors
    ///
    /// If there is no such transition for a reliable connection.
    pub const fn after(self, stimulus: QpStimulus) -> Result<(Self, QpAction), BadTransition> {
        use QpAction as Do;
        match stimulus {
            QpStimulus::Modify(target) => match (self, target) {
                (_, Self::Reset) => Ok((Self::Reset, Do::Reset)),
                (Self::Error, Self::Error) => Ok((Self::Error, Do::Nothing)),
                (_, Self::Error) => Ok((Self::Error, Do::Flush)),
                (Self::Reset | Self::Init, Self::Init) => Ok((Self::Init, Do::Nothing)),
                (Self::Init, Self::ReadyToReceive) => Ok((target, Do::StartResponder)),
                (Self::ReadyToReceive, Self::ReadyToSend) => Ok((target, Do::StartRequester)),
                (Self::ReadyToSend, Self::ReadyToSend) => Ok((target, Do::Nothing)),
                (Self::ReadyToSend, Self::SendQueueDrain) => Ok((target, Do::Drain)),
                (Self::SendQueueDrain, Self::SendQueueDrain) => Ok((target, Do::Nothing)),
                (Self::SendQueueDrain, Self::ReadyToSend) => Ok((target, Do::Resume)),
                (Self::SendQueueError, Self::ReadyToSend) => Ok((target, Do::Resume)),
                (
                    Self::Reset | Self::ReadyToReceive | Self::SendQueueError | Self::Error,
                    Self::ReadyToReceive | Self::SendQueueDrain,
                )
                | (
                    Self::ReadyToReceive
                    | Self::ReadyToSend
                    | Self::SendQueueDrain
                    | Self::SendQueueError
                    | Self::Error,
                    Self::Init,
                )
                | (Self::ReadyToSend | Self::SendQueueDrain, Self::ReadyToReceive)
                | (Self::Reset | Self::Init | Self::Error, Self::ReadyToSend)
                | (Self::Init, Self::SendQueueDrain)
                | (_, Self::SendQueueError) => Err(BadTransition),
            },
            QpStimulus::SendFailure | QpStimulus::Fault => match self {
                Self::Reset => Err(BadTransition),
                Self::Error => Ok((Self::Error, Do::Nothing)),
                Self::Init
                | Self::ReadyToReceive
                | Self::ReadyToSend
                | Self::SendQueueDrain
                | Self::SendQueueError => Ok((Self::Error, Do::Flush)),
            },
        }
    }

    /// Whether the responder works in this state.
    pub const fn responds(self) -> bool {
        match self {
            Self::ReadyToReceive
            | Self::ReadyToSend
            | Self::SendQueueDrain
            | Self::SendQueueError => true,
            Self::Reset | Self::Init | Self::Error => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [QpState; 7] = [
        QpState::Reset,
        QpState::Init,
        QpState::ReadyToReceive,
        QpState::ReadyToSend,
        QpState::SendQueueDrain,
        QpState::SendQueueError,
        QpState::Error,
    ];

    #[test]
    fn numbers_round_trip() {
        for state in ALL {
            assert_eq!(QpState::from_number(state as u32), Some(state));
        }
        assert_eq!(QpState::from_number(7), None);
    }

    #[test]
    fn usual_life() {
        let mut state = QpState::Reset;
        for target in [
            QpState::Init,
            QpState::ReadyToReceive,
            QpState::ReadyToSend,
            QpState::SendQueueDrain,
            QpState::ReadyToSend,
            QpState::Error,
            QpState::Reset,
        ] {
            let (next, _) = state.after(QpStimulus::Modify(target)).unwrap();
            assert_eq!(next, target);
            state = next;
        }
    }

    #[test]
    fn reset_and_error_are_always_reachable() {
        for state in ALL {
            assert_eq!(
                state.after(QpStimulus::Modify(QpState::Reset)),
                Ok((QpState::Reset, QpAction::Reset))
            );
            let (next, _) = state.after(QpStimulus::Modify(QpState::Error)).unwrap();
            assert_eq!(next, QpState::Error);
        }
    }

    #[test]
    fn error_is_left_for_reset_only() {
        for target in ALL {
            let allowed = matches!(target, QpState::Reset | QpState::Error);
            assert_eq!(
                QpState::Error.after(QpStimulus::Modify(target)).is_ok(),
                allowed
            );
        }
    }
}
