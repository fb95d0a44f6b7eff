// SPDX-License-Identifier: GPL-2.0

//! The end that serves: it starts perftest's servers for whoever asks over the cable.

use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use super::conversation::Answer;
use super::conversation::Conversation;
use super::conversation::Greeting;
use super::conversation::Order;
use super::conversation::PROTOCOL;
use super::perftest;
use super::perftest::Over;
use super::perftest::Running;
use super::plan::Test;
use super::ports;
use super::ports::Ports;
use crate::host::device::AddressKind;
use crate::host::Host;
use crate::host::Source;
use crate::root::Root;

/// How long a client may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves one client after the other on `port`, for good.
pub fn serve(source: &Source, port: u16, out: &mut dyn Write) -> Result<()> {
    let host = Host::read(source);
    super::client::require(&host)?;
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        // A host may have no IPv6.
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
        .with_context(|| {
            format!("listen on TCP port {port}; another one is chosen by --port, on both hosts")
        })?;
    let addresses = addresses(&host);
    let Some(address) = addresses.first() else {
        bail!("usb4r0 has no address; see: usb4-roce check");
    };
    let option = match port == crate::cli::DEFAULT_PORT {
        true => String::new(),
        false => format!(" --port {port}"),
    };
    writeln!(
        out,
        "serving until interrupted; on the other host: usb4-roce bench{option} {address}"
    )?;
    out.flush()?;
    let mut ports = Ports::above(port);
    loop {
        let (stream, client) = listener.accept().context("wait for a client")?;
        let client = client.ip().to_canonical();
        match converse(source, stream, &mut ports) {
            Ok(()) => writeln!(out, "served {client}")?,
            Err(error) => writeln!(out, "{client}: {error:#}")?,
        }
        out.flush()?;
    }
}

/// Addresses on the cable, those first that are easy to say.
fn addresses(host: &Host) -> Vec<IpAddr> {
    let addresses = host
        .interface()
        .map(|interface| interface.addresses.as_slice());
    let mut addresses: Vec<IpAddr> = addresses
        .unwrap_or_default()
        .iter()
        .map(|address| address.ip)
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

fn converse(source: &Source, stream: TcpStream, ports: &mut Ports) -> Result<()> {
    let called = stream.local_addr()?.ip().to_canonical();
    // Addresses come and go.
    let source = Source {
        root: source.root.clone(),
        addresses: crate::host::address::of_this_host(),
    };
    let host = Host::read(&source);
    let mut client = Conversation::new(stream, PATIENCE)?;
    let refusal = refusal(&host, called);
    let has = |kind: &AddressKind| {
        host.device
            .as_ref()
            .is_some_and(|device| device.gid(*kind).is_some())
    };
    let gids = [AddressKind::V4, AddressKind::V6];
    client.say(&Greeting {
        protocol: PROTOCOL,
        gids: gids.into_iter().filter(has).collect(),
        refusal: refusal.clone(),
    })?;
    if let Some(refusal) = refusal {
        bail!("refused: {refusal}");
    }
    let over = Over::of(called);
    while let Some(order) = client.hear()? {
        let Order::Start { test, gid } = order else {
            continue;
        };
        let answer = match start(&host, test, gid, over, ports.take()) {
            Ok((program, port)) => {
                client.say(&Answer::Ready { port })?;
                // What the client says ends the program as well.
                let heard = client.hear::<Order>()?;
                match (heard, program.wait(CLOSING)) {
                    (None, _) => bail!("hung up in the middle of {test}"),
                    (Some(_), Ok(_)) => Answer::Ended,
                    (Some(_), Err(error)) => Answer::Failed(format!("{error:#}")),
                }
            }
            Err(error) => Answer::Failed(format!("{error:#}")),
        };
        client.say(&answer)?;
    }
    Ok(())
}

/// How long perftest's server may go on when its client has ended.
const CLOSING: Duration = Duration::from_secs(5);

/// Only who comes over the cable is served.
fn refusal(host: &Host, called: IpAddr) -> Option<String> {
    let addresses = addresses(host);
    (!addresses.contains(&called)).then(|| match addresses.first() {
        Some(address) => format!("{called} is no address of the cable; use {address}"),
        None => format!("{called} is no address of the cable, which has none"),
    })
}

fn start(
    host: &Host,
    test: Test,
    gid: AddressKind,
    over: Over,
    port: u16,
) -> Result<(Running, u16)> {
    const LIMIT: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(20);
    let end = super::client::end(host, gid, port, over)?;
    let mut program = Running::start(test, &end, None)?;
    let begin = Instant::now();
    while !ports::is_listening(&Root::host(), end.port) {
        if program.has_ended()? {
            // It says why.
            program.wait(Duration::ZERO)?;
            bail!(
                "{} has ended before its client came",
                perftest::program(test)
            );
        }
        if begin.elapsed() > LIMIT {
            bail!(
                "{} does not listen after {} seconds",
                perftest::program(test),
                LIMIT.as_secs()
            );
        }
        thread::sleep(PAUSE);
    }
    Ok((program, port))
}
