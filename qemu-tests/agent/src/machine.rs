// SPDX-License-Identifier: GPL-2.0

//! What differs between the machines that run guests: where the root and the share come from, and what the ports are.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::line_name;
use lab_agent::protocol::port_name;
use lab_agent::protocol::Machine;
use lab_agent::protocol::LISTENING;
use lab_agent::protocol::MACHINE_PARAMETER;
use lab_agent::protocol::ROOT_OUTSIDE;
use lab_agent::protocol::ROOT_TAG;
use lab_agent::protocol::SHARE_OUTSIDE;
use lab_agent::protocol::SHARE_TAG;
use nix::sys::termios::cfmakeraw;
use nix::sys::termios::tcgetattr;
use nix::sys::termios::tcsetattr;
use nix::sys::termios::SetArg;

use crate::boot::kernel_parameter;

/// Options of both 9p mounts, without the cache mode.
const NINE_P: &str = "trans=virtio,version=9p2000.L,msize=262144";

/// Where virtio-serial ports show their names.
const PORT_CLASS: &str = "/sys/class/virtio-ports";

/// A file system that comes from outside.
pub struct Outside {
    /// What is mounted.
    pub source: &'static str,
    /// By which file system.
    pub kind: &'static str,
    /// With these options.
    pub options: String,
}

/// What runs this guest.
pub fn of_command_line() -> Result<Machine> {
    let name = kernel_parameter(MACHINE_PARAMETER)?;
    Machine::named(&name).with_context(|| format!("{MACHINE_PARAMETER}={name} is unknown"))
}

/// The guest's root. Nobody changes it while guests run from it, so they may cache it without limit.
pub fn root(machine: Machine) -> Outside {
    match machine {
        Machine::Qemu => nine_p(ROOT_TAG, "loose"),
        Machine::UserMode => hostfs(ROOT_OUTSIDE),
    }
}

/// The share. The lab changes it while guests run.
pub fn share(machine: Machine) -> Outside {
    match machine {
        Machine::Qemu => nine_p(SHARE_TAG, "none"),
        // Forgets a file when nobody has it open.
        Machine::UserMode => hostfs(SHARE_OUTSIDE),
    }
}

fn nine_p(tag: &'static str, cache: &str) -> Outside {
    Outside {
        source: tag,
        kind: "9p",
        options: format!("{NINE_P},cache={cache}"),
    }
}

fn hostfs(directory: &'static str) -> Outside {
    Outside {
        source: directory,
        kind: "hostfs",
        options: directory.to_owned(),
    }
}

/// Opens the agent port `index`.
pub fn open_port(machine: Machine, index: usize) -> Result<File> {
    let path = match machine {
        Machine::Qemu => find_port(index)?,
        Machine::UserMode => PathBuf::from("/dev").join(line_name(index)),
    };
    let mut port = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NOCTTY)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    if machine == Machine::UserMode {
        let mut mode = tcgetattr(&port).context("read the mode of a serial line")?;
        cfmakeraw(&mut mode);
        tcsetattr(&port, SetArg::TCSANOW, &mode).context("set the mode of a serial line")?;
        port.write_all(&[LISTENING])
            .context("write to a serial line")?;
    }
    Ok(port)
}

/// The device node of the virtio-serial port of agent port `index`.
fn find_port(index: usize) -> Result<PathBuf> {
    let name = port_name(index);
    for entry in fs::read_dir(PORT_CLASS).with_context(|| format!("list {PORT_CLASS}"))? {
        let entry = entry.context("list the virtio ports")?;
        let found = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if found.trim() == name {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    bail!("no virtio-serial port is named {name}")
}
