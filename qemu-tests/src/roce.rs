// SPDX-License-Identifier: GPL-2.0

//! Putting `usb4_roce` to work on the hosts of a lab.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use crate::hosts::instance::Instance;
use crate::hosts::stage::Stage;
use crate::hosts::streams;

pub mod all_reduce;
pub mod client_program;
pub mod client_report;
pub mod forged;
pub mod hang;
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

/// Name of the streams: a key of an XDomain property, which has at most 8 characters.
const STREAM: &str = "roce";

/// Gives the first `$1` streams to the module as rails, as far as they are none yet.
const ADD_RAILS: &str = "\
number=0
for index in /sys/kernel/config/thunderbolt/stream/*/roce/index; do
  rail=/sys/kernel/config/usb4_roce/rail$number
  stream=${index%/index}
  service=${stream%/*}
  if [ $number -lt $1 ] && ! [ -d $rail ]; then
    mkdir $rail && echo ${service##*/} > $rail/service && read -r device < $index && echo $device > $rail/stream || exit
  fi
  number=$((number + 1))
done";

/// Waits until every rail and the port are up. It takes a slow host longer to start a program than to read a file.
const AWAIT_UP: &str = "\
await() { until read -r found < $1 && [ \"$found\" = \"$2\" ]; do sleep 0.1; done; }
for state in /sys/kernel/config/usb4_roce/*/state; do await $state up; done
await /sys/class/infiniband/usb4_roce0/ports/1/state '4: ACTIVE'";

/// Takes the rails away and unloads the module.
pub const UNLOAD: &str = "\
rmdir /sys/kernel/config/usb4_roce/*/ 2>/dev/null
rmmod usb4_roce || exit
rmdir /sys/kernel/config/thunderbolt/stream/*/roce 2>/dev/null || :";

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

/// Loads the module on every host and waits until the hosts reach each other.
pub fn start(instance: &Instance) -> Result<()> {
    instance.on_each(|host| load(instance, host))?;
    make_streams(instance)?;
    use_rails(instance, instance.topology().cables.len())
}

/// Makes the streams that the module uses, without giving them to it.
pub fn make_streams(instance: &Instance) -> Result<()> {
    streams::make(instance, STREAM)
}

/// Gives the first `count` streams of every host to its loaded module, and waits until the hosts reach each other.
pub fn use_rails(instance: &Instance, count: usize) -> Result<()> {
    instance.on_each(|host| connect(instance, host, count))?;
    await_up(instance)
}

/// Takes the rails of every host away, and unloads the module.
pub fn stop(instance: &Instance) -> Result<()> {
    instance.on_each(|host| {
        instance
            .shell(host, UNLOAD, LIMIT)
            .context("unload the module")?;
        Ok(())
    })
}

/// Loads the module on a host that was started anew, and waits until it reaches the others again, which
/// have gone on.
pub fn start_on(instance: &Instance, host: &str) -> Result<()> {
    load(instance, host)?;
    streams::make_again_on(instance, host, STREAM)?;
    connect(instance, host, instance.topology().cables.len())?;
    await_up(instance)
}

/// Loads the module on a host.
pub fn load(instance: &Instance, host: &str) -> Result<()> {
    instance
        .shell(host, LOAD, LIMIT)
        .context("load the module")?;
    Ok(())
}

/// Gives the first `count` streams of a host to its loaded module, and the interface its address.
pub fn connect(instance: &Instance, host: &str, count: usize) -> Result<()> {
    instance
        .shell(host, &format!("set -- {count}\n{ADD_RAILS}"), LIMIT)
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
