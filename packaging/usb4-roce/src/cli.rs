// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

/// RDMA over USB4 cables: what there is, what is wrong, how fast it is
#[derive(Debug, Parser)]
#[command(
    name = "usb4-roce",
    version,
    propagate_version = true,
    after_help = "Colours are for terminals only, and not with NO_COLOR in the environment."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show device, addresses, peers, rails, and what they move now
    ///
    /// Rails have a line each. LINK is what the cable has been trained to, as the thunderbolt core says; LOST counts frames that were
    /// sent again, BAD those that arrived damaged, OUT NOW and IN NOW are measured for half a second. Without root, rails have no more
    /// than names.
    Status(StatusArgs),
    /// Check the whole chain from the kernel to what programs need, and say what to do
    ///
    /// Each link of the chain has a line. What is wrong is followed by what to do about it, and by the commands which do it. What only
    /// root can find out is said to need root, and is no fault.
    #[command(after_help = "\
Exit status:
  0  no fault was found; there may be warnings
  1  there is a fault
  2  no fault was found, but not all could be found out; or the arguments make no sense")]
    Check(CheckArgs),
    /// Measure bandwidth and latency between two hosts, by perftest
    ///
    /// Run `usb4-roce bench --serve` on one host, and `usb4-roce bench HOST` on the other, where HOST is the first one's address or name on
    /// the cable. It takes less than a minute. The server answers on addresses of the cable only, until it is interrupted.
    #[command(after_help = "\
Exit status:
  0  all was measured
  1  something could not be measured
  2  the arguments make no sense, or perftest or the device is missing")]
    Bench(BenchArgs),
    /// Write what to attach to a bug report, with names and addresses replaced
    ///
    /// Host names, UUIDs, GUIDs, MAC and IP addresses are replaced by placeholders, the same one for the same thing. Read the file before
    /// you attach it. As root there is more in it.
    Report(ReportArgs),
}

/// Of `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Write a JSON document; with --watch, one a line
    #[arg(long)]
    pub json: bool,
    /// Show it again every so many seconds, 2 if not said, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    pub watch: Option<Duration>,
}

/// Of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Write a JSON document
    #[arg(long)]
    pub json: bool,
}

/// Of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// The host that serves: its address on the cable, or a name of it. Not needed where there is one other host, and both have link-local
    /// IPv6 addresses made of their MAC addresses
    pub host: Option<String>,
    /// Serve the other host's measurements
    #[arg(long, conflicts_with_all = ["host", "json"])]
    pub serve: bool,
    /// Write a JSON document
    #[arg(long)]
    pub json: bool,
    /// TCP port by which the two agree; perftest uses those behind it
    #[arg(long, default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..=i64::from(u16::MAX) - 1))]
    pub port: u16,
}

/// Of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Where to write it; standard output if not said
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// TCP port by which the two ends of a measurement agree: before perftest's own.
pub const DEFAULT_PORT: u16 = 18514;

/// Seconds, of which there may be a part.
fn seconds(text: &str) -> Result<Duration, String> {
    const LEAST: f64 = 0.1;
    const MOST: f64 = 86400.0;
    match text.parse::<f64>() {
        Ok(seconds) if (LEAST..=MOST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "a number of seconds from {LEAST} to {MOST} is needed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_parser_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn watching_has_a_pace() {
        for (line, expected) in [
            ("usb4-roce status", None),
            ("usb4-roce status --watch", Some(2.0)),
            ("usb4-roce status --watch 0.5 --json", Some(0.5)),
        ] {
            let Action::Status(status) = parse(line).unwrap().action else {
                panic!("{line} is no status");
            };
            assert_eq!(status.watch.map(|pace| pace.as_secs_f64()), expected);
        }
        for pace in ["0", "-1", "x", "inf", "NaN", "1e9"] {
            assert!(
                parse(&format!("usb4-roce status --watch={pace}")).is_err(),
                "{pace}"
            );
        }
    }

    #[test]
    fn nonsense_has_the_status_of_nonsense() {
        for line in [
            "usb4-roce",
            "usb4-roce chek",
            "usb4-roce bench --serve b",
            "usb4-roce bench --port 0 b",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
