// SPDX-License-Identifier: GPL-2.0

//! Directories for the logs and results of runs.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use anyhow::Result;
use rustix::fs::flock;
use rustix::fs::FlockOperation;

use crate::building::cache::Cache;

/// Runs of which the logs are kept.
const KEPT_RUNS: usize = 10;

/// A directory for the logs and results of a run, which is not removed as long as this is there.
pub struct RunDirectory {
    path: PathBuf,
    /// Locked, so that other runs leave the directory alone.
    _claim: File,
}

impl RunDirectory {
    /// A new one. Those of old runs are removed.
    pub fn new(cache: &Cache) -> Result<Self> {
        let runs = cache.runs();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0, |now| now.as_secs());
        let path = runs.join(format!("{seconds}-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        let claim = claim(&path)?.with_context(|| format!("{} is in use", path.display()))?;
        remove_old(&runs)?;
        Ok(Self {
            path,
            _claim: claim,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Locks the directory of a run; `None` if it belongs to one that still runs.
fn claim(directory: &Path) -> Result<Option<File>> {
    let file = File::open(directory).with_context(|| format!("open {}", directory.display()))?;
    let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok(is_free.then_some(file))
}

/// Removes the logs of all but the newest runs, and of those that still run.
fn remove_old(runs: &Path) -> Result<()> {
    let entries = fs::read_dir(runs).with_context(|| format!("list {}", runs.display()))?;
    let mut found: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("list {}", runs.display()))?;
    // Their names begin with the time.
    found.sort();
    found.truncate(found.len().saturating_sub(KEPT_RUNS));
    for path in found {
        // Another run may be removing it just now.
        if let Ok(Some(_claim)) = claim(&path) {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_runs_go() {
        let directory = tempfile::tempdir().unwrap();
        for second in 100..100 + KEPT_RUNS + 2 {
            fs::create_dir(directory.path().join(format!("{second}-1"))).unwrap();
        }
        let running = claim(&directory.path().join("100-1")).unwrap();
        assert!(running.is_some());
        remove_old(directory.path()).unwrap();
        assert!(directory.path().join("100-1").exists());
        assert!(!directory.path().join("101-1").exists());
        assert!(directory.path().join("102-1").exists());
    }
}
