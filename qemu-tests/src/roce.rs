// SPDX-License-Identifier: GPL-2.0

//! Putting `usb4_roce` to work on the hosts of a lab.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use crate::hosts::instance::Instance;
use crate::hosts::stage::Stage;

pub mod all_reduce;
pub mod atomics;
pub mod client_program;
pub mod client_report;
pub mod connection_manager;
pub mod forged;
pub mod hang;
pub mod ongoing;
pub mod programs;
pub mod state;
pub mod traffic;

/// The verbs device of a host.
pub const DEVICE: &str = "usb4_roce0";

/// The network interface of a host.
pub const INTERFACE: &str = "usb4r0";

/// Time limit of a step. The debug kernel takes a minute to load the module on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);

/// Loads the module.
const LOAD: &str = "modprobe -a configfs ib_uverbs && insmod /lab/share/usb4_roce.ko";

/// What is shipped to make streams and rails of cables, as the hosts find it.
pub const HELPER: &str = "/lab/share/usb4-roce-setup";

/// Seconds that the helper waits for another host: once for its streams, once for the rail. Hosts are slow.
const PATIENCE: u64 = 240;

/// Time limit of the helper: it is to say what it waits for in vain.
const HELPER_LIMIT: Duration = Duration::from_secs(3 * PATIENCE);

/// The name that the helper gives to streams.
pub const STREAM: &str = "u4roce";

/// Waits until every rail and the port are up. It takes a slow host longer to start a program than to read a file.
const AWAIT_UP: &str = "\
await() { until read -r found < $1 && [ \"$found\" = \"$2\" ]; do sleep 0.1; done; }
for state in /sys/kernel/config/usb4_roce/*/state; do await $state up; done
await /sys/class/infiniband/usb4_roce0/ports/1/state '4: ACTIVE'";

/// Takes the rails away and unloads the module.
pub const UNLOAD: &str = "\
rmdir /sys/kernel/config/usb4_roce/*/ 2>/dev/null
rmmod usb4_roce || exit
rmdir /sys/kernel/config/thunderbolt/stream/*/u4roce 2>/dev/null || :";

/// Sets `gid` to the index of the RoCE v2 GID which `$device`, or else ours, has for its IPv4 address.
pub const FIND_GID: &str = "\
port=/sys/class/infiniband/${device:-usb4_roce0}/ports/1
gid=
for entry in $port/gids/*; do
  index=${entry##*/}
  { read -r type < $port/gid_attrs/types/$index && read -r value < $entry; } 2>/dev/null || continue
  case $type,$value in
    'RoCE v2,0000:0000:0000:0000:0000:ffff:'*) gid=$index; break ;;
  esac
done
[ -n \"$gid\" ] || { echo 'no RoCE v2 GID with an IPv4 address' >&2; exit 1; }";

/// IPv4 address of the interface of `host`.
pub fn address(host: &str) -> String {
    // Hosts are named a, b and so on.
    let letter = host.bytes().next().unwrap_or(b'a');
    format!("10.55.0.{}", letter.saturating_sub(b'a') + 1)
}

/// A script that has the helper do `actions` for the first `count` stream services that are no rails yet, for all at the same
/// time, as systemd does.
fn helped(count: usize, actions: &[&str]) -> String {
    let commands: Vec<String> = actions
        .iter()
        .map(|action| format!("{HELPER} {action} $service"))
        .collect();
    let commands = commands.join(" && ");
    format!(
        "export USB4_ROCE_PATIENCE={PATIENCE}
        number=0 helpers=
        for key in /sys/bus/thunderbolt/devices/*/key; do
          {{ read -r kind < $key; }} 2> /dev/null && [ \"$kind\" = stream ] || continue
          service=${{key%/key}}
          service=${{service##*/}}
          number=$((number + 1))
          [ $number -le {count} ] || break
          ! [ -d /sys/kernel/config/usb4_roce/$service ] || continue
          {{ {commands}; }} &
          helpers=\"$helpers $!\"
        done
        for helper in $helpers; do wait $helper || exit; done"
    )
}

/// Loads the module on every host and waits until the hosts reach each other.
pub fn start(instance: &Instance) -> Result<()> {
    instance.on_each(|host| load(instance, host))?;
    use_rails(instance, instance.topology().cables.len())
}

/// Makes rails of the first `count` stream services of every host, whose module is loaded, and waits until the hosts reach each other.
pub fn use_rails(instance: &Instance, count: usize) -> Result<()> {
    instance.on_each(|host| connect(instance, host, count))?;
    await_up(instance)
}

/// Makes rails of so many streams of each stream service of every host, whose module is loaded, and waits until the hosts reach
/// each other.
pub fn use_streams(instance: &Instance, streams: u32) -> Result<()> {
    let count = instance.topology().cables.len();
    let rails = helped(count, &["start", "announce"]);
    instance.on_each(|host| {
        let rails = format!("export USB4_ROCE_STREAMS={streams}\n{rails}");
        set_up(instance, host, &rails)
    })?;
    await_up(instance)
}

/// Takes the rails of every host away, and unloads the module.
pub fn stop(instance: &Instance) -> Result<()> {
    instance.on_each(|host| unload(instance, host))
}

/// Takes the rails of a host away, and unloads the module.
pub fn unload(instance: &Instance, host: &str) -> Result<()> {
    instance
        .shell(host, UNLOAD, LIMIT)
        .context("unload the module")?;
    Ok(())
}

/// Loads the module on a host that was started anew, and waits until it reaches the others again, which
/// have gone on.
pub fn start_on(instance: &Instance, anew: &str) -> Result<()> {
    load(instance, anew)?;
    instance.on_each(|host| {
        if host == anew {
            connect(instance, host, instance.topology().cables.len())
        } else {
            announce(instance, host)
        }
    })?;
    await_up(instance)
}

/// Loads the module on a host.
pub fn load(instance: &Instance, host: &str) -> Result<()> {
    instance
        .shell(host, LOAD, LIMIT)
        .context("load the module")?;
    Ok(())
}

/// Tells the other hosts of the streams of a host until its rails are up.
fn announce(instance: &Instance, host: &str) -> Result<()> {
    let script = format!("USB4_ROCE_PATIENCE={PATIENCE} {HELPER} announce");
    instance
        .shell(host, &script, HELPER_LIMIT)
        .context("announce the streams")?;
    Ok(())
}

/// Makes rails of the first `count` stream services of a host, whose module is loaded, waits until they are up, and gives the
/// interface its address.
pub fn connect(instance: &Instance, host: &str, count: usize) -> Result<()> {
    set_up(instance, host, &helped(count, &["start", "announce"]))
}

/// Makes rails of all stream services of a host, whose module is loaded, and gives the interface its address. Whether they come
/// up is up to the other hosts.
pub fn offer(instance: &Instance, host: &str) -> Result<()> {
    let all = instance.topology().cables.len();
    set_up(instance, host, &helped(all, &["start"]))
}

fn set_up(instance: &Instance, host: &str, rails: &str) -> Result<()> {
    instance
        .shell(host, rails, HELPER_LIMIT)
        .context("make the rails")?;
    let address = address(host);
    let script =
        format!("ip link set {INTERFACE} up && ip address replace {address}/24 dev {INTERFACE}");
    instance
        .shell(host, &script, LIMIT)
        .context("configure the interface")?;
    Ok(())
}

/// Waits until all rails of all hosts are up.
pub fn await_up(instance: &Instance) -> Result<()> {
    for host in instance.names() {
        instance
            .shell(&host, AWAIT_UP, LIMIT)
            .context("wait for the rails")?;
    }
    Ok(())
}

/// Loads the module on every host of a lab under test.
pub fn prepare(stage: &Stage<'_>) -> Result<()> {
    start(stage.instance())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_what_the_helper_is_called_by() {
        let script = helped(2, &["start", "announce"]);
        let status = Command::new("sh").args(["-n", "-c", &script]).status();
        assert!(status.unwrap().success(), "{script}");
        let command = "usb4-roce-setup start $service && ";
        assert!(script.contains(command), "{script}");
    }
}
