// SPDX-License-Identifier: GPL-2.0

//! Hosts that sleep until they are woken.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use crate::hosts::kernel_log::KernelLog;
use crate::hosts::kernel_log::Mark;
use crate::hosts::stage::Job;
use crate::hosts::stage::Stage;

/// Longest sleep, with falling asleep and waking.
const LIMIT: Duration = Duration::from_secs(300);

/// How long a host may take to fall asleep, or to wake.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);

/// How long a host that rehearses stays where it turns back.
const REHEARSAL_SECONDS: u32 = 1;

/// Pause between two looks whether it sleeps.
const POLL: Duration = Duration::from_millis(100);

/// What a kernel that tells of its way to sleep says last.
const ASLEEP: &str = "PM: suspend-to-idle";

/// Whether the kernel of `host` can hibernate.
pub fn hibernates(stage: &Stage<'_>, host: &str) -> Result<bool> {
    let found = stage.attempt(host, "grep -qw disk /sys/power/state", LIMIT)?;
    Ok(found.status.success())
}

/// Has the kernel of `host` go as far as `level` (of `/sys/power/pm_test`) on its way to `state` (of `/sys/power/state`), and turn back.
pub fn rehearse(stage: &Stage<'_>, host: &str, level: &str, state: &str) -> Result<()> {
    let script = format!(
        "cd /sys/power && echo {REHEARSAL_SECONDS} > /sys/module/suspend/parameters/pm_test_delay &&
        echo {level} > pm_test && echo {state} > state; result=$?; echo none > pm_test; exit $result"
    );
    stage
        .shell(host, &script, LIMIT)
        .with_context(|| format!("the attempt {level} of {state}"))?;
    Ok(())
}

/// A host that was sent to sleep.
pub struct Sleep {
    host: String,
    job: Job,
    log: KernelLog,
    /// Where it was sent to sleep.
    mark: Mark,
}

impl Sleep {
    /// Has `host` suspend itself to idle. That takes a while.
    pub fn begin(stage: &Stage<'_>, host: &str) -> Result<Self> {
        let log = KernelLog::of(stage.instance(), host);
        // Without its driver the power button is switched off.
        let script = "\
            modprobe button && echo 1 > /sys/power/pm_debug_messages &&
            echo freeze > /sys/power/state";
        Ok(Self {
            host: host.to_owned(),
            mark: log.since(KernelLog::start())?.end,
            job: stage.start(host, script, LIMIT)?,
            log,
        })
    }

    /// Its name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Waits until it sleeps.
    pub fn await_asleep(&self) -> Result<()> {
        let deadline = Instant::now() + CHANGE_LIMIT;
        while self.log.through(self.mark, ASLEEP)?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "{} does not fall asleep",
                self.host
            );
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Wakes it once it sleeps, and waits until it is awake.
    pub fn end(self, stage: &Stage<'_>) -> Result<()> {
        self.await_asleep()?;
        let woken = stage.instance().press_power_button(&self.host);
        woken.with_context(|| format!("wake {}", self.host))?;
        stage
            .finish(&self.job, CHANGE_LIMIT)
            .with_context(|| format!("{} does not wake", self.host))?;
        Ok(())
    }
}
