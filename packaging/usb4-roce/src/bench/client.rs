// SPDX-License-Identifier: GPL-2.0

//! The end that measures.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::net::SocketAddrV6;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::advice;
use super::conversation::Answer;
use super::conversation::Conversation;
use super::conversation::Greeting;
use super::conversation::Order;
use super::conversation::PROTOCOL;
use super::link_local::link_local;
use super::perftest;
use super::perftest::End;
use super::perftest::Over;
use super::perftest::Running;
use super::plan;
use super::plan::Test;
use super::Bench;
use super::Link;
use super::TestResult;
use super::FORMAT;
use crate::host::device::AddressKind;
use crate::host::os::Software;
use crate::host::rail::Rail;
use crate::host::Host;

/// How long the server may say nothing: longer than each of its own limits.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a test is tried whose program has found its clock to be bad.
const TRIES: u32 = 5;

/// Fails unless `host` has what measuring takes.
pub fn require(host: &Host) -> Result<()> {
    let first = perftest::program(plan::tests()[0]);
    let version = Command::new(first)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if version.is_err() {
        match host.os.install(Software::Perftest) {
            Some(command) => bail!("{first} is not installed; install perftest: {command}"),
            None => bail!("{first} is not installed; install perftest"),
        }
    }
    let Some(device) = &host.device else {
        bail!("there is no verbs device; see: sudo usb4-roce check");
    };
    ensure!(
        device.is_active(),
        "the port of {} is not active; see: sudo usb4-roce check",
        device.name
    );
    Ok(())
}

/// One end of a test on `host`.
pub fn end(host: &Host, gid: AddressKind, port: u16, over: Over) -> Result<End> {
    let device = host.device.as_ref().context("there is no verbs device")?;
    let gid = device
        .gid(gid)
        .context("the device has no RoCE v2 GID of that kind")?;
    Ok(End {
        device: device.name.clone(),
        gid: gid.index,
        port,
        over,
    })
}

/// Measures from `host` to `server`, or to the only other host; tells of each result as soon as it is there.
pub fn measure(
    host: &Host,
    server: Option<&str>,
    port: u16,
    tell: &mut dyn FnMut(&TestResult),
) -> Result<Bench> {
    require(host)?;
    let candidates = candidates(host, server, port)?;
    let name = server.map_or_else(|| candidates[0].ip().to_string(), str::to_owned);
    let (stream, address) = connect(&candidates, &name)?;
    let mut server = Conversation::new(stream, PATIENCE)?;
    let greeting: Greeting = server.hear()?.context("the other host hangs up")?;
    ensure!(
        greeting.protocol == PROTOCOL,
        "the other host has another version of usb4-roce; install the same package on both"
    );
    if let Some(refusal) = greeting.refusal {
        bail!("{name} refuses: {refusal}");
    }
    let gid = common_gid(host, &greeting)?;
    let mut results = Vec::new();
    for test in plan::tests() {
        let result = repeat(host, &mut server, address, test, gid);
        let result = result.unwrap_or_else(|error| TestResult::failed(test, &error));
        tell(&result);
        results.push(result);
    }
    let mut bench = Bench {
        version: env!("CARGO_PKG_VERSION"),
        format: FORMAT,
        host: name,
        link: Link::of(host),
        results,
        advice: Vec::new(),
    };
    bench.advice = advice::advice(host, &bench);
    Ok(bench)
}

/// Where the server may be.
fn candidates(host: &Host, server: Option<&str>, port: u16) -> Result<Vec<SocketAddr>> {
    if let Some(server) = server {
        let found: Vec<SocketAddr> = (server, port)
            .to_socket_addrs()
            .with_context(|| format!("look up {server}; give the address that `usb4-roce bench --serve` says on the other host"))?
            .collect();
        return Ok(found);
    }
    let mut macs: Vec<&str> = Vec::new();
    for rail in host.rails.iter().filter(|rail| rail.is_up()) {
        let peer = rail
            .details
            .found()
            .and_then(|details| details.peer.as_ref());
        macs.extend(peer.map(|peer| peer.mac.as_str()));
    }
    macs.dedup();
    let [mac] = macs[..] else {
        let why = match macs.len() {
            0 if host
                .rails
                .iter()
                .any(|rail: &Rail| rail.details.is_hidden()) =>
            {
                "only root sees which other host there is"
            }
            0 => "no other host is known",
            _ => "there are several other hosts",
        };
        bail!("{why}: give the address that `usb4-roce bench --serve` says on the other host");
    };
    let address = link_local(mac).context("the other host's MAC address makes no sense")?;
    let interface = host.interface().context("there is no interface usb4r0")?;
    let index = nix::net::if_::if_nametoindex(interface.name.as_str())?;
    Ok(vec![SocketAddrV6::new(address, port, 0, index).into()])
}

fn connect(candidates: &[SocketAddr], name: &str) -> Result<(TcpStream, SocketAddr)> {
    const LIMIT: Duration = Duration::from_secs(5);
    let mut last = None;
    for address in candidates {
        match TcpStream::connect_timeout(address, LIMIT) {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if error.kind() == ErrorKind::ConnectionRefused => {
            bail!("nobody serves at {name}; on that host: usb4-roce bench --serve")
        }
        Some(error) => Err(error).with_context(|| {
            format!("connect to {name}; is that its address on the cable, and does no firewall stand between?")
        }),
        None => bail!("{name} has no address"),
    }
}

fn common_gid(host: &Host, greeting: &Greeting) -> Result<AddressKind> {
    let device = host.device.as_ref().context("there is no verbs device")?;
    let kinds = [AddressKind::V4, AddressKind::V6];
    let common = kinds
        .into_iter()
        .find(|kind| device.gid(*kind).is_some() && greeting.gids.contains(kind));
    common.context(
        "the two hosts have no RoCE v2 GIDs of the same kind; see: usb4-roce check, on both",
    )
}

/// perftest measures by the processor's clock, which it finds bad where the processor is kept from running.
fn repeat(
    host: &Host,
    server: &mut Conversation,
    address: SocketAddr,
    test: Test,
    gid: AddressKind,
) -> Result<TestResult> {
    for _ in 0..TRIES {
        if let Some(result) = once(host, server, address, test, gid)? {
            return Ok(result);
        }
    }
    bail!("perftest has found the processor's clock to be bad {TRIES} times")
}

/// Measures once; nothing if perftest has found its clock to be bad.
fn once(
    host: &Host,
    server: &mut Conversation,
    address: SocketAddr,
    test: Test,
    gid: AddressKind,
) -> Result<Option<TestResult>> {
    const SILENT: &str = "the other host hangs up";
    server.say(&Order::Start { test, gid })?;
    let port = match server.hear()?.context(SILENT)? {
        Answer::Ready { port } => port,
        Answer::Failed(why) => bail!("the other host says: {why}"),
        Answer::Ended => bail!("the other host answers what it was not asked"),
    };
    let end = end(host, gid, port, Over::of(address.ip()))?;
    let ended = Running::start(test, &end, Some(&spell(address)))
        .and_then(|program| program.wait(perftest::LIMIT));
    server.say(&Order::Ended)?;
    let answer: Answer = server.hear()?.context(SILENT)?;
    let ended = ended?;
    if ended.has_bad_clock() {
        return Ok(None);
    }
    let result = parse(test, &ended.output, &answer)?;
    Ok(Some(result))
}

fn parse(test: Test, output: &str, answer: &Answer) -> Result<TestResult> {
    let result = perftest::parse(test, output);
    match answer {
        Answer::Failed(why) => result.with_context(|| format!("the other host says: {why}")),
        Answer::Ready { .. } | Answer::Ended => result,
    }
}

/// The address as perftest understands it.
fn spell(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => address.ip().to_canonical().to_string(),
    }
}
