// SPDX-License-Identifier: GPL-2.0

//! perf, looking at the machine's processors.
//!
//! It looks at all of them, whatever they execute. Were it to look at processes, it would stop its clock and start it again each time
//! that one of them sleeps and wakes, which in a virtual machine takes longer than what is looked at.

use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use rustix::process::kill_process;
use rustix::process::Pid;
use rustix::process::Signal;

/// Samples per second of each processor. Odd, so that it does not keep step with ticks.
const FREQUENCY: u32 = 997;

/// Whether perf is to know what files are mapped where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mappings {
    /// It is, and finds functions by itself.
    Known,
    /// It is not: then it gives addresses as they are, in place of offsets in files.
    Unknown,
}

/// A recording that goes on.
pub struct Recorder {
    perf: Child,
    data: PathBuf,
}

/// A recording that has ended.
pub struct Recording {
    data: PathBuf,
}

impl Recorder {
    /// Begins to look, and writes down what it sees as the file `data`.
    pub fn start(mappings: Mappings, data: &Path) -> Result<Self> {
        let mut command = Command::new("perf");
        command.args(["record", "--quiet", "--all-cpus"]);
        command.args(["--event", "cpu-clock", "-g"]);
        command.args(["--freq", &FREQUENCY.to_string()]);
        if mappings == Mappings::Unknown {
            command.arg("--synth=no");
        }
        let perf = command
            .arg("--output")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let perf = match perf {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no perf here: it is in Debian's package linux-perf")
            }
            started => started.context("start perf")?,
        };
        Ok(Self {
            perf,
            data: data.to_owned(),
        })
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<Recording> {
        if let Some(status) = self.perf.try_wait().context("look at perf")? {
            bail!("perf has ended before: {status}");
        }
        let pid = i32::try_from(self.perf.id()).context("perf's process id")?;
        let pid = Pid::from_raw(pid).context("perf's process id")?;
        kill_process(pid, Signal::INT).context("end perf")?;
        self.perf.wait().context("wait for perf")?;
        ensure!(self.data.exists(), "perf wrote no {}", self.data.display());
        Ok(Recording { data: self.data })
    }
}

impl Recording {
    /// What was seen, as lines: of each sample the process, then addresses, functions and files; and which processes were started.
    pub fn script(&self) -> Result<String> {
        let output = Command::new("perf")
            .args(["script", "-F", "pid,ip,sym,dso", "--show-task-events"])
            .arg("--input")
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()
            .context("start perf script")?;
        ensure!(
            output.status.success(),
            "perf script: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
