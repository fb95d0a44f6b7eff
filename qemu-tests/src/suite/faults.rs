// SPDX-License-Identifier: GPL-2.0

//! Two cables on which everything goes wrong, under traffic of which every byte is checked.

use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use usb4_cable::control::Client;
use usb4_cable::control::Direction;
use usb4_cable::control::LinkState;
use usb4_cable::control::Schedule;
use usb4_cable::counters::DirectionCounters;
use usb4_cable::fault::Faults;
use usb4_cable::fault::Flow;

use super::speed;
use super::speed::PortSpeed;
use super::Lab;
use super::Need;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::accelerator::CpuModel;
use crate::hosts::extent::Extent;
use crate::hosts::fabric::Fabric;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::atomics::Counting;
use crate::roce::client_program::ClientProgram;
use crate::roce::hang::Hang;
use crate::roce::ongoing::Ongoing;
use crate::roce::programs::pingpong;
use crate::roce::programs::Iperf;
use crate::roce::state::await_rail_loss;
use crate::roce::traffic;
use crate::roce::traffic::Traffic;
use crate::roce::DEVICE;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(360);

/// Time limit of a test.
const TEST_LIMIT: Duration = Duration::from_secs(1500);

/// How many spells of bad weather are endured.
fn spells(extent: Extent) -> u64 {
    match extent {
        Extent::Short => 1,
        Extent::Long => 8,
    }
}

/// How many of the faults that hit one frame in many each direction has to have in a spell.
const HITS: u64 = 30;

/// How many frames each direction has to delay in a spell.
const DELAYS: u64 = 1000;

/// How long a spell may take.
const SPELL_LIMIT: Duration = Duration::from_secs(240);

/// Pause between two looks at the cables.
const POLL: Duration = Duration::from_millis(50);

/// How long it may take until an event has shown: a cable's loss, or its return up to the first data.
const NOTICE: Duration = Duration::from_secs(60);

/// How long a cable does not move anything.
enum Stall {
    /// So short that everything just waits.
    Short,
    /// So long that the silent peer is no longer tolerated, and the rail is closed.
    Long,
}

/// A short stall.
const SHORT_STALL: Duration = Duration::from_secs(1);

/// Enough flows that both rails get some of them, for longer than it takes to give a rail up.
const TCP: Iperf<'_> = Iperf {
    to: "10.55.0.1",
    seconds: 20,
    flows: 12,
};

/// How long both cables are out.
const OUTAGE: Duration = Duration::from_secs(2);

/// How often a cable is pulled and plugged in again.
const PULLS: u32 = 10;

/// A cable that is out for so short that the hosts may learn of it only when it is back.
const LOOSE_CONTACT: Duration = Duration::from_millis(50);

/// The hosts.
const HOSTS: [&str; 2] = ["a", "b"];

/// The cables.
const CABLES: [&str; 2] = ["c0", "c1"];

/// The lab: two cables.
pub const LAB: Lab = Lab {
    fabric: Fabric {
        rails: 2,
        ..Fabric::PAIR
    },
    ..Lab::MODULE
};

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, TEST_LIMIT, run);
    Suite {
        name: "faults",
        lab: LAB,
        tests: vec![
            test("port-speed", port_speed),
            test("corrupted-frames", corrupted),
            test("lost-frames", lost),
            test("unreliable-connection", unreliable),
            test("late-interrupts", late_interrupts),
            test("latency", latency).needing(Need::Speed),
            test("everything-at-once", everything).needing(Need::Speed),
            test("all-reduce-in-bad-weather", all_reduce),
            test("tcp", tcp),
            test("tcp-beside-a-stalled-rail", tcp_stalled).needing(Need::Speed),
            test("stalled-rail", stalled),
            test("stalled-one-way", stalled_one_way).needing(Need::Speed),
            test("cable-pulled-ten-times", |stage| pulled(stage, PULLS)),
            test("atomics-with-a-cable-pulled", atomics_pulled).needing(Need::Speed),
            test("atomics-in-bad-weather", atomics_in_storm).needing(Need::Speed),
            test("odp-with-a-cable-pulled", paging_pulled).needing(Need::Speed),
            test("cable-pulled-by-the-clock", pulled_by_the_clock).needing(Need::Speed),
            test("both-cables-out-for-two-seconds", short_outage).needing(Need::Speed),
            test("both-cables-out-for-ever", long_outage),
        ],
    }
}

/// The same with processors that have an instruction for checksums, so that these are others.
pub fn checksum() -> Suite {
    Suite {
        name: "checksum",
        lab: Lab {
            processor: CpuModel::Real,
            ..Lab::MODULE
        },
        tests: vec![Test::new(
            "corrupted-frames-with-crc32c",
            TEST_LIMIT,
            |stage| {
                for host in stage.instance().names() {
                    stage.shell(&host, "dmesg | grep 'checksums are CRC-32C'", LIMIT)?;
                }
                corrupted(stage)
            },
        )],
    }
}

/// The port is as fast as the cables that are in.
fn port_speed(stage: &Stage<'_>) -> Result<Outcome> {
    let both = PortSpeed {
        verbs: "120 Gb/sec (12X QDR)",
        network: 160_000,
    };
    let one = PortSpeed {
        verbs: "80 Gb/sec (8X QDR)",
        network: 80_000,
    };
    speed::check(stage, &both)?;
    let mut cables = stage.instance().cables()?;
    cables.unplug(CABLES[1])?;
    await_rail_loss(stage, &HOSTS, NOTICE)?;
    speed::check(stage, &one)?;
    cables.plug(CABLES[1])?;
    stage.instance().await_streams()?;
    roce::await_up(stage.instance())?;
    speed::check(stage, &both)?;
    Ok(Outcome::Passed)
}

/// One in so many.
fn one_in(count: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(count)
}

/// Makes both directions of all cables faulty.
fn set_weather(stage: &Stage<'_>, cables: &mut Client, faults: &Faults) -> Result<()> {
    for (number, cable) in (0..).zip(&stage.instance().topology().cables) {
        let faults = Faults {
            seed: number,
            ..faults.clone()
        };
        cables.set_faults(&cable.name, &faults)?;
    }
    Ok(())
}

/// The counters of all directions of all cables.
fn counters(cables: &mut Client) -> Result<Vec<DirectionCounters>> {
    let status = cables.status()?;
    let both = status.cables.into_iter().map(|c| [c.a_to_b, c.b_to_a]);
    Ok(both.flatten().collect())
}

/// A weather, and how it shows.
struct Weather {
    faults: Faults,
    /// The counter that grows with it.
    evidence: fn(&DirectionCounters) -> u64,
    /// By how much it has to grow in each direction of each cable.
    enough: u64,
}

impl Weather {
    /// Does `what` in it. It has to have shown by the end.
    fn during(
        &self,
        stage: &Stage<'_>,
        what: impl FnOnce(&mut Client, &[DirectionCounters]) -> Result<()>,
    ) -> Result<()> {
        let mut cables = stage.instance().cables()?;
        let before = counters(&mut cables)?;
        set_weather(stage, &mut cables, &self.faults)?;
        what(&mut cables, &before)?;
        let counts = self.grown(&mut cables, &before)?;
        stage.note(&format!("faults by direction: {counts:?}"));
        ensure!(
            counts.iter().all(|count| *count > 0),
            "the cables were not faulty: {counts:?}"
        );
        set_weather(stage, &mut cables, &Faults::default())?;
        roce::await_up(stage.instance())
    }

    /// By how much the evidence has grown in each direction.
    fn grown(&self, cables: &mut Client, before: &[DirectionCounters]) -> Result<Vec<u64>> {
        let after = counters(cables)?;
        let counts = after.iter().zip(before);
        Ok(counts
            .map(|(a, b)| (self.evidence)(a) - (self.evidence)(b))
            .collect())
    }

    /// Verified traffic in it, until enough of it was seen.
    fn traffic(&self, stage: &Stage<'_>, options: &str) -> Result<Outcome> {
        let spells = spells(stage.extent());
        let enough = self.enough * spells;
        self.during(stage, |cables, before| {
            let traffic = Traffic::start(stage, "a", "b", options)?;
            let limit = SPELL_LIMIT * u32::try_from(spells)?;
            let deadline = Instant::now() + limit;
            loop {
                let counts = self.grown(cables, before)?;
                if counts.iter().all(|count| *count >= enough) {
                    break;
                }
                ensure!(
                    Instant::now() < deadline,
                    "after {} s the cables were as faulty as {counts:?}",
                    limit.as_secs()
                );
                thread::sleep(POLL);
            }
            traffic.stop(stage)
        })?;
        Ok(Outcome::Passed)
    }
}

fn corrupted(stage: &Stage<'_>) -> Result<Outcome> {
    let weather = Weather {
        faults: Faults {
            corrupt_one_in: one_in(300),
            ..Faults::default()
        },
        evidence: |c| c.corrupted,
        enough: HITS,
    };
    weather.traffic(stage, "--variant poll-rq")
}

fn lost(stage: &Stage<'_>) -> Result<Outcome> {
    let weather = Weather {
        faults: Faults {
            lose_one_in: one_in(300),
            ..Faults::default()
        },
        evidence: |c| c.lost,
        enough: HITS,
    };
    weather.traffic(stage, "--variant event-srq")
}

/// Of an unreliable connection messages get lost; those that arrive are whole, in order, and come once.
fn unreliable(stage: &Stage<'_>) -> Result<Outcome> {
    let mut cables = stage.instance().cables()?;
    let faults = Faults {
        corrupt_one_in: one_in(300),
        ..Faults::default()
    };
    set_weather(stage, &mut cables, &faults)?;
    let program = ClientProgram {
        name: "verbs-unreliable",
        options: "",
        port: 7000,
    };
    let program = program.between("a", "--bursts 40");
    let report = program.run(stage, "b", LIMIT)?;
    set_weather(stage, &mut cables, &Faults::default())?;
    stage.note(&report);
    let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
    ensure!(report["ok"] == true, "{report}");
    ensure!(
        report["sent"] != report["received"],
        "nothing was lost: {report}"
    );
    roce::await_up(stage.instance())?;
    Ok(Outcome::Passed)
}

fn late_interrupts(stage: &Stage<'_>) -> Result<Outcome> {
    let weather = Weather {
        faults: Faults {
            late_interrupt_one_in: one_in(50),
            ..Faults::default()
        },
        evidence: |c| c.late_interrupts,
        enough: HITS,
    };
    weather.traffic(stage, "--variant event-rq")
}

fn latency(stage: &Stage<'_>) -> Result<Outcome> {
    let weather = Weather {
        faults: Faults {
            latency_us: 3_000,
            ..Faults::default()
        },
        evidence: |c| c.delayed,
        enough: DELAYS,
    };
    weather.traffic(stage, "--variant poll-srq")
}

/// All that one direction can suffer without going down.
fn storm() -> Weather {
    Weather {
        faults: Faults {
            latency_us: 500,
            corrupt_one_in: one_in(500),
            lose_one_in: one_in(500),
            late_interrupt_one_in: one_in(200),
            ..Faults::default()
        },
        evidence: |c| c.lost + c.corrupted,
        enough: HITS,
    }
}

fn everything(stage: &Stage<'_>) -> Result<Outcome> {
    storm().traffic(stage, "")
}

fn all_reduce(stage: &Stage<'_>) -> Result<Outcome> {
    storm().during(stage, |_, _| {
        let options = "--iterations 4 --latency-rounds 0";
        crate::roce::all_reduce::run(stage, 8 << 20, options)?;
        Ok(())
    })?;
    Ok(Outcome::Passed)
}

/// Flows of TCP over both rails: none overtakes itself. (A segment that is lost, in a queue of the stack, is overtaken, too.)
fn tcp(stage: &Stage<'_>) -> Result<Outcome> {
    /// Of so many segments one may be overtaken. With one frame here and the next there, it would be every other.
    const RARELY: u64 = 20;
    let count = |name: &str| -> Result<u64> {
        let script = format!("nstat -asz {name} | awk '/^{name}/ {{ print $2 }}'");
        let text = stage.shell("a", &script, LIMIT)?;
        text.trim().parse().context("a number of segments")
    };
    let [before, overtaken_before] = [count("TcpInSegs")?, count("TcpExtTCPOFOQueue")?];
    TCP.run_during(stage, LIMIT, || {
        for cable in CABLES {
            traffic::await_moving(stage, cable, &[Direction::BToA], NOTICE)?;
        }
        Ok(())
    })?;
    let segments = count("TcpInSegs")? - before;
    let overtaken = count("TcpExtTCPOFOQueue")? - overtaken_before;
    stage.note(&format!(
        "{overtaken} of {segments} segments were overtaken"
    ));
    ensure!(
        overtaken * RARELY <= segments,
        "{overtaken} of {segments} segments were overtaken"
    );
    Ok(Outcome::Passed)
}

/// Those of the flows that went over a rail which moves nothing any more go on over the other.
fn tcp_stalled(stage: &Stage<'_>) -> Result<Outcome> {
    let [stalled, other] = CABLES;
    let mut cables = stage.instance().cables()?;
    let mut set_flow = |flow| {
        let faults = Faults {
            flow,
            ..Faults::default()
        };
        cables.set_faults(stalled, &faults)
    };
    TCP.run_during(stage, LIMIT, || {
        // The other way there are acknowledgements only.
        let ways = [Direction::BToA];
        traffic::await_moving(stage, stalled, &ways, NOTICE)?;
        set_flow(Flow::Stalled)?;
        await_rail_loss(stage, &HOSTS, NOTICE)?;
        traffic::await_moving(stage, other, &ways, NOTICE)
    })?;
    set_flow(Flow::Moving)?;
    roce::await_up(stage.instance())?;
    Ok(Outcome::Passed)
}

/// Stops the flow in `directions` of the first cable during traffic, for a short time and for so long that
/// the rail is given up.
fn stall(stage: &Stage<'_>, directions: &[Direction]) -> Result<Outcome> {
    let [stalled, other] = CABLES;
    let traffic = Traffic::start(stage, "a", "b", "--variant event-rq")?;
    traffic::await_in_use(stage, stalled, NOTICE)?;
    let mut cables = stage.instance().cables()?;
    for time in [Stall::Short, Stall::Long] {
        let mut set_flow = |flow| -> Result<()> {
            for direction in directions {
                let faults = Faults {
                    flow,
                    ..Faults::default()
                };
                cables.set_direction_faults(stalled, *direction, &faults)?;
            }
            Ok(())
        };
        set_flow(Flow::Stalled)?;
        match time {
            Stall::Short => thread::sleep(SHORT_STALL),
            Stall::Long => {
                await_rail_loss(stage, &HOSTS, NOTICE)?;
                traffic::await_in_use(stage, other, NOTICE)?;
            }
        }
        set_flow(Flow::Moving)?;
        traffic::await_in_use(stage, stalled, NOTICE)?;
    }
    traffic.stop(stage)?;
    roce::await_up(stage.instance())?;
    Ok(Outcome::Passed)
}

fn stalled(stage: &Stage<'_>) -> Result<Outcome> {
    stall(stage, &[Direction::AToB, Direction::BToA])
}

fn stalled_one_way(stage: &Stage<'_>) -> Result<Outcome> {
    stall(stage, &[Direction::AToB])
}

/// Pulls a cable during traffic, and plugs it in again, so many times.
fn pulled(stage: &Stage<'_>, times: u32) -> Result<Outcome> {
    let [kept, pulled] = CABLES;
    let traffic = Traffic::start(stage, "a", "b", "--variant event-srq")?;
    traffic::await_in_use(stage, pulled, NOTICE)?;
    let mut cables = stage.instance().cables()?;
    for time in 0..times {
        stage.note(&format!("pull number {}", time + 1));
        cables.unplug(pulled)?;
        cables.wait_link(pulled, LinkState::Down, NOTICE)?;
        if time % 2 == 0 {
            await_rail_loss(stage, &HOSTS, NOTICE)?;
            traffic::await_in_use(stage, kept, NOTICE)?;
        } else {
            thread::sleep(LOOSE_CONTACT);
        }
        cables.plug(pulled)?;
        for cable in CABLES {
            traffic::await_in_use(stage, cable, NOTICE)
                .with_context(|| format!("after pull number {}", time + 1))?;
        }
    }
    traffic.stop(stage)?;
    roce::await_up(stage.instance())?;
    Ok(Outcome::Passed)
}

/// How often a cable is pulled while words are counted in.
const ATOMIC_PULLS: u32 = 4;

/// How often a cable is pulled while memory is paged.
const PAGING_PULLS: u32 = 4;

/// How long words are counted in on the cables as they are.
const COUNTING: Duration = Duration::from_secs(2);

/// Each atomic operation is carried out once, also those that were on a cable when it was pulled.
fn atomics_pulled(stage: &Stage<'_>) -> Result<Outcome> {
    let counting = Counting::start(stage, LIMIT)?;
    let mut cables = stage.instance().cables()?;
    for time in 0..ATOMIC_PULLS {
        // Now the one, now the other.
        let pulled = CABLES[time as usize % CABLES.len()];
        thread::sleep(COUNTING);
        cables.unplug(pulled)?;
        cables.wait_link(pulled, LinkState::Down, NOTICE)?;
        thread::sleep(COUNTING);
        cables.plug(pulled)?;
        stage.instance().await_streams()?;
        roce::await_up(stage.instance())?;
    }
    counting.stop(stage, LIMIT)?;
    Ok(Outcome::Passed)
}

/// The same when frames are lost and damaged.
fn atomics_in_storm(stage: &Stage<'_>) -> Result<Outcome> {
    let weather = storm();
    weather.during(stage, |cables, before| {
        let counting = Counting::start(stage, LIMIT)?;
        let deadline = Instant::now() + SPELL_LIMIT;
        while !weather
            .grown(cables, before)?
            .iter()
            .all(|count| *count >= weather.enough)
        {
            ensure!(Instant::now() < deadline, "the cables are not faulty");
            thread::sleep(POLL);
        }
        counting.stop(stage, LIMIT)
    })?;
    Ok(Outcome::Passed)
}

/// What comes from memory that is not pinned, and goes there, is whole, also what was on a cable when it was pulled, or was waiting for
/// a page meanwhile.
fn paging_pulled(stage: &Stage<'_>) -> Result<Outcome> {
    let program = ClientProgram {
        name: "verbs-paging",
        // So long that each message goes over both cables.
        options: "--bytes 2M",
        port: 7000,
    };
    let paging = Ongoing::start(stage, &program, LIMIT)?;
    let mut cables = stage.instance().cables()?;
    for time in 0..PAGING_PULLS {
        for cable in CABLES {
            traffic::await_in_use(stage, cable, NOTICE)?;
        }
        let [pulled, kept] = match time % 2 {
            0 => CABLES,
            _ => [CABLES[1], CABLES[0]],
        };
        cables.unplug(pulled)?;
        await_rail_loss(stage, &HOSTS, NOTICE)?;
        traffic::await_in_use(stage, kept, NOTICE)?;
        cables.plug(pulled)?;
        stage.instance().await_streams()?;
        roce::await_up(stage.instance())?;
    }
    let report = paging.stop(stage, LIMIT)?;
    stage.note(&report);
    let report: serde_json::Value = serde_json::from_str(&report).context("the report")?;
    ensure!(report["ok"] == true, "{report}");
    Ok(Outcome::Passed)
}

/// Pulls a cable during traffic whether or not the rail has come back since.
fn pulled_by_the_clock(stage: &Stage<'_>) -> Result<Outcome> {
    let schedule = Schedule {
        plugged: Duration::from_millis(3500),
        unplugged: Duration::from_millis(700),
        times: match stage.extent() {
            Extent::Short => 5,
            Extent::Long => 50,
        },
    };
    let [_, pulled] = CABLES;
    let traffic = Traffic::start(stage, "a", "b", "--variant event-rq")?;
    traffic::await_in_use(stage, pulled, NOTICE)?;
    let mut cables = stage.instance().cables()?;
    schedule.follow(&mut cables, pulled, |time| {
        stage.note(&format!("pull number {time}"));
    })?;
    traffic::await_in_use(stage, pulled, NOTICE)?;
    traffic.stop(stage)?;
    roce::await_up(stage.instance())?;
    Ok(Outcome::Passed)
}

fn unplug_both(cables: &mut Client) -> Result<()> {
    for cable in CABLES {
        cables.unplug(cable)?;
    }
    for cable in CABLES {
        cables.wait_link(cable, LinkState::Down, NOTICE)?;
    }
    Ok(())
}

fn plug_both(stage: &Stage<'_>, cables: &mut Client) -> Result<()> {
    for cable in CABLES {
        cables.plug(cable)?;
    }
    stage.instance().await_streams()?;
    roce::await_up(stage.instance())
}

/// With the timeout (14) and the retries (7) that most programs use.
fn short_outage(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 18515;
    const ITERATIONS: u32 = 2000;
    let options = format!("-s 65536 -n {ITERATIONS} -c");
    let ends = pingpong(&options, PORT).start(stage, "b", LIMIT)?;
    traffic::await_in_use(stage, CABLES[0], NOTICE)?;
    let mut cables = stage.instance().cables()?;
    unplug_both(&mut cables)?;
    thread::sleep(OUTAGE);
    plug_both(stage, &mut cables)?;
    for job in [&ends.client, &ends.server] {
        let output = stage.finish(job, LIMIT)?;
        ensure!(
            output.contains(&format!("{ITERATIONS} iters")),
            "not all iterations were done:\n{output}"
        );
    }
    Ok(Outcome::Passed)
}

/// Without cables requests fail, and nothing else does.
fn long_outage(stage: &Stage<'_>) -> Result<Outcome> {
    const EVENTS: &str = "/tmp/events";
    let watch = format!("exec stdbuf -oL ibv_asyncwatch -d {DEVICE} > {EVENTS} 2>&1");
    let has_event = |host, event: &str| {
        let script = format!("until grep -q {event} {EVENTS}; do sleep 0.1; done");
        stage
            .shell(host, &script, NOTICE)
            .with_context(|| format!("{host}: no event {event}"))
    };
    let mut watches = Vec::new();
    for host in HOSTS {
        watches.push(stage.start(host, &watch, LIMIT)?);
    }
    let hang = Hang::start(stage, "a", "b")?;
    let mut cables = stage.instance().cables()?;
    unplug_both(&mut cables)?;
    hang.await_failure(stage)?;
    for host in HOSTS {
        has_event(host, "PORT_ERR")?;
        let state = format!("grep -q DOWN /sys/class/infiniband/{DEVICE}/ports/1/state");
        stage.shell(host, &state, LIMIT).context("port state")?;
        stage.shell(host, "pgrep ibv_asyncwatch", LIMIT)?;
    }
    plug_both(stage, &mut cables)?;
    for host in HOSTS {
        has_event(host, "PORT_ACTIVE")?;
    }
    for job in &watches {
        stage.kill(job)?;
        stage.wait(job, NOTICE)?;
    }
    let traffic = Traffic::start(stage, "a", "b", "--variant poll-rq")?;
    for cable in CABLES {
        traffic::await_in_use(stage, cable, NOTICE)?;
    }
    traffic.stop(stage)?;
    Ok(Outcome::Passed)
}
