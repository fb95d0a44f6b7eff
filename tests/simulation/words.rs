// SPDX-License-Identifier: GPL-2.0

//! Words of memory that atomic operations are about, of any queue pair that is connected to their host: what each operation found
//! there tells whether all were carried out once.

use std::collections::HashMap;

use usb4_roce::transport::frame::Action;
use usb4_roce::transport::frame::Operands;

/// What a word is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// FETCH AND ADD alone, each of a number of its own.
    Counter,
    /// COMPARE AND SWAP alone, each to a value of its own.
    Lock,
    /// Everything.
    Mixed,
}

impl Use {
    pub const ALL: [Self; 3] = [Self::Counter, Self::Lock, Self::Mixed];
}

/// A word of some host.
#[derive(Debug)]
pub struct Word {
    pub usage: Use,
    initial: u64,
    value: u64,
    /// How often it has been changed, or looked at.
    pub executions: u64,
}

/// An operation whose requester knows what it has found.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    pub operands: Operands,
    pub before: u64,
}

impl Word {
    pub fn new(usage: Use, initial: u64) -> Self {
        Self {
            usage,
            initial,
            value: initial,
            executions: 0,
        }
    }

    pub fn value(&self) -> u64 {
        self.value
    }

    /// Carries out an operation. Gives what was there before.
    pub fn execute(&mut self, action: Action, operands: Operands) -> u64 {
        self.executions += 1;
        let before = self.value;
        let Operands { first, second } = operands;
        self.value = match action {
            Action::CompareSwap if before == first => second,
            Action::CompareSwap | Action::Flush { .. } => before,
            Action::FetchAdd => before.wrapping_add(first),
            Action::AtomicWrite => first,
        };
        before
    }

    /// From what all requesters have found it follows that each of these operations, and nothing else, was carried out once: there
    /// is one order of them that leads from the first value to the last.
    pub fn assert_explained_by(&self, findings: &[Finding]) {
        let mut steps = HashMap::new();
        for Finding { operands, before } in findings {
            let after = match self.usage {
                Use::Counter => before.wrapping_add(operands.first),
                Use::Lock if *before == operands.first => operands.second,
                Use::Lock => continue,
                Use::Mixed => return,
            };
            let known = steps.insert(*before, after);
            assert_eq!(known, None, "two operations have found {before:#x}");
        }
        let mut value = self.initial;
        while let Some(after) = steps.remove(&value) {
            value = after;
        }
        assert!(steps.is_empty(), "found what was never there: {steps:x?}");
        assert_eq!(value, self.value, "changed by nobody");
    }
}
