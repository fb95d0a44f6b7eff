// SPDX-License-Identifier: GPL-2.0

//! What keeps rails from their streams.

use kernel::prelude::*;
use kernel::sync::Arc;

#[kunit_tests(usb4_roce_quiescer)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::base::event::Event;
    use crate::base::event::Wake;
    use crate::base::kthread::Kthread;
    use crate::stream_adapter::quiescer::Quiescer;
    use crate::stream_adapter::quiescer::StillOpen;
    use crate::transport::ids::Duration;
    use kernel::time::msecs_to_jiffies;

    /// Longer than anything here takes on a slow machine.
    const LONG_MS: u32 = 20_000;
    const SHORT_MS: u32 = 100;

    fn quiescer(patience: u32) -> Result<Arc<Quiescer>> {
        Arc::pin_init(Quiescer::new(patience), GFP_KERNEL)
    }

    /// Somebody inside until `leave` is raised.
    fn guest(quiescer: &Arc<Quiescer>, leave: &Arc<Event>) -> Result<Kthread> {
        let entered = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let (quiescer, leave, tell) = (quiescer.clone(), leave.clone(), entered.clone());
        let thread = Kthread::spawn(c"kunit_guest", move || {
            let permit = quiescer.permit();
            tell.raise();
            let _ = leave.wait_uninterruptible(msecs_to_jiffies(LONG_MS));
            drop(permit);
        })?;
        assert_eq!(entered.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        Ok(thread)
    }

    #[test]
    fn no_permits_are_given_while_quiesced() -> Result {
        let quiescer = quiescer(LONG_MS)?;
        assert_eq!(quiescer.quiesce(), Ok(()));
        assert!(quiescer.permit().is_none());
        quiescer.resume();
        assert!(quiescer.permit().is_some());
        Ok(())
    }

    #[test]
    fn each_reason_is_taken_away_alone() -> Result {
        let quiescer = quiescer(LONG_MS)?;
        assert_eq!(quiescer.quiesce(), Ok(()));
        assert_eq!(quiescer.quiesce(), Ok(()));
        quiescer.resume();
        assert!(quiescer.permit().is_none());
        quiescer.resume();
        assert!(quiescer.permit().is_some());
        quiescer.resume();
        assert!(quiescer.permit().is_some());
        Ok(())
    }

    #[test]
    fn quiesced_for_good_is_not_resumed() -> Result {
        let quiescer = quiescer(LONG_MS)?;
        assert_eq!(quiescer.quiesce_for_good(), Ok(()));
        quiescer.resume();
        assert!(quiescer.permit().is_none());
        Ok(())
    }

    #[test]
    fn quiescing_waits_for_permits() -> Result {
        let quiescer = quiescer(LONG_MS)?;
        let leave = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let shut = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let guest = guest(&quiescer, &leave)?;
        let (to_shut, tell) = (quiescer.clone(), shut.clone());
        let porter = Kthread::spawn(c"kunit_porter", move || {
            if to_shut.quiesce().is_ok() {
                tell.raise();
            }
        })?;
        assert_eq!(shut.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        leave.raise();
        assert_eq!(shut.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        drop(porter);
        drop(guest);
        Ok(())
    }

    #[test]
    fn quiescing_gives_up_on_a_permit_that_is_kept() -> Result {
        let quiescer = quiescer(SHORT_MS)?;
        let leave = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let guest = guest(&quiescer, &leave)?;
        let began = clock::now();
        assert_eq!(quiescer.quiesce(), Err(StillOpen { streams: 1 }));
        assert!(clock::now().since(began) >= Duration::from_millis(SHORT_MS.into()));
        // It is quiesced all the same.
        assert!(quiescer.permit().is_none());
        leave.raise();
        drop(guest);
        assert_eq!(quiescer.quiesce_for_good(), Ok(()));
        Ok(())
    }
}
