// SPDX-License-Identifier: GPL-2.0

//! The lab: Debian hosts with unmodified thunderbolt drivers, joined by software USB4 cables.

use std::process::ExitCode;

use clap::Parser;

mod accelerator;
mod agent;
mod all_reduce;
mod apt;
mod bench;
mod boot_kernel;
mod cache;
mod cli;
mod client_report;
mod clients;
mod contract;
mod daemon;
mod demo;
mod extent;
mod fabric;
mod forged;
mod host;
mod inquest;
mod instance;
mod instructions;
mod kernel_log;
mod kernel_tree;
mod lint;
mod mirror_tree;
mod module;
mod package;
mod programs;
mod progress;
mod qmp;
mod record;
mod roce;
mod root;
mod root_cargo;
mod run;
mod shell;
mod sleep;
mod stage;
mod streams;
mod suite;
mod table;
mod tool;
mod traffic;
mod within;
mod workbench;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
