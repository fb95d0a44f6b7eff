// SPDX-License-Identifier: GPL-2.0

//! Programs that use verbs by way of a library: UCX, Open MPI and MPICH over it, libfabric, Gloo, llama.cpp's RPC, NCCL's IB transport.
//! What arrives is checked.

use std::time::Duration;

use anyhow::Result;

use super::Lab;
use super::Need;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::building::addition::Addition;
use crate::hosts::stage::Pair;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;

mod gloo;
mod libfabric;
mod llama_cpp;
mod mpi;
mod nccl;
mod sent;
mod ucx;

/// Time limit of a program.
const LIMIT: Duration = Duration::from_secs(500);

/// Port which servers listen on.
const PORT: u16 = 18700;

/// The hosts: of the server, and of its client.
const HOSTS: [&str; 2] = ["a", "b"];

/// The suites: the second builds a program that is not Debian's, the third takes what is not free software.
pub fn suites() -> [Suite; 3] {
    let test = |name, run| Test::new(name, LIMIT * 3, run).needing(Need::Speed);
    let suite = |name, addition, tests| Suite {
        name,
        lab: Lab {
            subject: Subject::Programs(addition),
            ..Lab::MODULE
        },
        tests,
    };
    [
        suite(
            "programs",
            Addition::Libraries,
            vec![
                test("ucx-tag", |s| ucx::check(s, "tag", ucx::OVER_TCP)),
                test("ucx-am", |s| ucx::check(s, "am", ucx::OVER_TCP)),
                test("ucx-put", |s| ucx::check(s, "put", ucx::OVER_TCP)),
                test("ucx-get", |s| ucx::check(s, "get", ucx::OVER_TCP)),
                test("ucx-atomics", |s| ucx::check(s, "atomics", ucx::OVER_TCP)),
                test("ucx-perftest", ucx::ucx_perftest),
                test("uct-perftest", ucx::uct_perftest),
                test("uct-atomics", ucx::uct_atomics),
                test("io-demo", ucx::io_demo),
                test("openmpi", mpi::openmpi),
                test("mpich", mpi::mpich),
                test("gloo", gloo::run),
                test("libfabric", |s| {
                    libfabric::pingpong(s, libfabric::CONNECTED)
                }),
                test("libfabric-rdm", |s| {
                    libfabric::pingpong(s, libfabric::UNCONNECTED)
                }),
                test("libfabric-rdm-tagged", |s| {
                    libfabric::pingpong(s, libfabric::TAGGED)
                }),
                test("ucx-datagrams-link-local-tag", |s| {
                    ucx::check(s, "tag", ucx::LINK_LOCAL_DATAGRAMS)
                }),
                test("ucx-datagrams-link-local-am", |s| {
                    ucx::check(s, "am", ucx::LINK_LOCAL_DATAGRAMS)
                }),
                test("ucx-datagrams-link-local-rma", |s| {
                    ucx::check_memory(s, ucx::LINK_LOCAL_DATAGRAMS)
                }),
                test("ucx-datagrams-tag", |s| {
                    ucx::check(s, "tag", ucx::DATAGRAMS)
                }),
                test("ucx-datagrams-am", |s| ucx::check(s, "am", ucx::DATAGRAMS)),
                test("ucx-datagrams-rma", |s| {
                    ucx::check_memory(s, ucx::DATAGRAMS)
                }),
                test("ucx-without-tcp", |s| {
                    ucx::check_all(s, ucx::OVER_DATAGRAMS)
                }),
            ],
        ),
        suite(
            "llama-programs",
            Addition::LlamaCpp,
            vec![test("rpc", llama_cpp::run)],
        ),
        suite(
            "nccl-programs",
            Addition::Nccl,
            vec![test("ib-transport", nccl::run)],
        ),
    ]
}

/// The part of a script that sets what `settings` has, one a line.
fn exports(settings: &str) -> String {
    let lines = settings.lines();
    lines.map(|line| format!("export {line}\n")).collect()
}

/// Runs `server` on the one host and, with the server's address behind it, `client` on the other, both after `preparation`. Gives what both
/// wrote, errors included, the client's first.
fn run(stage: &Stage<'_>, preparation: &str, server: &str, client: &str) -> Result<String> {
    let [server_host, client_host] = HOSTS;
    let address = roce::address(server_host);
    let (served, text) = stage.pair(&Pair {
        server_host,
        server: &format!("{preparation}exec 2>&1 {server}"),
        ready: Ready::Port(PORT),
        client_host,
        client: &format!("{preparation}exec 2>&1 {client} {address}"),
        limit: LIMIT,
    })?;
    Ok(format!("{text}\n{served}"))
}
