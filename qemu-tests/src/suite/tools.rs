// SPDX-License-Identifier: GPL-2.0

//! What the distribution's tools show of the device and the interface.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::Need;
use super::Outcome;
use super::Test;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::programs::perftest;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(240);

/// The tests; they need the module and two hosts that reach each other.
pub fn tests() -> Vec<Test> {
    let test = |name, run| Test::new(name, LIMIT * 2, run);
    vec![
        test("rdma-link", rdma_link),
        test("rdma-statistic", rdma_statistic),
        test("port-counters", port_counters),
        test("rdma-resource", rdma_resource),
        test("rail-counters", rail_counters),
        test("ethtool-and-ip", ethtool_and_ip),
        test("tracepoints", tracepoints).needing(Need::StockKernel),
        test("debug-file", debug_file),
    ]
}

/// Fails unless `text`, which `command` wrote on `host`, contains all of `parts`.
fn expect(host: &str, command: &str, text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(
            text.contains(part),
            "{host}: `{command}` does not say {part:?}:\n{text}"
        );
    }
    Ok(())
}

fn rdma_link(stage: &Stage<'_>) -> Result<Outcome> {
    for host in ["a", "b"] {
        let command = format!("rdma link show {DEVICE}/1");
        let text = stage.shell(host, &command, LIMIT)?;
        let netdev = format!("netdev {INTERFACE}");
        let parts = ["state ACTIVE", "physical_state LINK_UP", &netdev];
        expect(host, &command, &text, &parts)?;
    }
    Ok(Outcome::Passed)
}

/// The device's own counters of `host` by their names.
fn counters(stage: &Stage<'_>, host: &str) -> Result<BTreeMap<String, u64>> {
    counters_in(stage, host, "hw_counters")
}

/// The counters in that directory of the port's.
fn counters_in(stage: &Stage<'_>, host: &str, group: &str) -> Result<BTreeMap<String, u64>> {
    let directory = format!("/sys/class/infiniband/{DEVICE}/ports/1/{group}");
    let script = format!("cd {directory} && for name in [a-z]*; do echo $name $(cat $name); done");
    let text = stage.shell(host, &script, LIMIT)?;
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once(' ').context("a counter without value")?;
            let value = value.parse().with_context(|| format!("counter {name}"))?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

fn rdma_statistic(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 18620;
    const MESSAGES: u64 = 50;
    const BYTES: u64 = 100_000;
    /// Frames of a message, at the least; a few more tell of other things.
    const SEGMENTS: u64 = 2;
    /// Of a kernel with nothing to do.
    const LIFESPAN: &str = "lifespan";
    let before = [counters(stage, "a")?, counters(stage, "b")?];
    let program = format!("ib_send_bw -n {MESSAGES} -s {BYTES}");
    perftest(&program, PORT).run(stage, "b", LIMIT)?;
    // Values are kept for 10 ms.
    let after = stage
        .shell("a", "sleep 0.1", LIMIT)
        .and_then(|_| Ok([counters(stage, "a")?, counters(stage, "b")?]))?;
    let grown = |host: usize, name: &str| -> Result<u64> {
        let value = |counters: &BTreeMap<String, u64>| counters.get(name).copied();
        let (before, after) = (value(&before[host]), value(&after[host]));
        let grown = after.zip(before).map(|(after, before)| after - before);
        grown.with_context(|| format!("there is no counter {name}"))
    };
    let (a, b) = (0, 1);
    for (host, name, least) in [
        (b, "sent_bytes", MESSAGES * BYTES),
        (b, "sent_frames", MESSAGES * SEGMENTS),
        (b, "completed_sends", MESSAGES),
        (a, "received_bytes", MESSAGES * BYTES),
        (a, "received_frames", MESSAGES * SEGMENTS),
        (a, "completed_receives", MESSAGES),
    ] {
        let grown = grown(host, name)?;
        ensure!(
            (least..2 * least).contains(&grown),
            "{name} grew by {grown} when {MESSAGES} messages of {BYTES} bytes were sent"
        );
    }
    for host in [a, b] {
        for name in ["failed_sends", "bogus_frames", "retry_exceeded"] {
            ensure!(grown(host, name)? == 0, "{name} grew in good weather");
        }
    }
    // The other way to the same counters.
    let command = format!("rdma statistic show link {DEVICE}/1");
    let text = stage.shell("a", &command, LIMIT)?;
    for name in after[a].keys().filter(|name| *name != LIFESPAN) {
        expect("a", &command, &text, &[name])?;
    }
    Ok(Outcome::Passed)
}

/// What monitors look at says the same as the device's own counters: data in words of four bytes.
fn port_counters(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 18624;
    const WORD: u64 = 4;
    // Both ways, so that both hosts have sent something.
    perftest("ib_send_bw -b -n 50 -s 100000", PORT).run(stage, "b", LIMIT)?;
    for host in ["a", "b"] {
        stage.shell(host, "sleep 0.1", LIMIT)?;
        let own = counters(stage, host)?;
        let ports = counters_in(stage, host, "counters")?;
        for (name, of_port, unit) in [
            ("sent_bytes", "port_xmit_data", WORD),
            ("received_bytes", "port_rcv_data", WORD),
            ("sent_frames", "port_xmit_packets", 1),
            ("received_frames", "unicast_rcv_packets", 1),
        ] {
            let (own, port) = (own.get(name), ports.get(of_port));
            ensure!(
                own.is_some_and(|own| *own > 0) && own.map(|own| own / unit) == port.copied(),
                "{host}: {name} is {own:?}, and {of_port} {port:?}"
            );
        }
    }
    Ok(Outcome::Passed)
}

/// A WRITE is seen from when it is taken from its queue to its completion, on both hosts, and who does not look sees nothing.
fn tracepoints(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 18626;
    const EVENTS: &str = "/sys/kernel/tracing/events/usb4_roce/enable";
    let write = || perftest("ib_write_bw -n 5 -s 100000", PORT).run(stage, "b", LIMIT);
    let switch = |to: &str| -> Result<()> {
        for host in ["a", "b"] {
            let script = format!(
                "mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing || exit\n\
                 echo > /sys/kernel/tracing/trace && echo {to} > {EVENTS}"
            );
            stage.shell(host, &script, LIMIT)?;
        }
        Ok(())
    };
    let seen = |host| stage.shell(host, "grep -v '^#' /sys/kernel/tracing/trace", LIMIT);
    switch("1")?;
    write()?;
    let sender = seen("b")?;
    let receiver = seen("a")?;
    switch("0")?;
    write()?;
    for host in ["a", "b"] {
        let script = "! grep -v '^#' /sys/kernel/tracing/trace";
        stage
            .shell(host, script, LIMIT)
            .with_context(|| format!("{host}: events that nobody asked for"))?;
    }
    let mut lines = sender.lines().peekable();
    for part in [
        "usb4_roce_wqe: qpn=",
        "WRITE length=100000",
        "usb4_roce_segment_sent: qpn=",
        "usb4_roce_cqe: qpn=",
    ] {
        // Each is in the line of the one before, or behind it.
        while lines.peek().is_some_and(|line| !line.contains(part)) {
            lines.next();
        }
        ensure!(lines.peek().is_some(), "no {part:?} in its turn:\n{sender}");
    }
    expect("b", "trace", &sender, &[" request psn=", "WRITE SUCCESS"])?;
    let parts = ["usb4_roce_segment_received: qpn=", " request psn="];
    expect("a", "trace", &receiver, &parts)?;
    Ok(Outcome::Passed)
}

/// The file tells of a queue pair that is in use what `rdma resource` knows of it and more, and keeps the module as long as it is open.
fn debug_file(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 18627;
    /// The client's: only its queue pair gets as far as sending.
    const HOST: &str = "b";
    const FILE: &str = "/sys/kernel/debug/usb4_roce/queue_pairs";
    const MOUNT: &str =
        "mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug || exit";
    let ends = perftest("ib_write_bw -D 600 -s 65536", PORT).start(stage, HOST, LIMIT)?;
    let known = format!(
        "known() {{ rdma resource show qp link {DEVICE} | sed -n 's/.* lqpn \\([0-9]*\\) rqpn \\([0-9]*\\) type RC state RTS .*/\\1 \\2/p'; }}
        until [ -n \"$(known)\" ]; do sleep 0.1; done
        known"
    );
    let known = stage.shell(HOST, &known, LIMIT)?;
    let (own, peer) = known.trim().split_once(' ').context("two numbers")?;
    let text = stage.shell(HOST, &format!("{MOUNT}\ncat {FILE}"), LIMIT)?;
    ends.kill(stage, LIMIT)?;
    let head = format!("qpn={own} Rc Rts peer=");
    let line = text.lines().find(|line| line.starts_with(&head));
    let line = line.with_context(|| format!("no {head:?}:\n{text}"))?;
    let parts = [&format!("/{peer} "), " sq_psn=", " rq_psn=", " room="];
    expect(HOST, FILE, line, &parts)?;
    expect(HOST, FILE, &text, &["qpn=1 Gsi Rts"])?;
    let kept = format!(
        "exec 3< {FILE} || exit
        rmdir /sys/kernel/config/usb4_roce/*/ || exit
        if rmmod usb4_roce; then exit 1; fi
        grep -q ^qpn=1 <&3 || exit
        exec 3<&-"
    );
    stage
        .shell(HOST, &kept, LIMIT)
        .context("unloaded with the file open")?;
    roce::unload(stage.instance(), HOST)?;
    roce::start_on(stage.instance(), HOST)?;
    Ok(Outcome::Passed)
}

/// The sum of what the rails of `host` count under `name`.
fn rail_counter(stage: &Stage<'_>, host: &str, name: &str) -> Result<u64> {
    let script = format!("sed -n 's/^{name} //p' /sys/kernel/config/usb4_roce/*/counters");
    let text = stage.shell(host, &script, LIMIT)?;
    text.lines()
        .map(|value| {
            value
                .parse::<u64>()
                .with_context(|| format!("counter {name}"))
        })
        .sum()
}

/// In good weather the frames that arrive are wanted: requests and responses, those without a payload, acknowledgements.
fn rail_counters(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 18622;
    const MESSAGES: u64 = 300;
    /// Of the frames, one in so many may be discarded: a slow machine repeats some.
    const RARELY: u64 = 20;
    /// And so many that arrive last, when their queue pair is gone.
    const LAST: u64 = 2;
    let count = |host| -> Result<(u64, u64)> {
        let frames = rail_counter(stage, host, "rx_frames")?;
        Ok((frames, rail_counter(stage, host, "rx_discarded")?))
    };
    for operation in ["send", "write", "read"] {
        let before = [count("a")?, count("b")?];
        let program = format!("ib_{operation}_bw -n {MESSAGES} -s 4096");
        perftest(&program, PORT).run(stage, "b", LIMIT)?;
        let after = [count("a")?, count("b")?];
        for (host, (before, after)) in ["a", "b"].into_iter().zip(before.into_iter().zip(after)) {
            let (frames, discarded) = (after.0 - before.0, after.1 - before.1);
            stage.note(&format!(
                "{operation}, {host}: {discarded} of {frames} frames discarded"
            ));
            ensure!(frames > 0, "{operation}, {host}: no frame was counted");
            ensure!(
                discarded <= frames / RARELY + LAST,
                "{operation}, {host}: {discarded} of {frames} frames were discarded"
            );
        }
    }
    Ok(Outcome::Passed)
}

/// Whose queue pairs and memory the device's are, as long as their program lives.
fn rdma_resource(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 18621;
    const PROGRAM: &str = "ib_send_bw";
    let ends = perftest(&format!("{PROGRAM} -D 600"), PORT).start(stage, "b", LIMIT)?;
    // A server that never sends stays ready to receive.
    for (host, state) in [("a", "RTR"), ("b", "RTS")] {
        let connected = format!(
            "until rdma resource show qp link {DEVICE} | grep {PROGRAM} | grep -q {state}; do sleep 0.1; done
            pidof {PROGRAM}"
        );
        let pid = stage.shell(host, &connected, LIMIT)?;
        let pid = format!("pid {} ", pid.trim());
        let name = format!("comm {PROGRAM}");
        for kind in ["qp", "cq", "mr", "pd"] {
            let command = format!("rdma resource show {kind}");
            let text = stage.shell(host, &command, LIMIT)?;
            expect(host, &command, &text, &[DEVICE, &pid, &name])?;
        }
    }
    ends.kill(stage, LIMIT)?;
    for host in ["a", "b"] {
        let command = format!("rdma resource show qp link {DEVICE}");
        let text = stage.shell(host, &command, LIMIT)?;
        ensure!(
            !text.contains(PROGRAM),
            "{host}: `{command}` shows a dead program:\n{text}"
        );
    }
    Ok(Outcome::Passed)
}

fn ethtool_and_ip(stage: &Stage<'_>) -> Result<Outcome> {
    for host in ["a", "b"] {
        for (command, parts) in [
            (
                format!("ethtool -i {INTERFACE}"),
                &["driver: usb4_roce"][..],
            ),
            (format!("ethtool {INTERFACE}"), &["Link detected: yes"]),
            (
                format!("ip -d link show {INTERFACE}"),
                &["LOWER_UP", "link/ether", "minmtu", "parentbus pci"],
            ),
        ] {
            let text = stage.shell(host, &command, LIMIT)?;
            expect(host, &command, &text, parts)?;
        }
    }
    // Peers know the interface by the address that it has.
    let address = format!("cat /sys/class/net/{INTERFACE}/address");
    let before = stage.shell("a", &address, LIMIT)?;
    let change = format!("ip link set {INTERFACE} address 02:00:00:00:00:77");
    let output = stage.attempt("a", &change, LIMIT)?;
    ensure!(!output.status.success(), "the address could be changed");
    ensure!(
        before == stage.shell("a", &address, LIMIT)?,
        "the address was changed"
    );
    Ok(Outcome::Passed)
}
