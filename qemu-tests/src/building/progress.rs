// SPDX-License-Identifier: GPL-2.0

//! Telling the user what takes long: a spinner on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;

/// Redraw interval of the spinner.
const TICK: Duration = Duration::from_millis(120);

/// A step being done. It is reported as failed when dropped before [`Step::done`].
pub struct Step {
    what: String,
    began: Instant,
    spinner: Option<ProgressBar>,
    reported: bool,
}

impl Step {
    /// Begins a step, such as "boot the hosts".
    pub fn begin(what: &str) -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(TICK);
            spinner
        });
        if spinner.is_none() {
            eprintln!("lab: {what} ...");
        }
        Self {
            what: what.to_owned(),
            began: Instant::now(),
            spinner,
            reported: false,
        }
    }

    /// The step succeeded.
    pub fn done(mut self) {
        self.report("done");
    }

    fn report(&mut self, outcome: &str) {
        self.reported = true;
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        eprintln!("lab: {}: {outcome} in {seconds:.1} s", self.what);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.reported {
            self.report("failed");
        }
    }
}
