// SPDX-License-Identifier: GPL-2.0

//! Options that the programs share.

use std::net::TcpListener;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;

/// Which device, port and GID to use.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Verbs device; may be left out when there is only one
    #[arg(long)]
    pub device: Option<String>,

    /// Port of the device
    #[arg(long, default_value_t = 1)]
    pub port: u8,

    /// GID table index; by default the RoCE v2 GID of a kind that both ends have: IPv4, then
    /// link-local, then other IPv6
    #[arg(long)]
    pub gid_index: Option<u8>,
}

/// Where the other end is.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct PeerArgs {
    /// Wait for the other end here (address:port); the other end's options rule
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Connect to the other end (host:port, [v6]:port, [fe80::1%if]:port)
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: Option<String>,

    /// Run both ends in this process, on one device
    #[arg(long)]
    pub loopback: bool,
}

/// Parses a duration given in seconds, fractions allowed.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Parses a size in bytes with an optional binary suffix K, M or G.
pub fn size(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected bytes, such as 4096, 64K, 16M or 1G".to_string())
}

/// Runs `end` for the side or sides that `args` ask for, and gives the client's result, or the only
/// one. A side that fails tells its peer.
pub fn run_ends<R, F>(args: &PeerArgs, limit: Duration, end: F) -> Result<R>
where
    R: Send,
    F: Fn(Side, &mut Peer) -> Result<R> + Sync,
{
    let run = |side: Side, mut peer: Peer| {
        let result = end(side, &mut peer);
        if let Err(error) = &result {
            peer.fail(error);
        }
        result
    };
    if let Some(address) = &args.listen {
        let listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        return run(Side::Server, Peer::accept(&listener, limit)?);
    }
    if let Some(address) = &args.connect {
        return run(Side::Client, Peer::connect(address, limit)?);
    }
    let (client, server) = Peer::pair(limit)?;
    thread::scope(|scope| {
        let server = scope.spawn(|| run(Side::Server, server));
        let client = run(Side::Client, client);
        let server = server
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the server's thread panicked")));
        match (client, server) {
            (Ok(client), Ok(_)) => Ok(client),
            (Ok(_), Err(server)) => Err(server.context("server side")),
            (Err(client), Ok(_)) => Err(client.context("client side")),
            (Err(client), Err(server)) => Err(anyhow::anyhow!(
                "client side: {client:#}; server side: {server:#}"
            )),
        }
    })
}

/// What a failed program prints with `--json`.
#[derive(Serialize)]
struct Failure<'a> {
    program: &'a str,
    ok: bool,
    error: String,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One JSON object on standard output.
    Json,
    /// Text for people.
    Text,
}

impl Output {
    /// From the `--json` flag.
    pub fn from_flag(json: bool) -> Self {
        if json {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// Prints a program's result and gives its exit status. `passed` tells from a report whether all it
/// contains is as it should be; `text` renders it for people.
pub fn finish<R: Serialize>(
    program: &str,
    output: Output,
    result: Result<R>,
    passed: impl Fn(&R) -> bool,
    text: impl Fn(&R) -> String,
) -> ExitCode {
    match (result, output) {
        (Ok(report), output) => {
            match output {
                Output::Json => match serde_json::to_string(&report) {
                    Ok(line) => println!("{line}"),
                    Err(error) => {
                        eprintln!("{program}: {error}");
                        return ExitCode::FAILURE;
                    }
                },
                Output::Text => println!("{}", text(&report)),
            }
            if passed(&report) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        (Err(error), output) => {
            eprintln!("{program}: {error:#}");
            if output == Output::Json {
                let failure = Failure {
                    program,
                    ok: false,
                    error: format!("{error:#}"),
                };
                if let Ok(line) = serde_json::to_string(&failure) {
                    println!("{line}");
                }
            }
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_suffixes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("16m"), Ok(16 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for text in ["", "K", "-1", "1T", "99999999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err());
        assert!(seconds("soon").is_err());
    }
}
