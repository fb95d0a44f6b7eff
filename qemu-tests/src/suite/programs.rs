// SPDX-License-Identifier: GPL-2.0

//! Programs that use verbs by way of a library: UCX, Open MPI over it, and NCCL's IB transport. What arrives is checked.

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
use crate::building::addition::Addition;
use crate::hosts::stage::Pair;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// Time limit of a program.
const LIMIT: Duration = Duration::from_secs(500);

/// Port which servers listen on.
const PORT: u16 = 18700;

/// Port of the shell that mpirun's remote shell is.
const SHELL_PORT: u16 = 18701;

/// The hosts: of the server, and of its client.
const HOSTS: [&str; 2] = ["a", "b"];

/// Bytes that `ucx-check` moves each way, at the least.
const CHECK_BYTES: u64 = 130_000_000;

/// Bytes that `mpi-check` moves each way, at the least.
const MPI_BYTES: u64 = 50_000_000;

/// Bytes that `nccl-ib` moves each way, at the least.
const NCCL_BYTES: u64 = 600_000_000;

/// What UCX may use, beside the device: reliable connections are set up over TCP.
const OVER_TCP: Transport = Transport {
    tls: "rc_verbs,tcp",
    lane: "rc_verbs",
};

/// The same for programs that talk to themselves too.
const WITH_ITSELF: Transport = Transport {
    tls: "rc_verbs,tcp,self",
    ..OVER_TCP
};

/// The same as [`OVER_TCP`], with datagrams in place of TCP.
const OVER_DATAGRAMS: Transport = Transport {
    tls: "rc_verbs,ud_verbs",
    lane: "rc_verbs",
};

/// Nothing but datagrams.
const DATAGRAMS: Transport = Transport {
    tls: "ud_verbs",
    lane: "ud_verbs",
};

/// The suites: the second takes what is not free software.
pub fn suites() -> [Suite; 2] {
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
                test("ucx-tag", |s| ucx(s, "tag", OVER_TCP)),
                test("ucx-am", |s| ucx(s, "am", OVER_TCP)),
                test("ucx-put", |s| ucx(s, "put", OVER_TCP)),
                test("ucx-get", |s| ucx(s, "get", OVER_TCP)),
                test("ucx-atomics", |s| ucx(s, "atomics", OVER_TCP)),
                test("ucx-without-tcp", |s| with_datagrams(s, OVER_DATAGRAMS)),
                test("ucx-datagrams", |s| with_datagrams(s, DATAGRAMS)),
                test("ucx-perftest", ucx_perftest),
                test("uct-perftest", uct_perftest),
                test("uct-atomics", uct_atomics),
                test("mpi", mpi),
            ],
        ),
        suite(
            "nccl-programs",
            Addition::Nccl,
            vec![test("ib-transport", nccl)],
        ),
    ]
}

/// How UCX is to reach the other host.
#[derive(Clone, Copy)]
struct Transport {
    /// `UCX_TLS`.
    tls: &'static str,
    /// What of that has to carry the messages.
    lane: &'static str,
}

impl Transport {
    /// The settings of a program that uses UCX, one a line. It says what it uses.
    fn settings(self) -> String {
        let tls = self.tls;
        format!(
            "UCX_NET_DEVICES={DEVICE}:1,{INTERFACE}
UCX_TLS={tls}
UCX_LOG_LEVEL=info
UCX_VFS_ENABLE=n"
        )
    }

    /// Fails unless UCX, which wrote `text`, has this transport for messages to another host, and no other.
    fn check(self, text: &str) -> Result<()> {
        let lane = format!("{}/{DEVICE}:1", self.lane);
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

/// What a host has sent so far.
#[derive(Clone, Copy)]
struct Sent {
    /// Bytes of all the device's frames.
    device: u64,
    /// Bytes of the interface's packets, which go the same way.
    interface: u64,
}

impl Sent {
    fn of(stage: &Stage<'_>, host: &str) -> Result<Self> {
        // The device's values are kept for 10 ms.
        let script = format!(
            "sleep 0.1
            cat /sys/class/infiniband/{DEVICE}/ports/1/hw_counters/sent_bytes
            cat /sys/class/net/{INTERFACE}/statistics/tx_bytes"
        );
        let text = stage.shell(host, &script, LIMIT)?;
        let mut values = text.lines().map(str::parse);
        let mut next = || values.next().context("a counter is missing");
        Ok(Self {
            device: next()?.context("the device's bytes")?,
            interface: next()?.context("the interface's bytes")?,
        })
    }
}

/// Does `what`, by which both hosts have to send at least so many bytes by RDMA, and hardly any as packets.
fn by_rdma<T>(stage: &Stage<'_>, least: u64, what: impl FnOnce() -> Result<T>) -> Result<T> {
    /// One byte in so many may be a packet's: programs find each other by TCP.
    const SHARE: u64 = 20;
    let before = HOSTS.map(|host| Sent::of(stage, host));
    let result = what()?;
    for (host, before) in HOSTS.into_iter().zip(before) {
        let (before, after) = (before?, Sent::of(stage, host)?);
        let device = after.device - before.device;
        let interface = after.interface - before.interface;
        stage.note(&format!(
            "{host} has sent {device} bytes by RDMA, and {interface} as packets"
        ));
        ensure!(
            device >= least,
            "{host} has sent no more than {device} bytes by RDMA, in place of {least}"
        );
        ensure!(
            interface <= least / SHARE,
            "{host} has sent {interface} bytes as packets"
        );
    }
    Ok(result)
}

/// Runs `server` on the one host and, with the server's address behind it, `client` on the other. Gives what both wrote, errors
/// included, the client's first.
fn run(stage: &Stage<'_>, settings: &str, server: &str, client: &str) -> Result<String> {
    let [server_host, client_host] = HOSTS;
    let exports: String = settings
        .lines()
        .map(|line| format!("export {line}\n"))
        .collect();
    let address = roce::address(server_host);
    let (served, text) = stage.pair(&Pair {
        server_host,
        server: &format!("{exports}exec 2>&1 {server}"),
        ready: Ready::Port(PORT),
        client_host,
        client: &format!("{exports}exec 2>&1 {client} {address}"),
        limit: LIMIT,
    })?;
    Ok(format!("{text}\n{served}"))
}

/// `ucx-check` for one of UCX's services.
fn ucx(stage: &Stage<'_>, service: &str, transport: Transport) -> Result<Outcome> {
    let command = format!("/lab/share/ucx-check {service} {PORT}");
    let least = match service {
        // They are many, but small.
        "atomics" => 0,
        _ => CHECK_BYTES,
    };
    let check = || run(stage, &transport.settings(), &command, &command);
    let text = match least {
        0 => check()?,
        least => by_rdma(stage, least, check)?,
    };
    let done = format!("ucx-check {service}: ok");
    let ends = text.lines().filter(|line| **line == done).count();
    ensure!(ends == HOSTS.len(), "{ends} ends say {done:?}:\n{text}");
    transport.check(&text)?;
    Ok(Outcome::Passed)
}

/// The services over a transport that needs datagrams, if the device has them.
fn with_datagrams(stage: &Stage<'_>, transport: Transport) -> Result<Outcome> {
    if !device_has(stage, "ud_verbs", "Transport: ud_verbs")? {
        stage.skip(transport.tls, "the device has no unreliable datagrams");
        return Ok(Outcome::Passed);
    }
    for service in ["tag", "am", "put", "get", "atomics"] {
        ucx(stage, service, transport)?;
    }
    Ok(Outcome::Passed)
}

/// Whether UCX says `what` of its `transport` over the device.
fn device_has(stage: &Stage<'_>, transport: &str, what: &str) -> Result<bool> {
    let script =
        format!("export UCX_NET_DEVICES={DEVICE}:1 UCX_VFS_ENABLE=n\nucx_info -d -t {transport}");
    Ok(stage.shell("a", &script, LIMIT)?.contains(what))
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
        let text = run(stage, &OVER_TCP.settings(), &both, &client)?;
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
fn ucx_perftest(stage: &Stage<'_>) -> Result<Outcome> {
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
fn uct_perftest(stage: &Stage<'_>) -> Result<Outcome> {
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
fn uct_atomics(stage: &Stage<'_>) -> Result<Outcome> {
    if !device_has(stage, "rc_verbs", "atomic_fadd: 64 bit")? {
        stage.skip("rc_verbs", "the device has no atomic operations");
        return Ok(Outcome::Passed);
    }
    on_transport(
        stage,
        &[("add_mr", 8, ""), ("fadd", 8, ""), ("cswap", 8, "")],
    )
}

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

/// An MPI program of two processes, one on each host.
fn mpi(stage: &Stage<'_>) -> Result<Outcome> {
    /// What mpirun starts its daemon on another host by: the script goes to a shell that listens there.
    const AGENT: &str = "/run/remote-shell";
    const ROOT: &str = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";
    let [here, there] = HOSTS;
    let agent = format!(
        "cat > {AGENT} <<'end' && chmod +x {AGENT}
#!/bin/sh
host=$1
shift
echo \"$*\" | exec busybox nc $host {SHELL_PORT}
end"
    );
    stage.shell(here, &agent, LIMIT)?;
    let shell = format!("export {ROOT}\nexec busybox nc -ll -p {SHELL_PORT} -e sh");
    let shell = stage.serve(there, &shell, Ready::Port(SHELL_PORT), LIMIT)?;
    let settings = WITH_ITSELF.settings();
    let settings: Vec<String> = settings.lines().map(|line| format!("-x {line}")).collect();
    let settings = settings.join(" ");
    let [first, second] = HOSTS.map(roce::address);
    let script = format!(
        "export {ROOT}
        export PRTE_MCA_plm_ssh_agent={AGENT} PRTE_MCA_prte_if_include={INTERFACE} PMIX_MCA_ptl_tcp_if_include={INTERFACE}
        exec 2>&1 mpirun -n 2 --host {first}:1,{second}:1 --map-by node:OVERSUBSCRIBE --bind-to none --mca pml ucx \
            {settings} /lab/share/mpi-check"
    );
    let text = by_rdma(stage, MPI_BYTES, || stage.shell(here, &script, LIMIT))?;
    stage.kill(&shell)?;
    stage.wait(&shell, LIMIT)?;
    for part in [
        "rank 0 of 2 on a",
        "rank 1 of 2 on b",
        "sums right",
        "contents right",
        "mpi-check: ok",
    ] {
        ensure!(text.contains(part), "nobody says {part:?}:\n{text}");
    }
    WITH_ITSELF.check(&text)?;
    Ok(Outcome::Passed)
}

/// NCCL's IB transport, in host memory. Its collectives need GPUs, and are not run.
fn nccl(stage: &Stage<'_>) -> Result<Outcome> {
    let settings = format!("NCCL_IB_HCA={DEVICE}\nNCCL_SOCKET_IFNAME={INTERFACE}\nNCCL_DEBUG=INFO");
    let command = format!("/lab/share/nccl-ib {PORT}");
    let text = by_rdma(stage, NCCL_BYTES, || {
        run(stage, &settings, &command, &command)
    })?;
    let ends = text.lines().filter(|line| line.ends_with(": ok")).count();
    ensure!(ends == HOSTS.len(), "{ends} ends are content:\n{text}");
    let using = format!("NET/IB : Using [0]{DEVICE}:1/RoCE");
    ensure!(
        text.contains(&using),
        "NCCL does not say {using:?}:\n{text}"
    );
    Ok(Outcome::Passed)
}
