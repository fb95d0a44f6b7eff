// SPDX-License-Identifier: GPL-2.0

//! Memory windows: to what they can be bound, by whom they can be used, and when no more.

use core::cell::Cell;

use kernel::prelude::*;

use crate::transport::ids::Qpn;
use crate::verbs::address_range::AddressRange;
use crate::verbs::memory_key::Key;
use crate::verbs::pd::Owner;
use crate::verbs::pd::PdId;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::window::BindRequest;
use crate::verbs::window::Binder;
use crate::verbs::window::Ground;
use crate::verbs::window::Grounds;

const REGION: Key = Key(0x0000_1102);
const WINDOW: Key = Key(0x0080_2203);
const IOVA: u64 = 0x7000_0000_0000;
const LENGTH: u64 = 0x1_0000;

/// One region, and how many windows are bound to it.
struct Region {
    pd: PdId,
    access: AccessFlags,
    windows: Cell<u32>,
}

impl Grounds for Region {
    fn hold<R>(&self, key: Key, check: impl FnOnce(&Ground) -> Option<R>) -> Option<R> {
        let ground = Ground {
            pd: self.pd,
            access: self.access,
            addresses: AddressRange {
                start: IOVA,
                length: LENGTH,
            },
        };
        let result = check(&ground).filter(|_| key == REGION)?;
        self.windows.set(self.windows.get() + 1);
        Some(result)
    }

    fn release(&self, _key: Key) {
        self.windows.set(self.windows.get() - 1);
    }
}

fn region(pd: PdId, access: AccessFlags) -> Region {
    Region {
        pd,
        access: access | Access::MwBind,
        windows: Cell::new(0),
    }
}

fn binder(pd: PdId) -> Binder {
    Binder {
        qp: Qpn::new(7),
        pd,
    }
}

/// The second kilobyte of the region.
fn request(access: AccessFlags) -> BindRequest {
    BindRequest {
        window: WINDOW,
        variant: 0x77,
        region: REGION,
        address: IOVA + 0x400,
        length: 0x400,
        access,
    }
}

#[kunit_tests(usb4_roce_window)]
mod tests {
    use super::*;
    use crate::verbs::memory_key::AccessDenied;
    use crate::verbs::memory_key::Needs;
    use crate::verbs::rdma::MwType;
    use crate::verbs::window::BindRefused;
    use crate::verbs::window::Window;

    /// The key after [`request`] has been carried out.
    const BOUND: Key = Key(0x0080_2277);

    fn write_by(qp: Option<u32>, pd: PdId) -> Needs {
        Needs {
            pd,
            peer_of: qp.map(Qpn::new),
            access: Access::RemoteWrite.into(),
        }
    }

    fn offset(window: &Window, key: Key, address: u64, needs: Needs) -> Result<u64, AccessDenied> {
        window.access(key, address, 0x10, needs, |region, offset| {
            if region == REGION {
                Ok(offset)
            } else {
                Err(AccessDenied)
            }
        })
    }

    fn writable() -> AccessFlags {
        Access::RemoteWrite.into()
    }

    #[test]
    fn a_bound_window_of_type_2_is_used_by_its_queue_pair_only() -> Result {
        let (pd, other) = (PdId::unique(Owner::Process), PdId::unique(Owner::Process));
        let region = region(pd, Access::LocalWrite.into());
        let window = Window::new(WINDOW, pd, MwType::Two)?;
        let at = IOVA + 0x410;
        let write = write_by(Some(7), pd);
        assert!(offset(&window, WINDOW, at, write).is_err());
        assert!(window
            .bind(binder(pd), &request(writable()), &region)
            .is_ok());
        assert_eq!(window.key(), BOUND);
        assert_eq!(offset(&window, BOUND, at, write), Ok(0x410));
        assert!(offset(&window, WINDOW, at, write).is_err());
        assert!(offset(&window, BOUND, at, write_by(Some(8), pd)).is_err());
        assert!(offset(&window, BOUND, at, write_by(Some(7), other)).is_err());
        // A window is no local key.
        assert!(offset(&window, BOUND, at, write_by(None, pd)).is_err());
        window.unbind(&region);
        assert_eq!(region.windows.get(), 0);
        Ok(())
    }

    #[test]
    fn a_window_has_the_range_and_the_rights_it_was_given() -> Result {
        let pd = PdId::unique(Owner::Process);
        let region = region(pd, Access::LocalWrite.into());
        let window = Window::new(WINDOW, pd, MwType::Two)?;
        assert!(window
            .bind(binder(pd), &request(writable()), &region)
            .is_ok());
        let write = write_by(Some(7), pd);
        let read = Needs {
            access: Access::RemoteRead.into(),
            ..write
        };
        assert_eq!(offset(&window, BOUND, IOVA + 0x400, write), Ok(0x400));
        assert_eq!(offset(&window, BOUND, IOVA + 0x7f0, write), Ok(0x7f0));
        for at in [0, IOVA, IOVA + 0x3ff, IOVA + 0x7f1, u64::MAX] {
            assert!(offset(&window, BOUND, at, write).is_err());
        }
        assert!(offset(&window, BOUND, IOVA + 0x400, read).is_err());
        window.unbind(&region);
        // A local right is none for peers.
        let local = BindRequest {
            window: BOUND,
            ..request(Access::LocalWrite.into())
        };
        assert!(window.bind(binder(pd), &local, &region).is_ok());
        assert!(offset(&window, BOUND, IOVA + 0x400, write).is_err());
        window.unbind(&region);
        Ok(())
    }

    #[test]
    fn a_zero_based_window_counts_from_its_first_byte() -> Result {
        let pd = PdId::unique(Owner::Process);
        let region = region(pd, Access::LocalWrite.into());
        let zero_based = request(writable() | Access::ZeroBased);
        let window = Window::new(WINDOW, pd, MwType::Two)?;
        assert!(window.bind(binder(pd), &zero_based, &region).is_ok());
        let write = write_by(Some(7), pd);
        assert_eq!(offset(&window, BOUND, 0, write), Ok(0x400));
        assert_eq!(offset(&window, BOUND, 0x3f0, write), Ok(0x7f0));
        assert!(offset(&window, BOUND, 0x3f1, write).is_err());
        assert!(offset(&window, BOUND, IOVA + 0x400, write).is_err());
        window.unbind(&region);
        // Not for windows of type 1.
        let window = Window::new(WINDOW, pd, MwType::One)?;
        assert!(window.bind(binder(pd), &zero_based, &region).is_err());
        Ok(())
    }

    #[test]
    fn an_invalid_key_is_not_used_any_more() -> Result {
        let pd = PdId::unique(Owner::Process);
        let region = region(pd, Access::LocalWrite.into());
        let window = Window::new(WINDOW, pd, MwType::Two)?;
        assert!(window.invalidate(binder(pd), WINDOW, &region).is_err());
        assert!(window
            .bind(binder(pd), &request(writable()), &region)
            .is_ok());
        assert_eq!(region.windows.get(), 1);
        // Not bound again before it has been made invalid.
        let again = BindRequest {
            window: BOUND,
            ..request(writable())
        };
        assert!(window.bind(binder(pd), &again, &region).is_err());
        let stranger = Binder {
            qp: Qpn::new(8),
            pd,
        };
        assert!(window.invalidate(stranger, BOUND, &region).is_err());
        assert!(window.invalidate(binder(pd), WINDOW, &region).is_err());
        assert!(window.invalidate(binder(pd), BOUND, &region).is_ok());
        assert_eq!(region.windows.get(), 0);
        let write = write_by(Some(7), pd);
        assert!(offset(&window, BOUND, IOVA + 0x400, write).is_err());
        assert!(window.invalidate(binder(pd), BOUND, &region).is_err());
        assert!(window.bind(binder(pd), &again, &region).is_ok());
        window.unbind(&region);
        assert_eq!(region.windows.get(), 0);
        Ok(())
    }

    #[test]
    fn a_window_of_type_1_is_bound_again_and_again() -> Result {
        let pd = PdId::unique(Owner::Process);
        let region = region(pd, Access::LocalWrite.into());
        let window = Window::new(WINDOW, pd, MwType::One)?;
        assert!(window
            .bind(binder(pd), &request(writable()), &region)
            .is_ok());
        // Any queue pair of the domain will do, but for a process's own requests.
        for qp in [7, 8] {
            let write = write_by(Some(qp), pd);
            assert_eq!(offset(&window, BOUND, IOVA + 0x400, write), Ok(0x400));
        }
        assert!(offset(&window, BOUND, IOVA + 0x400, write_by(None, pd)).is_err());
        assert!(window.invalidate(binder(pd), BOUND, &region).is_err());
        let moved = BindRequest {
            window: BOUND,
            variant: 0x78,
            address: IOVA,
            ..request(writable())
        };
        assert!(window.bind(binder(pd), &moved, &region).is_ok());
        assert_eq!(region.windows.get(), 1);
        let write = write_by(Some(7), pd);
        assert!(offset(&window, BOUND, IOVA + 0x400, write).is_err());
        let key = window.key();
        assert_eq!(offset(&window, key, IOVA, write), Ok(0));
        let nothing = BindRequest {
            window: key,
            length: 0,
            ..moved
        };
        assert!(window.bind(binder(pd), &nothing, &region).is_ok());
        assert_eq!(region.windows.get(), 0);
        assert!(offset(&window, window.key(), IOVA, write).is_err());
        Ok(())
    }

    #[test]
    fn what_may_not_be_bound_is_refused() -> Result {
        let (pd, other) = (PdId::unique(Owner::Process), PdId::unique(Owner::Process));
        let good = request(writable());
        let refused = |region: &Region, by: PdId, request: BindRequest| -> Result<bool> {
            let window = Window::new(WINDOW, pd, MwType::Two)?;
            let result = window.bind(binder(by), &request, region);
            let is_untouched = window.key() == WINDOW && region.windows.get() == 0;
            Ok(result == Err(BindRefused) && is_untouched)
        };
        let whole = region(pd, Access::LocalWrite.into());
        assert!(!refused(&whole, pd, good)?);
        let whole = region(pd, Access::LocalWrite.into());
        assert!(refused(&whole, other, good)?);
        assert!(refused(
            &region(other, Access::LocalWrite.into()),
            pd,
            good
        )?);
        assert!(refused(&region(pd, AccessFlags::empty()), pd, good)?);
        let readable = request(Access::RemoteRead.into());
        assert!(!refused(&region(pd, AccessFlags::empty()), pd, readable)?);
        let unbindable = Region {
            access: Access::LocalWrite.into(),
            ..region(pd, AccessFlags::empty())
        };
        assert!(refused(&unbindable, pd, good)?);
        for wrong in [
            BindRequest {
                window: Key(WINDOW.0 + 1),
                ..good
            },
            BindRequest {
                region: Key(REGION.0 + 1),
                ..good
            },
            BindRequest { length: 0, ..good },
            BindRequest {
                length: LENGTH - 0x3ff,
                ..good
            },
            BindRequest {
                length: u64::MAX,
                ..good
            },
            BindRequest {
                address: IOVA - 1,
                ..good
            },
            request(writable() | Access::MwBind),
        ] {
            assert!(refused(&whole, pd, wrong)?);
        }
        Ok(())
    }
}
