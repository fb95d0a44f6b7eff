// SPDX-License-Identifier: GPL-2.0

//! The QEMU plugin which counts the hosts' instructions, built in the root beside its QEMU.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::root::Root;
use crate::building::root_cargo::Crate;

/// Builds the plugin.
pub fn build(cache: &Cache, root: &Root, checkout: &Path) -> Result<PathBuf> {
    let source = checkout.join("qemu-tests/instruction-counter");
    let plugin = Crate {
        source: &source,
        vendor: None,
    };
    let results = plugin.build(cache, root)?;
    Ok(results.join("libinstruction_counter.so"))
}
