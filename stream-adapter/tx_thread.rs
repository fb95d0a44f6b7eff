// SPDX-License-Identifier: GPL-2.0

//! The transmitting thread of a rail: control frames first, then whatever the client has to send.

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::msecs_to_jiffies;
use kernel::time::Jiffies;

use super::client::RailClient;
use super::frame_writer::Sent;
use super::rail_link::Link;
use super::rail_state::Fault;
use super::rail_state::State;
use crate::base::clock;
use crate::base::kthread::should_stop;
use crate::transport::ids::Instant;

/// How long a stream that was just opened is left alone, unless the peer speaks first. A frame that is under
/// way while the peer opens its end may escape its driver's count, and then its reader lags until it opens
/// the stream anew; ends that close and open together both get through that before anyone speaks.
const QUIET_MS: u32 = 1_000;

/// The longest sleep, when nothing at all is due.
const SLEEP_MS: u32 = 1_000;

/// How far the thread has come.
enum Progress {
    /// Something was written, and there may be more.
    Written,
    /// There is nothing that may be written.
    Idle,
    /// Goodbye was the last frame.
    Ended,
}

/// The thread's own state.
pub(super) struct TxThread<C: RailClient> {
    link: Arc<Link<C>>,
}

impl<C: RailClient> TxThread<C> {
    pub(super) fn new(link: Arc<Link<C>>) -> Self {
        Self { link }
    }

    /// The thread's body.
    pub(super) fn run(&self) {
        if let Err(error) = self.work() {
            if !should_stop() {
                self.link.fail(Fault::Write(error));
            }
        }
        self.link.tx_drained.raise();
    }

    /// Works until the stream fails or is to be closed.
    fn work(&self) -> Result {
        // The receiving thread raises the event when it has got a hello, the supervisor when it closes.
        let _ = self.link.tx_event.wait(msecs_to_jiffies(QUIET_MS));
        while !should_stop() {
            match self.write_next()? {
                Progress::Written => {}
                Progress::Idle => {
                    self.sleep();
                    // A peer that has restarted acknowledges nothing: the window gets full and leads here, whatever there is to
                    // send.
                    Link::check_peer(&self.link);
                }
                Progress::Ended => break,
            }
        }
        Ok(())
    }

    /// Writes the rail's own frames that are due, and one frame of the client's or a batch of long ones. Whoever waits for the
    /// writer gets it afterwards: a client that always has something to send must not keep others from it.
    fn write_next(&self) -> Result<Progress> {
        let link = &self.link;
        let mut writer = link.writer.lock();
        let Some(writer) = &mut *writer else {
            return Ok(Progress::Idle);
        };
        if link.inner.lock().state == State::Closing {
            writer.say_goodbye(link)?;
            return Ok(Progress::Ended);
        }
        writer.queue_control(link)?;
        let is_idle =
            writer.send_any(link)? == Sent::Nothing && writer.write_queued(link)? == Sent::Nothing;
        Ok(if is_idle {
            Progress::Idle
        } else {
            Progress::Written
        })
    }

    /// Sleeps until the client or the receiving thread has something to do, or something is due by the clock.
    fn sleep(&self) {
        let longest = msecs_to_jiffies(SLEEP_MS);
        let mut inner = self.link.inner.lock();
        if inner.state == State::Closing {
            return;
        }
        let deadline = inner.endpoint.look_again_at(clock::now());
        inner.tx_sleeps_until = deadline.unwrap_or(Instant(u64::MAX));
        drop(inner);
        let timeout = deadline.map_or(longest, clock::jiffies_until);
        // A deadline that has passed is the supervisor's business; do not spin meanwhile.
        let timeout: Jiffies = timeout.clamp(1, longest);
        let _ = self.link.tx_event.wait(timeout);
        self.link.inner.lock().tx_sleeps_until = Instant(0);
    }
}
