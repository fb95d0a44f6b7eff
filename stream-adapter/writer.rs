// SPDX-License-Identifier: GPL-2.0

//! The writing side of a rail: control frames first, then whatever the client has to send.

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::msecs_to_jiffies;
use kernel::time::Jiffies;

use super::client::RailClient;
use super::pen::Pen;
use super::pen::Progress;
use super::rail::Fault;
use super::rail::Shared;
use super::rail::State;
use crate::base::clock;
use crate::base::kthread::should_stop;
use crate::transport::ids::Instant;

/// How long a stream that was just opened is left alone, unless the peer speaks first. A frame that is under
/// way while the peer opens its end may escape its driver's count, and then its reader lags until it opens
/// the stream anew; ends that close and open together both get through that before anyone speaks.
const QUIET_MS: u32 = 1_000;

/// The longest sleep, when nothing at all is due.
const SLEEP_MS: u32 = 1_000;

/// The writer's own state.
pub(super) struct Writer<C: RailClient> {
    shared: Arc<Shared<C>>,
}

impl<C: RailClient> Writer<C> {
    pub(super) fn new(shared: Arc<Shared<C>>) -> Self {
        Self { shared }
    }

    /// The thread's body.
    pub(super) fn run(&self) {
        if let Err(error) = self.work() {
            if !should_stop() {
                self.shared.fail(Fault::Write(error));
            }
        }
        self.shared.farewell.raise();
    }

    /// Works until the stream fails or is to be closed.
    fn work(&self) -> Result {
        // The reader raises the event when it has got a greeting, the supervisor when it closes.
        let _ = self.shared.kick.wait(msecs_to_jiffies(QUIET_MS));
        while !should_stop() {
            Shared::judge(&self.shared);
            if let Some(pen) = &mut *self.shared.pen.lock() {
                if self.shared.inner.lock().state == State::Closing {
                    return pen.say_goodbye(&self.shared);
                }
                self.write_all(pen)?;
            }
            self.sleep();
        }
        Ok(())
    }

    /// Writes until there is nothing left that may be written.
    fn write_all(&self, pen: &mut Pen) -> Result {
        let shared = &self.shared;
        while !should_stop() && shared.inner.lock().state != State::Closing {
            pen.gather_control(shared)?;
            if pen.send_any(shared)? == Progress::None && pen.flush(shared)? == Progress::None {
                break;
            }
        }
        Ok(())
    }

    /// Sleeps until the client or the reader has something to do, or something is due by the clock.
    fn sleep(&self) {
        let longest = msecs_to_jiffies(SLEEP_MS);
        let mut inner = self.shared.inner.lock();
        if inner.state == State::Closing {
            return;
        }
        let deadline = inner.endpoint.deadline();
        inner.writer_sleeps_until = deadline.unwrap_or(Instant(u64::MAX));
        drop(inner);
        let timeout = deadline.map_or(longest, clock::jiffies_until);
        // A deadline that has passed is the supervisor's business; do not spin meanwhile.
        let timeout: Jiffies = timeout.clamp(1, longest);
        let _ = self.shared.kick.wait(timeout);
        self.shared.inner.lock().writer_sleeps_until = Instant(0);
    }
}
