// SPDX-License-Identifier: GPL-2.0

//! Requests and answers.

use serde::Deserialize;
use serde::Serialize;

use crate::fault::Faults;
use crate::link::Direction;
use crate::status::Status;

/// A request to the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Everything there is to know; answered by [`Answer::Status`].
    Status,
    /// Plug a cable in; nothing happens if it is.
    Plug {
        /// Name of the cable.
        cable: String,
    },
    /// Pull a cable out; nothing happens if it is.
    Unplug {
        /// Name of the cable.
        cable: String,
    },
    /// Replace the faults of one direction of a cable, or of both.
    SetFaults {
        /// Name of the cable.
        cable: String,
        /// The direction; both if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        direction: Option<Direction>,
        /// The faults.
        faults: Faults,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The answer to [`Request::Status`].
    Status(Status),
    /// It cannot be done.
    Error {
        /// Why.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::num::NonZeroU64;

    use super::*;
    use crate::fault::Flow;

    #[test]
    fn requests_read_as_documented() {
        let parse = |text| serde_json::from_str::<Request>(text);
        assert_eq!(parse(r#"{"op": "status"}"#).unwrap(), Request::Status);
        assert_eq!(
            parse(r#"{"op": "unplug", "cable": "c0"}"#).unwrap(),
            Request::Unplug { cable: "c0".into() }
        );
        let set = r#"{"op": "set-faults", "cable": "c0", "direction": "a-to-b",
            "faults": {"ring_rate": 1250, "lose_one_in": 10, "flow": "stalled"}}"#;
        assert_eq!(
            parse(set).unwrap(),
            Request::SetFaults {
                cable: "c0".into(),
                direction: Some(Direction::AToB),
                faults: Faults {
                    ring_rate: NonZeroU64::new(1250),
                    lose_one_in: NonZeroU32::new(10),
                    flow: Flow::Stalled,
                    ..Faults::default()
                }
            }
        );
        assert!(parse(r#"{"op": "explode"}"#).is_err());
        assert!(
            parse(r#"{"op": "set-faults", "cable": "c0", "faults": {"lose_one_in": 0}}"#).is_err()
        );
    }
}
