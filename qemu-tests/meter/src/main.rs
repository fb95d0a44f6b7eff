// SPDX-License-Identifier: GPL-2.0

//! Measures a byte stream between two hosts: a USB4STREAM device, or TCP.
//!
//! One end serves, the other measures, and prints one JSON object on one line for each thing measured.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use anyhow::Result;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

mod client;
mod order;
mod payload;
mod server;
mod wire;

use client::Task;
use order::Pattern;
use wire::Wire;

/// Measures a byte stream between two hosts.
#[derive(Parser)]
#[command(name = "lab-meter", version)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Does what the other end asks for, until it is done
    Serve {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        connections: Connections,
        /// Make this file once the other end may begin
        #[arg(long, value_name = "FILE")]
        ready: PathBuf,
    },
    /// Measures
    Measure {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        connections: Connections,
        /// What to measure, each as PATTERN:BYTES, where PATTERN is `bulk`, `ping-pong` or `duplex`
        #[arg(required = true, value_parser = task)]
        tasks: Vec<Task>,
        /// How often each is measured
        #[arg(long, default_value_t = 1)]
        repeats: u32,
        /// How many messages on each connection [default: as many as take a fair time]
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=client::MOST))]
        count: Option<u64>,
    },
}

/// Where the other end is.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// At the end of this USB4STREAM device
    #[arg(long, value_name = "DEVICE")]
    stream: Option<PathBuf>,
    /// Over TCP; the address to listen on or to connect to
    #[arg(long, value_name = "ADDRESS:PORT")]
    tcp: Option<String>,
}

/// How many connections there are to it.
#[derive(Args)]
struct Connections {
    /// Number of TCP connections, all in use at once
    #[arg(long, default_value_t = 1, conflicts_with = "stream", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
}

fn task(text: &str) -> Result<Task, String> {
    let (pattern, bytes) = text.split_once(':').ok_or("expected PATTERN:BYTES")?;
    let bytes: u32 = bytes.parse().map_err(|error| format!("{error}"))?;
    if bytes == 0 || bytes > order::MOST_BYTES {
        return Err(format!("a message has 1 to {} bytes", order::MOST_BYTES));
    }
    Ok(Task {
        pattern: Pattern::from_str(pattern, false)?,
        bytes,
    })
}

fn run(role: Role) -> Result<()> {
    match role {
        Role::Serve {
            place,
            connections,
            ready,
        } => {
            let ready = || std::fs::write(&ready, []).context("say that the server is ready");
            let wires = match (place.stream, place.tcp) {
                (Some(device), _) => {
                    let wire = Wire::stream(&device)?;
                    ready()?;
                    vec![wire]
                }
                (None, address) => {
                    let address = address.unwrap_or_default();
                    Wire::accept(&address, connections.connections, ready)?
                }
            };
            server::run(&wires)
        }
        Role::Measure {
            place,
            connections,
            tasks,
            repeats,
            count,
        } => {
            let wires = match (place.stream, place.tcp) {
                (Some(device), _) => vec![Wire::stream(&device)?],
                (None, address) => {
                    let address = address.unwrap_or_default();
                    let connect = |_| Wire::connect(&address);
                    let wires: Result<_> = (0..connections.connections).map(connect).collect();
                    wires?
                }
            };
            client::run(&wires, &tasks, repeats, count)
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-meter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_a_pattern_and_a_size() {
        let found = task("ping-pong:64").unwrap();
        assert_eq!((found.pattern, found.bytes), (Pattern::PingPong, 64));
        for wrong in ["bulk", "bulk:0", "bulk:x", "heap:64", "bulk:999999999"] {
            assert!(task(wrong).is_err(), "{wrong}");
        }
    }
}
