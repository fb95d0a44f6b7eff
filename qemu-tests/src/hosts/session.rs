// SPDX-License-Identifier: GPL-2.0

//! A lab that is up for a single piece of work.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;

use crate::building::workbench::Workbench;
use crate::hosts::extent::Extent;
use crate::hosts::instance::Instance;
use crate::hosts::kernel_log::both;
use crate::hosts::kernel_log::Watch;
use crate::hosts::shape::Shape;
use crate::hosts::stage::Stage;

/// A piece of work.
pub struct Session<'a> {
    /// What the names of its logs begin with.
    pub name: &'a str,
    /// The lab it is for.
    pub shape: Shape<'a>,
    /// What the hosts find in their share.
    pub files: Vec<PathBuf>,
    /// Where the logs go.
    pub logs: &'a Path,
}

impl Session<'_> {
    /// Boots the lab, does `work`, and powers the lab off. The kernel logs are looked through at the end.
    pub fn run<T>(
        &self,
        workbench: &Workbench,
        work: impl FnOnce(&Stage<'_>) -> Result<T>,
    ) -> Result<T> {
        let instance = Instance::up(workbench, &self.shape)?;
        let mut watch = Watch::new(&instance, self.shape.kernel);
        let done = (|| {
            let log = self.logs.join(format!("{}.log", self.name));
            let stage = Stage::new(&instance, Extent::Short, &log)?;
            for file in &self.files {
                let name = file.file_name().unwrap_or_default();
                stage.provide(file, &name.to_string_lossy())?;
            }
            work(&stage)
        })();
        let looked = watch.look(&instance, self.name, &[]);
        let ended = instance.power_off().and_then(|()| watch.look_at_end());
        instance.kill();
        instance.keep_logs(self.logs, self.name)?;
        instance.remove()?;
        let done = both(done, looked).and_then(|done| ended.map(|()| done));
        done.with_context(|| format!("logs of hosts and cables are in {}", self.logs.display()))
    }
}
