// SPDX-License-Identifier: GPL-2.0

//! Child processes that get killed, and must go when they are.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use nix::errno::Errno;
use nix::libc;

/// How long the kernel may take to end a process that was killed. Under emulation, with checkers and with a cable
/// that was pulled, closing a device takes seconds.
const END: Duration = Duration::from_secs(90);

/// How long a look at children that do not end waits for the next one.
const LOOK: Duration = Duration::from_millis(20);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A forked process.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    killed: Option<Instant>,
}

impl Child {
    /// Forks; the child does `body` and ends with its result. It dies with its parent.
    ///
    /// The caller has no other threads: what they hold would be held in the child for ever.
    pub fn fork(body: impl FnOnce() -> i32) -> nix::Result<Self> {
        // SAFETY: The caller has no other threads, so that the child may do what it likes.
        match unsafe { libc::fork() } {
            -1 => Err(Errno::last()),
            0 => {
                // SAFETY: It only sets a signal.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                // SAFETY: Ends the process, without what the parent registered to be done at its end.
                unsafe { libc::_exit(status.unwrap_or(101)) }
            }
            pid => Ok(Self { pid, killed: None }),
        }
    }

    /// Kills it, as kill -9 does.
    pub fn kill(&mut self) {
        self.killed.get_or_insert_with(Instant::now);
        // SAFETY: A child that nobody has waited for yet keeps its number.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// How it ended, if it has. Fails when it was killed long ago.
    pub fn ended(&self) -> anyhow::Result<Option<Ended>> {
        let mut status = 0;
        // SAFETY: The status is valid for the write.
        let pid = unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) };
        if pid == self.pid {
            return Ok(Some(match libc::WIFSIGNALED(status) {
                true => Ended::Signal(libc::WTERMSIG(status)),
                false => Ended::Code(libc::WEXITSTATUS(status)),
            }));
        }
        if self.killed.is_some_and(|at| at.elapsed() > END) {
            bail!(
                "process {} has not ended {END:?} after it was killed:\n{}",
                self.pid,
                stacks(self.pid)
            );
        }
        Ok(None)
    }

    /// Waits until it ends by itself, for `patience`, then kills it.
    pub fn finish(&mut self, patience: Duration) -> anyhow::Result<Ended> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(ended) = self.ended()? {
                return Ok(ended);
            }
            if Instant::now() >= deadline {
                self.kill();
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Where the threads of a process are in the kernel.
fn stacks(pid: libc::pid_t) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| {
            let path = task.path();
            let (wchan, stack) = (read(path.join("wchan")), read(path.join("stack")));
            format!("{}: {wchan}\n{stack}", path.display())
        })
        .collect()
}
