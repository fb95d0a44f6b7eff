// SPDX-License-Identifier: GPL-2.0

//! What is found of one link of the chain.

use serde::Serialize;

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check, for scripts.
    pub check: &'static str,
    /// What it is about, where there can be several: a cable, a rail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How it looks.
    pub verdict: Verdict,
    /// What was found.
    pub says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

/// How a link looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// It works, but not as well or as safely as it could.
    Warning,
    /// It keeps things from working.
    Fault,
    /// Only root can tell.
    NeedsRoot,
    /// It could not be found out.
    Unknown,
    /// Something before it has to be put right first.
    Skipped,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// In a sentence or two.
    pub text: String,
    /// Commands that do it, on this host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, says: impl Into<String>) -> Self {
        Self {
            check,
            subject: None,
            verdict,
            says: says.into(),
            remedy: None,
        }
    }

    /// Nothing is wrong.
    pub fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, says)
    }

    /// It could be better.
    pub fn warning(check: &'static str, says: impl Into<String>, remedy: Remedy) -> Self {
        Self {
            remedy: Some(remedy),
            ..Self::new(check, Verdict::Warning, says)
        }
    }

    /// It does not work.
    pub fn fault(check: &'static str, says: impl Into<String>, remedy: Remedy) -> Self {
        Self {
            remedy: Some(remedy),
            ..Self::new(check, Verdict::Fault, says)
        }
    }

    /// Only root can tell what `what` is.
    pub fn needs_root(check: &'static str, what: &str) -> Self {
        Self::new(check, Verdict::NeedsRoot, format!("{what}: needs root"))
    }

    /// It could not be found out.
    pub fn unknown(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Unknown, says)
    }

    /// It makes no sense to look, for that reason.
    pub fn skipped(check: &'static str, why: &str) -> Self {
        Self::new(check, Verdict::Skipped, why)
    }

    /// The same, about `subject`.
    pub fn about(self, subject: &str) -> Self {
        Self {
            subject: Some(subject.to_owned()),
            ..self
        }
    }
}

impl Remedy {
    /// What to do, without a command.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            commands: Vec::new(),
        }
    }

    /// The same, by `command`.
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// The same, by `command` if there is one.
    pub fn run_if_known(self, command: Option<&str>) -> Self {
        match command {
            Some(command) => self.run(command),
            None => self,
        }
    }
}
