// SPDX-License-Identifier: GPL-2.0

//! What a test works with: a running lab, with everything it does written to a log.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::JobId;

use crate::hosts::agent::command;
use crate::hosts::agent::Output;
use crate::hosts::extent::Extent;
use crate::hosts::instance::copy_tree;
use crate::hosts::instance::Instance;
use crate::hosts::kernel_log::Expectation;
use crate::hosts::kernel_log::Presence;

/// A running lab under test.
pub struct Stage<'a> {
    instance: &'a Instance,
    extent: Extent,
    log_path: PathBuf,
    log: Mutex<File>,
    begin: Instant,
    told: Mutex<Told>,
}

/// What a test has told of itself.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Lines of kernel logs that it provokes.
    pub expectations: Vec<Expectation>,
    /// What it could not check.
    pub skips: Vec<Skip>,
}

/// A part of a test that was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Its name within the test.
    pub part: String,
    /// Why it was.
    pub reason: String,
}

/// A background command of a host.
#[derive(Clone, Debug)]
pub struct Job {
    host: String,
    id: JobId,
    line: String,
}

impl<'a> Stage<'a> {
    /// A stage on `instance` which logs to the file `log`.
    pub fn new(instance: &'a Instance, extent: Extent, log: &Path) -> Result<Self> {
        let file = File::options().append(true).create(true).open(log);
        Ok(Self {
            instance,
            extent,
            log_path: log.to_owned(),
            log: Mutex::new(file.with_context(|| format!("create {}", log.display()))?),
            begin: Instant::now(),
            told: Mutex::default(),
        })
    }

    /// The lab.
    pub fn instance(&self) -> &'a Instance {
        self.instance
    }

    /// How much a test is to do that could go on for ever.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The test provokes a line with `part` in the kernel log of `host`: by its end one has come, else it fails. The same
    /// line, as often as it comes, is no trouble.
    pub fn expect_line(&self, host: &str, part: &str) {
        self.expect(host, part, Presence::Required);
    }

    /// The test may provoke a line with `part` in the kernel log of `host`.
    pub fn allow_line(&self, host: &str, part: &str) {
        self.expect(host, part, Presence::Possible);
    }

    /// The test may provoke a warning with `part` in its first line, of something on `host` that the test is not about.
    pub fn allow_warning(&self, host: &str, part: &str) {
        self.expect(host, part, Presence::PossibleWarning);
    }

    fn expect(&self, host: &str, part: &str, presence: Presence) {
        self.note(&format!(
            "{host}: the kernel may say {part:?}: {presence:?}"
        ));
        self.told().expectations.push(Expectation {
            host: host.to_owned(),
            part: part.to_owned(),
            presence,
        });
    }

    /// The test goes on without `part`, for that reason. The skip must be among the allowed ones.
    pub fn skip(&self, part: &str, reason: &str) {
        self.note(&format!("skipped {part}: {reason}"));
        self.told().skips.push(Skip {
            part: part.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// What the test has told of itself.
    pub fn into_told(self) -> Told {
        self.told
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line to the test's log, with the time since the test began.
    pub fn note(&self, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.begin.elapsed().as_secs_f64();
        // A log that cannot be written must not fail the test.
        let _ = writeln!(log, "[{seconds:6.1} s] {}", text.trim_end());
    }

    /// Keeps `text` beside the test's log, in a file which has the log's name with this `extension`. Gives its path.
    pub fn keep(&self, extension: &str, text: &str) -> Result<PathBuf> {
        let path = self.log_path.with_extension(extension);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Puts the file or directory `source` into the share as `name`.
    pub fn provide(&self, source: &Path, name: &str) -> Result<()> {
        copy_tree(source, &self.instance.share().join(name))
    }

    fn report(&self, host: &str, line: &str, output: &Output) {
        self.note(&format!(
            "{host}$ {line}\n{}[{}]",
            output.everything(),
            output.status
        ));
    }

    /// Runs a shell script on `host`, however it ends.
    pub fn attempt(&self, host: &str, script: &str, limit: Duration) -> Result<Output> {
        let argv = ["sh", "-c", script];
        let output = self.instance.run(host, &argv, limit)?;
        self.report(host, script, &output);
        Ok(output)
    }

    /// Runs a shell script on `host`, which must succeed; gives its output.
    pub fn shell(&self, host: &str, script: &str, limit: Duration) -> Result<String> {
        let output = self.attempt(host, script, limit)?;
        check(host, script, &output)?;
        Ok(output.text())
    }

    /// Starts a shell script on `host` in the background; it is killed after `limit`.
    pub fn start(&self, host: &str, script: &str, limit: Duration) -> Result<Job> {
        self.note(&format!("{host}$ {script} &"));
        let argv = ["sh", "-c", script];
        let id = self.instance.agent(host)?.start(&command(&argv, limit))?;
        Ok(Job {
            host: host.to_owned(),
            id,
            line: script.to_owned(),
        })
    }

    /// Waits for a background script, however it ends.
    pub fn wait(&self, job: &Job, limit: Duration) -> Result<Output> {
        let output = self.instance.agent(&job.host)?.wait(job.id, limit)?;
        self.report(&job.host, &format!("(end of) {}", job.line), &output);
        Ok(output)
    }

    /// Waits for a background script, which must succeed; gives its output.
    pub fn finish(&self, job: &Job, limit: Duration) -> Result<String> {
        let output = self.wait(job, limit)?;
        check(&job.host, &job.line, &output)?;
        Ok(output.text())
    }

    /// Kills a background script with everything it started.
    pub fn kill(&self, job: &Job) -> Result<()> {
        self.note(&format!("{}$ kill ({})", job.host, job.line));
        self.instance.agent(&job.host)?.kill(job.id)
    }

    /// Starts a shell script on `host` in the background, and waits until it is ready; it is killed after `limit`.
    pub fn serve(
        &self,
        host: &str,
        script: &str,
        ready: Ready<'_>,
        limit: Duration,
    ) -> Result<Job> {
        let server = self.start(host, script, limit)?;
        let is_ready = match ready {
            Ready::Port(port) => format!("ss -ltn | grep -q :{port}"),
            Ready::File(path) => format!("[ -e {path} ]"),
        };
        let wait = format!("until {is_ready}; do sleep 0.05; done");
        self.shell(host, &wait, READY_LIMIT)?;
        Ok(server)
    }

    /// Runs a server and, as soon as it is ready, its client. Both must succeed. Gives what the server and the client
    /// wrote.
    pub fn pair(&self, pair: &Pair<'_>) -> Result<(String, String)> {
        let server = self.serve(pair.server_host, pair.server, pair.ready, pair.limit)?;
        let client = self.attempt(pair.client_host, pair.client, pair.limit)?;
        if !client.status.success() {
            // Its peer is gone: the server's last words may explain it.
            self.kill(&server)?;
            self.wait(&server, READY_LIMIT)?;
        }
        check(pair.client_host, pair.client, &client)?;
        let server = self.finish(&server, pair.limit)?;
        Ok((server, client.text()))
    }
}

/// How long a server may take to get ready.
const READY_LIMIT: Duration = Duration::from_secs(240);

/// How a server shows that its client may start.
#[derive(Clone, Copy, Debug)]
pub enum Ready<'a> {
    /// It listens on this TCP port.
    Port(u16),
    /// It has made this file.
    File(&'a str),
}

/// A server and a client.
pub struct Pair<'a> {
    /// Where the server runs.
    pub server_host: &'a str,
    /// Script of the server.
    pub server: &'a str,
    /// When the client may start.
    pub ready: Ready<'a>,
    /// Where the client runs.
    pub client_host: &'a str,
    /// Script of the client.
    pub client: &'a str,
    /// Time limit of each.
    pub limit: Duration,
}

fn check(host: &str, line: &str, output: &Output) -> Result<()> {
    /// Longest excerpt of the output in an error, in characters.
    const EXCERPT: usize = 1500;
    if output.status.success() {
        return Ok(());
    }
    let all = output.everything();
    let skip = all.chars().count().saturating_sub(EXCERPT);
    let end: String = all.chars().skip(skip).collect();
    bail!("{host}: {}: {line}\n{}", output.status, end.trim_end());
}
