// SPDX-License-Identifier: GPL-2.0

//! Keeping a build directory's sources the same as the checkout's, without touching what did not change.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

/// Whether the file `name` is a product of a kernel build: neither copied nor removed.
fn is_product(name: &OsStr) -> bool {
    const SUFFIXES: [&str; 10] = [
        ".o",
        ".ko",
        ".mod",
        ".mod.c",
        ".cmd",
        ".d",
        ".order",
        ".symvers",
        "_generated.rs",
        "_generated.h",
    ];
    let name = name.to_string_lossy();
    name.starts_with('.') || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Makes the source files below `to` those below `from`, for each of `parts` (files or directories).
/// A part that is missing in `from` is removed.
pub fn update(from: &Path, to: &Path, parts: &[&str]) -> Result<()> {
    let mut kept = HashSet::new();
    for part in parts {
        copy(from, to, Path::new(part), &mut kept)?;
    }
    for part in parts {
        prune(to, Path::new(part), &kept)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, part: &Path, kept: &mut HashSet<PathBuf>) -> Result<()> {
    let source = from.join(part);
    let target = to.join(part);
    if source.is_dir() {
        fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
        for entry in fs::read_dir(&source).with_context(|| format!("list {}", source.display()))? {
            let name = entry
                .with_context(|| format!("list {}", source.display()))?
                .file_name();
            if !is_product(&name) {
                copy(from, to, &part.join(name), kept)?;
            }
        }
    } else if source.exists() {
        let content = fs::read(&source).with_context(|| format!("read {}", source.display()))?;
        // An unchanged file keeps its time, so make does not build it again.
        if fs::read(&target).ok().as_ref() != Some(&content) {
            fs::write(&target, content).with_context(|| format!("write {}", target.display()))?;
        }
        kept.insert(part.to_owned());
    }
    Ok(())
}

fn prune(to: &Path, part: &Path, kept: &HashSet<PathBuf>) -> Result<()> {
    let target = to.join(part);
    if target.is_dir() {
        for entry in fs::read_dir(&target).with_context(|| format!("list {}", target.display()))? {
            let name = entry
                .with_context(|| format!("list {}", target.display()))?
                .file_name();
            if !is_product(&name) {
                prune(to, &part.join(name), kept)?;
            }
        }
    } else if target.exists() && !kept.contains(part) {
        fs::remove_file(&target).with_context(|| format!("remove {}", target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_follow_and_products_stay() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("src/deep")).unwrap();
        fs::create_dir_all(&to).unwrap();
        for (file, content) in [("Kbuild", "k"), ("src/a.rs", "a"), ("src/deep/b.rs", "b")] {
            fs::write(from.join(file), content).unwrap();
        }
        fs::write(from.join("src/stray.o"), "o").unwrap();
        let parts = ["Kbuild", "src", "gone"];
        update(&from, &to, &parts).unwrap();
        assert_eq!(fs::read_to_string(to.join("src/deep/b.rs")).unwrap(), "b");
        assert!(!to.join("src/stray.o").exists());

        let time = |file: &str| fs::metadata(to.join(file)).unwrap().modified().unwrap();
        let unchanged = time("src/a.rs");
        fs::write(to.join("src/a.o"), "product").unwrap();
        fs::remove_file(from.join("src/deep/b.rs")).unwrap();
        fs::write(from.join("Kbuild"), "changed").unwrap();
        update(&from, &to, &parts).unwrap();
        assert!(!to.join("src/deep/b.rs").exists());
        assert!(to.join("src/a.o").exists());
        assert_eq!(time("src/a.rs"), unchanged);
        assert_eq!(fs::read_to_string(to.join("Kbuild")).unwrap(), "changed");
    }
}
