// SPDX-License-Identifier: GPL-2.0

//! The gate that keeps rails from their streams.

use kernel::prelude::*;
use kernel::sync::Arc;

#[kunit_tests(usb4_roce_gate)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::base::event::Event;
    use crate::base::event::Wake;
    use crate::base::gate::Gate;
    use crate::base::gate::StillOpen;
    use crate::base::kthread::Kthread;
    use crate::transport::ids::Duration;
    use kernel::time::msecs_to_jiffies;

    /// Longer than anything here takes on a slow machine.
    const LONG_MS: u32 = 20_000;
    const SHORT_MS: u32 = 100;

    fn gate(patience: u32) -> Result<Arc<Gate>> {
        Arc::pin_init(Gate::new(patience), GFP_KERNEL)
    }

    /// Somebody inside until `leave` is raised.
    fn guest(gate: &Arc<Gate>, leave: &Arc<Event>) -> Result<Kthread> {
        let entered = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let (gate, leave, tell) = (gate.clone(), leave.clone(), entered.clone());
        let thread = Kthread::spawn(c"kunit_guest", move || {
            let passage = gate.pass();
            tell.raise();
            let _ = leave.wait_uninterruptible(msecs_to_jiffies(LONG_MS));
            drop(passage);
        })?;
        assert_eq!(entered.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        Ok(thread)
    }

    #[test]
    fn nobody_passes_a_shut_gate() -> Result {
        let gate = gate(LONG_MS)?;
        assert_eq!(gate.shut(), Ok(()));
        assert!(gate.pass().is_none());
        gate.open();
        assert!(gate.pass().is_some());
        Ok(())
    }

    #[test]
    fn each_reason_is_taken_away_alone() -> Result {
        let gate = gate(LONG_MS)?;
        assert_eq!(gate.shut(), Ok(()));
        assert_eq!(gate.shut(), Ok(()));
        gate.open();
        assert!(gate.pass().is_none());
        gate.open();
        assert!(gate.pass().is_some());
        gate.open();
        assert!(gate.pass().is_some());
        Ok(())
    }

    #[test]
    fn a_gate_shut_for_good_does_not_open() -> Result {
        let gate = gate(LONG_MS)?;
        assert_eq!(gate.shut_for_good(), Ok(()));
        gate.open();
        assert!(gate.pass().is_none());
        Ok(())
    }

    #[test]
    fn shutting_waits_for_who_is_inside() -> Result {
        let gate = gate(LONG_MS)?;
        let leave = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let shut = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let guest = guest(&gate, &leave)?;
        let (to_shut, tell) = (gate.clone(), shut.clone());
        let porter = Kthread::spawn(c"kunit_porter", move || {
            if to_shut.shut().is_ok() {
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
    fn shutting_gives_up_on_who_does_not_leave() -> Result {
        let gate = gate(SHORT_MS)?;
        let leave = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let guest = guest(&gate, &leave)?;
        let began = clock::now();
        assert_eq!(gate.shut(), Err(StillOpen { streams: 1 }));
        assert!(clock::now().since(began) >= Duration::from_millis(SHORT_MS.into()));
        // It is shut all the same.
        assert!(gate.pass().is_none());
        leave.raise();
        drop(guest);
        assert_eq!(gate.shut_for_good(), Ok(()));
        Ok(())
    }
}
