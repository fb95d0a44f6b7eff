// SPDX-License-Identifier: GPL-2.0

//! The status, for people.

use std::io;
use std::io::Write;

use anstyle::Style;

use super::CableStatus;
use super::DeviceStatus;
use super::InterfaceStatus;
use super::RailStatus;
use super::Status;
use super::Throughput;
use crate::columns::Cell;
use crate::columns::Columns;
use crate::columns::Side;
use crate::host::rail::State;
use crate::style::styled;
use crate::style::BAD;
use crate::style::DOUBTFUL;
use crate::style::FAINT;
use crate::style::GOOD;
use crate::style::HEADING;
use crate::style::PLAIN;
use crate::units::BitRate;
use crate::units::Bytes;

/// What is written where nothing is known.
const NOTHING: &str = "-";

/// Longest name of a host; more of it would not fit.
const MAX_NAME: usize = 16;

/// Writes the status to `out`.
pub fn write(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let name = &status.host;
    writeln!(
        out,
        "{}, Linux {}, {}",
        styled(HEADING, name),
        status.kernel,
        module(status)
    )?;
    match &status.device {
        Some(device) => write_device(device, status.interface.as_ref(), out)?,
        None => writeln!(
            out,
            "{}",
            styled(BAD, "no verbs device; see: sudo usb4-roce check")
        )?,
    }
    if !status.peers.is_empty() {
        writeln!(out)?;
        write!(out, "{}", peers(status))?;
    }
    if !status.rails.is_empty() {
        writeln!(out)?;
        write!(out, "{}", rails(status))?;
    }
    for cable in &status.cables_without_rail {
        write_cable(cable, out)?;
    }
    if status.device.is_some() {
        write_throughput(status, out)?;
    }
    Ok(())
}

fn module(status: &Status) -> String {
    match (&status.module.version, status.module.loaded) {
        (Some(version), _) => format!("usb4_roce {version}"),
        (None, true) => "usb4_roce of an unknown version".to_owned(),
        (None, false) => styled(BAD, "usb4_roce is not loaded").to_string(),
    }
}

fn write_device(
    device: &DeviceStatus,
    interface: Option<&InterfaceStatus>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let state = device.port_state.as_deref().unwrap_or(NOTHING);
    let style = match state {
        "ACTIVE" => GOOD,
        _ => BAD,
    };
    let (rate, guid) = (device.port_rate.as_deref(), device.guid.as_deref());
    writeln!(
        out,
        "{}  port {}, {}, GUID {}",
        device.name,
        styled(style, state),
        rate.unwrap_or(NOTHING),
        guid.unwrap_or(NOTHING)
    )?;
    let Some(interface) = interface else {
        return Ok(());
    };
    let (up, style) = match interface.up {
        true => ("up", GOOD),
        false => ("down", BAD),
    };
    writeln!(
        out,
        "{:<2$}  {}, MTU {3}, MAC {4}",
        interface.name,
        styled(style, up),
        device.name.len(),
        interface.mtu.unwrap_or_default(),
        interface.mac.as_deref().unwrap_or(NOTHING)
    )?;
    let indent = " ".repeat(device.name.len());
    for gid in &device.gids {
        writeln!(out, "{indent}  GID {}, {}, {}", gid.index, gid.kind, gid.ip)?;
    }
    let is_gid = |ip| device.gids.iter().any(|gid| gid.ip == ip);
    for ip in interface.addresses.iter().filter(|ip| !is_gid(**ip)) {
        writeln!(out, "{indent}  {ip}, without a GID")?;
    }
    Ok(())
}

fn peers(status: &Status) -> Columns {
    let mut columns = Columns::new(&[
        ("PEER", Side::Left),
        ("GUID", Side::Left),
        ("MAC", Side::Left),
        ("RAILS UP", Side::Right),
    ]);
    for peer in &status.peers {
        let rails = status.rails.iter().filter(|rail| {
            rail.peer_guid.as_ref() == Some(&peer.guid) && rail.state == Some(State::Up)
        });
        columns.row(vec![
            shortened(&peer.name).into(),
            (&peer.guid).into(),
            (&peer.mac).into(),
            rails.count().into(),
        ]);
    }
    columns
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some(_) => {
            let begin: String = name.chars().take(MAX_NAME - 1).collect();
            format!("{begin}…")
        }
        None => name.to_owned(),
    }
}

fn rails(status: &Status) -> Columns {
    let mut columns = Columns::new(&[
        ("RAIL", Side::Left),
        ("STREAM", Side::Left),
        ("STATE", Side::Left),
        ("LINK", Side::Left),
        ("SENT", Side::Right),
        ("RECEIVED", Side::Right),
        ("LOST", Side::Right),
        ("BAD", Side::Right),
        ("OUT NOW", Side::Right),
        ("IN NOW", Side::Right),
    ]);
    for rail in &status.rails {
        columns.row(row(rail));
    }
    columns
}

fn row(rail: &RailStatus) -> Vec<Cell> {
    let (state, style) = match &rail.state {
        Some(state) => (state.to_string(), style_of(state)),
        None => ("root?".to_owned(), FAINT),
    };
    let counter = |read: &dyn Fn(&crate::host::rail::Counters) -> String| -> Cell {
        match &rail.counters {
            Some(counters) => read(counters).into(),
            None => NOTHING.into(),
        }
    };
    let rate = |read: fn(&Throughput) -> f64| -> Cell {
        match &rail.throughput {
            Some(throughput) => BitRate(read(throughput)).into(),
            None => NOTHING.into(),
        }
    };
    vec![
        (&rail.name).into(),
        stream(rail).into(),
        Cell::styled(style, state),
        link(rail).into(),
        counter(&|counters| Bytes(counters.get("tx_bytes")).to_string()),
        counter(&|counters| Bytes(counters.get("rx_bytes")).to_string()),
        counter(&|counters| counters.get("tx_lost").to_string()),
        counter(&|counters| counters.get("rx_checksum_errors").to_string()),
        rate(|throughput| throughput.out_bps),
        rate(|throughput| throughput.in_bps),
    ]
}

fn stream(rail: &RailStatus) -> &str {
    let device = rail.stream.as_deref().unwrap_or(NOTHING);
    device.strip_prefix("/dev/").unwrap_or(device)
}

/// The rate of the cable: of both directions if they differ.
fn link(rail: &RailStatus) -> String {
    match (rail.tx, rail.rx) {
        (Some(tx), Some(rx)) if tx == rx => tx.to_string(),
        (Some(tx), Some(rx)) => format!("{tx} out, {rx} in"),
        _ => "no cable".to_owned(),
    }
}

fn style_of(state: &State) -> Style {
    match state {
        State::Up => GOOD,
        State::Greeting | State::Closing | State::Detached => DOUBTFUL,
        State::Stopped | State::Removed | State::Failed(_) => BAD,
        State::Unknown(_) => PLAIN,
    }
}

fn write_cable(cable: &CableStatus, out: &mut dyn Write) -> io::Result<()> {
    let peer = cable.peer.as_deref().unwrap_or("a host without a name");
    let rate = cable.tx.map_or(NOTHING.to_owned(), |rate| rate.to_string());
    let why = match cable.offers_streams {
        true => "no rail",
        false => "that host offers no streams",
    };
    let text = format!(
        "cable {} to {peer}, {rate}: {why}; see: sudo usb4-roce check",
        cable.name
    );
    writeln!(out, "{}", styled(DOUBTFUL, text))
}

fn write_throughput(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    if let Some(Throughput { out_bps, in_bps }) = status.throughput {
        let what = match status.rails_are_readable {
            true => "now",
            false => "queue pairs now",
        };
        write!(
            out,
            "{what}: {} out, {} in",
            BitRate(out_bps),
            BitRate(in_bps)
        )?;
    }
    if let Some(device) = &status.device {
        write!(
            out,
            "; segments resent: {}, ACK timeouts: {}, failed requests: {}",
            device.resent_segments, device.ack_timeouts, device.failed_sends
        )?;
    }
    writeln!(out)?;
    if !status.rails_are_readable {
        writeln!(
            out,
            "{}",
            styled(FAINT, "state and counters of rails: needs root")
        )?;
    }
    Ok(())
}
