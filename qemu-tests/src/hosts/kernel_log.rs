// SPDX-License-Identifier: GPL-2.0

//! What the kernels of a lab's hosts say, and whether it is what healthy ones say.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::hosts::host::console_log;
use crate::hosts::instance::Instance;

mod allowed;
mod expectation;
mod health;
mod line;
mod scan;
mod watch;

pub use expectation::Expectation;
pub use expectation::Presence;
pub use watch::Watch;

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// The log of one host: its console, on which each line has its level.
#[derive(Clone, Debug)]
pub struct KernelLog {
    path: PathBuf,
}

/// A stretch of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// It.
    pub text: String,
    /// Where it ends.
    pub end: Mark,
}

impl KernelLog {
    /// The log of the host `name` of a lab.
    pub fn of(instance: &Instance, name: &str) -> Self {
        Self::new(console_log(instance.directory(), name))
    }

    /// The log in the file `path`.
    fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The place where it begins.
    pub fn start() -> Mark {
        Mark(0)
    }

    /// What was written since `mark`.
    pub fn since(&self, mark: Mark) -> Result<Stretch> {
        let content =
            fs::read(&self.path).with_context(|| format!("read {}", self.path.display()))?;
        Ok(stretch(&content, mark, content.len()))
    }

    /// What was written since `mark` up to the end of the line that contains `words`; `None` as long as there is no
    /// such line. The rest of the log is left for the next look.
    pub fn through(&self, mark: Mark, words: &str) -> Result<Option<Stretch>> {
        let content =
            fs::read(&self.path).with_context(|| format!("read {}", self.path.display()))?;
        let new = content.get(mark.0..).unwrap_or_default();
        let Some(found) = find(new, words.as_bytes()) else {
            return Ok(None);
        };
        let behind = found + words.len();
        let Some(rest) = find(&new[behind..], b"\n") else {
            return Ok(None);
        };
        Ok(Some(stretch(&content, mark, mark.0 + behind + rest + 1)))
    }
}

/// The first result; a kernel in trouble, which the second tells of, explains a failed test better than the test does.
pub fn both<T>(first: Result<T>, kernels: Result<()>) -> Result<T> {
    match (first, kernels) {
        (first, Ok(())) => first,
        (Ok(_), Err(trouble)) => Err(trouble),
        (Err(error), Err(trouble)) => Err(trouble.context(format!("{error:#}"))),
    }
}

/// `content` from `from` up to the byte `end`.
fn stretch(content: &[u8], from: Mark, end: usize) -> Stretch {
    let new = content.get(from.0..end).unwrap_or_default();
    Stretch {
        text: String::from_utf8_lossy(new).into_owned(),
        end: Mark(end),
    }
}

/// Where `part` begins in `whole`.
fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(content: &str) -> (tempfile::TempDir, KernelLog) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        fs::write(&path, content).unwrap();
        (directory, KernelLog::new(path))
    }

    #[test]
    fn only_what_is_new_is_read() {
        let (_directory, log) = log("old\n");
        let old = log.since(KernelLog::start()).unwrap();
        assert_eq!(old.text, "old\n");
        fs::write(&log.path, "old\nnew\n").unwrap();
        assert_eq!(log.since(old.end).unwrap().text, "new\n");
        assert_eq!(log.since(KernelLog::start()).unwrap().text, "old\nnew\n");
    }

    #[test]
    fn what_comes_behind_the_end_is_left_for_the_next_look() {
        let (_directory, log) = log("one\nend 1\nBUG: x\n");
        let first = log.through(KernelLog::start(), "end 1").unwrap().unwrap();
        assert_eq!(first.text, "one\nend 1\n");
        assert_eq!(log.since(first.end).unwrap().text, "BUG: x\n");
    }

    #[test]
    fn a_line_counts_when_it_is_whole() {
        let (_directory, log) = log("one\nend 1");
        assert_eq!(log.through(KernelLog::start(), "end 1").unwrap(), None);
        assert_eq!(log.through(KernelLog::start(), "end 2").unwrap(), None);
    }
}
