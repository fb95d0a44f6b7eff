// SPDX-License-Identifier: GPL-2.0

//! The lab: Debian hosts with unmodified thunderbolt drivers, joined by software USB4 cables.

use std::process::ExitCode;

use clap::Parser;

mod bench;
mod building;
mod hosts;
mod roce;
mod run;
mod storage;
mod suite;
mod terminal;

fn main() -> ExitCode {
    match terminal::cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
