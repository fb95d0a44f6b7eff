// SPDX-License-Identifier: GPL-2.0

//! What the peer wants done in this host's memory when its turn has come: atomic operations and FLUSHes.
//!
//! They are done with the processor's own atomic instructions, and with the QP locked: nothing here sleeps.

use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Full;
use kernel::sync::atomic::Release;

use super::queue_pair::QueuePair;
use super::queue_pair::State;
use crate::base::bindings as bindings_shim;
use crate::transport::frame::Action;
use crate::transport::frame::Flush;
use crate::transport::frame::FlushPlacement;
use crate::transport::frame::FlushSelectivity;
use crate::transport::frame::Operands;
use crate::transport::ids::Rkey;
use crate::transport::responder::Execution;
use crate::transport::status::NakCode;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;

/// The rights that a peer must have.
fn rights(action: Action) -> AccessFlags {
    match action {
        Action::CompareSwap | Action::FetchAdd => Access::RemoteAtomic.into(),
        Action::AtomicWrite => Access::RemoteWrite.into(),
        Action::Flush { flush, .. } => {
            let mut rights = AccessFlags::empty();
            if flush.placement.contains(FlushPlacement::GLOBAL) {
                rights |= Access::FlushGlobal;
            }
            // A region that has it would be of memory that outlives a loss of power: there is none.
            if flush.placement.contains(FlushPlacement::PERSISTENT) {
                rights |= Access::FlushPersistent;
            }
            rights
        }
    }
}

/// Does it. Gives what was there before, if that is asked for.
fn carry_out(action: Action, operands: Operands, word: &Atomic<u64>) -> u64 {
    let Operands { first, second } = operands;
    match action {
        Action::CompareSwap => match word.cmpxchg(first, second, Full) {
            Ok(before) | Err(before) => before,
        },
        Action::FetchAdd => word.fetch_add(first, Full),
        Action::AtomicWrite => {
            word.store(first, Release);
            0
        }
        Action::Flush { .. } => 0,
    }
}

impl QueuePair {
    /// Does everything whose turn has come. Returns how much.
    pub(super) fn execute(&self, state: &mut State) -> u32 {
        let mut executed = 0;
        while let Some(execution) = Self::next_execution(state) {
            let outcome = self
                .execute_one(state, &execution)
                .map_err(|AccessDenied| NakCode::RemoteAccess);
            let mut inbox = self.inbox(&mut state.receive_queue);
            if let Some(reliable) = state.service.reliable() {
                reliable
                    .connection
                    .handle_execution(execution.token, outcome, &mut inbox);
            }
            executed += 1;
        }
        executed
    }

    fn next_execution(state: &mut State) -> Option<Execution> {
        state.service.reliable()?.connection.poll_execution()
    }

    /// What the QP and the region must allow for an action.
    fn execution_needs(&self, state: &State, action: Action) -> Result<Needs, AccessDenied> {
        self.remote_needs(state, rights(action))
    }

    /// Whether an action is allowed now.
    pub(super) fn check_execution(
        &self,
        state: &State,
        action: Action,
        va: u64,
        rkey: Rkey,
    ) -> Result<(), AccessDenied> {
        let needs = self.execution_needs(state, action)?;
        let key = Key(rkey.0);
        match action {
            Action::Flush {
                flush:
                    Flush {
                        selectivity: FlushSelectivity::Region,
                        ..
                    },
                ..
            } => self.regions.check_all(key, needs),
            Action::CompareSwap | Action::FetchAdd | Action::AtomicWrite | Action::Flush { .. } => {
                self.regions.check(key, va, action.length() as usize, needs)
            }
        }
    }

    fn execute_one(&self, state: &State, execution: &Execution) -> Result<u64, AccessDenied> {
        let Execution {
            action,
            operands,
            va,
            rkey,
            ..
        } = *execution;
        match action {
            Action::CompareSwap | Action::FetchAdd | Action::AtomicWrite => {
                let needs = self.execution_needs(state, action)?;
                self.regions.with_word(Key(rkey.0), va, needs, |word| {
                    carry_out(action, operands, word)
                })
            }
            Action::Flush { .. } => {
                self.check_execution(state, action, va, rkey)?;
                // What was placed before was placed by processors; whoever sees the answer sees that as well.
                // SAFETY: A barrier has no demands.
                unsafe { bindings_shim::base_shim_smp_wmb() };
                Ok(0)
            }
        }
    }
}
