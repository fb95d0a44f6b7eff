// SPDX-License-Identifier: GPL-2.0

//! UCX: `ucx-check`, which checks all that arrives, and its own programs, which measure.

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::exports;
use super::run;
use super::sent::by_rdma;
use super::Outcome;
use super::HOSTS;
use super::LIMIT;
use super::PORT;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// Bytes that `ucx-check` moves each way, at the least.
const CHECK_BYTES: u64 = 130_000_000;

/// What UCX may use, beside the device: reliable connections are set up over TCP.
pub const OVER_TCP: Transport = Transport {
    tls: "rc_verbs,tcp",
    lane: "rc_verbs",
    gid: Gid::Chosen,
};

/// The same for programs that talk to themselves too.
pub const WITH_ITSELF: Transport = Transport {
    tls: "rc_verbs,tcp,self",
    ..OVER_TCP
};

/// The same as [`OVER_TCP`], with datagrams in place of TCP.
pub const OVER_DATAGRAMS: Transport = Transport {
    tls: "rc_verbs,ud_verbs",
    ..OVER_TCP
};

/// Nothing but datagrams.
pub const DATAGRAMS: Transport = Transport {
    tls: "ud_verbs",
    lane: "ud_verbs",
    gid: Gid::Chosen,
};

/// The same between link-local addresses.
pub const LINK_LOCAL_DATAGRAMS: Transport = Transport {
    gid: Gid::LinkLocal,
    ..DATAGRAMS
};

/// How UCX is to reach the other host.
#[derive(Clone, Copy)]
pub struct Transport {
    /// `UCX_TLS`.
    tls: &'static str,
    /// What of that has to carry the messages.
    lane: &'static str,
    /// Between which addresses.
    gid: Gid,
}

/// The GID of a host that UCX uses.
#[derive(Clone, Copy)]
enum Gid {
    /// That of the IPv4 address, which UCX takes if there is one.
    Chosen,
    /// That of the link-local address.
    LinkLocal,
}

/// Has UCX use the RoCE v2 GID for the link-local address, which other hosts can resolve as soon as it is known to be nobody else's.
const FIND_LINK_LOCAL: &str = "\
port=/sys/class/infiniband/usb4_roce0/ports/1
gid=
for entry in $port/gids/*; do
  index=${entry##*/}
  { read -r type < $port/gid_attrs/types/$index && read -r value < $entry; } 2>/dev/null || continue
  case $type,$value in
    'RoCE v2,fe80:'*) gid=$index; break ;;
  esac
done
[ -n \"$gid\" ] || { echo 'no RoCE v2 GID with a link-local address' >&2; exit 1; }
while ip -6 address show dev usb4r0 tentative | grep -q fe80; do sleep 0.1; done
export UCX_IB_GID_INDEX=$gid
";

impl Transport {
    /// The settings of a program that uses UCX, one a line. It says what it uses.
    pub fn settings(self) -> String {
        let tls = self.tls;
        format!(
            "UCX_NET_DEVICES={DEVICE}:1,{INTERFACE}
UCX_TLS={tls}
UCX_LOG_LEVEL=info
UCX_VFS_ENABLE=n"
        )
    }

    /// The part of a script that gives a program these settings.
    fn exports(self) -> String {
        let settings = exports(&self.settings());
        match self.gid {
            Gid::Chosen => settings,
            Gid::LinkLocal => format!("{FIND_LINK_LOCAL}{settings}"),
        }
    }

    /// How UCX names it.
    fn lane_of_messages(self) -> String {
        format!("{}/{DEVICE}:1", self.lane)
    }

    /// Fails unless UCX, which wrote `text`, has this transport for messages to another host, and no other.
    pub fn check(self, text: &str) -> Result<()> {
        let lane = self.lane_of_messages();
        let mut lines = text.lines().filter(|line| line.contains(" inter-node "));
        ensure!(
            lines.any(|line| line.contains(&lane)),
            "UCX does not say that it uses {lane} between the hosts:\n{text}"
        );
        let tcp = format!("tcp/{INTERFACE}");
        ensure!(
            !text
                .lines()
                .any(|line| line.contains(" inter-node ") && line.contains(&tcp)),
            "UCX uses {tcp} for messages:\n{text}"
        );
        Ok(())
    }
}

/// `ucx-check` for one of UCX's services.
pub fn check(stage: &Stage<'_>, service: &str, transport: Transport) -> Result<Outcome> {
    let command = format!("/lab/share/ucx-check {service} {PORT}");
    let least = match service {
        // They are many, but small.
        "atomics" => 0,
        _ => CHECK_BYTES,
    };
    let moves = || run(stage, &transport.exports(), &command, &command);
    let text = match least {
        0 => moves()?,
        least => by_rdma(stage, [least; 2], moves)?,
    };
    let done = format!("ucx-check {service}: ok");
    let ends = text.lines().filter(|line| **line == done).count();
    ensure!(ends == HOSTS.len(), "{ends} ends say {done:?}:\n{text}");
    transport.check(&text)?;
    Ok(Outcome::Passed)
}

/// The services that name the other host's memory.
pub fn check_memory(stage: &Stage<'_>, transport: Transport) -> Result<Outcome> {
    for service in ["put", "get", "atomics"] {
        check(stage, service, transport).context(service)?;
    }
    Ok(Outcome::Passed)
}

/// All the services.
pub fn check_all(stage: &Stage<'_>, transport: Transport) -> Result<Outcome> {
    for service in ["tag", "am"] {
        check(stage, service, transport).context(service)?;
    }
    check_memory(stage, transport)
}

/// UCX's example of a storage server: requests of many sizes both ways, whose contents both ends check.
pub fn io_demo(stage: &Stage<'_>) -> Result<Outcome> {
    /// What is written, and what is read, at the least: five hundred requests of all sizes, half of them each way.
    const BYTES: u64 = 100_000_000;
    let [server, client] = HOSTS;
    let exports = OVER_TCP.exports();
    let command = format!(
        "{exports}export UCX_SOCKADDR_TLS_PRIORITY=tcp
exec 2>&1 io_demo -p {PORT} -d 1:1048576 -q"
    );
    let job = stage.serve(server, &command, Ready::Port(PORT), LIMIT)?;
    let address = roce::address(server);
    let script = format!("{command} -o read,write -w 8 -i 500 -l 120 -c 1 {address}");
    let text = by_rdma(stage, [BYTES; 2], || stage.shell(client, &script, LIMIT));
    // It serves for ever.
    stage.kill(&job)?;
    stage.wait(&job, LIMIT)?;
    let text = text?;
    // The connection is begun over TCP.
    let lane = OVER_TCP.lane_of_messages();
    ensure!(text.contains(&lane), "UCX does not use {lane}:\n{text}");
    for line in text.lines().filter(|line| line.contains("MBs")) {
        stage.note(&format!("FIGURES {line}"));
    }
    Ok(Outcome::Passed)
}

/// One of the tests of `ucx_perftest`, which measures and checks nothing of what arrives.
struct PerfTest {
    name: &'static str,
    bytes: u32,
    count: u32,
    /// Further options of both ends.
    options: String,
}

impl PerfTest {
    /// Runs it, and notes its figures. Gives what both ends wrote.
    fn run(&self, stage: &Stage<'_>) -> Result<String> {
        let Self {
            name,
            bytes,
            count,
            options,
        } = self;
        // Without -P 0 the one that is linked with MPI wants to be started by it.
        let both = format!("ucx_perftest -P 0 -p {PORT} {options}");
        let client = format!("{both} -t {name} -s {bytes} -n {count} -w 20 -f");
        let text = run(stage, &OVER_TCP.exports(), &both, &client)?;
        // The figures: iterations, then latencies, bandwidths and rates.
        let figures = text.lines().find(|line| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|word| word == count.to_string()) && words.next().is_some()
        });
        let figures = figures.with_context(|| format!("{name} has no figures:\n{text}"))?;
        stage.note(&format!("FIGURES {name} {bytes} bytes: {figures}"));
        Ok(text)
    }
}

/// What UCX's own program measures of its protocols.
pub fn ucx_perftest(stage: &Stage<'_>) -> Result<Outcome> {
    for (name, bytes, count) in [
        ("tag_lat", 8, 300),
        ("tag_bw", 65536, 300),
        ("tag_bw", 1 << 20, 100),
        ("ucp_am_lat", 8, 300),
        ("ucp_am_bw", 65536, 300),
        ("ucp_put_lat", 8, 300),
        ("ucp_put_bw", 65536, 300),
        ("ucp_put_bw", 1 << 20, 100),
        ("ucp_get", 65536, 300),
        ("stream_bw", 65536, 300),
    ] {
        let options = String::new();
        let text = PerfTest {
            name,
            bytes,
            count,
            options,
        }
        .run(stage)?;
        OVER_TCP.check(&text).context(name)?;
    }
    Ok(Outcome::Passed)
}

/// The same of its transport by itself.
pub fn uct_perftest(stage: &Stage<'_>) -> Result<Outcome> {
    on_transport(
        stage,
        &[
            ("am_lat", 8, ""),
            ("put_bw", 4096, "-D zcopy"),
            ("get_bw", 65536, "-D zcopy"),
        ],
    )
}

/// The device's atomic operations. UCX's protocols do without: they want more of them than a device without extensions has.
pub fn uct_atomics(stage: &Stage<'_>) -> Result<Outcome> {
    on_transport(
        stage,
        &[("add_mr", 8, ""), ("fadd", 8, ""), ("cswap", 8, "")],
    )
}

/// Runs tests of `ucx_perftest` on the reliable transport by itself.
fn on_transport(stage: &Stage<'_>, tests: &[(&'static str, u32, &str)]) -> Result<Outcome> {
    for (name, bytes, options) in tests {
        PerfTest {
            name,
            bytes: *bytes,
            count: 300,
            options: format!("-d {DEVICE}:1 -x rc_verbs {options}"),
        }
        .run(stage)?;
    }
    Ok(Outcome::Passed)
}
