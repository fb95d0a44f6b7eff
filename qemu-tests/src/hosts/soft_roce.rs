// SPDX-License-Identifier: GPL-2.0

//! The kernel's own RDMA over Ethernet, rxe, over `thunderbolt_net` on the first cable: what `usb4_roce` is compared with.
//!
//! Services of one cable take HopIDs from the same numbers. thunderbolt_net insists on the number its peer chose, so it has to be
//! up on both hosts before any stream takes one.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use crate::hosts::stage::Stage;

/// The rxe device.
pub const DEVICE: &str = "rxe0";

/// Where its requests end, as a warning of the kernel has it.
pub const COMPLETER: &str = "drivers/infiniband/sw/rxe/rxe_comp.c:";

/// Time limit of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// Finds thunderbolt_net's interface on the first cable.
const FIND_INTERFACE: &str = "\
interface=$(ls -d /sys/bus/thunderbolt/devices/*/net/* 2>/dev/null | sort | head -n 1)
interface=${interface##*/}";

/// Loads thunderbolt_net and waits for its interface, which needs the other host to have loaded it too.
const LOAD_NETWORK: &str = "\
modprobe -a thunderbolt_net rdma_rxe ib_uverbs || exit
until [ -n \"$(ls -d /sys/bus/thunderbolt/devices/*/net/* 2>/dev/null)\" ]; do sleep 0.1; done";

/// Brings the interface up with the address `$1` and the largest MTU there is, which gives rxe its best one.
const NETWORK_UP: &str = "\
mtu=$(ip -d link show $interface | sed -n 's/.* maxmtu \\([0-9]*\\).*/\\1/p')
ip link set $interface mtu $mtu && ip address add $1/24 dev $interface && ip link set $interface up || exit
until [ \"$(cat /sys/class/net/$interface/carrier 2>/dev/null)\" = 1 ]; do sleep 0.1; done";

/// Brings thunderbolt_net up on `hosts`, each with the address that `address` gives it.
pub fn network_up(
    stage: &Stage<'_>,
    hosts: &[&str],
    address: impl Fn(&str) -> String,
) -> Result<()> {
    on_all(stage, hosts, |_| LOAD_NETWORK.to_owned()).context("load thunderbolt_net")?;
    on_all(stage, hosts, |host| {
        let address = address(host);
        format!("set -- {address}\n{FIND_INTERFACE}\n{NETWORK_UP}")
    })
    .context("bring thunderbolt_net up")
}

/// Makes the rxe device on `hosts`, where thunderbolt_net is up.
pub fn make_devices(stage: &Stage<'_>, hosts: &[&str]) -> Result<()> {
    on_all(stage, hosts, |_| {
        format!("{FIND_INTERFACE}\nrdma link add {DEVICE} type rxe netdev $interface")
    })
    .context("make the rxe device")
}

/// Runs a script on all hosts at once.
fn on_all(stage: &Stage<'_>, hosts: &[&str], script: impl Fn(&str) -> String) -> Result<()> {
    let jobs = hosts
        .iter()
        .map(|host| stage.start(host, &script(host), LIMIT));
    let jobs = jobs.collect::<Result<Vec<_>>>()?;
    for job in jobs {
        stage.finish(&job, LIMIT)?;
    }
    Ok(())
}
