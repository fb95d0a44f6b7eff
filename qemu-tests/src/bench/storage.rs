// SPDX-License-Identifier: GPL-2.0

//! Disks and files of another host: how fast they are read and written, and what that takes of both hosts' CPUs.
//!
//! What every run costs once, such as starting the program, must not count: what a short run costs is taken off.

use std::time::Duration;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::figure::Figures;
use super::figure::Metric;
use super::figure::Subject;
use super::figure::Transport;
use super::figure::Verb;
use super::plan::Plan;
use super::testbed::address;
use super::testbed::Testbed;
use super::turn::in_turn;
use crate::building::progress::Step;
use crate::storage::fio::Direction;
use crate::storage::fio::Done;
use crate::storage::fio::Load;
use crate::storage::fio::Order;
use crate::storage::nfs;
use crate::storage::nvme;
use crate::storage::nvme::Content;
use crate::storage::Carrier;
use crate::storage::Way;
use crate::storage::TARGET;

/// How long the short run takes.
const SHORT: Duration = Duration::from_millis(500);

/// Requests under way, at random places and one place after the other.
const RANDOM_IN_FLIGHT: u32 = 16;
const SEQUENTIAL_IN_FLIGHT: u32 = 4;

/// The file that is read and written, on the server and on the client.
const FILE: &str = "loaded";

/// Bytes of that file.
const FILE_BYTES: u64 = 64 << 20;

/// Time limit of making that file.
const LIMIT: Duration = Duration::from_secs(60);

/// What a run has done, and what it took.
struct Run {
    done: Done,
    /// CPU time of both hosts together in seconds.
    cpu: f64,
}

/// Measures all that is planned, in turn, as often as planned.
pub fn measure(testbed: &Testbed<'_>, plan: &Plan, figures: &mut Figures) -> Result<()> {
    for repeat in 0..plan.repeats {
        let step = Step::begin(&format!(
            "measure disks and files of another host, {} of {}",
            repeat + 1,
            plan.repeats
        ));
        for subject in in_turn(&plan.storage, repeat) {
            one(testbed, subject, plan.storage_goal, figures)
                .with_context(|| format!("measure {subject:?}"))?;
        }
        step.done();
    }
    Ok(())
}

/// Measures `subject` for about `goal`, and what CPU it takes.
fn one(
    testbed: &Testbed<'_>,
    subject: &Subject,
    goal: Duration,
    figures: &mut Figures,
) -> Result<()> {
    let load = load(subject)?;
    let way = way(subject.transport)?;
    let stage = testbed.stage();
    let runs = |find: &str, file: &str| -> Result<(Run, Run)> {
        let run = |time| -> Result<Run> {
            let before = testbed.instance().cpu_time()?;
            let done = load.run(stage, find, file, time)?;
            let used = testbed.instance().cpu_time()?.saturating_sub(before);
            Ok(Run {
                done,
                cpu: used.as_secs_f64(),
            })
        };
        Ok((run(SHORT)?, run(goal)?))
    };
    let (short, long) = match subject.verb {
        Verb::NvmeRead | Verb::NvmeWrite => {
            nvme::with_disk(stage, &way, Content::Forgotten, || {
                runs(nvme::FIND_DISK, "$disk")
            })?
        }
        _ => nfs::with_directory(stage, &way, || {
            let make = format!("head -c {FILE_BYTES} /dev/zero > {}/{FILE}", nfs::EXPORTED);
            stage.shell(TARGET, &make, LIMIT)?;
            runs("", &format!("{}/{FILE}", nfs::MOUNTED))
        })?,
    };
    let value = match subject.metric {
        Metric::AccessBandwidth => long.done.bandwidth,
        _ => long.done.rate,
    };
    figures.add(*subject, value);
    let cpu = Subject {
        metric: Metric::AccessCpu,
        ..*subject
    };
    figures.add(cpu, per_request(&short, &long)?);
    Ok(())
}

/// What each request of the long run took that the short one has not.
fn per_request(short: &Run, long: &Run) -> Result<f64> {
    ensure!(
        long.done.requests > short.done.requests,
        "the long run has done no more than the short one"
    );
    let more = long.done.requests - short.done.requests;
    Ok((long.cpu - short.cpu) / more as f64)
}

/// What fio is to do.
fn load(subject: &Subject) -> Result<Load> {
    let (order, in_flight) = match subject.metric {
        Metric::Accesses => (Order::Random, RANDOM_IN_FLIGHT),
        Metric::AccessBandwidth => (Order::Sequential, SEQUENTIAL_IN_FLIGHT),
        metric => bail!("fio does not measure {metric:?}"),
    };
    let direction = match subject.verb {
        Verb::NvmeRead | Verb::NfsRead => Direction::Read,
        Verb::NvmeWrite | Verb::NfsWrite => Direction::Write,
        verb => bail!("fio does not measure {verb:?}"),
    };
    Ok(Load {
        direction,
        order,
        bytes: subject.bytes,
        in_flight,
    })
}

/// How `transport` reaches the target.
fn way(transport: Transport) -> Result<Way> {
    let carrier = match transport {
        Transport::Roce | Transport::Rxe => Carrier::Rdma,
        Transport::Tcp | Transport::RoceTcp => Carrier::Tcp,
        Transport::Stream => bail!("there is no storage over a raw stream"),
    };
    Ok(Way {
        carrier,
        address: address(transport, TARGET),
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::Extent;
    use super::*;

    fn run(requests: u64, cpu: f64) -> Run {
        Run {
            done: Done {
                requests,
                ..Done::default()
            },
            cpu,
        }
    }

    #[test]
    fn what_is_done_once_does_not_count() {
        // Half a second to start, 10 us a request.
        let found = per_request(&run(1000, 0.51), &run(11_000, 0.61)).unwrap();
        assert!((found - 10e-6).abs() < 1e-12, "{found}");
        assert!(per_request(&run(10, 0.5), &run(10, 0.6)).is_err());
    }

    #[test]
    fn all_that_is_planned_can_be_measured() {
        for extent in [Extent::Quick, Extent::Full, Extent::Storage] {
            for subject in Plan::new(extent, None).storage {
                assert!(load(&subject).is_ok(), "{subject:?}");
                assert!(way(subject.transport).is_ok(), "{subject:?}");
            }
        }
    }
}
