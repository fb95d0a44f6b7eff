// SPDX-License-Identifier: GPL-2.0

//! The kernel's own verbs interface (`<rdma/ib_user_verbs.h>`) and rxe's mapped queues, without libibverbs between.
//!
//! For programs that misbehave on purpose. Nothing here is tied to anything: handles are plain numbers that may be
//! stale, any thread may use any object at any time, and only the kernel says no.

mod command;
mod file;
mod gids;
mod mapping;
mod queue;
mod session;

pub use command::Command;
pub use command::Number;
pub use file::node_of;
pub use file::Uverbs;
pub use gids::gid_of;
pub use gids::index_of;
pub use mapping::Mapping;
pub use queue::MmapInfo;
pub use queue::Queue;
pub use session::AddressHandle;
pub use session::Destination;
pub use session::Handle;
pub use session::NewCq;
pub use session::NewQp;
pub use session::NewSrq;
pub use session::QpPlan;
pub use session::QpState;
pub use session::Region;
pub use session::Reregistration;
pub use session::Session;
pub use session::FULL_ACCESS;
