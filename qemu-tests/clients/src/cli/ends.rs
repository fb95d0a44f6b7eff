// SPDX-License-Identifier: GPL-2.0

//! Programs with two ends.

use std::net::TcpListener;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;

use super::finish;
use super::EndsArgs;
use super::PeerArgs;
use super::Verdict;
use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint::Device;

/// Runs a program whose ends each do `end` with their device, and gives its exit status.
pub fn run<R, F>(program: &str, args: &EndsArgs, end: F) -> ExitCode
where
    R: Verdict + Send,
    F: Fn(&Device, Side, &mut Peer) -> Result<R> + Sync,
{
    let result = run_ends(&args.peer, args.timeout, |side, peer| {
        end(&Device::open(&args.device)?, side, peer)
    });
    finish(program, args.output, result)
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
