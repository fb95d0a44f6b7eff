// SPDX-License-Identifier: GPL-2.0

//! What is written while something happens to the hosts, and checked afterwards.

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use super::LIMIT;
use crate::hosts::stage::Job;
use crate::hosts::stage::Stage;
use crate::roce::DEVICE;
use crate::storage::INITIATOR;

/// Each block has a checksum, and tells where it belongs.
pub const CHECKED: &str = "--ioengine=libaio --direct=1 --verify=crc32c-intel --verify_fatal=1 --group_reporting --minimal";

/// Megabytes that are written.
const SIZE: u32 = 4;

/// Kilobytes written in a second, so that something can happen in the middle.
const RATE: u32 = 256;

/// Bytes that the initiator has sent when writing is under way.
const UNDER_WAY: u64 = 1 << 20;

/// What the initiator has sent so far.
fn sent_bytes() -> String {
    format!("cat /sys/class/infiniband/{DEVICE}/ports/1/hw_counters/sent_bytes")
}

/// A file or a disk that is being written.
pub struct Load(Job);

impl Load {
    /// Has the initiator write `file`, which `find` may set variables for. Each write is through when it is done. Returns when a part
    /// was written.
    pub fn start(stage: &Stage<'_>, find: &str, file: &str) -> Result<Self> {
        Self::begin(stage, find, file, "")
    }

    /// The same, again and again until it fails, however long the host takes to be about to.
    pub fn start_until_failure(stage: &Stage<'_>, find: &str, file: &str) -> Result<Self> {
        let endless = format!("--time_based --runtime={}", LIMIT.as_secs());
        Self::begin(stage, find, file, &endless)
    }

    fn begin(stage: &Stage<'_>, find: &str, file: &str, extent: &str) -> Result<Self> {
        let sent_bytes = sent_bytes();
        let before = stage.shell(INITIATOR, &sent_bytes, LIMIT)?;
        let before: u64 = before.trim().parse().context("a number of bytes")?;
        let script = format!(
            "{find}
            exec fio --name=check --filename={file} --size={SIZE}m --rw=randwrite --bs=16k --iodepth=8 --sync=dsync \
              --rate=,{RATE}k {extent} {CHECKED}"
        );
        let job = stage.start(INITIATOR, &script, LIMIT)?;
        let due = before + UNDER_WAY;
        let under_way = format!("until [ $({sent_bytes}) -ge {due} ]; do sleep 0.1; done");
        stage
            .shell(INITIATOR, &under_way, LIMIT)
            .context("nothing is written")?;
        Ok(Self(job))
    }

    /// Waits until all is written, and read back as it was written.
    pub fn finish(self, stage: &Stage<'_>) -> Result<()> {
        stage.finish(&self.0, LIMIT).context("the load")?;
        Ok(())
    }

    /// Waits until who writes has given up.
    pub fn await_failure(self, stage: &Stage<'_>) -> Result<()> {
        let output = stage.wait(&self.0, LIMIT)?;
        ensure!(!output.status.success(), "all was written");
        Ok(())
    }
}
