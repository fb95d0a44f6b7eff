// SPDX-License-Identifier: GPL-2.0

//! The module's life: loading, unloading, use by others, and what goes wrong in the middle.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use usb4_cable::control::Direction;
use usb4_cable::control::LinkState;

use super::native::Need;
use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::programs::perftest;
use crate::roce::programs::pingpong;
use crate::roce::programs::Ends;
use crate::roce::state::await_port;
use crate::roce::state::await_rail;
use crate::roce::state::PortState;
use crate::roce::state::RailState;
use crate::roce::traffic;
use crate::roce::traffic::Traffic;
use crate::roce::DEVICE;
use crate::roce::INTERFACE;
use crate::roce::STREAM;

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(360);

/// How long something that was interrupted may take to notice.
const NOTICE: Duration = Duration::from_secs(180);

/// The suite.
pub fn suite() -> Suite {
    let test = |name, run| Test::new(name, LIMIT * 3, run);
    Suite {
        name: "life",
        lab: Lab::MODULE,
        tests: vec![
            test("bad-configuration-is-refused", bad_configuration),
            test("no-unload-while-in-use", no_unload_while_in_use),
            test("killed-process-leaves-nothing", killed_process),
            test("unplugged-with-queue-pairs-open", unplugged),
            test("drivers-stay-while-in-use", drivers_stay),
            test("another-driver-unbound", another_driver_unbound).needing(Need::OtherFunctions),
            test("streams-without-interrupts", without_interrupts),
            test("stream-removed-with-queue-pairs-open", stream_removed),
            test("service-unbound-with-queue-pairs-open", service_unbound),
            test("beside-rxe", beside_rxe),
            test("unload-and-load-again", reload),
            test("load-and-unload-50-times", load_50_times),
            test(
                "controller-removed-with-queue-pairs-open",
                controller_removed,
            )
            .needing(Need::Firmware),
        ],
    }
}

/// Checks that the two hosts can still talk.
pub fn still_works(stage: &Stage<'_>) -> Result<()> {
    const PORT: u16 = 18600;
    pingpong("-n 100 -c", PORT).run(stage, "b", LIMIT)?;
    Ok(())
}

/// Number of queue pairs of user processes on `host`.
pub fn queue_pairs(stage: &Stage<'_>, host: &str) -> Result<usize> {
    let script = format!("rdma resource show qp link {DEVICE} | grep -c ' pid ' || :");
    let count = stage.shell(host, &script, LIMIT)?;
    Ok(count.trim().parse()?)
}

/// Starts `ib_write_bw` for a long time.
fn busy(stage: &Stage<'_>) -> Result<Ends> {
    const PORT: u16 = 18601;
    let ends = perftest("ib_write_bw -D 600 -s 65536", PORT).start(stage, "b", LIMIT)?;
    // The client writes: both have their queue pairs.
    traffic::await_moving(stage, CABLE, &[Direction::BToA], NOTICE)?;
    Ok(ends)
}

fn bad_configuration(stage: &Stage<'_>) -> Result<Outcome> {
    const RAIL: &str = "/sys/kernel/config/usb4_roce/bad";
    stage.shell("a", &format!("mkdir {RAIL}"), LIMIT)?;
    for complaint in [
        "is no USB4 stream device",
        "a stream is given by its path or its number",
        "a rail's name has at most",
    ] {
        stage.expect_line("a", complaint);
    }
    let long = "x".repeat(4000);
    for input in [
        "/dev/null",
        "/dev",
        "/no/such/file",
        "nonsense",
        "-1",
        "4294967296",
        "../x",
        &long,
    ] {
        let output = stage.attempt("a", &format!("printf %s '{input}' > {RAIL}/stream"), LIMIT)?;
        ensure!(!output.status.success(), "the stream {input:?} was taken");
    }
    let stopped = format!("grep -qx stopped {RAIL}/state");
    stage.shell("a", &stopped, LIMIT)?;
    // Another misc device by the name of a stream is only found out by opening it; this one does nothing then.
    let disguised = format!(
        "minor=$(awk '$2 == \"cpu_dma_latency\" || $2 == \"hw_random\" {{ print $1; exit }}' /proc/misc)
        mknod /tmp/tbstream0 c 10 $minor && echo /tmp/tbstream0 > {RAIL}/stream || exit
        until grep -q ^failed {RAIL}/state; do sleep 0.1; done
        rmdir {RAIL} && rm /tmp/tbstream0"
    );
    stage.shell("a", &disguised, NOTICE)?;
    let name = "n".repeat(200);
    let output = stage.attempt(
        "a",
        &format!("mkdir /sys/kernel/config/usb4_roce/{name}"),
        LIMIT,
    )?;
    ensure!(
        !output.status.success(),
        "a rail name of {} characters was taken",
        name.len()
    );
    still_works(stage)?;
    Ok(Outcome::Passed)
}

fn no_unload_while_in_use(stage: &Stage<'_>) -> Result<Outcome> {
    let ends = busy(stage)?;
    let output = stage.attempt("b", "rmmod usb4_roce", LIMIT)?;
    ensure!(
        !output.status.success(),
        "the module was unloaded while in use"
    );
    ends.kill(stage, NOTICE)?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

fn killed_process(stage: &Stage<'_>) -> Result<Outcome> {
    let ends = busy(stage)?;
    end_all(stage, &ends)?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// Where the rails are.
pub const RAILS: &str = "/sys/kernel/config/usb4_roce";

/// The stream driver's configuration.
const STREAMS: &str = "/sys/kernel/config/thunderbolt/stream";

/// The cable.
const CABLE: &str = "c0";

fn unplugged(stage: &Stage<'_>) -> Result<Outcome> {
    let ends = busy(stage)?;
    let mut cables = stage.instance().cables()?;
    cables.unplug(CABLE)?;
    cables.wait_link(CABLE, LinkState::Down, NOTICE)?;
    for host in ["a", "b"] {
        await_port(stage, host, PortState::Down, NOTICE)?;
    }
    // Its work fails when the transport gives up, or goes on if the cable is back before that.
    ends.kill(stage, NOTICE)?;
    cables.plug(CABLE)?;
    stage.instance().await_streams()?;
    roce::await_up(stage.instance())?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// Ends both programs, and checks that they leave nothing.
fn end_all(stage: &Stage<'_>, ends: &Ends) -> Result<()> {
    ends.kill(stage, NOTICE)?;
    for host in ["a", "b"] {
        let left = queue_pairs(stage, host)?;
        ensure!(left == 0, "{host}: {left} queue pairs are left");
    }
    Ok(())
}

fn drivers_stay(stage: &Stage<'_>) -> Result<Outcome> {
    for module in ["thunderbolt_stream", "thunderbolt"] {
        let output = stage.attempt("a", &format!("rmmod {module}"), LIMIT)?;
        ensure!(
            !output.status.success(),
            "{module} was unloaded below a rail"
        );
    }
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// It takes nothing but the device of that driver away.
fn another_driver_unbound(stage: &Stage<'_>) -> Result<Outcome> {
    let opens = format!("grep ^opens {RAILS}/*/counters");
    let before = stage.shell("a", &opens, LIMIT)?;
    // Its number among virtio devices: the source of random numbers.
    let rebind = "\
        for device in /sys/bus/virtio/devices/*; do
          [ $(($(cat $device/device))) = 4 ] && function=$(readlink -f $device/..)
        done
        function=${function##*/}
        cd /sys/bus/pci/drivers/virtio-pci && echo $function > unbind && echo $function > bind";
    stage.shell("a", rebind, LIMIT)?;
    still_works(stage)?;
    let after = stage.shell("a", &opens, LIMIT)?;
    ensure!(
        before == after,
        "streams were opened again: {before}, now {after}"
    );
    Ok(Outcome::Passed)
}

/// A stream that has to be asked whether anything has come (`busy_poll`, from Linux 7.3 on) works, and no processor is kept
/// busy by asking when there is nothing.
fn without_interrupts(stage: &Stage<'_>) -> Result<Outcome> {
    /// Ticks of 10 ms that the threads of a rail may run in the time below, half of it.
    const MOST_TICKS: u64 = 250;
    let set = |value| -> Result<()> {
        for host in ["a", "b"] {
            let script = format!(
                "cd {RAILS}/*/ && stream=$(cat stream) && echo > stream || exit
                echo {value} > $(echo {STREAMS}/*/{STREAM})/busy_poll && echo $stream > stream"
            );
            stage.shell(host, &script, LIMIT)?;
        }
        roce::await_up(stage.instance())
    };
    set(1)?;
    still_works(stage)?;
    let traffic = Traffic::start(stage, "a", "b", "--variant event-rq")?;
    traffic::await_in_use(stage, CABLE, NOTICE)?;
    traffic.stop(stage)?;
    // User and system time of kernel threads, by proc(5).
    let used = "\
        ticks() {
          sum=0 found=0
          for stat in /proc/[0-9]*/stat; do
            read -r line < $stat || continue
            case $line in *'(usb4_roce/'*) set -- ${line##*) }; sum=$((sum + ${12} + ${13})) found=1 ;; esac
          done 2> /dev/null
          [ $found = 1 ] && echo $sum || echo none
        }
        before=$(ticks); sleep 5; echo $(($(ticks) - before))";
    let ticks = stage.shell("a", used, LIMIT)?;
    let ticks: u64 = ticks.trim().parse().context("a number of ticks")?;
    stage.note(&format!("{ticks} ticks in 5 s without anything to do"));
    ensure!(
        ticks <= MOST_TICKS,
        "an idle rail has run for {ticks} ticks of 500"
    );
    set(0)?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// The stream's directory goes away; with a new one the rail has to be configured anew.
fn stream_removed(stage: &Stage<'_>) -> Result<Outcome> {
    let ends = busy(stage)?;
    stage.shell("a", &format!("rmdir {STREAMS}/*/{STREAM}"), LIMIT)?;
    await_rail(stage, "a", RailState::Removed, NOTICE)?;
    await_port(stage, "a", PortState::Down, NOTICE)?;
    await_port(stage, "b", PortState::Down, NOTICE)?;
    end_all(stage, &ends)?;
    stage.shell("a", &format!("rmdir {RAILS}/*/"), LIMIT)?;
    stage.shell(
        "b",
        &format!("rmdir {RAILS}/*/ {STREAMS}/*/{STREAM}"),
        LIMIT,
    )?;
    roce::use_rails(stage.instance(), 1)?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// The stream's driver forgets the path of a stream that is open when its service is unbound, and the thunderbolt core
/// will not make it again until the cable was pulled: rails cannot help that, but return when it comes back.
fn service_unbound(stage: &Stage<'_>) -> Result<Outcome> {
    const FIND: &str = "\
service=$(basename $(dirname $(grep -lsx stream /sys/bus/thunderbolt/devices/*/key)))
cd /sys/bus/thunderbolt/devices/$service/driver || exit
driver=$(readlink -f .)";
    let ends = busy(stage)?;
    let unbind = format!("{FIND}\necho $service > unbind && echo $service $driver");
    let bind = stage.shell("a", &unbind, LIMIT)?;
    await_port(stage, "a", PortState::Down, NOTICE)?;
    await_port(stage, "b", PortState::Down, NOTICE)?;
    end_all(stage, &ends)?;
    let (service, driver) = bind.trim().split_once(' ').context("no driver")?;
    stage.shell("a", &format!("echo {service} > {driver}/bind"), LIMIT)?;
    let mut cables = stage.instance().cables()?;
    cables.unplug(CABLE)?;
    cables.wait_link(CABLE, LinkState::Down, NOTICE)?;
    cables.plug(CABLE)?;
    stage.instance().await_streams()?;
    roce::await_up(stage.instance())?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

/// The PCI function of the controller goes away; without it, the host has the name of its machine. It ends the lab: when it comes back, the thunderbolt core of Linux 7.3 may not
/// find the other host again, because it has not forgotten the device which it made for it before.
fn controller_removed(stage: &Stage<'_>) -> Result<Outcome> {
    const PCI: &str = "/sys/bus/pci";
    let ends = busy(stage)?;
    let remove = format!(
        "for nhi in {PCI}/drivers/thunderbolt/*:*; do echo 1 > $(readlink -f $nhi)/remove || exit; done"
    );
    stage.shell("a", &remove, LIMIT)?;
    await_port(stage, "b", PortState::Down, NOTICE)?;
    let devices = format!(
        "until [ -e /sys/class/infiniband/{DEVICE} ]; do sleep 0.1; done
        for device in infiniband/{DEVICE} net/{INTERFACE}; do
          readlink -f /sys/class/$device | grep -q ^/sys/devices/virtual/ || exit
        done"
    );
    stage.shell("a", &devices, NOTICE)?;
    await_port(stage, "a", PortState::Down, NOTICE)?;
    end_all(stage, &ends)?;
    let named_anew = format!(
        "rmdir {RAILS}/*/ && rmmod usb4_roce && insmod /lab/share/usb4_roce.ko || exit
        tr -d : < /sys/class/infiniband/{DEVICE}/node_guid
        /lab/share/hostile-peer identity --uuid $(cat /sys/class/dmi/id/product_uuid)
        rmmod usb4_roce"
    );
    let names = stage.shell("a", &named_anew, LIMIT)?;
    let (guid, expected) = names.split_once('\n').context("two names")?;
    ensure!(
        expected.contains(guid),
        "without a controller the GUID is {guid}, not as in {expected}"
    );
    Ok(Outcome::PassedAndSpent)
}

fn beside_rxe(stage: &Stage<'_>) -> Result<Outcome> {
    let add = "modprobe rdma_rxe && ip link add lab0 type dummy && ip link set lab0 up && \
        rdma link add rxe0 type rxe netdev lab0";
    stage.shell("a", add, LIMIT)?;
    let devices = stage.shell("a", "ibv_devices", LIMIT)?;
    for device in [DEVICE, "rxe0"] {
        ensure!(
            devices.contains(device),
            "ibv_devices does not show {device}:\n{devices}"
        );
    }
    still_works(stage)?;
    // What rxe does on our interface must not take us for one of its own.
    let add = format!("rdma link add rxe1 type rxe netdev {INTERFACE}");
    stage.shell("a", &add, LIMIT)?;
    stage.shell("a", "rdma link show rxe1/1 && rdma link delete rxe1", LIMIT)?;
    stage.shell("a", "rdma link delete rxe0 && ip link delete lab0", LIMIT)?;
    still_works(stage)?;
    // It returns when all devices of that driver are gone, ours with them, which comes back by itself.
    stage.shell("a", "rmmod rdma_rxe", LIMIT)?;
    let back = format!("until ibv_devices | grep -qw {DEVICE}; do sleep 0.1; done");
    stage
        .shell("a", &back, NOTICE)
        .with_context(|| format!("unloading rdma_rxe took {DEVICE} with it"))?;
    roce::await_up(stage.instance())?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

fn reload(stage: &Stage<'_>) -> Result<Outcome> {
    roce::stop(stage.instance())?;
    roce::start(stage.instance())?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}

fn load_50_times(stage: &Stage<'_>) -> Result<Outcome> {
    roce::stop(stage.instance())?;
    let script =
        "for time in $(seq 50); do insmod /lab/share/usb4_roce.ko && rmmod usb4_roce || exit; done";
    stage.shell("a", script, LIMIT)?;
    roce::start(stage.instance())?;
    still_works(stage)?;
    Ok(Outcome::Passed)
}
