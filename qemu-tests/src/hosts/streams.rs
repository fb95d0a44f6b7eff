// SPDX-License-Identifier: GPL-2.0

//! Making USB4STREAM devices on the hosts of a lab.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use crate::hosts::instance::Instance;

/// Time limit of a host.
const LIMIT: Duration = Duration::from_secs(240);

/// Makes a stream named `$1` for each stream service, that is, for each cable. Of two hosts, the one whose
/// name comes first allocates the HopIDs; the other waits until they are announced and takes them over,
/// which the driver does when the directory is made.
///
/// Under emulation, and under the kernel's checkers, most of the time goes to starting programs: there are as few as can be.
const MAKE: &str = "\
read -r own < /proc/sys/kernel/hostname
for key in /sys/bus/thunderbolt/devices/*/key; do
  { read -r kind < $key; } 2> /dev/null && [ \"$kind\" = stream ] || continue
  service=${key%/key}
  service=${service##*/}
  stream=/sys/kernel/config/thunderbolt/stream/$service/$1
  [ -d ${stream%/*} ] || mkdir ${stream%/*} || exit
  read -r peer < /sys/bus/thunderbolt/devices/${service%.*}/device_name
  if [ \"$own\" \\< \"$peer\" ]; then
    mkdir $stream && echo -1 > $stream/in_hopid && echo -1 > $stream/out_hopid || exit
  else
    while mkdir $stream && read -r hop < $stream/in_hopid || exit; [ $hop -le 0 ]; do rmdir $stream; sleep 0.2; done
  fi
done";

/// Announces all streams of this host to its peers, by making and removing one that carries nothing.
///
/// A peer that reads the properties of this host while they change may take half the old and half the new ones
/// for the new ones (`tb_xdp_properties_request` keeps the generation of the last packet only): it reads them
/// again when there are newer ones, which only this host can bring about.
const ANNOUNCE: &str = "\
for stream in /sys/kernel/config/thunderbolt/stream/*/; do
  mkdir $stream/bell && rmdir $stream/bell || exit
done";

/// How long hosts may still be reading what has changed before.
const SETTLE: Duration = Duration::from_millis(500);

/// Makes a stream named `name` on every host for each of its cables.
pub fn make(instance: &Instance, name: &str) -> Result<()> {
    // In the order of their names: each waits only for those before it.
    let hosts = instance.names();
    for (number, host) in hosts.iter().enumerate() {
        make_on(instance, host, name)?;
        if number + 1 < hosts.len() {
            thread::sleep(SETTLE);
            announce(instance, host)?;
        }
    }
    Ok(())
}

fn announce(instance: &Instance, host: &str) -> Result<()> {
    instance
        .shell(host, ANNOUNCE, LIMIT)
        .context("announce the streams")?;
    Ok(())
}

fn make_on(instance: &Instance, host: &str, name: &str) -> Result<()> {
    let script = format!("set -- {name}\n{MAKE}");
    instance
        .shell(host, &script, LIMIT)
        .context("make the streams")?;
    Ok(())
}
