// SPDX-License-Identifier: GPL-2.0

//! How a test of others' programs ended on a device.

use std::fmt;

use anyhow::bail;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Well.
    Pass,
    /// The program found that the device cannot do that, or the host lacks something.
    Skip,
    /// Something is not as it should be.
    Fail,
    /// The program met an error that it did not expect.
    Error,
    /// Not within its time limit.
    Hang,
    /// With a signal, or without a word.
    Crash,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Pass,
        Self::Skip,
        Self::Fail,
        Self::Error,
        Self::Hang,
        Self::Crash,
    ];

    /// What it is called in tables and contracts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Hang => "hang",
            Self::Crash => "crash",
        }
    }

    /// The verdict of that name.
    pub fn named(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|verdict| verdict.name() == name) {
            Some(verdict) => Ok(verdict),
            None => bail!("{name:?} is no verdict"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a test ended, and what it said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How.
    pub verdict: Verdict,
    /// Why, in the program's own words, on one line.
    pub words: String,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words.as_str() {
            "" => self.verdict.fmt(f),
            words => write!(f, "{}: {words}", self.verdict),
        }
    }
}
