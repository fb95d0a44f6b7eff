// SPDX-License-Identifier: GPL-2.0

//! The module's formatting and lints: it has to build without a single warning, of whichever tool.

use std::fs;
use std::path::Path;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use crate::building::cache::Cache;
use crate::building::cache::Key;
use crate::building::kernel_tree::KernelTree;
use crate::building::mirror_tree;
use crate::building::module;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;

/// Runs rustfmt of the kernel's Rust over all sources.
const FORMAT: &str =
    "find . -name '*.rs' ! -name '*_generated.rs' -exec rustfmt --check --edition 2021 {} +";

/// How each tool of a kernel build begins or marks a warning, in lower case.
const WARNING: &str = "warning: ";

/// Lines shown from each warning on.
const EXCERPT: usize = 8;

/// Checks the module's sources in `checkout`: their formatting, and that they build for `tree` with clippy and
/// without a warning.
pub fn check(cache: &Cache, root: &Root, tree: &KernelTree, checkout: &Path) -> Result<()> {
    let place = checkout.display().to_string();
    let key = Key::new("lint", &[tree.key.as_str(), &place]);
    let (directory, _lock) = cache.workshop(&key)?;
    mirror_tree::update(checkout, &directory, &module::PARTS)?;

    let log = directory.with_extension("log");
    let sources = Bind::new(&directory, "module", Access::ReadOnly);
    root.run(&["sh", "-c", FORMAT], vec![sources], "/lab/module", &log)
        .context("the module's formatting")?;

    let built = module::make(root, tree, &directory, &["CLIPPY=1"], &log);
    let text = fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
    let found = warnings(&text);
    if built.is_err() || !found.is_empty() {
        // Only a file that is compiled is warned about: the next check must compile it again.
        fs::remove_dir_all(&directory)
            .with_context(|| format!("remove {}", directory.display()))?;
    }
    built?;
    if !found.is_empty() {
        bail!("the module builds with warnings:\n{}", found.join("\n"));
    }
    Ok(())
}

/// The warnings in the log of a build, each with the lines that follow it.
fn warnings(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let is_warning = |line: &&str| line.to_lowercase().contains(WARNING);
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(skip) = lines[next..].iter().position(is_warning) {
        let end = lines.len().min(next + skip + EXCERPT);
        found.push(lines[next + skip..end].join("\n"));
        next = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_heard() {
        for line in [
            "warning: unused import: `x`",
            "src/x.c:1:2: warning: unused variable [-Wunused-variable]",
            "x.o: warning: objtool: f() falls through to next function g()",
            "WARNING: modpost: missing MODULE_DESCRIPTION()",
        ] {
            assert_eq!(warnings(line), [line]);
        }
    }

    #[test]
    fn a_quiet_build_has_none() {
        let log = "  RUSTC [M] x.o\nSkipping BTF generation for x.ko\n  CC [M]  warning.o\n";
        assert_eq!(warnings(log), Vec::<String>::new());
    }

    #[test]
    fn all_warnings_are_found() {
        let log = "warning: x\n".repeat(3 * EXCERPT);
        assert_eq!(warnings(&log).len(), 3);
    }
}
