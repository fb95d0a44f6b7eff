// SPDX-License-Identifier: GPL-2.0

//! Checks that a verbs device keeps to what it says it can do: so many objects of each kind, twice, with no
//! memory left behind; and that the memory of queues is charged to who makes them.

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::Parser;
use nix::errno::Errno;

use verbs_clients::cli::DeviceArgs;
use verbs_clients::endpoint::Device;
use verbs_clients::verbs::Access;
use verbs_clients::verbs::AddressVector;
use verbs_clients::verbs::Ah;
use verbs_clients::verbs::Buffer;
use verbs_clients::verbs::Cq;
use verbs_clients::verbs::Error;
use verbs_clients::verbs::Gid;
use verbs_clients::verbs::Mr;
use verbs_clients::verbs::Pd;
use verbs_clients::verbs::Qp;
use verbs_clients::verbs::QpCapacity;
use verbs_clients::verbs::QpInit;
use verbs_clients::verbs::Srq;

/// Check that a verbs device keeps to its limits: nobody else may use it meanwhile.
#[derive(Parser)]
#[command(name = "verbs-limits", version)]
struct Args {
    #[command(flatten)]
    device: DeviceArgs,
}

/// What a device may answer to one object too many.
const TOO_MANY: &[Errno] = &[Errno::ENOMEM, Errno::ENOSPC];

/// What the kernel may keep for itself, such as caches that have grown.
const TOLERANCE_KIB: i64 = 16 << 10;
/// How long the kernel may take to free what nobody uses any more.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Completion queues whose memory is looked for, and entries of each.
const CHARGED_QUEUES: usize = 8;
const CHARGED_ENTRIES: u32 = 32 << 10;
/// Bytes of a completion in its queue.
const CQE_SIZE: u64 = 64;

/// All nodes of a site.
const GROUP: Gid = Gid([0xff, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The smallest queue pair there is.
const SMALL: QpCapacity = QpCapacity {
    send_wr: 1,
    recv_wr: 1,
    send_sge: 1,
    recv_sge: 1,
    inline: 0,
};

/// Makes objects until the device refuses, checks that these are as many as there may be, and destroys them.
fn fill<T>(what: &str, limit: u32, make: &mut impl FnMut() -> Result<T, Error>) -> Result<()> {
    let mut objects = Vec::new();
    let refused = loop {
        match make() {
            Ok(object) => objects.push(object),
            Err(refused) => break refused,
        }
        ensure!(objects.len() <= limit as usize, "{what}: more than {limit}");
    };
    ensure!(
        objects.len() == limit as usize && TOO_MANY.contains(&refused.errno()),
        "{what}: {refused} after {} of {limit}",
        objects.len()
    );
    println!("{what}: {limit}, then {}", refused.errno());
    Ok(())
}

/// Reaches a limit twice. What the first time takes may stay: caches, and this program's own memory.
fn exhaust<T>(what: &str, limit: u32, mut make: impl FnMut() -> Result<T, Error>) -> Result<()> {
    fill(what, limit, &mut make)?;
    let before = available_kib()?;
    fill(what, limit, &mut make)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lost = before - available_kib()?;
        if lost < TOLERANCE_KIB {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{what}: {lost} KiB of memory are missing"
        );
        thread::sleep(PAUSE);
    }
}

fn available_kib() -> Result<i64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    text.lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .context("/proc/meminfo has no MemAvailable")
}

fn limits(device: &Device) -> Result<()> {
    let context = &device.context;
    let limits = &device.limits;
    exhaust("protection domains", limits.max_pd, || Pd::new(context))?;
    exhaust("completion queues", limits.max_cq, || {
        Cq::new(context, 1, None)
    })?;
    let pd = Pd::new(context)?;
    // A group, for which no neighbour has to be asked.
    let group = AddressVector {
        dgid: GROUP,
        ..device.choose_path(&device.path_offer())?.address
    };
    exhaust("address handles", limits.max_ah, || Ah::new(&pd, &group))?;
    exhaust("shared receive queues", limits.max_srq, || {
        Srq::new(&pd, 1, 1)
    })?;
    let page = Buffer::new(64)?;
    exhaust("memory regions", limits.max_mr, || {
        Mr::new(&pd, &page, 0..64, Access::LOCAL_WRITE)
    })?;
    let cq = Cq::new(context, 1, None)?;
    let init = QpInit {
        send_cq: &cq,
        recv_cq: &cq,
        srq: None,
        capacity: SMALL,
    };
    exhaust("queue pairs", limits.max_qp, || Qp::new(&pd, &init))
}

/// The largest queues that are promised can be had.
fn sizes(device: &Device) -> Result<()> {
    let limits = &device.limits;
    let pd = Pd::new(&device.context)?;
    let cq = Cq::new(&device.context, limits.max_cqe, None).context("max_cqe")?;
    let srq = Srq::new(&pd, limits.max_srq_wr, limits.max_srq_sge).context("max_srq_wr")?;
    let capacity = QpCapacity {
        send_wr: limits.max_qp_wr,
        recv_wr: limits.max_qp_wr,
        send_sge: limits.max_sge,
        recv_sge: limits.max_sge,
        inline: 0,
    };
    for srq in [None, Some(&srq)] {
        let init = QpInit {
            send_cq: &cq,
            recv_cq: &cq,
            srq,
            capacity,
        };
        Qp::new(&pd, &init).context("max_qp_wr")?;
    }
    Ok(())
}

/// The memory that is charged to this program's control group.
fn charged() -> Result<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let group = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .context("no control group of version 2")?;
    let file = format!("/sys/fs/cgroup{group}/memory.current");
    let text = fs::read_to_string(&file).context(file)?;
    Ok(text.trim().parse()?)
}

fn charges(device: &Device) -> Result<()> {
    let before = charged()?;
    let mut queues = Vec::new();
    for _ in 0..CHARGED_QUEUES {
        queues.push(Cq::new(&device.context, CHARGED_ENTRIES, None)?);
    }
    let grown = charged()?.saturating_sub(before);
    let expected = CHARGED_QUEUES as u64 * u64::from(CHARGED_ENTRIES) * CQE_SIZE;
    println!("completion queues of {expected} bytes: {grown} charged");
    ensure!(
        grown >= expected,
        "{grown} bytes were charged for completion queues of {expected}"
    );
    Ok(())
}

fn run() -> Result<()> {
    let args = Args::parse();
    let device = Device::open(&args.device)?;
    sizes(&device)?;
    charges(&device)?;
    limits(&device)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verbs-limits: {error:#}");
            ExitCode::FAILURE
        }
    }
}
