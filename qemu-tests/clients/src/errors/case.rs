// SPDX-License-Identifier: GPL-2.0

//! What a case is, and running one at both ends.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use nix::errno::Errno;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint::Device;
use crate::endpoint::Path;
use crate::verbs;

/// What every case is given.
pub struct Env<'e> {
    /// The device of this end.
    pub device: &'e Device,
    /// The way to the other end.
    pub path: &'e Path,
    /// Which end this is.
    pub side: Side,
    /// How long to wait for something that must happen.
    pub limit: Duration,
}

/// How a case ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Pass,
    /// It cannot be run here, and why.
    Skip(String),
}

type Body = Box<dyn Fn(&Env<'_>, &mut Peer) -> Result<Outcome> + Sync>;

/// A named mistake with its expected answer.
pub struct Case {
    /// Unique; what reports and `--case` use.
    pub name: String,
    body: Body,
}

impl Case {
    /// A case that both ends take part in.
    pub fn new(
        name: impl Into<String>,
        body: impl Fn(&Env<'_>, &mut Peer) -> Result<Outcome> + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            body: Box::new(body),
        }
    }

    /// A case without a peer; it runs at the client.
    pub fn local(
        name: impl Into<String>,
        body: impl Fn(&Env<'_>) -> Result<Outcome> + Sync + 'static,
    ) -> Self {
        Self::new(name, move |env, _| match env.side {
            Side::Client => body(env),
            Side::Server => Ok(Outcome::Pass),
        })
    }

    /// Runs at this end, and joins both ends' verdicts.
    pub fn run(&self, env: &Env<'_>, peer: &mut Peer) -> Result<CaseReport> {
        let start = Instant::now();
        let result = (self.body)(env, peer);
        if let Err(error) = &result {
            peer.fail(error);
        }
        let ours = Verdict::new(result);
        let theirs: Verdict = peer.end_step(&ours)?;
        let (client, server) = match env.side {
            Side::Client => (ours, theirs),
            Side::Server => (theirs, ours),
        };
        let reason = [("client", &client), ("server", &server)]
            .into_iter()
            .filter_map(|(side, verdict)| Some(format!("{side}: {}", verdict.reason.as_ref()?)))
            .collect::<Vec<_>>()
            .join("; ");
        Ok(CaseReport {
            name: self.name.clone(),
            result: client.result.max(server.result),
            reason: (!reason.is_empty()).then_some(reason),
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// A verdict's kind; the worse of two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseResult {
    /// The device did what it should.
    Pass,
    /// The case could not be run.
    Skip,
    /// The device did something else.
    Fail,
}

#[derive(Serialize, Deserialize)]
struct Verdict {
    result: CaseResult,
    reason: Option<String>,
}

impl Verdict {
    fn new(result: Result<Outcome>) -> Self {
        match result {
            Ok(Outcome::Pass) => Self {
                result: CaseResult::Pass,
                reason: None,
            },
            Ok(Outcome::Skip(reason)) => Self {
                result: CaseResult::Skip,
                reason: Some(reason),
            },
            Err(error) => Self {
                result: CaseResult::Fail,
                reason: Some(format!("{error:#}")),
            },
        }
    }
}

/// How a case ended, for both ends together.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// The case.
    pub name: String,
    /// The verdict.
    pub result: CaseResult,
    /// Why, unless it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time it took.
    pub seconds: f64,
}

/// Checks that a call was refused with one of `errnos`.
pub fn expect_errno<T>(result: verbs::Result<T>, errnos: &[Errno]) -> Result<()> {
    match result {
        Ok(_) => anyhow::bail!("succeeded; expected one of {errnos:?}"),
        Err(error) => {
            ensure!(
                errnos.contains(&error.errno()),
                "{error}; expected one of {errnos:?}"
            );
            Ok(())
        }
    }
}
