// SPDX-License-Identifier: GPL-2.0

//! Mistakes of applications, and the answers that the IBTA specification and the verbs manual pages
//! name for them.
//!
//! A case runs at both ends at once, with objects of its own. The client is the requester where
//! there is one.

pub mod case;
pub mod changing;
pub mod end;
pub mod events;
pub mod extended;
pub mod hang;
pub mod lifecycle;
pub mod limits;
pub mod local_access;
pub mod queue_room;
pub mod receiver;
pub mod registration;
pub mod remote_access;
pub mod reregistration;
pub mod resize;
pub mod transitions;
pub mod windows;

use case::Case;

/// All cases, in the order in which they run.
pub fn all() -> Vec<Case> {
    [
        registration::cases(),
        limits::cases(),
        transitions::cases(),
        local_access::cases(),
        remote_access::cases(),
        receiver::cases(),
        changing::cases(),
        extended::cases(),
        queue_room::cases(),
        resize::cases(),
        reregistration::cases(),
        lifecycle::cases(),
        events::cases(),
        windows::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn case_names_are_unique() {
        let cases = super::all();
        let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
    }
}
