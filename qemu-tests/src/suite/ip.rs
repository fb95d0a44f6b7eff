// SPDX-License-Identifier: GPL-2.0

//! IP between the hosts over `usb4_roce`: in bulk, with everything that a network stack leaves undone, and every byte checked.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use usb4_cable::control::Direction;

use super::faults;
use super::native::Need;
use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::programs::Iperf;
use crate::roce::programs::Pieces;
use crate::roce::programs::Ping;
use crate::roce::traffic;
use crate::roce::traffic::Traffic;
use crate::roce::INTERFACE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(360);

/// Time limit of a test.
const TEST_LIMIT: Duration = Duration::from_secs(1200);

/// How long it may take until both cables carry something.
const NOTICE: Duration = Duration::from_secs(120);

/// What is transferred: random, and as long as this in MiB.
const DATA: &str = "/tmp/ip-data";
const DATA_MIB: u32 = 32;

/// The first port of those that are used.
const PORT: u16 = 9100;

/// What the interface starts with.
const MTU: u32 = 9000;

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: u32 = 14;

/// Bytes of the average packet of a bulk transfer, at least, if it is not cut into segments. TCP itself makes them small where little
/// gets through, as on a busy machine; but one of more than this has not been cut.
const LARGE_PACKET: u64 = (MTU + ETHERNET_HEADER + 1) as u64;

/// The hosts.
const HOSTS: [&str; 2] = ["a", "b"];

/// The suite.
pub fn suite() -> Suite {
    Suite {
        name: "ip",
        lab: Lab::MODULE,
        tests: vec![
            test("bulk", bulk),
            test("bulk-both-ways", both_ways).needing(Need::Speed),
            test("many-connections", many_connections).needing(Need::Speed),
            test("ipv6", ipv6),
            test("large-datagrams", large_datagrams).needing(Need::Speed),
            test("mtu", mtu).needing(Need::Speed),
            test("finished-packets-only", finished_only).needing(Need::Speed),
            test("sent-on-to-another-network", sent_on).needing(Need::StockKernel),
            test("beside-rdma", beside_rdma),
        ],
    }
}

/// The same over two cables.
pub fn striped() -> Suite {
    Suite {
        name: "ip-two-rails",
        lab: faults::LAB,
        tests: vec![
            test("bulk-both-ways", both_ways),
            test("many-connections", over_both_cables).needing(Need::Speed),
            test("beside-rdma", beside_rdma),
        ],
    }
}

fn test(name: &'static str, run: fn(&Stage<'_>) -> Result<Outcome>) -> Test {
    Test::new(name, TEST_LIMIT, run)
}

/// Connections from one host to another, which all carry the same at the same time.
#[derive(Clone, Copy)]
struct Transfer<'a> {
    from: &'a str,
    to: &'a str,
    /// Address of the receiving host, as the sending one knows it.
    address: &'a str,
    /// The first port.
    port: u16,
    connections: u16,
    /// What each of them carries.
    mib: u32,
    /// What the receiving programs are run by.
    within: &'a str,
}

impl Transfer<'_> {
    fn ports(&self) -> std::ops::Range<u16> {
        self.port..self.port + self.connections
    }

    /// Each line is the checksum of what one connection has brought.
    fn server(&self) -> String {
        let family = if self.address.contains(':') {
            "-6"
        } else {
            "-4"
        };
        let within = self.within;
        let one = |port| format!("{within} nc {family} -l {port} < /dev/null | sha256sum &\n");
        self.ports().map(one).collect::<String>() + "wait"
    }

    /// Waits until all ports are listened on.
    fn listening(&self) -> String {
        let within = self.within;
        let one = |port| format!("until {within} ss -ltn | grep -q :{port}; do sleep 0.05; done\n");
        self.ports().map(one).collect()
    }

    /// The first line is the checksum of what each connection carries.
    fn client(&self) -> String {
        let data = format!("head -c {}M {DATA}", self.mib);
        let address = self.address;
        let one = |port| format!("{data} | nc -N {address} {port} &\n");
        format!("{data} | sha256sum\n") + &self.ports().map(one).collect::<String>() + "wait"
    }
}

/// Runs all transfers at the same time, and compares what was sent with what has arrived.
fn transfer(stage: &Stage<'_>, transfers: &[Transfer<'_>]) -> Result<()> {
    make_data(stage)?;
    let start = |host, script: &str| stage.start(host, script, LIMIT);
    let servers = transfers
        .iter()
        .map(|transfer| start(transfer.to, &transfer.server()))
        .collect::<Result<Vec<_>>>()?;
    for transfer in transfers {
        stage.shell(transfer.to, &transfer.listening(), LIMIT)?;
    }
    let clients = transfers
        .iter()
        .map(|transfer| start(transfer.from, &transfer.client()))
        .collect::<Result<Vec<_>>>()?;
    for ((transfer, server), client) in transfers.iter().zip(&servers).zip(&clients) {
        let sent = stage.finish(client, LIMIT)?;
        let arrived = stage.finish(server, LIMIT)?;
        let sum = sent.lines().next().context("the client has no checksum")?;
        let right = arrived.lines().filter(|line| *line == sum).count();
        ensure!(
            right == usize::from(transfer.connections),
            "{} to {}: what arrived over {right} of {} connections is right",
            transfer.from,
            transfer.to,
            transfer.connections
        );
    }
    Ok(())
}

/// Makes what is transferred, unless it is there.
fn make_data(stage: &Stage<'_>) -> Result<()> {
    for host in HOSTS {
        let script = format!("[ -e {DATA} ] || head -c {DATA_MIB}M /dev/urandom > {DATA}");
        stage.shell(host, &script, LIMIT)?;
    }
    Ok(())
}

/// A counter of the interface of a host.
fn counter(stage: &Stage<'_>, host: &str, name: &str) -> Result<u64> {
    let script = format!("cat /sys/class/net/{INTERFACE}/statistics/{name}");
    let text = stage.shell(host, &script, LIMIT)?;
    text.trim().parse().context("a number")
}

/// Does `run`, during which no host may drop anything, and says what packets have arrived at host b.
fn without_drops(stage: &Stage<'_>, run: impl FnOnce() -> Result<()>) -> Result<Packets> {
    let dropped = || -> Result<Vec<u64>> {
        let names = ["rx_dropped", "tx_dropped", "rx_errors", "tx_errors"];
        let all = HOSTS
            .iter()
            .flat_map(|host| names.iter().map(move |name| (host, name)));
        all.map(|(host, name)| counter(stage, host, name)).collect()
    };
    let packets = || -> Result<Packets> {
        Ok(Packets {
            count: counter(stage, "b", "rx_packets")?,
            bytes: counter(stage, "b", "rx_bytes")?,
        })
    };
    let (dropped_before, before) = (dropped()?, packets()?);
    run()?;
    let (dropped, after) = (dropped()?, packets()?);
    ensure!(
        dropped == dropped_before,
        "drops and errors, before and after: {dropped_before:?} {dropped:?}"
    );
    let arrived = Packets {
        count: after.count - before.count,
        bytes: after.bytes - before.bytes,
    };
    stage.note(&format!(
        "host b got {} bytes in {} packets",
        arrived.bytes, arrived.count
    ));
    Ok(arrived)
}

/// What has arrived at an interface.
#[derive(Clone, Copy)]
struct Packets {
    count: u64,
    bytes: u64,
}

impl Packets {
    /// Bytes of the average one.
    fn size(self) -> u64 {
        self.bytes / self.count.max(1)
    }

    /// Fails if they were cut into segments.
    fn ensure_uncut(self) -> Result<()> {
        let size = self.size();
        ensure!(
            size >= LARGE_PACKET,
            "packets of {size} bytes arrived: they were cut"
        );
        Ok(())
    }
}

/// One connection from host a to host b.
fn one(address: &str) -> Transfer<'_> {
    Transfer {
        from: "a",
        to: "b",
        address,
        port: PORT,
        connections: 1,
        mib: DATA_MIB,
        within: "",
    }
}

fn bulk(stage: &Stage<'_>) -> Result<Outcome> {
    let (a, b) = (roce::address("a"), roce::address("b"));
    let arrived = without_drops(stage, || transfer(stage, &[one(&b)]))?;
    arrived.ensure_uncut()?;
    let back = Transfer {
        from: "b",
        to: "a",
        ..one(&a)
    };
    without_drops(stage, || transfer(stage, &[back]))?;
    Ok(Outcome::Passed)
}

/// `connections` from each host to the other at the same time, each with `mib`.
fn both_at_once(stage: &Stage<'_>, connections: u16, mib: u32) -> Result<()> {
    let (a, b) = (roce::address("a"), roce::address("b"));
    let there = Transfer {
        connections,
        mib,
        ..one(&b)
    };
    let back = Transfer {
        from: "b",
        to: "a",
        address: &a,
        ..there
    };
    without_drops(stage, || transfer(stage, &[there, back]))?;
    Ok(())
}

fn both_ways(stage: &Stage<'_>) -> Result<Outcome> {
    both_at_once(stage, 1, DATA_MIB)?;
    Ok(Outcome::Passed)
}

fn many_connections(stage: &Stage<'_>) -> Result<Outcome> {
    both_at_once(stage, 8, DATA_MIB / 8)?;
    let flows = Iperf {
        to: &roce::address("a"),
        seconds: 5,
        flows: 32,
    };
    without_drops(stage, || flows.run(stage, LIMIT))?;
    Ok(Outcome::Passed)
}

fn over_both_cables(stage: &Stage<'_>) -> Result<Outcome> {
    both_at_once(stage, 8, DATA_MIB / 8)?;
    let flows = Iperf {
        to: &roce::address("a"),
        seconds: 20,
        flows: 12,
    };
    flows.run_during(stage, LIMIT, || {
        for cable in ["c0", "c1"] {
            traffic::await_moving(stage, cable, &[Direction::BToA], NOTICE)?;
        }
        Ok(())
    })?;
    Ok(Outcome::Passed)
}

fn ipv6(stage: &Stage<'_>) -> Result<Outcome> {
    let script =
        format!("ip -6 -o address show dev {INTERFACE} scope link | awk '{{ print $4; exit }}'");
    let text = stage.shell("b", &script, LIMIT)?;
    let link_local = text.split('/').next().context("an address")?;
    let address = format!("{link_local}%{INTERFACE}");
    let arrived = without_drops(stage, || transfer(stage, &[one(&address)]))?;
    arrived.ensure_uncut()?;
    Ok(Outcome::Passed)
}

/// Of more than the MTU: in pieces, none of which may be lost.
fn large_datagrams(stage: &Stage<'_>) -> Result<Outcome> {
    let (a, b) = (roce::address("a"), roce::address("b"));
    let in_pieces = |to| Ping {
        count: 20,
        size: 60_000,
        pieces: Pieces::Allowed,
        to,
    };
    without_drops(stage, || {
        in_pieces(b.as_str()).run(stage, "a", LIMIT)?;
        in_pieces(a.as_str()).run(stage, "b", LIMIT)?;
        // One byte, as much as fits a packet, and more than that.
        for size in [1, MTU - 28, 16_000] {
            datagram(stage, &b, size)?;
        }
        Ok(())
    })?;
    Ok(Outcome::Passed)
}

/// Where the contents of a datagram are: `nc` takes what it has read as one datagram, and all of a file of up to 16384 bytes at
/// once, but of what comes through a pipe only as much as has come.
const DATAGRAM: &str = "/tmp/ip-datagram";

/// Sends one datagram of UDP, of at most 16384 bytes, from host a to host b, and compares what arrives.
fn datagram(stage: &Stage<'_>, to: &str, size: u32) -> Result<()> {
    make_data(stage)?;
    let server =
        format!("nc -4 -u -W 1 -l {PORT} < /dev/null > {DATAGRAM}; sha256sum < {DATAGRAM}; wc -c < {DATAGRAM}");
    let server = stage.start("b", &server, LIMIT)?;
    let bound = format!("until ss -lun | grep -q :{PORT}; do sleep 0.05; done");
    stage.shell("b", &bound, LIMIT)?;
    let client = format!(
        "head -c {size} {DATA} > {DATAGRAM}; sha256sum < {DATAGRAM}; wc -c < {DATAGRAM}; \
         nc -u -q 1 {to} {PORT} < {DATAGRAM}"
    );
    let sent = stage.shell("a", &client, LIMIT)?;
    let arrived = stage.finish(&server, LIMIT)?;
    ensure!(
        arrived == sent,
        "of a datagram of {size} bytes arrived {arrived:?}, not {sent:?}: sum and length"
    );
    Ok(())
}

/// Sets the MTU of each host's interface.
fn set_mtu(stage: &Stage<'_>, mtus: [u32; 2]) -> Result<()> {
    for (host, mtu) in HOSTS.iter().zip(mtus) {
        stage.shell(host, &format!("ip link set {INTERFACE} mtu {mtu}"), LIMIT)?;
    }
    Ok(())
}

/// The least that IPv6 allows, Ethernet's, the largest, and one that the hosts do not agree about.
fn mtu(stage: &Stage<'_>) -> Result<Outcome> {
    for mtus in [[1280; 2], [1500; 2], [65_280; 2], [MTU, 1500]] {
        set_mtu(stage, mtus)?;
        both_at_once(stage, 1, DATA_MIB / 4)?;
    }
    set_mtu(stage, [MTU; 2])?;
    Ok(Outcome::Passed)
}

/// Host a does all itself, as with a peer that does not know of unfinished packets.
fn finished_only(stage: &Stage<'_>) -> Result<Outcome> {
    let set = |state| {
        let script = format!("ethtool -K {INTERFACE} tx {state} sg {state} tso {state}");
        stage.shell("a", &script, LIMIT)
    };
    set("off")?;
    let b = roce::address("b");
    let arrived = without_drops(stage, || transfer(stage, &[one(&b)]))?;
    set("on")?;
    ensure!(
        arrived.size() < LARGE_PACKET,
        "packets of {} bytes arrived",
        arrived.size()
    );
    Ok(Outcome::Passed)
}

/// Host b sends packets on to a network with a smaller MTU, so that it has to do what host a has left out.
fn sent_on(stage: &Stage<'_>) -> Result<Outcome> {
    const FAR: &str = "10.56.0.2";
    let b = roce::address("b");
    let up = format!(
        "modprobe veth
        ip netns add far
        ip link add near type veth peer name far netns far
        ethtool -K near tx off sg off tso off
        ip address add 10.56.0.1/24 dev near && ip link set near up
        ip -n far address add {FAR}/24 dev far && ip -n far link set far up
        ip -n far route add default via 10.56.0.1
        sysctl -qw net.ipv4.ip_forward=1"
    );
    stage.shell("b", &format!("set -e\n{up}"), LIMIT)?;
    let route = format!("ip route add 10.56.0.0/24 via {b}");
    stage.shell("a", &route, LIMIT)?;
    let through = Transfer {
        within: "ip netns exec far",
        ..one(FAR)
    };
    without_drops(stage, || transfer(stage, &[through]))?;
    stage.shell("a", "ip route del 10.56.0.0/24", LIMIT)?;
    let down = "ip netns del far; sysctl -qw net.ipv4.ip_forward=0";
    stage.shell("b", down, LIMIT)?;
    Ok(Outcome::Passed)
}

fn beside_rdma(stage: &Stage<'_>) -> Result<Outcome> {
    let traffic = Traffic::start(stage, "a", "b", "")?;
    both_at_once(stage, 2, DATA_MIB / 4)?;
    traffic.stop(stage)?;
    Ok(Outcome::Passed)
}
