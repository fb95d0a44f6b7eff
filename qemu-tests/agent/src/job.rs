// SPDX-License-Identifier: GPL-2.0

//! Background processes, which outlive the session that started them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::Channel;
use lab_agent::protocol::Command;
use lab_agent::protocol::ExitStatus;
use lab_agent::protocol::JobId;

use crate::process::Group;
use crate::process::Process;
use crate::process::Sink;

/// What a process wrote, in order.
type Written = Vec<(Channel, Vec<u8>)>;

/// A background process.
pub struct Job {
    group: Group,
    output: Arc<Mutex<Written>>,
    status: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

impl Job {
    /// Kills the process group.
    pub fn kill(&self) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_none() {
            self.group.kill();
        }
    }

    /// Waits for the end; gives the whole output.
    pub fn wait(&self) -> (Written, ExitStatus) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(status) = *status {
                let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
                return (output.clone(), status);
            }
            status = self
                .ended
                .wait(status)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// All background processes.
#[derive(Default)]
pub struct Jobs(Mutex<HashMap<JobId, Arc<Job>>>);

impl Jobs {
    /// Starts one.
    pub fn start(&self, command: &Command) -> Result<JobId> {
        let output = Arc::new(Mutex::new(Vec::new()));
        let kept = output.clone();
        let sink: Sink = Arc::new(move |channel, data: &[u8]| {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((channel, data.to_vec()));
        });
        let process = Process::start(command, sink)?;
        let job = Arc::new(Job {
            group: process.group(),
            output,
            status: Mutex::new(None),
            ended: Condvar::new(),
        });
        let limit = command.limit_ms.map(Duration::from_millis);
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = JobId(u32::try_from(jobs.len()).context("too many background processes")?);
        jobs.insert(id, job.clone());
        thread::spawn(move || {
            let status = process.finish(limit);
            *job.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
            job.ended.notify_all();
        });
        Ok(id)
    }

    /// Finds one.
    pub fn find(&self, id: JobId) -> Result<Arc<Job>> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(&id)
            .cloned()
            .with_context(|| format!("there is no background process {}", id.0))
    }
}
