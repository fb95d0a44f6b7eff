// SPDX-License-Identifier: GPL-2.0

//! The `usb4-cable` program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rustix::process::Signal;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use usb4_cable::topology::Topology;

/// Software USB4 cables between virtual machines.
///
/// Makes a socket DIR/HOST-nhiN.sock for every USB4 controller of every host, to be used by QEMU's
/// vfio-user-pci device or by User-Mode Linux, as the topology says, and DIR/control.sock, which
/// takes requests as lines of JSON: {"op": "status"}, {"op": "unplug", "cable": "c0"}, and so on.
/// Prints "ready" when all sockets are there, and runs until SIGTERM or SIGINT.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Hosts and cables, a JSON file.
    #[arg(long, value_name = "FILE")]
    topology: PathBuf,
    /// Directory for the sockets; must exist.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How long to look for more after something has moved, before waiting until a guest tells of it; guests that do not tell
    /// are looked at all the same.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    spin_us: u64,
    /// End when the thread that started this program does, so that nothing is left behind.
    #[arg(long)]
    exit_with_parent: bool,
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .filter_module("vfio_user", log::LevelFilter::Warn)
        // It would log every bad descriptor of a guest; the front end logs the first.
        .filter_module("virtio_queue", log::LevelFilter::Off)
        .init();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("usb4-cable: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    if arguments.exit_with_parent {
        let parent = rustix::process::getppid();
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        if rustix::process::getppid() != parent {
            // It ended before the line above.
            return Ok(());
        }
    }
    let topology = Topology::from_file(&arguments.topology)?;
    let running = usb4_cable::run(
        &topology,
        &arguments.dir,
        Duration::from_micros(arguments.spin_us),
    )?;
    println!("ready");
    signals.forever().next();
    drop(running);
    Ok(())
}
