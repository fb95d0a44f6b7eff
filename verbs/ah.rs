// SPDX-License-Identifier: GPL-2.0

//! Address handles.

use core::num::NonZeroU32;

use kernel::prelude::*;
use kernel::sync::Arc;

use super::abi::response;
use super::device::RoceDevice;
use super::objects::Objects;
use super::rdma::AhAttributes;
use super::rdma::AhOps;
use super::rdma::Pd;
use super::rdma::UserData;

/// Where datagrams go that name this handle by its number.
pub(crate) struct PathHandle {
    number: u32,
    objects: Arc<Objects>,
}

impl PathHandle {
    fn build(pd: &Pd<RoceDevice>, user: Option<UserData<'_, RoceDevice>>) -> Result<Arc<Self>> {
        let objects = pd.device().objects();
        let handle = objects.path_handles.add(|number| {
            let handle = PathHandle {
                number,
                objects: objects.clone(),
            };
            Ok(Arc::new(handle, GFP_KERNEL)?)
        })?;
        if let Some(user) = user {
            // The numbers of the table start above zero.
            let number = NonZeroU32::new(handle.number).ok_or(EINVAL)?;
            user.respond(&response::encode_ah(number))
                .inspect_err(|_| handle.destroy())?;
        }
        Ok(handle)
    }
}

impl AhOps<RoceDevice> for Arc<PathHandle> {
    fn create(
        pd: &Pd<RoceDevice>,
        _path: AhAttributes,
        user: Option<UserData<'_, RoceDevice>>,
    ) -> impl PinInit<Self, Error> {
        PathHandle::build(pd, user)
    }

    fn destroy(&self) {
        self.objects.path_handles.remove(self.number);
    }
}
