// SPDX-License-Identifier: GPL-2.0

//! Disks of another host with the checkers watching. A request takes long there, so there are few of them.

use super::nvme;
use super::outage;
use super::unbind::controller_unbound;
use super::Suite;
use super::Test;
use super::LAB;
use super::TEST_LIMIT;
use crate::suite::debug::watched;

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, TEST_LIMIT, run);
    watched(
        "storage-debug",
        Suite {
            name: "storage",
            lab: LAB,
            tests: vec![
                test("nvme-verify", nvme::verify_little),
                test("nvme-initiator-unloads", outage::initiator_unloads),
                // The last one: leaks are looked for after it.
                test("nvme-controller-unbound", controller_unbound),
            ],
        },
    )
}
