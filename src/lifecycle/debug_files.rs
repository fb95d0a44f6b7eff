// SPDX-License-Identifier: GPL-2.0

//! What maintainers may look at: `/sys/kernel/debug/usb4_roce`.

use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::Arc;

use crate::base::debug_file::DebugFile;
use crate::base::debug_file::Shown;
use crate::verbs::qp::QpTable;

/// All queue pairs of the host, a line for each.
pub(crate) struct QueuePairs(Arc<QpTable>);

impl QueuePairs {
    /// Has those of `table` looked at.
    pub(crate) fn file(table: Arc<QpTable>) -> Result<DebugFile<Self>> {
        DebugFile::new(c"usb4_roce", c"queue_pairs", Self(table))
    }
}

impl Shown for QueuePairs {
    fn show(&self, file: &SeqFile) {
        let mut from = 0;
        while let Some((number, qp)) = self.0.find_from(from) {
            seq_print!(file, "{}\n", qp.describe());
            from = number + 1;
        }
    }
}
