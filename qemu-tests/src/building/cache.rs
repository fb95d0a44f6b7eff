// SPDX-License-Identifier: GPL-2.0

//! Where the lab keeps what takes long to make.
//!
//! An entry is named after a hash of everything that determines its content, so it never changes once
//! it is there. It is built under another name and renamed: a half-built entry is never used.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use rustix::fs::flock;
use rustix::fs::FlockOperation;
use sha2::Digest;
use sha2::Sha256;

use crate::building::progress::Step;

/// Digits of a hash in a name.
const DIGITS: usize = 16;

/// Suffix of an entry being built.
const PARTIAL: &str = "partial";

/// Identifies an entry: its kind, and everything that determines its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key of `kind` over `inputs`.
    pub fn new<S: AsRef<[u8]>>(kind: &str, inputs: &[S]) -> Self {
        let mut hash = Sha256::new();
        for input in inputs {
            let input = input.as_ref();
            // With the length, inputs cannot run into each other.
            hash.update((input.len() as u64).to_le_bytes());
            hash.update(input);
        }
        let digits: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self(format!("{kind}-{}", &digits[..DIGITS]))
    }

    /// The key as text, an input to keys of what is made from the entry.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A lock on a directory of the cache, held until it is dropped.
pub struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

/// What becomes of an entry that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is made, however long that takes.
    Make,
    /// That is an error.
    Refuse,
}

/// The cache.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
    missing: Missing,
}

impl Cache {
    /// The cache in `directory`, which is made if need be.
    pub fn open(directory: PathBuf, missing: Missing) -> Result<Self> {
        fs::create_dir_all(&directory)
            .with_context(|| format!("create the cache {}", directory.display()))?;
        Ok(Self { directory, missing })
    }

    /// Where running labs are.
    pub fn instances(&self) -> PathBuf {
        self.directory.join("instances")
    }

    /// Where test runs leave their logs.
    pub fn runs(&self) -> PathBuf {
        self.directory.join("runs")
    }

    /// Where cargo builds the lab's programs.
    pub fn target(&self) -> PathBuf {
        self.directory.join("target")
    }

    /// A directory for a build which is repeated and does only what is new. Lock it before use.
    pub fn workshop(&self, key: &Key) -> Result<(PathBuf, Lock)> {
        let lock = self.lock(key)?;
        let path = self.directory.join(&key.0);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok((path, lock))
    }

    /// The entry `key`, made by `build` in an empty directory if it is not there.
    /// `space` is how many bytes it takes, to fail early on a full disk.
    pub fn entry(
        &self,
        key: &Key,
        what: &str,
        space: u64,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.directory.join(&key.0);
        if path.exists() {
            return Ok(path);
        }
        if self.missing == Missing::Refuse {
            bail!("this would have to be made first: {what}");
        }
        let _lock = self.lock(key)?;
        if path.exists() {
            // Someone else made it meanwhile.
            return Ok(path);
        }
        self.remove_interrupted()?;
        self.check_space(space)?;
        let step = Step::begin(what);
        let partial = path.with_extension(PARTIAL);
        if partial.exists() {
            remove(&partial)?;
        }
        fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
        if let Err(error) = build(&partial) {
            // The cause matters more than what is left of the build; the next one removes that.
            let _ = remove(&partial);
            return Err(error).context(what.to_owned());
        }
        fs::rename(&partial, &path)
            .with_context(|| format!("rename {} to its final name", partial.display()))?;
        step.done();
        Ok(path)
    }

    fn lock(&self, key: &Key) -> Result<Lock> {
        let path = self.directory.join(format!("{}.lock", key.0));
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!("lab: waiting for another lab, which is making {}", key.0);
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("lock {}", path.display()))?;
        }
        Ok(Lock(file))
    }

    /// Removes what interrupted builds left: partial entries nobody holds the lock of.
    fn remove_interrupted(&self) -> Result<()> {
        let directory = &self.directory;
        let entries =
            fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
        for entry in entries {
            let path = entry.context("list the cache")?.path();
            if path
                .extension()
                .is_none_or(|extension| extension != PARTIAL)
            {
                continue;
            }
            let lock = path.with_extension("lock");
            let file = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn check_space(&self, needed: u64) -> Result<()> {
        const MIB: u64 = 1 << 20;
        let directory = self.directory.display();
        let disk = rustix::fs::statvfs(&self.directory)
            .with_context(|| format!("look for free space in {directory}"))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < needed {
            bail!(
                "{directory} has {} MiB left, {} MiB are needed: make room or choose another directory with --cache",
                free / MIB,
                needed / MIB
            );
        }
        Ok(())
    }
}

/// Removes a directory. A root under construction may still have mounts in the namespace of a killed
/// build, never in ours, so this stays within the directory.
fn remove(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_inputs_apart() {
        let key = |inputs: &[&str]| Key::new("kind", inputs);
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["ab"]));
        assert_ne!(key(&["a", "b"]), key(&["b", "a"]));
        assert_ne!(key(&["a"]), Key::new("other", &["a"]));
        assert!(key(&[]).as_str().starts_with("kind-"));
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path().join("cache"), Missing::Make).unwrap();
        (directory, cache)
    }

    #[test]
    fn an_entry_is_built_once() {
        let (_directory, cache) = cache();
        let key = Key::new("kind", &["x"]);
        let build = |path: &Path| Ok(fs::write(path.join("file"), "content")?);
        let path = cache.entry(&key, "build", 0, build).unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "content");
        let again = cache.entry(&key, "build", 0, |_| panic!("it is there"));
        assert_eq!(again.unwrap(), path);
    }

    #[test]
    fn a_failed_build_leaves_nothing() {
        let (_directory, cache) = cache();
        let key = Key::new("kind", &["x"]);
        let failed = cache.entry(&key, "build", 0, |path| {
            fs::write(path.join("file"), "half")?;
            bail!("no network")
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("no network"));
        let path = cache.entry(&key, "build", 0, |_| Ok(())).unwrap();
        assert!(!path.join("file").exists());
    }

    #[test]
    fn interrupted_builds_are_removed_by_the_next() {
        let (_directory, cache) = cache();
        let left = cache.directory.join("other-0123.partial");
        fs::create_dir_all(left.join("deep")).unwrap();
        let key = Key::new("kind", &["x"]);
        cache.entry(&key, "build", 0, |_| Ok(())).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn what_is_missing_may_be_refused() {
        let (_directory, cache) = cache();
        let key = Key::new("kind", &["x"]);
        let frozen = Cache {
            missing: Missing::Refuse,
            ..cache.clone()
        };
        let refused = frozen.entry(&key, "build it", 0, |_| panic!("must not begin"));
        assert!(refused.unwrap_err().to_string().contains("build it"));
        cache.entry(&key, "build it", 0, |_| Ok(())).unwrap();
        frozen
            .entry(&key, "build it", 0, |_| panic!("it is there"))
            .unwrap();
    }

    #[test]
    fn a_full_disk_is_noticed_before_the_build() {
        let (_directory, cache) = cache();
        let key = Key::new("kind", &["x"]);
        let refused = cache.entry(&key, "build", u64::MAX, |_| panic!("must not begin"));
        assert!(format!("{:#}", refused.unwrap_err()).contains("MiB are needed"));
    }
}
