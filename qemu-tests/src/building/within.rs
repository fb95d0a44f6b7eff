// SPDX-License-Identifier: GPL-2.0

//! Programs run in a mount namespace of their own, with the Debian root as `/`.
//!
//! The lab starts itself as `lab within SPEC`: that process makes the namespace and becomes the
//! program. So nothing has to be unmounted, and every user of the root sees only its own mounts.

use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use anyhow::Result;
use rustix::mount::mount;
use rustix::mount::mount_bind;
use rustix::mount::mount_bind_recursive;
use rustix::mount::mount_change;
use rustix::mount::mount_remount;
use rustix::mount::MountFlags;
use rustix::mount::MountPropagationFlags;
use rustix::process::Signal;
use rustix::thread::CpuSet;
use rustix::thread::UnshareFlags;
use serde::Deserialize;
use serde::Serialize;

/// The lab's own executable, even if another one lies in its place by now.
pub const SELF: &str = "/proc/self/exe";

/// Directory of the root which belongs to the lab: empty in the root itself, in a namespace it holds the binds.
pub const LAB: &str = "/lab";

/// What the program may do with a bound directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A directory shown inside the root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// The directory.
    pub source: PathBuf,
    /// Its place below [`LAB`].
    pub name: String,
    /// What may be done there.
    pub access: Access,
}

impl Bind {
    /// Shows `source` as `/lab/<name>`.
    pub fn new(source: &Path, name: &str, access: Access) -> Self {
        Self {
            source: source.to_owned(),
            name: name.to_owned(),
            access,
        }
    }
}

/// What lies over the root, which stays as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Layer {
    /// The files in the directory. Nothing of all that can be changed.
    Fixed(PathBuf),
    /// What the program changes, which goes to `files`.
    Growing {
        /// Files that lie over the root already.
        below: Option<PathBuf>,
        /// Where it goes.
        files: PathBuf,
        /// An empty directory of the same file system, for the kernel.
        work: PathBuf,
    },
}

impl Layer {
    /// Mounts it and `root` below it where `root` is.
    fn mount_over(&self, root: &Path) -> Result<()> {
        let place = root.display();
        let (flags, options) = match self {
            Self::Fixed(files) => {
                let files = files.display();
                (MountFlags::RDONLY, format!("lowerdir={files}:{place}"))
            }
            Self::Growing { below, files, work } => {
                let (files, work) = (files.display(), work.display());
                let below = below.as_ref().map(|below| format!("{}:", below.display()));
                let below = below.unwrap_or_default();
                let options = format!("lowerdir={below}{place},upperdir={files},workdir={work}");
                (MountFlags::empty(), options)
            }
        };
        let options = CString::new(options).context("the options of an overlay")?;
        mount("overlay", root, "overlay", flags, Some(options.as_c_str()))
            .with_context(|| format!("mount {options:?} on {place}"))
    }
}

/// The Debian root as a program sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// The root.
    pub root: PathBuf,
    /// What lies over it.
    pub layer: Option<Layer>,
    /// What is to be seen below [`LAB`].
    pub binds: Vec<Bind>,
    /// Working directory of the program.
    pub directory: PathBuf,
}

/// What becomes of the program when the lab ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// It is killed.
    WithTheLab,
    /// It runs on, in a session of its own.
    Detached,
}

impl Lifetime {
    /// Has the calling process live so.
    pub fn begin(self) -> Result<()> {
        match self {
            Self::WithTheLab => {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                    .context("tie the program to the lab")?;
            }
            Self::Detached => {
                rustix::process::setsid().context("start a session")?;
            }
        }
        Ok(())
    }
}

/// How soon a program gets a processor that others want as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Urgency {
    /// By its fair share.
    #[default]
    Ordinary,
    /// At once, before all ordinary programs and those of a lower level, of which 1 is the lowest. So do its threads.
    RealTime(u8),
    /// The same, but for its threads and what it starts, which are ordinary.
    RealTimeAlone(u8),
}

/// Where a program runs, and how soon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The processors it may run on. None: those that the lab may.
    pub processors: Vec<usize>,
    /// How soon.
    pub urgency: Urgency,
}

impl Seat {
    /// A seat on `processors`.
    pub fn on(processors: &[usize], urgency: Urgency) -> Self {
        Self {
            processors: processors.to_vec(),
            urgency,
        }
    }

    /// What goes before a program's words to have it run so soon.
    pub fn prefix(&self) -> Vec<String> {
        let (level, options): (u8, &[&str]) = match self.urgency {
            Urgency::Ordinary => return Vec::new(),
            Urgency::RealTime(level) => (level, &["--rr"]),
            Urgency::RealTimeAlone(level) => (level, &["--reset-on-fork", "--rr"]),
        };
        let words = ["chrt"].iter().chain(options);
        let words = words.map(|word| (*word).to_owned());
        words.chain([level.to_string()]).collect()
    }

    /// Has the calling thread, and what it becomes, run on the processors.
    fn take(&self) -> Result<()> {
        if self.processors.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for processor in &self.processors {
            set.set(*processor);
        }
        rustix::thread::sched_setaffinity(None, &set).context("choose processors")
    }
}

/// A program to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// The root it runs in; without one it runs in the lab's own namespace.
    pub view: Option<View>,
    /// When it ends.
    pub lifetime: Lifetime,
    /// Where it runs.
    pub seat: Seat,
    /// Program and arguments.
    pub argv: Vec<String>,
}

impl Program {
    /// The command which runs the program.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(SELF);
        command
            .arg("within")
            .arg(serde_json::to_string(self).context("encode a program")?);
        Ok(command)
    }

    /// Becomes the program. Returns only if that fails.
    pub fn exec(&self) -> Result<std::convert::Infallible> {
        self.lifetime.begin()?;
        self.seat.take()?;
        let mut words = self.seat.prefix();
        words.extend_from_slice(&self.argv);
        let (program, arguments) = words.split_first().context("the program is empty")?;
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(view) = &self.view {
            view.enter()?;
            command
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", "/tmp")
                .env("LC_ALL", "C.UTF-8");
        }
        Err(command.exec()).with_context(|| format!("run {program}"))
    }
}

impl View {
    fn enter(&self) -> Result<()> {
        // SAFETY: Only the mount namespace is unshared; file descriptors stay common to all threads.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
            .context("make a mount namespace (this needs root)")?;
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .context("make the mounts private")?;
        let root = &self.root;
        let inside = |path: &str| root.join(path.trim_start_matches('/'));
        match &self.layer {
            // Binds of the root show the layer too: it is mounted before them.
            Some(layer) => layer.mount_over(root)?,
            None => mount_bind(root, root).with_context(|| format!("bind {}", root.display()))?,
        }
        for (kind, path) in [("proc", "/proc"), ("tmpfs", "/tmp"), ("tmpfs", LAB)] {
            mount(kind, inside(path), kind, MountFlags::empty(), None)
                .with_context(|| format!("mount {kind} on {}", inside(path).display()))?;
        }
        mount_bind_recursive("/dev", inside("/dev")).context("bind /dev")?;
        for bind in &self.binds {
            let target = inside(LAB).join(&bind.name);
            fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
            mount_bind(&bind.source, &target)
                .with_context(|| format!("bind {}", bind.source.display()))?;
            if bind.access == Access::ReadOnly {
                mount_remount(&target, MountFlags::BIND | MountFlags::RDONLY, "")
                    .with_context(|| format!("make {} read only", bind.name))?;
            }
        }
        rustix::process::chroot(root)
            .with_context(|| format!("change to the root {}", root.display()))?;
        rustix::process::chdir(&self.directory)
            .with_context(|| format!("enter {}", self.directory.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_urgent_program_starts_is_as_urgent_or_ordinary() {
        let prefix = |urgency| Seat::on(&[], urgency).prefix().join(" ");
        assert_eq!(prefix(Urgency::Ordinary), "");
        assert_eq!(prefix(Urgency::RealTime(2)), "chrt --rr 2");
        let alone = prefix(Urgency::RealTimeAlone(1));
        assert_eq!(alone, "chrt --reset-on-fork --rr 1");
    }
}
