// SPDX-License-Identifier: GPL-2.0

//! How much damage a stream may do to what is read from it.

use kernel::prelude::*;

use super::bindings;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;

/// A stream that gives nothing but errors for so long has failed.
const DAMAGE_LIMIT: Duration = Duration::from_millis(1_000);

/// After so many errors in a row the reader backs off one jiffy per error, as errors may return at once.
const ERRORS_BEFORE_BACKOFF: u32 = 64;

/// Reads that met damage, without any good byte between them.
#[derive(Default)]
pub struct DamagedReads {
    count: u32,
    since: Option<Instant>,
}

impl DamagedReads {
    /// Another one, at this time, which ended with `error`. It costs a frame of the stream, unless that is all there is: then the
    /// stream has failed, with that error.
    ///
    /// May back off: must be called from a thread that may sleep.
    pub fn note(&mut self, error: Error, now: Instant) -> Result {
        let since = *self.since.get_or_insert(now);
        self.count = self.count.saturating_add(1);
        if self.count <= ERRORS_BEFORE_BACKOFF {
            // Few in a long time are what a silent peer's damaged hellos look like.
            return Ok(());
        }
        if now.since(since) >= DAMAGE_LIMIT {
            return Err(error);
        }
        // SAFETY: We are a thread that may sleep.
        unsafe { bindings::schedule_timeout_interruptible(1) };
        Ok(())
    }

    /// Something good has come.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}
