// SPDX-License-Identifier: GPL-2.0

//! pyverbs and its tests, of the release that the Debian root has, with the part of Python that the root lacks.
//!
//! They are not in the root itself: everything that is built in the root would be built anew.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::root::logged;
use crate::building::root::Root;
use crate::building::root::ARCHIVE_KEYS;
use crate::building::within::Access;
use crate::building::within::Bind;

/// The package.
const PACKAGE: &str = "python3-pyverbs";

/// Disk space in bytes, with room for apt's lists.
const SPACE: u64 = 300 << 20;

/// Unpacks the packages in `$1`, and puts what of them the hosts need into `$2`: Python and the libraries below `usr/lib`, the tests.
const UNPACK: &str = "\
mkdir $1/all
for package in $1/archives/*.deb; do dpkg-deb --extract $package $1/all; done
mkdir -p $2/usr/lib
mv $1/all/usr/lib/python3* $1/all/usr/lib/x86_64-linux-gnu $2/usr/lib/
mv $1/all/usr/share/doc/rdma-core/tests $2/tests
gunzip $2/tests/*.gz
find $2 -xtype l -delete";

/// Compiles what is in `/lab/pyverbs`, which hosts would do for each process. That it is theirs does not depend on times, which copies
/// do not keep.
const COMPILE: &str = "\
export PYTHONPATH=/lab/pyverbs/usr/lib/python3.13
python3 -m compileall -q --invalidation-mode unchecked-hash /lab/pyverbs";

/// The directory with it, made for `root` if it is not in the cache.
pub fn provide(cache: &Cache, root: &Root) -> Result<PathBuf> {
    let inputs = [PACKAGE, UNPACK, COMPILE, root.key.as_str()];
    let key = Key::new("pyverbs", &inputs);
    let path = cache.entry(&key, "fetch pyverbs and its tests", SPACE, |directory| {
        let log = directory.with_extension("log");
        let packages = directory.join("packages");
        let pyverbs = directory.join(NAME);
        download(root, &packages, &log)?;
        let mut unpack = Command::new("sh");
        unpack
            .args(["-ec", UNPACK, "sh"])
            .args([&packages, &pyverbs]);
        logged(&mut unpack, "unpack the packages", &log)?;
        fs::remove_dir_all(&packages).with_context(|| format!("remove {}", packages.display()))?;
        let binds = vec![Bind::new(&pyverbs, NAME, Access::ReadWrite)];
        root.run(&["sh", "-ec", COMPILE], binds, "/", &log)
    })?;
    Ok(path.join(NAME))
}

/// Name of the directory, in the cache's entry and in the hosts' share.
pub const NAME: &str = "pyverbs";

/// Downloads the package, and those it needs that `root` does not have, to `directory/archives`. By the host's apt, which knows how to reach
/// the mirror, on behalf of the root.
fn download(root: &Root, directory: &Path, log: &Path) -> Result<()> {
    for part in ["lists/partial", "archives/partial"] {
        let part = directory.join(part);
        fs::create_dir_all(&part).with_context(|| format!("create {}", part.display()))?;
    }
    let of_root = |path: &str| root.path.join(path);
    let nowhere = || PathBuf::from("/dev/null");
    let options = [
        ("Dir::State", directory.to_owned()),
        ("Dir::State::lists", directory.join("lists")),
        ("Dir::State::status", of_root("var/lib/dpkg/status")),
        ("Dir::Cache", directory.to_owned()),
        ("Dir::Cache::archives", directory.join("archives")),
        ("Dir::Etc::sourcelist", of_root("etc/apt/sources.list")),
        ("Dir::Etc::sourceparts", nowhere()),
        ("Dir::Etc::preferences", nowhere()),
        (
            "Dir::Etc::preferencesparts",
            of_root("etc/apt/preferences.d"),
        ),
        ("Dir::Etc::trusted", PathBuf::from(ARCHIVE_KEYS)),
        ("Dir::Etc::trustedparts", nowhere()),
    ];
    let actions: [&[&str]; 2] = [
        &["update"],
        &["install", "--yes", "--download-only", PACKAGE],
    ];
    for action in actions {
        let mut command = Command::new("apt-get");
        command.args(["--quiet", "--option=Debug::NoLocking=1"]);
        // Its user that downloads elsewhere may not write to the cache.
        command.args([
            "--option=APT::Sandbox::User=root",
            "--option=APT::Install-Recommends=0",
        ]);
        for (name, value) in &options {
            command.arg(format!("--option={name}={}", value.display()));
        }
        command
            .args(action)
            .env("DEBIAN_FRONTEND", "noninteractive");
        logged(&mut command, "apt-get", log)
            .with_context(|| format!("download {PACKAGE} of the root's release"))?;
    }
    Ok(())
}
