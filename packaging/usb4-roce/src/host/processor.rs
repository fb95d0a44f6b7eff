// SPDX-License-Identifier: GPL-2.0

//! How the processors' clocks are governed.

use std::collections::BTreeSet;

use crate::root::Root;

const PROCESSORS: &str = "/sys/devices/system/cpu";

/// The governors in use; none if clocks do not change.
pub fn governors(root: &Root) -> BTreeSet<String> {
    let processors = root.directories(PROCESSORS).into_iter();
    processors
        .filter_map(|name| root.value(&format!("{PROCESSORS}/{name}/cpufreq/scaling_governor")))
        .collect()
}
