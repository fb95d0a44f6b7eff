// SPDX-License-Identifier: GPL-2.0

//! Wake-ups and threads.

use kernel::prelude::*;
use kernel::sync::Arc;

#[kunit_tests(usb4_roce_event)]
mod tests {
    use super::*;
    use crate::base::event::Event;
    use crate::base::event::Wake;
    use crate::base::kthread;
    use crate::base::kthread::Kthread;
    use kernel::time::msecs_to_jiffies;
    use kernel::time::Delta;

    /// Longer than anything here takes on a slow machine.
    const LONG_MS: u32 = 20_000;
    const SHORT_MS: u32 = 10;
    const BRIEFLY: Delta = Delta::from_micros(50);

    fn event() -> Result<Arc<Event>> {
        Arc::pin_init(Event::new(), GFP_KERNEL)
    }

    #[test]
    fn a_wait_without_an_event_times_out() -> Result {
        assert_eq!(event()?.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        Ok(())
    }

    #[test]
    fn an_event_raised_before_is_not_lost() -> Result {
        let event = event()?;
        event.raise();
        assert_eq!(event.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        Ok(())
    }

    #[test]
    fn so_it_is_for_those_who_wait_briefly() -> Result {
        let event = event()?;
        assert_eq!(event.wait_briefly(BRIEFLY), Wake::Timeout);
        event.raise();
        assert_eq!(event.wait_briefly(BRIEFLY), Wake::Raised);
        assert_eq!(event.wait_briefly(BRIEFLY), Wake::Timeout);
        event.raise();
        assert_eq!(event.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        Ok(())
    }

    #[test]
    fn who_waits_briefly_is_woken() -> Result {
        let event = event()?;
        let raiser = event.clone();
        let thread = Kthread::spawn(c"kunit_raiser", move || raiser.raise())?;
        // Each wait may end early.
        while event.wait_briefly(Delta::from_millis(LONG_MS.into())) == Wake::Timeout {}
        drop(thread);
        assert_eq!(event.wait_briefly(BRIEFLY), Wake::Timeout);
        Ok(())
    }

    #[test]
    fn events_do_not_pile_up() -> Result {
        let event = event()?;
        event.raise();
        event.raise();
        assert_eq!(event.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        assert_eq!(event.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        Ok(())
    }

    #[test]
    fn a_thread_wakes_the_waiter() -> Result {
        let event = event()?;
        let raiser = event.clone();
        let thread = Kthread::spawn(c"kunit_raiser", move || raiser.raise())?;
        assert_eq!(event.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        drop(thread);
        Ok(())
    }

    #[test]
    fn dropping_the_handle_stops_a_waiting_thread() -> Result {
        let started = event()?;
        let stopped = event()?;
        let (tell_started, tell_stopped) = (started.clone(), stopped.clone());
        let never = event()?;
        let thread = Kthread::spawn(c"kunit_waiter", move || {
            tell_started.raise();
            while !kthread::should_stop() {
                let _ = never.wait(msecs_to_jiffies(LONG_MS));
            }
            tell_stopped.raise();
        })?;
        assert_eq!(started.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        drop(thread);
        assert_eq!(stopped.wait(msecs_to_jiffies(SHORT_MS)), Wake::Raised);
        Ok(())
    }

    #[test]
    fn a_thread_that_has_ended_can_be_dropped() -> Result {
        let done = event()?;
        let tell = done.clone();
        let thread = Kthread::spawn(c"kunit_brief", move || tell.raise())?;
        assert_eq!(done.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        let _ = done.wait(msecs_to_jiffies(SHORT_MS));
        drop(thread);
        Ok(())
    }
}
