// SPDX-License-Identifier: GPL-2.0

//! The distribution's verbs programs over `usb4_roce`, from host to host and within one host.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::tools;
use super::Lab;
use super::Need;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::atomics;
use crate::roce::client_program::ClientProgram;
use crate::roce::client_report;
use crate::roce::connection_manager::Family;
use crate::roce::connection_manager::RPING;
use crate::roce::connection_manager::UCMATOSE;
use crate::roce::connection_manager::UDADDY;
use crate::roce::forged;
use crate::roce::programs;
use crate::roce::programs::pingpong;
use crate::roce::programs::Pieces;
use crate::roce::programs::Ping;
use crate::roce::programs::VerbsProgram;
use crate::roce::traffic::VERIFY;
use crate::roce::DEVICE;
use crate::roce::FIND_GID;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(700);

/// Time limit of making as many objects as there may be, twice.
const LIMITS_LIMIT: Duration = Duration::from_secs(600);

/// Time limit of messages of 2^31 bytes: a minute on an idle machine.
const LONGEST_LIMIT: Duration = Duration::from_secs(900);

/// Port which the programs listen on.
const PORT: u16 = 18515;

/// Where server and client run.
#[derive(Clone, Copy)]
enum Path {
    /// On two hosts.
    Cable,
    /// On one host.
    Loopback,
}

impl Path {
    fn client_host(self) -> &'static str {
        match self {
            Path::Cable => "b",
            Path::Loopback => "a",
        }
    }
}

/// The suite over one cable.
pub fn suite() -> Suite {
    Suite {
        name: "verbs",
        lab: Lab::MODULE,
        tests: [
            test("devinfo", devinfo),
            test("ping", ping),
            test("tcp", tcp),
            test("rc-pingpong", |s| rc_pingpong(s, Path::Cable, "-c")),
            test("rc-pingpong-events", |s| {
                rc_pingpong(s, Path::Cable, "-c -e")
            }),
            test("rc-pingpong-loopback", |s| {
                rc_pingpong(s, Path::Loopback, "-c")
            }),
            test("send-bw", |s| {
                perftest(s, Path::Cable, "ib_send_bw -n 300 -s 65536")
            }),
            test("write-bw", |s| {
                perftest(s, Path::Cable, "ib_write_bw -n 300 -s 65536")
            }),
            test("read-bw", |s| {
                perftest(s, Path::Cable, "ib_read_bw -n 300 -s 65536")
            }),
            test("send-lat", |s| {
                perftest(s, Path::Cable, "ib_send_lat -n 300 -s 64")
            })
            .needing(Need::Speed),
            test("write-lat", |s| {
                perftest(s, Path::Cable, "ib_write_lat -n 300 -s 64")
            })
            .needing(Need::Speed),
            test("read-lat", |s| {
                perftest(s, Path::Cable, "ib_read_lat -n 300 -s 64")
            }),
            test("write-bw-all-sizes", |s| {
                perftest(s, Path::Cable, "ib_write_bw -n 20 -a")
            }),
            test("write-bw-bidirectional", |s| {
                perftest(s, Path::Cable, "ib_write_bw -b -n 200 -s 65536")
            })
            .needing(Need::Speed),
            test("send-bw-loopback", |s| {
                perftest(s, Path::Loopback, "ib_send_bw -n 300 -s 65536")
            })
            .needing(Need::Speed),
            test("write-bw-loopback", |s| {
                perftest(s, Path::Loopback, "ib_write_bw -n 300 -s 65536")
            })
            .needing(Need::Speed),
            test("read-bw-loopback", |s| {
                perftest(s, Path::Loopback, "ib_read_bw -n 300 -s 65536")
            })
            .needing(Need::Speed),
            test("write-lat-loopback", |s| {
                perftest(s, Path::Loopback, "ib_write_lat -n 300 -s 64")
            })
            .needing(Need::Speed),
            test("atomic-fetch-add-lat", |s| {
                perftest(s, Path::Cable, "ib_atomic_lat -n 300 -A FETCH_AND_ADD")
            })
            .needing(Need::Speed),
            test("atomic-compare-swap-lat", |s| {
                perftest(s, Path::Cable, "ib_atomic_lat -n 300 -A CMP_AND_SWAP")
            })
            .needing(Need::Speed),
            test("atomic-fetch-add-bw", |s| {
                perftest(s, Path::Cable, "ib_atomic_bw -n 1000 -A FETCH_AND_ADD")
            })
            .needing(Need::Speed),
            test("atomic-compare-swap-bw", |s| {
                perftest(s, Path::Cable, "ib_atomic_bw -n 1000 -A CMP_AND_SWAP")
            })
            .needing(Need::Speed),
            test("atomic-bw-bidirectional", |s| {
                perftest(s, Path::Cable, "ib_atomic_bw -b -n 1000")
            })
            .needing(Need::Speed),
            test("atomic-lat-loopback", |s| {
                perftest(s, Path::Loopback, "ib_atomic_lat -n 300 -A FETCH_AND_ADD")
            })
            .needing(Need::Speed),
            test("atomic-bw-loopback", |s| {
                perftest(s, Path::Loopback, "ib_atomic_bw -n 1000 -A CMP_AND_SWAP")
            })
            .needing(Need::Speed),
            test("atomic-count", |s| {
                atomics::between(s, LIMIT)?;
                Ok(Outcome::Passed)
            }),
            test("atomic-count-loopback", |s| {
                atomics::loopback(s, LIMIT)?;
                Ok(Outcome::Passed)
            }),
            test("rdma-cm", |s| rdma_cm(s, Path::Cable)),
            // What has to have speed is checked by others as well, but for the figures, or is in conformance's tests: emulated
            // hosts do without, unless there is time.
            test("rdma-cm-loopback", |s| rdma_cm(s, Path::Loopback)).needing(Need::Speed),
            test("uc-pingpong", |s| uc_pingpong(s, Path::Cable, "-c")),
            test("uc-pingpong-events", |s| {
                uc_pingpong(s, Path::Cable, "-c -e")
            })
            .needing(Need::Speed),
            test("uc-pingpong-large", |s| {
                uc_pingpong(s, Path::Cable, "-c -s 1000000 -r 10")
            })
            .needing(Need::Speed),
            test("uc-pingpong-loopback", |s| {
                uc_pingpong(s, Path::Loopback, "-c")
            }),
            test("uc-send-bw", |s| {
                perftest(s, Path::Cable, "ib_send_bw -c UC -n 300 -s 65536")
            })
            .needing(Need::Speed),
            test("uc-send-bw-large", |s| {
                perftest(s, Path::Cable, "ib_send_bw -c UC -n 100 -s 1048576")
            })
            .needing(Need::Speed),
            test("uc-send-lat", |s| {
                perftest(s, Path::Cable, "ib_send_lat -c UC -n 300 -s 64")
            })
            .needing(Need::Speed),
            test("uc-send-lat-events", |s| {
                perftest(s, Path::Cable, "ib_send_lat -c UC -n 300 -s 4096 -e")
            })
            .needing(Need::Speed),
            test("uc-write-bw", |s| {
                perftest(s, Path::Cable, "ib_write_bw -c UC -n 300 -s 65536")
            })
            .needing(Need::Speed),
            test("uc-write-bw-all-sizes", |s| {
                perftest(s, Path::Cable, "ib_write_bw -c UC -n 20 -a")
            })
            .needing(Need::Speed),
            test("uc-write-lat", |s| {
                perftest(s, Path::Cable, "ib_write_lat -c UC -n 300 -s 64")
            })
            .needing(Need::Speed),
            test("uc-write-bw-loopback", |s| {
                perftest(s, Path::Loopback, "ib_write_bw -c UC -n 300 -s 65536")
            })
            .needing(Need::Speed),
            test("uc-verify", |s| uc_verify(s, Path::Cable)),
            test("uc-verify-loopback", |s| uc_verify(s, Path::Loopback)),
            test("verify", |s| verify(s, Path::Cable)),
            test("verify-loopback", |s| verify(s, Path::Loopback)),
            test("ud-pingpong", |s| {
                ud_pingpong(s, Path::Cable, FIND_GID, "-s 2048")
            }),
            test("ud-pingpong-largest", |s| {
                ud_pingpong(s, Path::Cable, FIND_GID, "-s 4096")
            })
            .needing(Need::Speed),
            test("ud-pingpong-ipv6", |s| {
                ud_pingpong(s, Path::Cable, FIRST_GID, "-s 1 -e")
            }),
            test("ud-pingpong-loopback", |s| {
                ud_pingpong(s, Path::Loopback, FIND_GID, "-s 2048 -e")
            }),
            test("ud-pingpong-ipv6-loopback", |s| {
                ud_pingpong(s, Path::Loopback, FIRST_GID, "-s 2048")
            })
            .needing(Need::Speed),
            test("ud-datagrams", |s| datagrams(s, Path::Cable)),
            test("ud-datagrams-loopback", |s| datagrams(s, Path::Loopback)),
            test("ud-send-bw", |s| {
                perftest(s, Path::Cable, "ib_send_bw -c UD -n 300 -s 4096")
            })
            .needing(Need::Speed),
            test("ud-send-bw-bidirectional", |s| {
                perftest(s, Path::Cable, "ib_send_bw -c UD -b -n 300 -s 1024")
            })
            .needing(Need::Speed),
            test("ud-send-lat", |s| {
                perftest(s, Path::Cable, "ib_send_lat -c UD -n 300 -s 64")
            })
            .needing(Need::Speed),
            test("ud-send-lat-inline-loopback", |s| {
                perftest(s, Path::Loopback, "ib_send_lat -c UD -n 300 -s 64 -I 64")
            })
            .needing(Need::Speed),
            test("ud-send-bw-srq-loopback", |s| {
                perftest(
                    s,
                    Path::Loopback,
                    "ib_send_bw -c UD --use-srq -n 300 -s 1024",
                )
            })
            .needing(Need::Speed),
            test("placement", |s| placement(s, Path::Cable)),
            test("placement-loopback", |s| placement(s, Path::Loopback)),
            test("odp", |s| paging(s, Path::Cable, "")).needing(Need::Speed),
            test("odp-implicit", |s| paging(s, Path::Cable, "--implicit")).needing(Need::Speed),
            test("odp-shared-queue", |s| {
                paging(s, Path::Cable, "--shared-queue")
            })
            .needing(Need::Speed),
            test("odp-pages-that-never-come", pages_never_come).needing(Need::StockKernel),
            test("odp-under-swap", paging_under_swap).needing(Need::StockKernel),
            test("odp-loopback", |s| paging(s, Path::Loopback, "")).needing(Need::Speed),
            test("forged-frames", forged_frames),
            test("errors", |s| errors(s, Path::Cable)),
            test("errors-loopback", |s| errors(s, Path::Loopback)).needing(Need::Speed),
            Test {
                limit: LIMITS_LIMIT,
                needs: Some(Need::Speed),
                ..test("limits", limits)
            },
            test("all-reduce", all_reduce),
            test("idle-processors", idle_processors).needing(Need::StockKernel),
            Test {
                limit: LONGEST_LIMIT,
                needs: Some(Need::Speed),
                ..test("longest-messages-loopback", longest_messages)
            },
        ]
        .into_iter()
        .chain(tools::tests())
        .collect(),
    }
}

/// The same data checks over four cables at once.
pub fn striped() -> Suite {
    Suite {
        name: "verbs-four-rails",
        lab: Lab {
            fabric: Fabric {
                rails: 4,
                ..Fabric::PAIR
            },
            ..Lab::MODULE
        },
        tests: vec![
            test("verify", |s| verify(s, Path::Cable)),
            test("write-bw", |s| {
                perftest(s, Path::Cable, "ib_write_bw -n 300 -s 1048576")
            }),
            test("every-cable-carries-data", every_cable),
        ],
    }
}

fn test(name: &'static str, run: fn(&Stage<'_>) -> Result<Outcome>) -> Test {
    Test::new(name, LIMIT * 2, run)
}

fn devinfo(stage: &Stage<'_>) -> Result<Outcome> {
    for host in ["a", "b"] {
        let info = stage.shell(host, &format!("ibv_devinfo -v -d {DEVICE}"), LIMIT)?;
        for part in ["PORT_ACTIVE", "link_layer:\t\tEthernet", "RoCE v2"] {
            ensure!(
                info.contains(part),
                "{host}: ibv_devinfo does not say {part:?}:\n{info}"
            );
        }
    }
    Ok(Outcome::Passed)
}

fn ping(stage: &Stage<'_>) -> Result<Outcome> {
    let (a, b) = (roce::address("a"), roce::address("b"));
    Ping::small(20, &b).run(stage, "a", LIMIT)?;
    let large = Ping {
        count: 20,
        size: 8000,
        pieces: Pieces::Forbidden,
        to: &a,
    };
    large.run(stage, "b", LIMIT)?;
    Ok(Outcome::Passed)
}

fn tcp(stage: &Stage<'_>) -> Result<Outcome> {
    programs::Iperf::brief(&roce::address("a")).run(stage, LIMIT)?;
    Ok(Outcome::Passed)
}

fn rc_pingpong(stage: &Stage<'_>, path: Path, options: &str) -> Result<Outcome> {
    run_pingpong(stage, path, pingpong(&format!("-n 500 {options}"), PORT))
}

/// Connections are made by IP address, of both families, several at once, and data goes over them.
fn rdma_cm(stage: &Stage<'_>, path: Path) -> Result<Outcome> {
    let client_host = path.client_host();
    for (program, family) in [
        (RPING, Family::Ipv4),
        (RPING, Family::Ipv6),
        (UCMATOSE, Family::Ipv4),
        (UCMATOSE, Family::Ipv6),
        (UDADDY, Family::Ipv4),
        (UDADDY, Family::Ipv6),
    ] {
        program
            .run(stage, family, client_host, LIMIT)
            .with_context(|| format!("{program:?} over {family:?}"))?;
    }
    Ok(Outcome::Passed)
}

fn uc_pingpong(stage: &Stage<'_>, path: Path, options: &str) -> Result<Outcome> {
    let program = programs::unreliable_pingpong(&format!("-n 500 {options}"), PORT);
    run_pingpong(stage, path, program)
}

fn run_pingpong(stage: &Stage<'_>, path: Path, program: VerbsProgram) -> Result<Outcome> {
    let output = program.run(stage, path.client_host(), LIMIT)?;
    ensure!(
        output.contains("500 iters"),
        "not all iterations were done:\n{output}"
    );
    Ok(Outcome::Passed)
}

/// Each datagram is verified, and those that ought to be dropped are.
fn datagrams(stage: &Stage<'_>, path: Path) -> Result<Outcome> {
    for gid in ["", " --gid-index 0"] {
        let report = client_program(stage, path, "verbs-datagrams", gid)?;
        let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
        ensure!(report["ok"] == true, "{report}");
    }
    Ok(Outcome::Passed)
}

/// The script's `$gid` is the link-local one.
const FIRST_GID: &str = "gid=0";

/// Both ends check what they receive.
fn ud_pingpong(stage: &Stage<'_>, path: Path, gid: &str, options: &str) -> Result<Outcome> {
    let command = format!("ibv_ud_pingpong -d {DEVICE} -g $gid -p {PORT} -n 500 -c {options}");
    let program = VerbsProgram::over_roce(gid, &command, PORT);
    let output = program.run(stage, path.client_host(), LIMIT)?;
    ensure!(
        output.contains("500 iters"),
        "not all iterations were done:\n{output}"
    );
    Ok(Outcome::Passed)
}

fn perftest(stage: &Stage<'_>, path: Path, program: &str) -> Result<Outcome> {
    let program = programs::perftest(program, PORT);
    let output = program.run(stage, path.client_host(), LIMIT)?;
    // The table's heading is the last line that does not begin with a size.
    let rows = output
        .lines()
        .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .count();
    ensure!(rows > 0, "no result:\n{output}");
    Ok(Outcome::Passed)
}

fn client_program(stage: &Stage<'_>, path: Path, program: &str, options: &str) -> Result<String> {
    const LISTEN: u16 = 7000;
    let program = ClientProgram {
        name: program,
        options: "",
        port: LISTEN,
    };
    match path {
        Path::Loopback => program.loopback(stage, "a", options, LIMIT),
        Path::Cable => program.between("a", options).run(stage, "b", LIMIT),
    }
}

fn verify(stage: &Stage<'_>, path: Path) -> Result<Outcome> {
    let report = client_program(stage, path, VERIFY, "--iterations 3 --large 8M")?;
    client_report::verified(stage, &report)?;
    Ok(Outcome::Passed)
}

/// Over a cable without faults, with a receive for each message, nothing is lost, by whatever key it is written.
fn uc_verify(stage: &Stage<'_>, path: Path) -> Result<Outcome> {
    for through in ["region", "window"] {
        let options = format!("--bursts 10 --through {through}");
        let report = client_program(stage, path, "verbs-unreliable", &options)?;
        let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
        ensure!(report["ok"] == true, "{report}");
        ensure!(report["sent"] == report["received"], "{report}");
    }
    Ok(Outcome::Passed)
}

/// Receivers use memory again as soon as they have seen the last bytes of a WRITE.
fn placement(stage: &Stage<'_>, path: Path) -> Result<Outcome> {
    for (bytes, count) in [(8_192, 300), (65_000, 300), (1_000_000, 100)] {
        let options = format!("--bytes {bytes} --count {count}");
        let report = client_program(stage, path, "verbs-placement", &options)?;
        let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
        ensure!(report["ok"] == true, "{report}");
    }
    Ok(Outcome::Passed)
}

/// Memory that is not pinned is found where it is, whatever becomes of its pages.
fn paging(stage: &Stage<'_>, path: Path, options: &str) -> Result<Outcome> {
    for bytes in [FEW_PAGES, MANY_PAGES] {
        pages_change(
            stage,
            path,
            &format!("--bytes {bytes} --count 36 {options}"),
        )?;
    }
    Ok(Outcome::Passed)
}

/// Bytes of a message that lie in few pages, and in many.
const FEW_PAGES: u32 = 12_000;
const MANY_PAGES: u32 = 300_000;

/// Messages from and to memory on demand, while its pages change.
fn pages_change(stage: &Stage<'_>, path: Path, options: &str) -> Result<()> {
    let report = client_program(stage, path, "verbs-paging", options)?;
    let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
    ensure!(report["ok"] == true, "{report}");
    Ok(())
}

/// Pages that the kernel has put into swap are fetched from there. The native kernel has no swap.
fn paging_under_swap(stage: &Stage<'_>) -> Result<Outcome> {
    const SWAP_ON: &str = "modprobe zram && echo 64M > /sys/block/zram0/disksize && \
        mkswap -q /dev/zram0 && swapon /dev/zram0";
    const SWAP_OFF: &str = "swapoff /dev/zram0 && echo 1 > /sys/block/zram0/reset && rmmod zram";
    for host in ["a", "b"] {
        stage.shell(host, SWAP_ON, LIMIT)?;
    }
    let options = format!("--bytes {FEW_PAGES} --count 24 --swap");
    pages_change(stage, Path::Cable, &options)?;
    for host in ["a", "b"] {
        stage.shell(host, SWAP_OFF, LIMIT)?;
    }
    Ok(Outcome::Passed)
}

/// Who accesses pages that never come gives up, and whose they are can end. The native kernel has no `userfaultfd`.
fn pages_never_come(stage: &Stage<'_>) -> Result<Outcome> {
    for path in [Path::Cable, Path::Loopback] {
        let report = client_program(stage, path, "verbs-stuck", "")?;
        let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
        ensure!(report["ok"] == true, "{report}");
    }
    Ok(Outcome::Passed)
}

/// Nothing that a process writes ends a rail, or makes anything be sent twice.
fn forged_frames(stage: &Stage<'_>) -> Result<Outcome> {
    for forgery in forged::forgeries() {
        let before = [rail_counters(stage, "a")?, rail_counters(stage, "b")?];
        let unit: String = forgery.header.iter().map(|b| format!("{b:02x}")).collect();
        let options = format!("--bytes 1000000 --count 50 --unit {unit}");
        let report = client_program(stage, Path::Cable, "verbs-placement", &options)?;
        let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
        ensure!(report["ok"] == true, "{}: {report}", forgery.name);
        let after = [rail_counters(stage, "a")?, rail_counters(stage, "b")?];
        ensure!(
            before == after,
            "{}: from {before:?} to {after:?}",
            forgery.name
        );
    }
    Ok(Outcome::Passed)
}

/// What the rails of a host count that counts mishaps.
fn rail_counters(stage: &Stage<'_>, host: &str) -> Result<String> {
    let mishaps = "^(opens|ups|tx_lost|rx_checksum_errors|rx_resyncs) ";
    let script = format!("grep -E '{mishaps}' /sys/kernel/config/usb4_roce/*/counters");
    stage.shell(host, &script, LIMIT)
}

/// Within one host: over an emulated cable they would take many minutes.
fn longest_messages(stage: &Stage<'_>) -> Result<Outcome> {
    let limit = LONGEST_LIMIT.as_secs();
    let program = ClientProgram {
        name: VERIFY,
        options: &format!("--timeout {limit}"),
        port: PORT,
    };
    let options = "--tiled 2G --variant poll-rq --iterations 1 --qps 1 --max-message 4K";
    let report = program.loopback(stage, "a", options, LONGEST_LIMIT)?;
    let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
    ensure!(report["ok"] == true, "{report}");
    ensure!(report["tiled"]["bytes"] == 1u64 << 31, "{report}");
    Ok(Outcome::Passed)
}

fn errors(stage: &Stage<'_>, path: Path) -> Result<Outcome> {
    let report = client_program(stage, path, "verbs-errors", "")?;
    client_report::no_errors(stage, &report)?;
    Ok(Outcome::Passed)
}

/// Runs in a control group of its own, to see what it is charged for.
fn limits(stage: &Stage<'_>) -> Result<Outcome> {
    let script = "\
        group=/sys/fs/cgroup\n\
        mountpoint -q $group || mount -t cgroup2 none $group || exit\n\
        echo +memory > $group/cgroup.subtree_control && mkdir -p $group/limits || exit\n\
        echo $$ > $group/limits/cgroup.procs || exit\n\
        cat /sys/class/infiniband/usb4_roce0/fw_ver | grep -q . || exit\n";
    let program = format!("{script}/lab/share/verbs-limits --device {DEVICE}");
    let report = stage.shell("a", &program, LIMITS_LIMIT)?;
    stage.note(&report);
    Ok(Outcome::Passed)
}

fn all_reduce(stage: &Stage<'_>) -> Result<Outcome> {
    crate::roce::all_reduce::run(stage, 4 << 20, "--latency-rounds 100")?;
    Ok(Outcome::Passed)
}

/// How soon an idle processor has to be awake while a rail is used, in microseconds.
const AWAKE_IN_US: u32 = 20;

/// The same if nobody cares: `PM_QOS_CPU_LATENCY_DEFAULT_VALUE` of include/linux/pm_qos.h.
const NOBODY_CARES_US: u32 = 2_000_000_000;

/// While messages come and go, and not for longer, idle processors may not sleep too deeply.
fn idle_processors(stage: &Stage<'_>) -> Result<Outcome> {
    let await_limit = |limit: u32| -> Result<()> {
        let script = format!(
            "for i in $(seq 300); do [ $(od -An -td4 -N4 /dev/cpu_dma_latency) = {limit} ] && exit 0; sleep 0.1; done; \
             od -An -td4 -N4 /dev/cpu_dma_latency; exit 1"
        );
        for host in ["a", "b"] {
            stage
                .shell(host, &script, LIMIT)
                .with_context(|| format!("a latency of {limit} us asked for on host {host}"))?;
        }
        Ok(())
    };
    await_limit(NOBODY_CARES_US)?;
    let to = roce::address("b");
    let pings = stage.start("a", &format!("exec ping -q -i 0.002 {to}"), LIMIT)?;
    let result = await_limit(AWAKE_IN_US);
    stage.shell("a", "pkill -INT ping", LIMIT)?;
    stage.finish(&pings, LIMIT)?;
    result?;
    await_limit(NOBODY_CARES_US)?;
    Ok(Outcome::Passed)
}

/// Each cable moved at least this share of an even split.
const FAIR_SHARE: f64 = 0.25;

fn every_cable(stage: &Stage<'_>) -> Result<Outcome> {
    let bytes = |stage: &Stage<'_>| -> Result<Vec<u64>> {
        let status = stage.instance().cables()?.status()?;
        Ok(status
            .cables
            .iter()
            .map(|c| c.a_to_b.bytes + c.b_to_a.bytes)
            .collect())
    };
    let before = bytes(stage)?;
    perftest(stage, Path::Cable, "ib_write_bw -n 100 -s 1048576")?;
    let after = bytes(stage)?;
    let moved: Vec<u64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    let total: u64 = moved.iter().sum();
    stage.note(&format!("bytes by cable: {moved:?}"));
    let fair = total as f64 / moved.len() as f64 * FAIR_SHARE;
    ensure!(
        moved.iter().all(|bytes| *bytes as f64 >= fair),
        "the cables moved {moved:?} bytes"
    );
    Ok(Outcome::Passed)
}
