// SPDX-License-Identifier: GPL-2.0

//! A host that begins to hibernate: its devices are frozen, and its memory is not saved then.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;

use super::Outcome;
use super::LIMIT;
use super::NOTICE;
use crate::hosts::kernel_log::KernelLog;
use crate::hosts::kernel_log::Mark;
use crate::hosts::sleep::hibernates;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::state::await_port;
use crate::roce::state::PortState;

/// How long the host's devices stay frozen.
const FROZEN: Duration = Duration::from_secs(10);

/// What the host says at last, followed by how the attempt ended.
const VERDICT: &str = "the attempt to hibernate ended with";

/// Pause between two looks into the log.
const POLL: Duration = Duration::from_millis(200);

/// What the host does. Its root and the agent's channel are not there any more when their devices have been frozen: they are reset. So it has
/// what it needs in memory, and tells what happened by its kernel's log.
fn script() -> String {
    let seconds = FROZEN.as_secs();
    format!(
        "mkdir -p /run/still && mount -t tmpfs still /run/still && cd /run/still || exit
        mkdir sys dev && mount --rbind /sys sys && mount --rbind /dev dev && cp $(command -v busybox) . || exit
        exec chroot . /busybox sh -c '
          cd /sys/power && echo {seconds} > /sys/module/suspend/parameters/pm_test_delay
          echo devices > pm_test && echo disk > state
          result=$?
          until /busybox grep -qx up /sys/kernel/config/usb4_roce/*/state; do /busybox sleep 0.1; done
          echo \"<6>{VERDICT} $result, and the rail is up\" > /dev/kmsg
        '"
    )
}

/// Waits for the line of the host's log that tells how the attempt ended; gives it.
fn await_verdict(log: &KernelLog, since: Mark) -> Result<String> {
    let deadline = Instant::now() + NOTICE + FROZEN;
    loop {
        if let Some(stretch) = log.through(since, VERDICT)? {
            return Ok(stretch.text.lines().last().unwrap_or_default().to_owned());
        }
        ensure!(Instant::now() < deadline, "the host is silent");
        thread::sleep(POLL);
    }
}

/// The rail is closed before devices are frozen, and is up again when they are thawed. The host is started anew then, since its root is gone.
pub fn freezes_devices(stage: &Stage<'_>) -> Result<Outcome> {
    if !hibernates(stage, "a")? {
        stage.skip("hibernation", "this kernel cannot hibernate");
        return Ok(Outcome::Passed);
    }
    let log = KernelLog::of(stage.instance(), "a");
    let since = log.since(KernelLog::start())?.end;
    stage.start("a", &script(), LIMIT)?;
    await_port(stage, "b", PortState::Down, NOTICE)?;
    let verdict = await_verdict(&log, since)?;
    ensure!(verdict.contains(&format!("{VERDICT} 0,")), "{verdict}");
    await_port(stage, "b", PortState::Active, NOTICE)?;
    stage.note("a has no root any more, and is started again");
    stage.instance().crash("a")?;
    stage.instance().start_again("a")?;
    roce::start_on(stage.instance(), "a")?;
    Ok(Outcome::Passed)
}
