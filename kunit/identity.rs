// SPDX-License-Identifier: GPL-2.0

//! Who the hosts of the suites are.

use crate::transport::frame::MAX_PAYLOAD;
use crate::transport::limits::Limits;
use crate::transport::rail::hello::Features;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::NodeGuid;
use crate::transport::rail::hello::NODE_NAME_LEN;

/// Host `number`, which is not 0.
pub(crate) const fn identity(number: u8) -> Identity {
    Identity {
        node_guid: NodeGuid(number as u64),
        mac: [2, 0, 0, 0, 0, number],
        features: Features::FAST_CRC32C,
        limits: Limits {
            max_payload: MAX_PAYLOAD,
            window: 256,
            max_rd_atomic: 16,
        },
        name: [0; NODE_NAME_LEN],
    }
}
