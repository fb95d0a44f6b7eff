// SPDX-License-Identifier: GPL-2.0

//! Who may import whom in the kernel module: arrows between its parts point down, and no files form a circle.
//!
//! Read from the sources' `use` lines and from the paths in their code, so it says what is, not what was meant.

mod arrow;
mod circle;
mod rules;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use arrow::Arrow;
use circle::Circle;
use source::Sources;

/// The module's sources: those of this checkout.
fn checkout() -> Sources {
    Sources::load(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the module's sources")
}

/// The circles that are left when what is excused is left out.
fn circles(arrows: &BTreeSet<Arrow>) -> Vec<Circle> {
    circle::all(&rules::unexcused(arrows))
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn arrows_point_down() {
    assert_none(rules::upward(&arrow::all(&checkout())));
}

#[test]
fn parts_that_are_to_stand_alone_do() {
    assert_none(rules::outward(&arrow::all(&checkout())));
}

#[test]
fn the_transport_knows_no_kernel() {
    assert_none(rules::impure(&checkout()));
}

#[test]
fn files_form_no_circles() {
    assert_none(rules::circular(&circles(&arrow::all(&checkout()))));
}

#[test]
fn exceptions_are_needed() {
    let arrows = arrow::all(&checkout());
    assert_none(rules::stale(&arrows, &circles(&arrows)));
}

/// What each rule says of sources that break it.
mod planted {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        Sources::parse(files.iter().copied()).expect("planted sources")
    }

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let sources = sources(&[
            ("src/base/clock.rs", "use crate::verbs::qp::QueuePair;"),
            ("verbs/qp/mod.rs", "pub struct QueuePair;"),
        ]);
        let found = rules::upward(&arrow::all(&sources));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("src/base/clock.rs"), "{}", found[0]);
    }

    #[test]
    fn so_is_one_in_the_midst_of_code() {
        let sources = sources(&[
            (
                "src/transport/ids.rs",
                "fn now() -> u64 { crate::base::clock::now() }",
            ),
            ("src/base/clock.rs", "pub fn now() -> u64 { 0 }"),
        ]);
        assert_eq!(rules::upward(&arrow::all(&sources)).len(), 1);
    }

    #[test]
    fn neighbours_do_not_import_each_other() {
        let sources = sources(&[
            ("verbs/pd.rs", "use crate::stream_adapter::rail::Rail;"),
            ("stream-adapter/rail.rs", "use crate::verbs::pd::Pd;"),
        ]);
        assert_eq!(rules::upward(&arrow::all(&sources)).len(), 2);
    }

    #[test]
    fn a_re_export_leads_to_the_file_that_defines() {
        let sources = sources(&[
            ("verbs/rdma/mod.rs", "mod gid; pub(crate) use gid::Gid;"),
            ("verbs/rdma/gid.rs", "use super::Gid as Own;"),
        ]);
        assert_none(rules::circular(&circles(&arrow::all(&sources))));
    }

    #[test]
    fn a_circle_is_found() {
        let sources = sources(&[
            ("src/base/event.rs", "use super::clock::now;"),
            ("src/base/clock.rs", "use crate::base::kthread::Kthread;"),
            (
                "src/base/kthread.rs",
                "fn stop(event: super::event::Event) {}",
            ),
        ]);
        let circles = circles(&arrow::all(&sources));
        assert_eq!(rules::circular(&circles).len(), 1);
    }

    #[test]
    fn rdma_that_knows_the_driver_is_found() {
        let sources = sources(&[
            ("verbs/rdma/gid.rs", "use crate::verbs::device::RoceDevice;"),
            ("verbs/device.rs", "pub struct RoceDevice;"),
        ]);
        assert_eq!(rules::outward(&arrow::all(&sources)).len(), 1);
    }

    #[test]
    fn a_transport_that_knows_the_kernel_is_found() {
        let sources = sources(&[("src/transport/ids.rs", "use kernel::prelude::*;")]);
        assert_eq!(rules::impure(&sources).len(), 1);
    }
}
