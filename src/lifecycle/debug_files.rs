// SPDX-License-Identifier: GPL-2.0

//! What maintainers may look at: `/sys/kernel/debug/usb4_roce`.

use kernel::debugfs::Dir;
use kernel::debugfs::File;
use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::Arc;

use crate::verbs::qp::QpTable;

/// The directory, which is removed when this is dropped.
#[pin_data]
pub(crate) struct DebugFiles {
    #[pin]
    queue_pairs: File<Arc<QpTable>>,
    _directory: Dir,
}

impl DebugFiles {
    /// Has `queue_pairs` looked at. Without debugfs there is nothing to be looked at.
    pub(crate) fn new(queue_pairs: Arc<QpTable>) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let directory = Dir::new(c"usb4_roce");
            Ok(try_pin_init!(Self {
                queue_pairs <- directory.read_callback_file(c"queue_pairs", queue_pairs, &show),
                _directory: directory.clone(),
            }? Error))
        })
    }
}

/// A line for each.
fn show(queue_pairs: &Arc<QpTable>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut from = 0;
    while let Some((number, qp)) = queue_pairs.find_from(from) {
        writeln!(f, "{}", qp.describe())?;
        from = number + 1;
    }
    Ok(())
}
