// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use lab_agent::protocol::Channel;
use lab_agent::protocol::ExitStatus;
use usb4_cable::control::Schedule;
use usb4_cable::topology::LinkSpeed;

use crate::bench;
use crate::building::addition::Addition;
use crate::building::cache::Cache;
use crate::building::cache::Missing;
use crate::building::kernel_tree::Kernel;
use crate::building::module;
use crate::building::run_directory::RunDirectory;
use crate::building::within::Lifetime;
use crate::building::within::Program;
use crate::building::workbench::Workbench;
use crate::hosts::agent::command;
use crate::hosts::agent::Agent;
use crate::hosts::attendant::Attendant;
use crate::hosts::extent::Extent;
use crate::hosts::fabric::Fabric;
use crate::hosts::instance::Instance;
use crate::hosts::shape;
use crate::run::is_wanted;
use crate::run::Run;
use crate::suite;
use crate::suite::native::Need;
use crate::suite::Suite;
use crate::terminal::demo;
use crate::terminal::shell;

/// The part of a file's mode that is not its type.
const PERMISSION_BITS: u32 = 0o7777;

/// Bytes of a message that is profiled, where nothing else is asked for.
const PROFILED_BYTES: u64 = 1 << 20;

/// Debian hosts with unmodified thunderbolt drivers, joined by software USB4 cables.
#[derive(Parser)]
#[command(name = "lab", version)]
pub struct Cli {
    /// Where to keep what takes long to make [default: $XDG_CACHE_HOME/usb4-lab or ~/.cache/usb4-lab]
    #[arg(long, global = true, env = "USB4_LAB_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Debian mirror to make the root from [default: the host's]
    #[arg(long, global = true, env = "USB4_LAB_MIRROR", value_name = "URI")]
    mirror: Option<String>,
    /// Fail where something that takes long would have to be made first: root, kernels, further packages of a root
    #[arg(long, global = true)]
    cached: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make everything that takes long, so that other commands start at once
    Provision {
        /// The debug kernel too
        #[arg(long)]
        debug: bool,
        /// The native kernel too
        #[arg(long)]
        native: bool,
    },
    /// Build the kernel module for the hosts' kernel and print where it is
    Module {
        /// For which kernel
        #[arg(long, value_enum, default_value_t = KernelChoice::Stock)]
        kernel: KernelChoice,
        #[command(flatten)]
        source: Source,
    },
    /// Make packages of the checkout, look at them with lintian and rpmlint, and print where they are
    Deb {
        /// Where to put them
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Check the formatting of the kernel module, and that it builds with clippy and without a warning
    Lint {
        /// For which kernel [default: for both]
        #[arg(long, value_enum)]
        kernel: Option<KernelChoice>,
    },
    /// Start hosts and cables, and leave them running
    Up(Up),
    /// Run the tests
    Test(Test),
    /// Sum 64 MiB of numbers on two hosts through usb4_roce, and check every sum
    Demo {
        /// On native hosts
        #[arg(long)]
        native: bool,
    },
    /// Measure usb4_roce beside the raw stream, and rxe and TCP over thunderbolt_net: messages, and disks and files of another host
    Bench(Bench),
    /// See by perf where the time goes while messages move
    Profile(Profile),
    /// A prompt on a host of two cabled hosts; run it again in another terminal for the other host
    Shell(Shell),
    /// Run a command on a host of a running lab
    Exec(Exec),
    /// Copy a file to a host of a running lab
    Put(Transfer),
    /// Copy a file from a host of a running lab
    Get(Transfer),
    /// Plug, unplug or look at the cables of a running lab
    Cable(Cable),
    /// Power a running lab off
    Down(Name),
    #[command(hide = true)]
    Within { spec: String },
    #[command(hide = true)]
    Attend { spec: String },
}

/// What the kernel module is built from.
#[derive(Args)]
struct Source {
    /// Where the module's sources are [default: the checkout the lab was built from]
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
}

impl Source {
    /// The directory, if one was named.
    fn directory(&self) -> Result<Option<PathBuf>> {
        let directory = self.source.as_ref().map(std::path::absolute).transpose();
        directory.context("the module's sources")
    }
}

#[derive(Args)]
struct Name {
    /// Name of the lab; several can run at once
    #[arg(long, default_value = "lab")]
    name: String,
}

/// What the hosts and cables are like.
#[derive(Args)]
struct Shape {
    /// Number of hosts: a, b and so on
    #[arg(long, default_value_t = Fabric::PAIR.hosts)]
    hosts: u8,
    /// Number of cables between each two hosts
    #[arg(long, default_value_t = Fabric::PAIR.rails)]
    rails: u8,
    /// What the links train to
    #[arg(long, value_enum, default_value_t = Speed::Gbps80)]
    speed: Speed,
    /// The hosts' kernel
    #[arg(long, value_enum, default_value_t = KernelChoice::Stock)]
    kernel: KernelChoice,
    /// Short for --kernel native
    #[arg(long, conflicts_with = "kernel")]
    native: bool,
    /// Memory of each host in MiB
    #[arg(long, default_value_t = shape::MEMORY_MIB, value_name = "MIB")]
    memory: u32,
    /// CPUs of each host [default: 2; a native host has one]
    #[arg(long)]
    cpus: Option<u32>,
    /// Further packages of the hosts' root
    #[arg(long, value_enum)]
    with: Option<Addition>,
}

#[derive(Clone, Copy, ValueEnum)]
enum KernelChoice {
    /// Debian's
    Stock,
    /// The lab's own, with KUnit and the kernel's checkers
    Debug,
    /// The lab's own, which is a process: hosts at the speed of the machine
    Native,
}

impl From<KernelChoice> for Kernel {
    fn from(choice: KernelChoice) -> Self {
        match choice {
            KernelChoice::Stock => Kernel::Stock,
            KernelChoice::Debug => Kernel::Debug,
            KernelChoice::Native => Kernel::Native,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Speed {
    #[value(name = "20g")]
    Gbps20,
    #[value(name = "40g")]
    Gbps40,
    #[value(name = "80g")]
    Gbps80,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Args)]
struct Test {
    /// Run only tests whose suite/name contains one of these
    filters: Vec<String>,
    /// Show the tests and run none
    #[arg(long)]
    list: bool,
    /// Give tests that could go on for ever much more time, and add what takes too long otherwise: on the debug kernel the races,
    /// sleep, hostile processes and peers, and allocations that fail
    #[arg(long)]
    long: bool,
    /// On native hosts, without the tests that need more than such hosts have
    #[arg(long)]
    native: bool,
    /// What a run without this leaves out because it takes long: on native hosts as far as they can do it, else on emulated ones
    #[arg(long, conflicts_with_all = ["long", "native"])]
    rest: bool,
    /// Without the suites of the debug kernel, which takes half an hour to build
    #[arg(long)]
    without_debug_kernel: bool,
}

/// What is measured, and where the results go.
#[derive(Args)]
struct Measuring {
    /// Where to put the results [default: a directory of the cache]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// On QEMU's guests with the distribution's kernel, in place of native hosts
    #[arg(long)]
    emulated: bool,
    #[command(flatten)]
    source: Source,
}

impl Measuring {
    const fn lane(&self) -> bench::Lane {
        match self.emulated {
            true => bench::Lane::Qemu,
            false => bench::Lane::Native,
        }
    }
}

#[derive(Args)]
struct Bench {
    /// Only what the targets need, and fewer repeats
    #[arg(long)]
    quick: bool,
    /// Only disks and files of another host
    #[arg(long, conflicts_with = "quick")]
    storage: bool,
    /// How often each is measured [default: 5, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeats: Option<u32>,
    #[command(flatten)]
    measuring: Measuring,
}

#[derive(Args)]
struct Profile {
    /// What moves
    #[arg(value_enum, default_value_t = bench::Flow::Write)]
    flow: bench::Flow,
    /// Bytes of a message
    #[arg(long, default_value_t = PROFILED_BYTES, value_parser = clap::value_parser!(u64).range(1..))]
    bytes: u64,
    /// About how long it moves
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    measuring: Measuring,
}

#[derive(Args)]
struct Shell {
    /// Name of the lab. If it is not up, it is started now and powered off at the end of the prompt
    #[arg(long, default_value = "shell")]
    name: String,
    #[command(flatten)]
    shape: Shape,
    /// The host
    #[arg(default_value = "a")]
    host: String,
}

#[derive(Args)]
struct Exec {
    #[command(flatten)]
    name: Name,
    /// Kill the command after so many seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    limit: u64,
    /// The host
    host: String,
    /// The command
    #[arg(last = true, required = true)]
    argv: Vec<String>,
}

#[derive(Args)]
struct Transfer {
    #[command(flatten)]
    name: Name,
    /// The host
    host: String,
    /// The file to copy
    from: PathBuf,
    /// Where the copy goes
    to: PathBuf,
}

#[derive(Args)]
struct Cable {
    #[command(flatten)]
    name: Name,
    #[command(subcommand)]
    action: CableAction,
}

#[derive(Subcommand)]
enum CableAction {
    /// Print state and counters as JSON
    Status,
    /// Plug a cable in
    Plug { cable: String },
    /// Pull a cable out
    Unplug { cable: String },
    /// Pull a cable out and plug it in again, by the clock
    Cycle {
        /// The cable
        cable: String,
        /// How long it stays in before it is pulled, in milliseconds
        #[arg(long, default_value_t = 5000, value_name = "MS")]
        plugged: u64,
        /// How long it stays out, in milliseconds
        #[arg(long, default_value_t = 1000, value_name = "MS")]
        unplugged: u64,
        /// How often it is pulled
        #[arg(long, default_value_t = 10)]
        times: u32,
    },
    /// Replace the faults of a cable in both directions
    Faults {
        /// The cable
        cable: String,
        /// The faults as JSON, such as {"latency_us": 100} or, in bytes per second of the link and of each ring,
        /// {"rate": 5000000000, "ring_rate": 1250000000}; {} is a perfect cable
        faults: String,
    },
}

impl Shape {
    /// Starts a lab of this shape, which stays up when the command ends.
    fn up(&self, workbench: &Workbench, name: &str) -> Result<Instance> {
        let kernel = match self.native {
            true => Kernel::Native,
            false => self.kernel.into(),
        };
        let shape = shape::Shape {
            fabric: self.fabric(),
            kernel,
            memory_mib: self.memory,
            cpus: self.cpus.unwrap_or(shape::cpus(kernel)),
            addition: self.with,
            lifetime: Lifetime::Detached,
            ..shape::Shape::pair(name)
        };
        Instance::up(workbench, &shape)
    }

    fn fabric(&self) -> Fabric {
        Fabric {
            hosts: self.hosts,
            rails: self.rails,
            speed: match self.speed {
                Speed::Gbps20 => LinkSpeed::Gbps20,
                Speed::Gbps40 => LinkSpeed::Gbps40,
                Speed::Gbps80 => LinkSpeed::Gbps80,
            },
        }
    }
}

fn default_cache() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(directory).join("usb4-lab"));
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".cache/usb4-lab")),
        None => bail!("neither HOME nor XDG_CACHE_HOME is set: name a directory with --cache"),
    }
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> Result<ExitCode> {
        let cache = match self.cache {
            Some(directory) => std::path::absolute(directory).context("the cache directory")?,
            None => default_cache()?,
        };
        let missing = match self.cached {
            true => Missing::Refuse,
            false => Missing::Make,
        };
        let cache = Cache::open(cache, missing)?;
        let workbench = |source| Workbench::new(cache.clone(), self.mirror.clone(), source);
        match self.action {
            Action::Within { spec } => {
                let program: Program =
                    serde_json::from_str(&spec).context("read the program to run")?;
                match program.exec()? {}
            }
            Action::Attend { spec } => {
                let attendant: Attendant =
                    serde_json::from_str(&spec).context("read the kernel to run")?;
                let ended = attendant.run()?;
                println!("the kernel ended: {ended}");
                Ok(ExitCode::SUCCESS)
            }
            Action::Provision { debug, native } => {
                let workbench = workbench(None)?;
                workbench.tree(Kernel::Stock)?;
                for (wanted, kernel) in [(debug, Kernel::Debug), (native, Kernel::Native)] {
                    if wanted {
                        workbench.tree(kernel)?;
                    }
                }
                workbench.tools()?;
                workbench.clients()?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Module { kernel, source } => {
                let workbench = workbench(source.directory()?)?;
                let modules = workbench.modules(kernel.into())?;
                println!("{}", modules.file(module::NAME)?.display());
                Ok(ExitCode::SUCCESS)
            }
            Action::Deb { output } => {
                fs::create_dir_all(&output)
                    .with_context(|| format!("create {}", output.display()))?;
                for package in workbench(None)?.debian(Kernel::Stock)?.files()? {
                    let target = output.join(package.file_name().unwrap_or_default());
                    fs::copy(&package, &target)
                        .with_context(|| format!("write {}", target.display()))?;
                    println!("{}", target.display());
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Lint { kernel } => {
                let workbench = workbench(None)?;
                let all = [KernelChoice::Stock, KernelChoice::Debug];
                let chosen = kernel.as_ref().map_or(&all[..], std::slice::from_ref);
                for kernel in chosen {
                    workbench.lint((*kernel).into())?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Up(up) => up.run(&workbench(None)?),
            Action::Demo { native } => {
                let kernel = match native {
                    true => Kernel::Native,
                    false => Kernel::Stock,
                };
                demo::run(&workbench(None)?, kernel)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Bench(bench) => {
                let workbench = workbench(bench.measuring.source.directory()?)?;
                bench.run(&workbench)
            }
            Action::Profile(profile) => {
                let workbench = workbench(profile.measuring.source.directory()?)?;
                profile.run(&workbench)
            }
            Action::Shell(shell) => shell.run(&workbench(None)?),
            Action::Test(test) => test.run(&workbench(None)?),
            Action::Exec(exec) => exec.run(&cache),
            Action::Put(transfer) => transfer.put(&cache),
            Action::Get(transfer) => transfer.get(&cache),
            Action::Cable(cable) => cable.run(&cache),
            Action::Down(name) => {
                Instance::open(&cache.instances(), &name.name)?.power_off()?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Up {
    fn run(self, workbench: &Workbench) -> Result<ExitCode> {
        let instance = self.shape.up(workbench, &self.name.name)?;
        println!(
            "{} is up: hosts {}; files in {}",
            self.name.name,
            instance.names().join(", "),
            instance.directory().display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl Bench {
    fn run(self, workbench: &Workbench) -> Result<ExitCode> {
        let extent = match (self.quick, self.storage) {
            (true, _) => bench::Extent::Quick,
            (_, true) => bench::Extent::Storage,
            _ => bench::Extent::Full,
        };
        let plan = bench::Plan::new(extent, self.repeats);
        let lane = self.measuring.lane();
        with_output(workbench, self.measuring.output, |output| {
            bench::run(workbench, lane, &plan, output)
        })
    }
}

impl Profile {
    fn run(self, workbench: &Workbench) -> Result<ExitCode> {
        let job = bench::Job {
            flow: self.flow,
            bytes: self.bytes,
            time: Duration::from_secs(self.seconds),
        };
        let lane = self.measuring.lane();
        with_output(workbench, self.measuring.output, |output| {
            bench::profile(workbench, lane, &job, output)
        })
    }
}

/// Does `work`, which puts its results into the directory `output`, or else into one of the cache.
fn with_output(
    workbench: &Workbench,
    output: Option<PathBuf>,
    work: impl FnOnce(&Path) -> Result<()>,
) -> Result<ExitCode> {
    match output {
        Some(output) => {
            let output = std::path::absolute(output).context("the output directory")?;
            work(&output)?;
        }
        None => {
            let directory = RunDirectory::new(workbench.cache())?;
            work(directory.path())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Shell {
    fn run(self, workbench: &Workbench) -> Result<ExitCode> {
        if let Some(instance) = Instance::find(&workbench.cache().instances(), &self.name)? {
            return exit_code(shell::run(instance.agent(&self.host)?)?);
        }
        let instance = self.shape.up(workbench, &self.name)?;
        for other in instance.names().iter().filter(|name| **name != self.host) {
            println!(
                "host {other}: `lab shell --name {} {other}` in another terminal",
                self.name
            );
        }
        println!("all hosts power off when this prompt ends");
        let status = instance.agent(&self.host).and_then(shell::run);
        instance.power_off()?;
        exit_code(status?)
    }
}

impl Test {
    /// The suites, and how many of the tests that are asked for are left out, by what they need.
    fn suites(&self, extent: Extent) -> (Vec<Suite>, BTreeMap<Need, usize>) {
        if self.rest {
            return (suite::rest::rest(suite::all), BTreeMap::new());
        }
        let suites = suite::all(extent);
        let lane = match self.native {
            true => suite::native::lane(suites),
            false => suite::native::emulated(suites, extent),
        };
        let left_out = lane.count_left_out(|name| is_wanted(name, &self.filters));
        (lane.suites, left_out)
    }

    fn run(self, workbench: &Workbench) -> Result<ExitCode> {
        let extent = match self.long {
            true => Extent::Long,
            false => Extent::Short,
        };
        let (mut suites, left_out) = self.suites(extent);
        if self.without_debug_kernel {
            suites.retain(|suite| suite.lab.kernel != Kernel::Debug);
        }
        if self.list {
            for name in suites.iter().flat_map(Suite::names) {
                println!("{name}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let run = Run::new(workbench, extent)?;
        println!("logs: {}", run.directory().display());
        let tally = run.suites(&suites, &self.filters)?;
        for (need, count) in left_out {
            println!("left out, {count}: tests that need {need}");
        }
        println!("{tally}");
        Ok(match tally.failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

impl Exec {
    fn run(self, cache: &Cache) -> Result<ExitCode> {
        let instance = Instance::open(&cache.instances(), &self.name.name)?;
        let command = command(&self.argv, Duration::from_secs(self.limit));
        let mut broken = None;
        let status =
            instance
                .agent(&self.host)?
                .run_streaming(&command, &mut |channel, data| {
                    let written = match channel {
                        Channel::Stdout => write_through(std::io::stdout(), data),
                        Channel::Stderr => write_through(std::io::stderr(), data),
                    };
                    broken = written.err().or(broken.take());
                })?;
        if let Some(error) = broken {
            return Err(error).context("write the command's output");
        }
        exit_code(status)
    }
}

/// The guest's exit status as the lab's own.
fn exit_code(status: ExitStatus) -> Result<ExitCode> {
    match status {
        ExitStatus::Code(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        ended => bail!("{ended}"),
    }
}

fn write_through(mut to: impl Write, data: &[u8]) -> std::io::Result<()> {
    to.write_all(data)?;
    to.flush()
}

impl Transfer {
    fn agent(&self, cache: &Cache) -> Result<Agent> {
        Instance::open(&cache.instances(), &self.name.name)?.agent(&self.host)
    }

    fn put(self, cache: &Cache) -> Result<ExitCode> {
        let read = || format!("read {}", self.from.display());
        let content = fs::read(&self.from).with_context(read)?;
        let mode = fs::metadata(&self.from)
            .with_context(read)?
            .permissions()
            .mode()
            & PERMISSION_BITS;
        let to = self
            .to
            .to_str()
            .context("the path in the host is not UTF-8")?;
        self.agent(cache)?.put(to, mode, &content)?;
        Ok(ExitCode::SUCCESS)
    }

    fn get(self, cache: &Cache) -> Result<ExitCode> {
        let from = self
            .from
            .to_str()
            .context("the path in the host is not UTF-8")?;
        let content = self.agent(cache)?.get(from)?;
        fs::write(&self.to, content).with_context(|| format!("write {}", self.to.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Cable {
    fn run(self, cache: &Cache) -> Result<ExitCode> {
        let instance = Instance::open(&cache.instances(), &self.name.name)?;
        let mut cables = instance.cables()?;
        match self.action {
            CableAction::Status => {
                let status = cables.status()?;
                let text = serde_json::to_string_pretty(&status).context("encode the status")?;
                println!("{text}");
            }
            CableAction::Plug { cable } => cables.plug(&cable)?,
            CableAction::Unplug { cable } => cables.unplug(&cable)?,
            CableAction::Cycle {
                cable,
                plugged,
                unplugged,
                times,
            } => {
                let schedule = Schedule {
                    plugged: Duration::from_millis(plugged),
                    unplugged: Duration::from_millis(unplugged),
                    times,
                };
                schedule.follow(&mut cables, &cable, |time| {
                    println!("{cable}: pull {time} of {times}");
                })?;
            }
            CableAction::Faults { cable, faults } => {
                let faults = serde_json::from_str(&faults).context("the faults")?;
                cables.set_faults(&cable, &faults)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
