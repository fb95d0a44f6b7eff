// SPDX-License-Identifier: GPL-2.0

//! Local operations of a QP: memory windows are bound, memory is registered, and keys are made invalid.

use kernel::sync::Arc;

use super::local_work::LocalWork;
use super::queue_pair::Backlog;
use super::queue_pair::QueuePair;
use super::queue_pair::State;
use crate::base::revocable::Ender;
use crate::transport::ids::Instant;
use crate::transport::status::CompletionStatus;
use crate::verbs::fast_region::RegistrationRefused;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Initiator;
use crate::verbs::window::BindRefused;

impl QueuePair {
    /// Carries out the local operations whose turn has come.
    ///
    /// One that takes rights away is complete when nothing is copied any more that needs them; until then the QP's own
    /// work looks again.
    pub(super) fn run_local(self: &Arc<Self>, state: &mut State, now: Instant) -> Backlog {
        let mut backlog = Backlog::Clear;
        while let Some(due) = state.service.due_local() {
            let begun = match state.ending.take() {
                Some(ender) => Ok(Some(ender)),
                None => self.begin_local(state.send_queue.local_work(due.slot)),
            };
            let result = match begun {
                Ok(Some(ender)) if !ender.is_over() => {
                    state.ending = Some(ender);
                    self.process_events_later();
                    return backlog;
                }
                Ok(_) => Ok(()),
                Err(status) => Err(status),
            };
            state.service.handle_local_end(due.slot, result, now);
            backlog = Backlog::Possible;
        }
        // The operation that it was for may have been flushed.
        state.ending = None;
        backlog
    }

    /// What takes rights away gives what is to be waited for.
    fn begin_local(&self, work: Option<LocalWork>) -> Result<Option<Ender>, CompletionStatus> {
        let binder = self.binder();
        match work {
            Some(LocalWork::Bind(request)) => self
                .regions
                .bind(binder, &request)
                .map(|hold| Some(hold.await_others()))
                .map_err(|BindRefused| CompletionStatus::MemoryManagementError),
            Some(LocalWork::Invalidate(key)) => self
                .regions
                .invalidate(binder, key, Initiator::Owner)
                .map(|hold| Some(hold.await_others()))
                .map_err(|AccessDenied| CompletionStatus::MemoryManagementError),
            Some(LocalWork::Register(registration)) => self
                .regions
                .register_fast_region(binder, registration)
                .map(|()| None)
                .map_err(|RegistrationRefused| CompletionStatus::MemoryManagementError),
            None => Err(CompletionStatus::LocalQpOperationError),
        }
    }
}
