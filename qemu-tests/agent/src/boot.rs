// SPDX-License-Identifier: GPL-2.0

//! The life of a guest's first process: from the initramfs to the root, then reaping.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::Machine;
use lab_agent::protocol::DISK;
use lab_agent::protocol::HOST_PARAMETER;
use lab_agent::protocol::MODULE_LIST;
use lab_agent::protocol::SHARE;
use lab_agent::protocol::SYSTEMD_PARAMETER;
use nix::errno::Errno;
use nix::kmod::finit_module;
use nix::kmod::ModuleInitFlags;
use nix::mount::mount;
use nix::mount::MsFlags;
use nix::sys::reboot::reboot;
use nix::sys::reboot::RebootMode;
use nix::sys::wait::wait;
use nix::unistd::chdir;
use nix::unistd::chroot;
use nix::unistd::sethostname;

use crate::machine;
use crate::systemd;

/// `MODULE_INIT_COMPRESSED_FILE` of `include/uapi/linux/module.h`: the kernel unpacks the module.
const COMPRESSED: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// The root while the initramfs is still `/`.
const NEW_ROOT: &str = "/root";

/// Where the agent lives once the initramfs is gone from sight.
pub const SERVER: &str = "/run/lab-agent";

/// What commands of the lab find in their environment.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("TERM", "linux"),
];

/// File systems which a small kernel may lack.
const OPTIONAL: [&str; 1] = ["tracefs"];

/// Whether the kernel has the file system `kind`.
fn is_known(kind: &str) -> Result<bool> {
    let list = fs::read_to_string("/proc/filesystems").context("list file systems")?;
    Ok(list
        .lines()
        .any(|line| line.split_whitespace().last() == Some(kind)))
}

fn attach(source: &str, target: &str, kind: &str, flags: MsFlags, options: &str) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("create {target}"))?;
    mount(Some(source), target, Some(kind), flags, Some(options))
        .with_context(|| format!("mount {kind} on {target}"))
}

fn load_modules() -> Result<()> {
    let list = fs::read_to_string(MODULE_LIST).with_context(|| format!("read {MODULE_LIST}"))?;
    for path in list.lines() {
        let module = fs::File::open(path).with_context(|| format!("open {path}"))?;
        let flags = match Path::new(path).extension() {
            Some(extension) if extension == "ko" => ModuleInitFlags::empty(),
            _ => COMPRESSED,
        };
        match finit_module(module, c"", flags) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("load {path}")),
        }
    }
    Ok(())
}

fn command_line() -> Result<String> {
    fs::read_to_string("/proc/cmdline").context("read the kernel command line")
}

/// Value of `parameter` on the kernel command line.
pub fn kernel_parameter(parameter: &str) -> Result<String> {
    let line = command_line()?;
    match line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(parameter)?.strip_prefix('='))
    {
        Some(value) => Ok(value.to_owned()),
        None => bail!("{parameter}= is missing on the kernel command line"),
    }
}

/// What the agent hands the guest to when it has made its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Successor {
    /// Nobody: the agent stays the first process.
    Agent,
    /// systemd.
    Systemd,
}

impl Successor {
    fn of_command_line() -> Result<Self> {
        let line = command_line()?;
        let named = line
            .split_whitespace()
            .any(|word| word == SYSTEMD_PARAMETER);
        Ok(if named { Self::Systemd } else { Self::Agent })
    }
}

/// File systems of the kernel below the root.
const API_FILE_SYSTEMS: [(&str, &str, &str); 9] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("tmpfs", "/run", "mode=755"),
    ("devpts", "/dev/pts", "mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", ""),
    ("tmpfs", "/tmp", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
];

/// How many of them the agent mounts for systemd, which mounts the rest as it likes them.
const FOR_SYSTEMD: usize = 4;

/// Mounts the shared root, read only, under a writable layer: in memory, or on the guest's disk.
fn mount_root(machine: Machine, successor: Successor) -> Result<()> {
    let none = MsFlags::empty();
    let root = machine::root(machine);
    let read_only = MsFlags::MS_RDONLY;
    attach(root.source, "/lower", root.kind, read_only, &root.options)?;
    match (successor, machine) {
        (Successor::Systemd, Machine::Qemu) => attach(DISK, "/layer", "ext4", none, "")?,
        (Successor::Systemd, Machine::UserMode) | (Successor::Agent, _) => {
            attach("tmpfs", "/layer", "tmpfs", none, "")?;
        }
    }
    let kept = match successor {
        Successor::Agent => &API_FILE_SYSTEMS[..],
        Successor::Systemd => &API_FILE_SYSTEMS[..FOR_SYSTEMD],
    };
    fs::create_dir_all("/layer/upper").context("create the writable layer")?;
    fs::create_dir_all("/layer/work").context("create the writable layer")?;
    attach(
        "overlay",
        NEW_ROOT,
        "overlay",
        none,
        "lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work",
    )?;
    for (kind, directory, options) in kept {
        let target = format!("{NEW_ROOT}{directory}");
        if !OPTIONAL.contains(kind) || is_known(kind)? {
            attach(kind, &target, kind, none, options)?;
        }
    }
    let share = machine::share(machine);
    let target = format!("{NEW_ROOT}{SHARE}");
    attach(share.source, &target, share.kind, none, &share.options)
}

fn enter_root() -> Result<()> {
    let server = format!("{NEW_ROOT}{SERVER}");
    fs::copy("/init", &server).context("copy the agent into the root")?;
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755))
        .context("make the agent executable")?;
    chdir(NEW_ROOT).context("enter the root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("move the root to /")?;
    chroot(".").context("change to the root")?;
    chdir("/").context("enter /")
}

/// Boots the guest. Returns only if it cannot serve.
pub fn run() -> Result<()> {
    let none = MsFlags::empty();
    attach("proc", "/proc", "proc", none, "")?;
    attach("devtmpfs", "/dev", "devtmpfs", none, "")?;
    load_modules()?;
    let host = kernel_parameter(HOST_PARAMETER)?;
    sethostname(&host).context("set the host name")?;
    let successor = Successor::of_command_line()?;
    mount_root(machine::of_command_line()?, successor)?;
    enter_root()?;
    fs::write("/etc/hostname", format!("{host}\n")).context("write /etc/hostname")?;
    match successor {
        Successor::Agent => serve(),
        Successor::Systemd => match systemd::hand_over(&host)? {},
    }
}

/// Starts the server, and reaps until it ends, which is an error.
fn serve() -> Result<()> {
    let server = Command::new(SERVER)
        .env_clear()
        .envs(ENVIRONMENT)
        .spawn()
        .context("start the agent's server")?;
    let server = i32::try_from(server.id()).context("process id of the agent's server")?;
    loop {
        match wait() {
            Ok(status) if status.pid().is_some_and(|pid| pid.as_raw() == server) => {
                bail!("the agent's server ended: {status:?}");
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for a process"),
        }
    }
}

/// Powers the guest off because it cannot serve.
pub fn give_up() -> Infallible {
    loop {
        match reboot(RebootMode::RB_POWER_OFF) {
            Ok(never) => return never,
            Err(error) => eprintln!("lab-agent: power off: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
