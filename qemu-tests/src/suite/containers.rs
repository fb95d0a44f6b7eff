// SPDX-License-Identifier: GPL-2.0

//! Older and newer user space than the hosts' over the one module, as it is in containers: in roots of their own, with nothing
//! of the device but its nodes, by a user without rights who may lock little memory.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::Lab;
use super::Need;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::building::container::Release;
use crate::building::container::VERIFY;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::client_report;
use crate::roce::programs::perftest_command;
use crate::roce::programs::pingpong_command;
use crate::roce::DEVICE;
use contained::Contained;
use contained::CLIENT;
use contained::PORT;
use contained::SERVER;
use posts::Interface;
use verdicts::Verdicts;

mod contained;
mod posts;
mod verdicts;

/// Time limit of all that is tried with one release. On native hosts it takes minutes.
const LIMIT: Duration = Duration::from_secs(3600);

/// Time limit of all pairs of releases.
const MIXED_LIMIT: Duration = Duration::from_secs(7200);

/// Memory that the user may lock, in KiB.
const LOCKABLE: u32 = 8 << 10;

/// A user without rights.
const NOBODY: u32 = 65534;

/// Programs of perftest that are run, and the bytes of a message.
const PERFTEST: [&str; 3] = [
    "ib_write_bw -s 65536",
    "ib_send_bw -s 65536",
    "ib_read_lat -s 64",
];

/// Messages of each of them, and of `ibv_rc_pingpong`.
const ITERATIONS: u32 = 300;

/// What the verifying client does: with longer messages it would have to lock more than it may.
const VERIFY_OPTIONS: &str = "--iterations 2 --max-message 256K";

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT, run).needing(Need::Speed);
    Suite {
        name: "containers",
        lab: Lab {
            subject: Subject::Containers,
            ..Lab::MODULE
        },
        tests: vec![
            test("bullseye", |s| one_release(s, Release::Bullseye)),
            test("bookworm", |s| one_release(s, Release::Bookworm)),
            test("trixie", |s| one_release(s, Release::Trixie)),
            test("sid", |s| one_release(s, Release::Sid)),
            Test {
                limit: MIXED_LIMIT,
                ..test("mixed", mixed)
            },
        ],
    }
}

/// Everything with both ends of `release`.
fn one_release(stage: &Stage<'_>, release: Release) -> Result<Outcome> {
    if !is_there(stage, release) {
        return Ok(Outcome::Passed);
    }
    let mut verdicts = Verdicts::default();
    let version = rdma_core(stage, release)?;
    for host in [SERVER, CLIENT] {
        let what = |program: &str| format!("{release}, host {host}: {program}");
        verdicts.judge(&what("no rights"), confined(stage, host, release));
        verdicts.judge(&what("ibv_devinfo"), devinfo(stage, host, release));
    }
    programs(stage, release, release, &mut verdicts);
    for interface in Interface::ALL {
        posts::try_all(stage, release, version, interface, &mut verdicts);
    }
    verdicts.conclude(stage)
}

/// Old against new: each release serves each other one.
fn mixed(stage: &Stage<'_>) -> Result<Outcome> {
    let there: Vec<Release> = Release::ALL
        .into_iter()
        .filter(|release| is_there(stage, *release))
        .collect();
    let mut verdicts = Verdicts::default();
    for &server in &there {
        for &client in there.iter().filter(|client| **client != server) {
            programs(stage, server, client, &mut verdicts);
        }
    }
    verdicts.conclude(stage)
}

/// Whether there is a root of `release`; if not, that is a skip.
fn is_there(stage: &Stage<'_>, release: Release) -> bool {
    let found = stage.instance().share().join(release.root()).exists();
    if !found {
        let reason = format!("the mirror has no Debian {release}");
        stage.skip(release.name(), &reason);
    }
    found
}

/// The version of rdma-core in the container of `release`.
fn rdma_core(stage: &Stage<'_>, release: Release) -> Result<u32> {
    let query = "dpkg-query --show libibverbs1 ibverbs-providers perftest libc6";
    let text = contained::run(stage, SERVER, release, query)?;
    version_of(&text).with_context(|| format!("no version of libibverbs1 in:\n{text}"))
}

/// The first number of the version of libibverbs1 in what `dpkg-query` wrote.
fn version_of(text: &str) -> Option<u32> {
    let version = text.lines().find_map(|line| {
        let (package, version) = line.split_once('\t')?;
        package.starts_with("libibverbs1").then_some(version)
    })?;
    version.split(['.', '~', '-']).next()?.parse().ok()
}

/// Programs in the container have no rights, little memory to lock, and no other processes around them.
fn confined(stage: &Stage<'_>, host: &str, release: Release) -> Result<String> {
    let look = "id -u; id -G; ulimit -l; grep CapBnd /proc/self/status; ls -d /proc/[0-9]* /lab 2> /dev/null | wc -l";
    let text = contained::run(stage, host, release, &format!("sh -c '{look}'"))?;
    let expected = format!("{NOBODY}\n{NOBODY}\n{LOCKABLE}\nCapBnd:\t0000000000000000\n");
    let processes = text.strip_prefix(&expected);
    // The shell, and the two that count.
    let processes = processes.and_then(|count| count.trim().parse::<u32>().ok());
    ensure!(processes.is_some_and(|count| count <= 3), "{text}");
    Ok(format!("{LOCKABLE} KiB to lock"))
}

fn devinfo(stage: &Stage<'_>, host: &str, release: Release) -> Result<String> {
    let command = format!("ibv_devinfo -v -d {DEVICE}");
    let info = contained::run(stage, host, release, &command)?;
    for part in ["PORT_ACTIVE", "link_layer:\t\tEthernet"] {
        ensure!(info.contains(part), "it does not say {part:?}:\n{info}");
    }
    Ok(String::new())
}

/// Runs each of the distribution's programs, and a client that verifies, with the server and the client of these releases.
fn programs(stage: &Stage<'_>, server: Release, client: Release, verdicts: &mut Verdicts) {
    let what = |program: &str| format!("{server} <- {client}: {program}");
    let run = |command: &str| {
        let ends = Contained {
            server,
            client,
            command,
        };
        ends.run(stage)
    };
    let options = format!("-n {ITERATIONS} -c");
    let pingpong = run(&pingpong_command(&options, PORT)).and_then(|output| {
        let end = format!("{ITERATIONS} iters");
        let result = output.lines().find(|line| line.contains(&end));
        let result = result.with_context(|| format!("not all was done:\n{output}"))?;
        Ok(result.to_owned())
    });
    verdicts.judge(&what("ibv_rc_pingpong"), pingpong);
    for program in PERFTEST {
        let command = format!("{program} -n {ITERATIONS}");
        let output = run(&perftest_command(&command, DEVICE, "$gid", PORT))
            .and_then(|output| perftest_result(&output));
        verdicts.judge(&what(program), output);
    }
    verdicts.judge(&what(VERIFY), verify(stage, server, client));
}

/// The figures in what a program of perftest wrote. They say what it has done; how fast that was, nobody judges here.
fn perftest_result(output: &str) -> Result<String> {
    let figures = |line: &str| {
        let words = line.split_whitespace().map(|word| word.parse::<f64>());
        words.collect::<Result<Vec<f64>, _>>().ok()
    };
    // A size, a number of iterations, and what was measured.
    let found = output.lines().find_map(|line| match figures(line)?[..] {
        [_, iterations, ref measured @ ..] if !measured.is_empty() => {
            Some((iterations, measured.to_vec()))
        }
        _ => None,
    });
    let (iterations, measured) = found.with_context(|| format!("no result:\n{output}"))?;
    ensure!(
        iterations == f64::from(ITERATIONS),
        "{iterations} iterations:\n{output}"
    );
    if !measured
        .iter()
        .all(|figure| figure.is_finite() && *figure > 0.0)
    {
        return Ok(
            "no figures: the machine was too busy for perftest to find out its clock's rate"
                .to_owned(),
        );
    }
    let words: Vec<String> = measured.iter().map(f64::to_string).collect();
    Ok(words.join(" "))
}

fn verify(stage: &Stage<'_>, server: Release, client: Release) -> Result<String> {
    let command = format!("/mnt/{VERIFY} --device {DEVICE} --json");
    let ends = Contained {
        server,
        client,
        command: &command,
    };
    let address = format!("{}:{PORT}", roce::address(SERVER));
    let listen = format!("--listen {address}");
    let connect = format!("{VERIFY_OPTIONS} --connect {address}");
    let report = ends.with_ends(&listen, &connect, stage)?;
    let rounds = client_report::verified(stage, &report)?;
    Ok(format!("{rounds} rounds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perftest_has_to_have_done_all() {
        let report = |line: &str| {
            let text = format!("---\n #bytes  #iterations  BW peak[MB/sec]\n {line}\n---\n");
            perftest_result(&text)
        };
        let result = report("65536  300   812.50  801.00 \t\t 0.012816");
        assert_eq!(result.unwrap(), "812.5 801 0.012816");
        for line in [
            "65536  300   0.00  0.00  0.000000",
            "64  300  inf  inf  -nan  inf",
        ] {
            assert!(report(line).unwrap().contains("too busy"));
        }
        for line in ["65536  299   812.50  801.00  0.012816", "65536  300", ""] {
            assert!(report(line).is_err(), "{line}");
        }
    }

    #[test]
    fn versions_are_found() {
        let text = "ibverbs-providers:amd64\t1.0-2\nlibibverbs1:amd64\t56.1-1\nperftest\t25.01.0\n";
        assert_eq!(version_of(text), Some(56));
        assert_eq!(version_of("libibverbs1\t65~rc1-1"), Some(65));
        assert_eq!(version_of("libibverbs-dev\t65.0-1"), None);
        assert_eq!(version_of(""), None);
    }
}
