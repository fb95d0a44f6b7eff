// SPDX-License-Identifier: GPL-2.0

//! The user's view of RDMA over USB4 cables: what there is, what is wrong, how fast it is.
//!
//! [`host`] reads, by way of [`root`]; [`status`], [`check`], [`bench`] and [`report`] judge and show, each as a document and as text.

use std::fs;
use std::io;
use std::io::Write;

use anyhow::Context;
use anyhow::Result;

use bench::TestResult;
use check::Check;
use cli::Action;
use cli::BenchArgs;
use cli::CheckArgs;
use cli::Cli;
use cli::ReportArgs;
use cli::StatusArgs;
use exit::Exit;
use host::Host;
use host::Source;
use status::Status;

pub mod bench;
pub mod check;
pub mod cli;
pub mod columns;
pub mod exit;
pub mod host;
pub mod report;
pub mod root;
pub mod status;
pub mod style;
pub mod units;

/// Does what the command line says, on the host that `source` shows, and writes to `out`, which drops colours where there are to be none.
pub fn run(cli: &Cli, source: &Source, out: &mut dyn Write) -> Result<Exit> {
    match &cli.action {
        Action::Status(arguments) => run_status(arguments, source, out),
        Action::Check(arguments) => run_check(arguments, source, out),
        Action::Bench(arguments) => run_bench(arguments, source, out),
        Action::Report(arguments) => run_report(arguments, source, out),
    }
}

fn run_status(arguments: &StatusArgs, source: &Source, out: &mut dyn Write) -> Result<Exit> {
    let Some(pace) = arguments.watch else {
        let status = Status::look(source, status::MOMENT);
        match arguments.json {
            true => write_json(&status, out)?,
            false => status::text::write(&status, out)?,
        }
        return Ok(Exit::Well);
    };
    /// Clears the screen, where there is one.
    const CLEAR: &str = "\x1b[H\x1b[2J";
    loop {
        // Addresses come and go.
        let source = Source {
            root: source.root.clone(),
            addresses: host::address::of_this_host(),
        };
        let status = Status::look(&source, pace);
        if arguments.json {
            serde_json::to_writer(&mut *out, &status)?;
            writeln!(out)?;
        } else {
            let mut screen = CLEAR.as_bytes().to_vec();
            status::text::write(&status, &mut screen)?;
            out.write_all(&screen)?;
        }
        out.flush()?;
    }
}

fn run_check(arguments: &CheckArgs, source: &Source, out: &mut dyn Write) -> Result<Exit> {
    let check = Check::of(&Host::read(source));
    match arguments.json {
        true => write_json(&check, out)?,
        false => check::text::write(&check, out)?,
    }
    Ok(check.exit())
}

fn run_bench(arguments: &BenchArgs, source: &Source, out: &mut dyn Write) -> Result<Exit> {
    if arguments.serve {
        bench::server::serve(source, arguments.port, out)?;
        return Ok(Exit::Well);
    }
    let host = Host::read(source);
    let link = bench::Link::of(&host);
    let mut told = Ok(());
    let mut tell = |result: &TestResult| {
        if !arguments.json && told.is_ok() {
            told = bench::text::write_result(result, &link, out).and_then(|()| out.flush());
        }
    };
    let bench =
        bench::client::measure(&host, arguments.host.as_deref(), arguments.port, &mut tell)?;
    told?;
    match arguments.json {
        true => write_json(&bench, out)?,
        false => bench::text::write_end(&bench, out)?,
    }
    Ok(match bench.is_complete() {
        true => Exit::Well,
        false => Exit::Fault,
    })
}

fn run_report(arguments: &ReportArgs, source: &Source, out: &mut dyn Write) -> Result<Exit> {
    let report = report::report(source)?;
    let Some(file) = &arguments.output else {
        out.write_all(report.as_bytes())?;
        return Ok(Exit::Well);
    };
    fs::write(file, report).with_context(|| format!("write {}", file.display()))?;
    writeln!(
        out,
        "{} is written; read it before you attach it",
        file.display()
    )?;
    Ok(Exit::Well)
}

fn write_json(document: &impl serde::Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}
