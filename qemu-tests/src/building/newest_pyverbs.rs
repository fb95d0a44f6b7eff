// SPDX-License-Identifier: GPL-2.0

//! pyverbs and its tests, as new as Debian has them: in a root of their own, since they need newer libraries than the hosts'.

use std::path::PathBuf;

use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::container::Release;
use crate::building::minimal_root::MinimalRoot;

/// The root. It stays as it was when it was made.
const ROOT: MinimalRoot<'_> = MinimalRoot {
    release: Release::Sid.name(),
    // The tests run `ip`.
    packages: "python3-pyverbs,iproute2",
    kept: &["path-include=/usr/share/doc/rdma-core*"],
    finish: "gunzip \"$1\"/usr/share/doc/rdma-core/tests/*.gz",
};

/// Disk space in bytes, with room for apt's downloads.
const SPACE: u64 = 1 << 30;

/// Name of the directory with the root, in the cache's entry and in the hosts' share.
pub const NAME: &str = "pyverbs-newest";

/// Where the tests are in the root.
pub const TESTS: &str = "/usr/share/doc/rdma-core/tests";

/// The directory with it, made with packages from `mirror` (the host's, if none is named) if it is not in the cache. What makes roots
/// has to be installed.
pub fn provide(cache: &Cache, mirror: Option<&str>) -> Result<PathBuf> {
    let key = Key::new(NAME, &ROOT.inputs());
    let path = cache.entry(
        &key,
        "make a root with the newest pyverbs",
        SPACE,
        |entry| ROOT.make(&entry.join(NAME), mirror, &entry.with_extension("log")),
    )?;
    Ok(path.join(NAME))
}
