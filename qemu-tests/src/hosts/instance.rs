// SPDX-License-Identifier: GPL-2.0

//! A running lab: its hosts, and the cables between them.

use std::fs;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::panic::resume_unwind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::SHARE;
use rustix::fs::flock;
use rustix::fs::FlockOperation;
use serde::Deserialize;
use serde::Serialize;
use usb4_cable::control::Client;
use usb4_cable::topology::control_socket;
use usb4_cable::topology::Topology;

use crate::building::boot_kernel::BootKernel;
use crate::building::init::Init;
use crate::building::progress::Step;
use crate::building::root::Root;
use crate::building::within::Access;
use crate::building::within::Bind;
use crate::building::within::Lifetime;
use crate::building::within::Program;
use crate::building::workbench::Workbench;
use crate::hosts::agent::command;
use crate::hosts::agent::Agent;
use crate::hosts::agent::Output;
use crate::hosts::cpu_time;
use crate::hosts::daemon::Daemon;
use crate::hosts::fabric::cables_between;
use crate::hosts::fabric::cables_of;
use crate::hosts::fabric::Fabric;
use crate::hosts::host::disk;
use crate::hosts::host::share;
use crate::hosts::host::Ending;
use crate::hosts::host::Host;
use crate::hosts::host::Plan;
use crate::hosts::host::BOOT_LIMIT;
use crate::hosts::host::COUNTER;
use crate::hosts::host::INITRAMFS;
use crate::hosts::host::KERNEL;
use crate::hosts::instructions::Instructions;
use crate::hosts::placement::Placement;
use crate::hosts::platform::Platform;
use crate::hosts::qmp;
use crate::hosts::shape::Counting;
use crate::hosts::shape::Shape;
use crate::hosts::user_mode;

/// How long the cable may take to make its sockets.
const CABLE_LIMIT: Duration = Duration::from_secs(10);

/// How long the cable may take to end.
const CABLE_END: Duration = Duration::from_secs(3);

/// Pause between two looks for the cable's sockets.
const POLL: Duration = Duration::from_millis(10);

/// How long the drivers may take to load, and the links to come up after that. The debug kernel takes
/// its time on a busy machine.
const LINK_LIMIT: Duration = Duration::from_secs(400);

/// Most that a host which keeps what it writes can write, in bytes.
const DISK_SIZE: u64 = 4 << 30;

/// Longest path of a Unix socket, without the terminating zero.
const SOCKET_PATH: usize = 107;

/// Loads the drivers under test. Runtime power management would suspend an NHI without a peer after
/// 15 s, and an emulated NHI has no wake event.
///
/// The NHIs are probed when the stream driver is there: a core driver that learns of a peer's new service while it reads the
/// peer's properties for the first time forgets it (tb_xdp_handle_request), and the cable would have to be plugged again.
const LOAD_DRIVERS: &str = "\
echo 0 > /sys/bus/pci/drivers_autoprobe || exit
modprobe -a thunderbolt thunderbolt_stream configfs || exit
echo 1 > /sys/bus/pci/drivers_autoprobe || exit
grep -q configfs /proc/mounts || mount -t configfs none /sys/kernel/config || exit
for class in $(grep -lx 0x0c0340 /sys/bus/pci/devices/*/class); do
	nhi=${class%/class}
	echo ${nhi##*/} > /sys/bus/pci/drivers_probe && echo on > $nhi/power/control || exit
done";

/// Waits until `$1` stream services are there. Only a shell's own commands, and not too often: the host may be slow, and
/// has the links to bring up.
const AWAIT_STREAMS: &str = "\
while
	count=0
	for key in /sys/bus/thunderbolt/devices/*/key; do
		if read -r name < $key && [ $name = stream ]; then count=$((count + 1)); fi
	done 2> /dev/null
	[ $count -lt $1 ]
do sleep 0.5; done";

/// Waits until there are no more than `$1` other hosts.
const AWAIT_FAREWELL: &str = "\
while [ $(grep -lsx DEVTYPE=thunderbolt_xdomain /sys/bus/thunderbolt/devices/*/uevent | wc -l) -gt $1 ]; do sleep 0.2; done";

/// Ends the uses of the NHIs that would make their driver complain when the guest powers off. `usb4_roce` stays,
/// with its rails up: it has to end its use by itself. The core driver stays because 7.3 leaves a device behind
/// when it is unloaded, over which the power-off then stumbles.
const UNLOAD_DRIVERS: &str = "\
if [ -d /sys/module/thunderbolt_net ]; then rmmod thunderbolt_net || exit; fi
if [ -d /sys/module/thunderbolt_stream ] && ! [ -d /sys/module/usb4_roce ]; then rmmod thunderbolt_stream; fi";

/// What is written down about a lab.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    topology: Topology,
    hosts: Mutex<Vec<Host>>,
    cable: Daemon,
    /// The hosts' first process.
    init: Init,
    /// Tells a guest of what its root and its kernel lack: the kernel's modules, what the processor is.
    introduction: Vec<String>,
}

/// A running lab.
pub struct Instance {
    directory: PathBuf,
    state: State,
}

/// Directory of the lab named `name` below `instances`.
pub fn directory(instances: &Path, name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        bail!("name {name:?} must be of letters, digits, '-' and '_'");
    }
    Ok(instances.join(name))
}

fn state_file(directory: &Path) -> PathBuf {
    directory.join("state.json")
}

impl Instance {
    /// Starts a lab from what is on the workbench, boots its hosts and waits for the links.
    pub fn up(workbench: &Workbench, shape: &Shape<'_>) -> Result<Self> {
        let topology = shape.fabric.topology(shape.kernel.machine())?;
        shape.check()?;
        workbench.tree(shape.kernel)?;
        workbench.tools()?;
        if let Some(addition) = shape.addition {
            workbench.root_with(addition)?;
        }
        if shape.counting == Counting::On {
            workbench.counter()?;
        }
        let Fabric { hosts, rails, .. } = shape.fabric;
        let step = Step::begin(&format!(
            "boot {hosts} hosts with {rails} cable(s) between each two"
        ));
        let instance = Self::start(workbench, shape, topology)?;
        step.done();
        Ok(instance)
    }

    fn start(workbench: &Workbench, shape: &Shape<'_>, topology: Topology) -> Result<Self> {
        let instances = &workbench.cache().instances();
        let directory = directory(instances, shape.name)?;
        fs::create_dir_all(instances).with_context(|| format!("create {}", instances.display()))?;
        let lock = directory.with_extension("lock");
        let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("lab {:?} is being started by someone else", shape.name);
        }
        if Self::find(instances, shape.name)?.is_some() {
            bail!(
                "lab {:?} is up already: take it down with `lab down --name {0}`",
                shape.name
            );
        }
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("remove {}", directory.display()))?;
        }
        let share = share(&directory);
        fs::create_dir_all(&share).with_context(|| format!("create {}", share.display()))?;

        let cable = &workbench.tools()?.cable;
        let placement = Placement::of(shape.kernel.machine())?;
        let cable = start_cable(&directory, cable, &topology, shape.lifetime, &placement)?;
        let mut instance = Instance {
            directory,
            state: State {
                topology,
                hosts: Mutex::default(),
                cable,
                init: shape.init(),
                introduction: Vec::new(),
            },
        };
        match instance.boot(workbench, shape, &placement) {
            Ok(()) => Ok(instance),
            Err(error) => {
                instance.kill();
                Err(error)
            }
        }
    }

    fn boot(
        &mut self,
        workbench: &Workbench,
        shape: &Shape<'_>,
        placement: &Placement,
    ) -> Result<()> {
        await_cable(&self.directory, self.state.cable)?;
        let root = match shape.addition {
            Some(addition) => workbench.root_with(addition)?,
            None => workbench.root()?.clone(),
        };
        let kernel = &workbench.tree(shape.kernel)?.boot;
        copy(&kernel.image, &self.directory.join(KERNEL))?;
        let initramfs = self.directory.join(INITRAMFS);
        kernel.write_initramfs(
            shape.kernel.machine(),
            shape.init(),
            &workbench.tools()?.agent,
            &initramfs,
        )?;
        self.state.introduction = Vec::from_iter(share_modules(&root.path, kernel, &self.share())?);
        let platform = Platform::of(shape, &root.path)?;
        if platform == Platform::UserMode {
            self.state.introduction.push(user_mode::tell_processor()?);
        }
        if platform.counts() {
            copy(workbench.counter()?, &self.directory.join(COUNTER))?;
        }
        for (before, host) in self.state.topology.hosts.iter().enumerate() {
            if shape.keeps_writes() {
                make_disk(&root, &self.directory, &host.name)?;
            }
            let nhis = self.state.topology.all_nhis().into_iter();
            let plan = Plan {
                name: &host.name,
                shape,
                root: &root,
                directory: &self.directory,
                nhis: nhis
                    .filter(|nhi| nhi.host == host.name)
                    .map(|nhi| nhi.socket(Path::new("")).display().to_string())
                    .collect(),
                platform,
                seat: placement.host(before),
            };
            self.hosts().push(plan.start()?);
            self.write_state()?;
        }
        for name in self.names() {
            self.host(&name)?.wait_boot(&self.directory)?;
        }
        match shape.init() {
            Init::Agent => {
                self.on_each(|name| self.load_drivers(name))?;
                self.await_streams()
            }
            Init::Systemd => self.on_each(|name| self.await_system(name)),
        }
    }

    /// Does something for each host, for all at the same time. `what` must not start anything that has to outlive it.
    pub fn on_each(&self, what: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
        let (names, what) = (self.names(), &what);
        thread::scope(|scope| {
            let running: Vec<_> = names
                .iter()
                .map(|name| scope.spawn(move || what(name)))
                .collect();
            let ended = running.into_iter().map(|one| match one.join() {
                Ok(ended) => ended,
                Err(panic) => resume_unwind(panic),
            });
            // Waits for all.
            ended.fold(Ok(()), Result::and)
        })
    }

    fn load_drivers(&self, name: &str) -> Result<()> {
        for script in &self.state.introduction {
            self.shell(name, script, LINK_LIMIT)
                .context("tell a host of its modules and processor")?;
        }
        self.shell(name, LOAD_DRIVERS, LINK_LIMIT)
            .context("load the thunderbolt drivers")?;
        Ok(())
    }

    /// Waits until systemd has started everything on the host `name`.
    fn await_system(&self, name: &str) -> Result<()> {
        let argv = ["systemctl", "is-system-running", "--wait"];
        let output = self.run(name, &argv, BOOT_LIMIT)?;
        match output.text().trim() {
            "running" => Ok(()),
            state => {
                let failed =
                    self.shell(name, "systemctl --failed --no-legend --plain", LINK_LIMIT)?;
                bail!("{name}: the system is {state}: {failed}")
            }
        }
    }

    fn hosts(&self) -> MutexGuard<'_, Vec<Host>> {
        let hosts = self.state.hosts.lock();
        hosts.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the power from the host `name`.
    pub fn crash(&self, name: &str) -> Result<()> {
        self.host(name)?.machine.kill();
        Ok(())
    }

    /// Presses the power button of the host `name`.
    pub fn press_power_button(&self, name: &str) -> Result<()> {
        qmp::press_power_button(&self.directory, name)
    }

    /// Starts the host `name`, which has crashed, on the same cables, and waits for its links.
    pub fn start_again(&self, name: &str) -> Result<()> {
        self.launch_again(name)?;
        self.await_boot(name)
    }

    /// Starts the host `name`, which has ended. It ends with the thread that does so.
    fn launch_again(&self, name: &str) -> Result<()> {
        let host = self.host(name)?.start_again(&self.directory)?;
        for known in self.hosts().iter_mut().filter(|known| known.name == name) {
            *known = host.clone();
        }
        self.write_state()
    }

    /// Waits until the host `name`, which was started again, is as it was after its first start.
    fn await_boot(&self, name: &str) -> Result<()> {
        self.host(name)?.wait_boot(&self.directory)?;
        match self.state.init {
            Init::Agent => {
                self.load_drivers(name)?;
                self.await_streams()
            }
            Init::Systemd => self.await_system(name),
        }
    }

    /// Reboots these hosts, which systemd starts, at the same time.
    pub fn reboot(&self, names: &[&str]) -> Result<()> {
        for name in names {
            // The answer may not get out any more.
            let _ = self.run(name, &["systemctl", "reboot", "--no-block"], BOOT_LIMIT);
        }
        for name in names {
            // QEMU ends when its guest reboots.
            if !self.host(name)?.machine.wait(BOOT_LIMIT) {
                bail!("{name} does not shut down");
            }
        }
        for name in names {
            self.launch_again(name)?;
        }
        names.iter().try_for_each(|name| self.await_boot(name))
    }

    /// Waits until every host sees a stream service at the end of each of its cables.
    pub fn await_streams(&self) -> Result<()> {
        for name in self.names() {
            let count = cables_of(&self.state.topology, &name).to_string();
            let argv = ["sh", "-c", AWAIT_STREAMS, "sh", &count];
            let output = self.run(&name, &argv, LINK_LIMIT)?;
            if !output.status.success() {
                bail!("{name}: the links did not come up: {}", output.status);
            }
        }
        Ok(())
    }

    fn write_state(&self) -> Result<()> {
        let path = state_file(&self.directory);
        let text = serde_json::to_string_pretty(&self.state).context("encode the lab's state")?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// The lab named `name`, if it is up.
    pub fn find(instances: &Path, name: &str) -> Result<Option<Self>> {
        let directory = directory(instances, name)?;
        let path = state_file(&directory);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let state: State = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} was written by another version of the lab; end what it started and remove {}",
                path.display(),
                directory.display()
            )
        })?;
        let alive = state.cable.alive() || {
            let hosts = state.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.iter().any(|host| host.machine.alive())
        };
        Ok(alive.then_some(Instance { directory, state }))
    }

    /// The lab named `name`, which must be up.
    pub fn open(instances: &Path, name: &str) -> Result<Self> {
        Self::find(instances, name)?.with_context(|| {
            format!("lab {name:?} is not up: start it with `lab up --name {name}`")
        })
    }

    /// Where its sockets and logs are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Directory which the hosts see as `/lab/share`.
    pub fn share(&self) -> PathBuf {
        share(&self.directory)
    }

    /// Names of the hosts.
    pub fn names(&self) -> Vec<String> {
        self.hosts().iter().map(|host| host.name.clone()).collect()
    }

    /// Its hosts and cables.
    pub fn topology(&self) -> &Topology {
        &self.state.topology
    }

    fn host(&self, name: &str) -> Result<Host> {
        let found = self.hosts().iter().find(|host| host.name == name).cloned();
        found.with_context(|| {
            format!(
                "there is no host {name:?}; the hosts are {}",
                self.names().join(", ")
            )
        })
    }

    /// A session with the agent of the host `name`.
    pub fn agent(&self, name: &str) -> Result<Agent> {
        self.host(name)?.agent(&self.directory)
    }

    /// Runs a command on the host `name`.
    pub fn run<S: AsRef<str>>(&self, name: &str, argv: &[S], limit: Duration) -> Result<Output> {
        self.agent(name)?.run(&command(argv, limit))
    }

    /// Runs a shell script on the host `name`, which must succeed; gives its output.
    pub fn shell(&self, name: &str, script: &str, limit: Duration) -> Result<String> {
        let output = self.run(name, &["sh", "-c", script], limit)?;
        if !output.status.success() {
            bail!(
                "{name}: {}: {script}\n{}",
                output.status,
                output.everything().trim_end()
            );
        }
        Ok(output.text())
    }

    /// The processes that are its hosts, by name, and that which is its cables: of each, the one that has started the others.
    pub fn processes(&self) -> Vec<(String, i32)> {
        let hosts = self.hosts().clone().into_iter();
        let hosts = hosts.map(|host| (host.name, host.machine.pid()));
        let cable = ("cable".to_owned(), self.state.cable.pid());
        hosts.chain([cable]).collect()
    }

    /// CPU time of the machine that the lab runs on which all hosts have used so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        let hosts = self.hosts().clone();
        hosts
            .iter()
            .map(|host| cpu_time::of_tree(host.machine.pid()))
            .sum()
    }

    /// The instructions which all hosts have executed so far, if they are counted.
    pub fn instructions(&self) -> Result<Option<Instructions>> {
        let mut sum = Instructions::default();
        for host in self.names() {
            match Instructions::read(&self.directory, &host)? {
                Some(count) => sum += count,
                None => return Ok(None),
            }
        }
        Ok(Some(sum))
    }

    /// The cables' control.
    pub fn cables(&self) -> Result<Client> {
        let path = control_socket(&self.directory);
        Client::connect(&path).context("connect to the cables' control socket")
    }

    /// Powers the hosts off, one after the other, and ends the cable. An error says what did not end as it should;
    /// everything has ended nevertheless.
    pub fn power_off(&self) -> Result<()> {
        let mut complaints = Vec::new();
        let mut hosts = self.hosts().clone();
        hosts.reverse();
        while let Some(host) = hosts.pop() {
            match self.end_host(&host) {
                Ok(Ending::PoweredOff) => {}
                Ok(Ending::Already) => complaints.push(format!("{} had ended", host.name)),
                Ok(Ending::Killed) => {
                    complaints.push(format!("{} did not power off and was killed", host.name));
                }
                Err(error) => complaints.push(format!("{error:#}")),
            }
            let alive: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            for name in &alive {
                if let Err(error) = self.await_farewell(name, &alive) {
                    complaints.push(format!("{error:#}"));
                }
            }
        }
        self.kill();
        if !complaints.is_empty() {
            bail!("{}", complaints.join("; "));
        }
        Ok(())
    }

    /// Waits until the host `name` knows of no hosts but those `alive`.
    ///
    /// 7.3's core driver, powered off while it takes leave of another host, drops its reference on that one a second time:
    /// tb_switch_remove() marks it as gone, whereupon the worker that is at it outside of the domain's lock unregisters it, and
    /// tb_xdomain_remove() takes it for one that was never registered.
    fn await_farewell(&self, name: &str, alive: &[&str]) -> Result<()> {
        let most = cables_between(&self.state.topology, name, alive).to_string();
        let argv = ["sh", "-c", AWAIT_FAREWELL, "sh", &most];
        let output = self.run(name, &argv, LINK_LIMIT)?;
        if !output.status.success() {
            bail!(
                "{name}: hosts that are off did not disappear: {}",
                output.status
            );
        }
        Ok(())
    }

    fn end_host(&self, host: &Host) -> Result<Ending> {
        if host.machine.alive() {
            // What a module that cannot be unloaded leads to is the business of the log scan.
            let unload = ["sh", "-c", UNLOAD_DRIVERS];
            if let Err(error) = self.run(&host.name, &unload, LINK_LIMIT) {
                eprintln!("lab: {error:#}");
            }
        }
        host.power_off(&self.directory)
    }

    /// Copies the logs of its hosts and cables into `directory`, with `prefix` before their names.
    pub fn keep_logs(&self, directory: &Path, prefix: &str) -> Result<()> {
        copy_logs(&self.directory, directory, prefix)
    }

    /// As [`Instance::keep_logs`], of the lab named `name` that did not come up.
    pub fn keep_logs_of(
        instances: &Path,
        name: &str,
        directory: &Path,
        prefix: &str,
    ) -> Result<()> {
        copy_logs(&self::directory(instances, name)?, directory, prefix)
    }

    /// Removes its files.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("remove {}", self.directory.display()))
    }

    /// Kills everything at once.
    pub fn kill(&self) {
        for host in self.hosts().iter() {
            host.machine.kill();
        }
        if !self.state.cable.terminate(CABLE_END) {
            self.state.cable.kill();
        }
    }
}

/// Makes an empty file system for what the host `name` writes.
fn make_disk(root: &Root, directory: &Path, name: &str) -> Result<()> {
    let file = disk(directory, name);
    let disk = File::create(&file).with_context(|| format!("create {}", file.display()))?;
    disk.set_len(DISK_SIZE)
        .with_context(|| format!("make room for {}", file.display()))?;
    let binds = vec![Bind::new(directory, "run", Access::ReadWrite)];
    let inside = self::disk(Path::new("/lab/run"), name)
        .display()
        .to_string();
    let log = directory.join(format!("{name}-mke2fs.log"));
    root.run(&["mke2fs", "-q", "-t", "ext4", &inside], binds, "/", &log)
}

/// Copies the kernel's modules to the share if they are not in the root. Gives the script which makes them
/// known to a guest.
fn share_modules(root: &Path, kernel: &BootKernel, share: &Path) -> Result<Option<String>> {
    let release = kernel.release();
    if root.join("usr/lib/modules").join(&release).exists() {
        return Ok(None);
    }
    let target = share.join("modules").join(&release);
    copy_tree(&kernel.modules, &target)?;
    Ok(Some(format!(
        "ln -s {SHARE}/modules/{release} /usr/lib/modules/"
    )))
}

/// Copies the logs in `from` into `to`, with `prefix` before their names.
fn copy_logs(from: &Path, to: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let path = entry.context("list the logs")?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            copy(&path, &to.join(format!("{prefix}-{name}")))?;
        }
    }
    Ok(())
}

/// Copies a file.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// Copies a file, or a directory with all that is in it. Symbolic links stay links.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if from.is_symlink() {
        let target = fs::read_link(from).with_context(|| format!("read {}", from.display()))?;
        return symlink(target, to).with_context(|| format!("link {}", to.display()));
    }
    if !from.is_dir() {
        return copy(from, to);
    }
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let path = entry
            .with_context(|| format!("list {}", from.display()))?
            .path();
        copy_tree(&path, &to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn start_cable(
    directory: &Path,
    cable: &Path,
    topology: &Topology,
    lifetime: Lifetime,
    placement: &Placement,
) -> Result<Daemon> {
    let file = directory.join("topology.json");
    let text = serde_json::to_string_pretty(topology).context("encode the topology")?;
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    for nhi in topology.all_nhis() {
        let socket = nhi.socket(directory);
        if socket.as_os_str().len() > SOCKET_PATH {
            bail!(
                "{} is too long for a socket's path: choose a shorter cache directory",
                socket.display()
            );
        }
    }
    let word = |path: &Path| path.display().to_string();
    let program = Program {
        view: None,
        lifetime,
        seat: placement.cable.clone(),
        argv: vec![
            word(cable),
            "--topology".to_owned(),
            word(&file),
            "--dir".to_owned(),
            word(directory),
            "--spin-us".to_owned(),
            placement.spin.as_micros().to_string(),
        ],
    };
    Daemon::start(&program, &directory.join("cable.log"))
}

fn await_cable(directory: &Path, cable: Daemon) -> Result<()> {
    let deadline = Instant::now() + CABLE_LIMIT;
    let log = directory.join("cable.log");
    loop {
        if control_socket(directory).exists() {
            return Ok(());
        }
        if !cable.alive() {
            bail!("the cable ended; see {}", log.display());
        }
        if Instant::now() >= deadline {
            bail!("the cable makes no sockets; see {}", log.display());
        }
        thread::sleep(POLL);
    }
}
