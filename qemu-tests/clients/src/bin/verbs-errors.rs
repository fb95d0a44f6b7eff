// SPDX-License-Identifier: GPL-2.0

//! Checks that a verbs device answers mistakes as the IBTA specification says.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use verbs_clients::bootstrap::Peer;
use verbs_clients::bootstrap::Side;
use verbs_clients::cli;
use verbs_clients::cli::DeviceArgs;
use verbs_clients::cli::OutputArgs;
use verbs_clients::cli::PeerArgs;
use verbs_clients::cli::Verdict;
use verbs_clients::endpoint::Device;
use verbs_clients::errors;
use verbs_clients::errors::case::Case;
use verbs_clients::errors::case::CaseReport;
use verbs_clients::errors::case::CaseResult;
use verbs_clients::errors::case::Env;
use verbs_clients::errors::hang;
use verbs_clients::errors::hang::HangReport;

const PROGRAM: &str = "verbs-errors";

/// The side channel waits longer than a case may, so that a failing case is reported as itself.
const SIDE_CHANNEL_FACTOR: u32 = 4;

/// Make the usual mistakes on purpose, and check that each gets the completion status, errno or
/// event that the specification names.
#[derive(Parser)]
#[command(name = PROGRAM, version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    #[command(flatten)]
    peer: PeerArgs,

    /// Run only the cases whose names contain this; may be repeated
    #[arg(long)]
    case: Vec<String>,

    /// Leave out the cases whose names contain this; may be repeated
    #[arg(long)]
    except: Vec<String>,

    /// In place of the cases, keep requests in flight for so many seconds, so that an end can be
    /// killed; "in flight" on standard error tells when; both ends need it
    #[arg(long, value_name = "SECONDS", value_parser = cli::seconds)]
    hang: Option<Duration>,

    /// Seconds to wait for a completion, an event or a state that must come
    #[arg(long, default_value = "10", value_parser = cli::seconds)]
    timeout: Duration,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    side: Side,
    device: String,
    gid: String,
    passed: usize,
    failed: usize,
    skipped: usize,
    cases: Vec<CaseReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hang: Option<HangReport>,
}

fn selected(args: &Args, side: Side, peer: &mut Peer) -> Result<Vec<Case>> {
    let wanted = |case: &Case| {
        let contains = |part: &String| case.name.contains(part.as_str());
        (args.case.is_empty() || args.case.iter().any(contains))
            && !args.except.iter().any(contains)
    };
    let names = errors::all()
        .into_iter()
        .filter(wanted)
        .map(|case| case.name)
        .collect();
    let names: Vec<String> = peer.agree(side, names)?;
    let cases: Vec<Case> = errors::all()
        .into_iter()
        .filter(|case| names.contains(&case.name))
        .collect();
    ensure!(!cases.is_empty(), "no case has such a name");
    ensure!(
        cases.len() == names.len(),
        "the peer has cases that this version does not"
    );
    Ok(cases)
}

fn run(args: &Args, side: Side, peer: &mut Peer) -> Result<Report> {
    let device = Device::open(&args.device)?;
    let path = device.agree_path(peer)?;
    let env = Env {
        device: &device,
        path: &path,
        side,
        limit: args.timeout,
    };
    let mut reports = Vec::new();
    let mut hang = None;
    match args.hang {
        Some(time) => hang = Some(hang::run(&env, peer, time, || eprintln!("in flight"))?),
        None => {
            for case in selected(args, side, peer)? {
                reports.push(case.run(&env, peer)?);
                // Events of one case must not be taken for the next one's.
                while device.context.async_event(Duration::ZERO)?.is_some() {}
            }
        }
    }
    let count = |result| {
        reports
            .iter()
            .filter(|report: &&CaseReport| report.result == result)
            .count()
    };
    Ok(Report {
        side,
        device: device.context.name().to_string(),
        gid: path.local.to_string(),
        passed: count(CaseResult::Pass),
        failed: count(CaseResult::Fail),
        skipped: count(CaseResult::Skip),
        cases: reports,
        hang,
    })
}

impl Verdict for Report {
    fn is_ok(&self) -> bool {
        self.failed == 0
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .cases
            .iter()
            .map(|case| {
                let result = match case.result {
                    CaseResult::Pass => "pass",
                    CaseResult::Skip => "skip",
                    CaseResult::Fail => "FAIL",
                };
                let reason = case
                    .reason
                    .as_ref()
                    .map_or(String::new(), |reason| format!(": {reason}"));
                format!("{result} {} ({:.2} s){reason}", case.name, case.seconds)
            })
            .collect();
        if let Some(hang) = &self.hang {
            lines.push(match &hang.ended_with {
                Some(status) => format!(
                    "{} requests completed, then {status} after {:.1} s",
                    hang.completed, hang.seconds_to_notice
                ),
                None => format!("{} requests completed, the peer lives", hang.completed),
            });
        }
        lines.push(format!(
            "{} {}: {} passed, {} failed, {} skipped",
            self.device, self.gid, self.passed, self.failed, self.skipped
        ));
        lines.join("\n")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let limit = args.timeout * SIDE_CHANNEL_FACTOR;
    let result = cli::run_ends(&args.peer, limit, |side, peer| run(&args, side, peer));
    cli::finish(PROGRAM, args.output, result)
}
