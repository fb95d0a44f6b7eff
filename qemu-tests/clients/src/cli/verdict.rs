// SPDX-License-Identifier: GPL-2.0

//! What a program tells in the end.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use super::args::Output;
use super::OutputArgs;

/// A program's result.
pub trait Verdict: Serialize {
    /// Whether all in it is as it should be.
    fn is_ok(&self) -> bool {
        true
    }

    /// For people.
    fn text(&self) -> String;
}

/// What a program prints with `--json`.
#[derive(Serialize)]
struct Report<'a, R> {
    program: &'a str,
    ok: bool,
    #[serde(flatten)]
    result: R,
}

/// Why a program has no result.
#[derive(Serialize)]
struct Failure {
    error: String,
}

/// Prints a program's result and gives its exit status.
pub fn finish<R: Verdict>(program: &str, output: OutputArgs, result: Result<R>) -> ExitCode {
    match print(program, output.output(), result) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a program's result, and says whether it is as it should be.
fn print<R: Verdict>(program: &str, output: Output, result: Result<R>) -> Result<bool> {
    match result {
        Ok(result) => {
            let ok = result.is_ok();
            match output {
                Output::Json => print_json(&Report {
                    program,
                    ok,
                    result,
                })?,
                Output::Text => println!("{}", result.text()),
            }
            Ok(ok)
        }
        Err(error) => {
            eprintln!("{program}: {error:#}");
            if output == Output::Json {
                print_json(&Report {
                    program,
                    ok: false,
                    result: Failure {
                        error: format!("{error:#}"),
                    },
                })?;
            }
            Ok(false)
        }
    }
}

fn print_json(report: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}
