// SPDX-License-Identifier: GPL-2.0

//! The guest agent.
//!
//! As a guest's first process it mounts the root and starts itself a second time as the server which
//! executes the lab's commands; the first process then only reaps orphans.

use anyhow::Result;

mod boot;
mod job;
mod machine;
mod process;
mod server;
mod systemd;

fn main() {
    let outcome: Result<()> = if std::process::id() == 1 {
        boot::run()
    } else {
        server::run()
    };
    if let Err(error) = outcome {
        eprintln!("lab-agent: {error:#}");
    }
    if std::process::id() == 1 {
        boot::give_up();
    }
    std::process::exit(1);
}
