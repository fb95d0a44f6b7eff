// SPDX-License-Identifier: GPL-2.0

//! Waiting until a host's port, or one of its rails, is in a state.

use std::time::Duration;

use anyhow::Result;

use super::DEVICE;
use crate::hosts::stage::Stage;

/// Where a host shows its rails.
const RAILS: &str = "/sys/kernel/config/usb4_roce";

/// What a port's `state` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// At least one rail is up.
    Active,
    /// None is.
    Down,
}

/// Waits until the port of `host` is in `state`.
pub fn await_port(stage: &Stage<'_>, host: &str, state: PortState, limit: Duration) -> Result<()> {
    let name = match state {
        PortState::Active => "ACTIVE",
        PortState::Down => "DOWN",
    };
    let path = format!("/sys/class/infiniband/{DEVICE}/ports/1/state");
    let script = format!("until grep -q {name} {path}; do sleep 0.1; done");
    stage.shell(host, &script, limit)?;
    Ok(())
}

/// What a rail's `state` says, as far as it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RailState {
    /// It carries data.
    Up,
    /// Its cable leads nowhere.
    Detached,
    /// Its stream is gone.
    Removed,
}

/// Waits until a rail of `host` is in `state`, whichever it is.
pub fn await_rail(stage: &Stage<'_>, host: &str, state: RailState, limit: Duration) -> Result<()> {
    let name = match state {
        RailState::Up => "up",
        RailState::Detached => "detached",
        RailState::Removed => "removed",
    };
    let script = format!("until grep -qsx {name} {RAILS}/*/state; do sleep 0.1; done");
    stage.shell(host, &script, limit)?;
    Ok(())
}

/// Waits until a rail of each of `hosts` is not up.
pub fn await_rail_loss(stage: &Stage<'_>, hosts: &[&str], limit: Duration) -> Result<()> {
    let script = format!("while ! grep -qvx up {RAILS}/*/state; do sleep 0.05; done");
    for host in hosts {
        stage.shell(host, &script, limit)?;
    }
    Ok(())
}
