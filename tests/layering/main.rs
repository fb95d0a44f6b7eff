// SPDX-License-Identifier: GPL-2.0

//! Who may import whom in the kernel module: arrows between its parts point down, and no files form a circle.
//!
//! Read from the sources' `use` lines and from the paths in their code, so it says what is, not what was meant. What
//! cannot be read so, since it names nothing or its names come from elsewhere, is refused but for a list with reasons.

mod arrow;
mod circle;
mod reader;
mod rules;
mod source;
mod target;
mod tokens;

use std::path::Path;
use std::sync::LazyLock;

use circle::Circle;
use source::Sources;

/// The module's sources: those of this checkout.
static CHECKOUT: LazyLock<Sources> = LazyLock::new(|| {
    Sources::load(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the module's sources")
});

/// The circles that are left when what is excused is left out.
fn circles(sources: &Sources) -> Vec<Circle> {
    circle::all(&rules::unexcused(&arrow::to_definitions(sources)))
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn arrows_point_down() {
    assert_none(rules::upward(&arrow::all(&CHECKOUT)));
}

#[test]
fn parts_that_are_to_stand_alone_do() {
    assert_none(rules::outward(&arrow::all(&CHECKOUT)));
}

#[test]
fn the_transport_knows_no_kernel() {
    assert_none(rules::impure(&CHECKOUT));
}

#[test]
fn all_that_is_referred_to_is_named() {
    assert_none(rules::opaque(&CHECKOUT));
}

#[test]
fn files_form_no_circles() {
    assert_none(rules::circular(&circles(&CHECKOUT)));
}

#[test]
fn exceptions_are_needed() {
    let arrows = arrow::all(&CHECKOUT);
    assert_none(rules::stale(&CHECKOUT, &arrows, &circles(&CHECKOUT)));
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
        assert_none(rules::circular(&circles(&sources)));
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
        let circles = circles(&sources);
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

    /// All that the rules say of sources.
    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let sources = sources(files);
        let arrows = arrow::all(&sources);
        let mut found = rules::upward(&arrows);
        found.extend(rules::outward(&arrows));
        found.extend(rules::impure(&sources));
        found.extend(rules::opaque(&sources));
        found.extend(rules::circular(&circles(&sources)));
        found
    }

    /// Has the base refer to verbs by `text`.
    fn assert_found_in_base(text: &str) {
        let found = complaints(&[
            ("src/base/clock.rs", text),
            ("verbs/qp.rs", "pub struct QueuePair; pub fn f() {}"),
        ]);
        assert!(
            found.iter().any(|one| one.contains("src/base/clock.rs")),
            "{text}: {found:?}"
        );
    }

    #[test]
    fn super_counts_from_an_inline_module() {
        assert_found_in_base("mod inner { use super::super::super::verbs::qp::QueuePair; }");
        assert_found_in_base("m! { mod inner { use super::super::super::verbs::qp::f; } }");
        let sources = sources(&[(
            "src/base/clock.rs",
            "pub fn f() {} mod inner { use super::f; }",
        )]);
        assert!(arrow::all(&sources).is_empty());
    }

    #[test]
    fn raw_names_are_names() {
        assert_found_in_base("use crate::r#verbs::qp::QueuePair;");
    }

    #[test]
    fn another_name_for_the_root_is_followed() {
        assert_found_in_base("use crate as me; fn g() { me::verbs::qp::f() }");
        assert_found_in_base("use crate::{self as me}; fn g() { me::verbs::qp::f() }");
        assert_found_in_base("m! { use crate as me; } fn g() { me::verbs::qp::f() }");
    }

    #[test]
    fn a_group_among_tokens_is_found() {
        assert_found_in_base("m!(use crate::{verbs::qp::QueuePair});");
        assert_found_in_base("m!(crate::{transport, verbs::{qp::QueuePair}});");
    }

    #[test]
    fn arguments_of_attributes_are_read() {
        assert_found_in_base("#[x(crate::verbs::qp::f)] struct A;");
        assert_found_in_base("#[cfg_attr(y, x(crate::verbs::qp::f))] struct A;");
        assert_found_in_base("#[x = crate::verbs::qp::f] struct A;");
    }

    #[test]
    fn the_seam_passes_on_nothing_of_its_own_part() {
        for text in [
            "pub use super::rail::*;",
            "pub use super::rail::Rail;",
            "pub type Rail = super::rail::Rail;",
            "pub struct Client(pub super::rail::Rail);",
        ] {
            let found = complaints(&[
                ("stream-adapter/client.rs", text),
                ("stream-adapter/rail.rs", "pub struct Rail;"),
            ]);
            let expected = "stream-adapter/client.rs imports stream-adapter/rail.rs";
            assert!(
                found.iter().any(|one| one.contains(expected)),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn what_the_seam_passes_on_is_followed() {
        for seam in [
            "pub use super::rail::*;",
            "pub use super::rail::Rail;",
            "pub type Rail = super::rail::Rail;",
            "pub type Rail = Arc<super::rail::Rail>;",
        ] {
            for user in [
                "use crate::stream_adapter::client::Rail;",
                "use crate::stream_adapter::*; fn f(rail: client::Rail) {}",
            ] {
                let found = complaints(&[
                    ("stream-adapter/client.rs", seam),
                    (
                        "stream-adapter/rail.rs",
                        "pub struct Rail; pub struct State;",
                    ),
                    ("verbs/pd.rs", user),
                ]);
                let expected = "verbs/pd.rs imports stream-adapter/rail.rs";
                assert!(
                    found.iter().any(|one| one.contains(expected)),
                    "{seam} {user}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_file_that_passes_something_on_is_imported_too() {
        let found = complaints(&[
            ("src/transport/timing.rs", "pub struct Time;"),
            (
                "verbs/mod.rs",
                "pub use crate::transport::timing::Time as Own;",
            ),
            ("src/transport/ids.rs", "use crate::verbs::Own;"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_circle_by_another_name_is_found() {
        for text in [
            "use crate::base as b; fn f() { b::other::f() }",
            "use super::super::base::{self as b}; fn f() { b::other::f() }",
            "use super::*; fn f() { other::f() }",
            "m!(use super::super::base as b;); fn f() { b::other::f() }",
        ] {
            let sources = sources(&[
                ("src/base/mod.rs", "pub mod one; pub mod other;"),
                ("src/base/one.rs", text),
                ("src/base/other.rs", "pub fn f() { super::one::f() }"),
            ]);
            let circles = circles(&sources);
            assert_eq!(rules::circular(&circles).len(), 1, "{text}");
        }
    }

    #[test]
    fn only_whole_names_of_files_are_left_out() {
        for file in [
            "src/base/abi/tests.rs",
            "src/base/clock_bindings_generated.rs",
            "src/base/src/lib.rs",
            "verbs/qp/abi/tests.rs",
        ] {
            let found = complaints(&[
                (file, "use crate::fabric::Fabric;"),
                ("src/fabric/mod.rs", "pub struct Fabric;"),
            ]);
            assert_eq!(found.len(), 1, "{file}: {found:?}");
        }
        let unread = [("src/base/bindings_generated.rs", "use crate::verbs::X;")];
        assert!(complaints(&unread).is_empty());
    }

    #[test]
    fn files_that_are_tests_are_not_read() {
        let found = complaints(&[
            ("verbs/abi/mod.rs", "#[cfg(test)] mod tests;"),
            ("verbs/abi/tests.rs", "use crate::verbs::X;"),
            ("verbs/mod.rs", "pub struct X;"),
        ]);
        assert_none(found);
    }

    #[test]
    fn another_name_for_the_crate_is_refused() {
        assert_found_in_base("extern crate self as me; use me::verbs::qp::QueuePair;");
        assert_found_in_base("m! { extern crate self as me; }");
    }

    #[test]
    fn macros_of_the_module_are_refused() {
        assert_found_in_base(
            "macro_rules! m { ($a:ident, $b:ident) => { crate::$a::$b::f() } } m!(verbs, qp);",
        );
        assert_found_in_base("#[macro_use] mod inner;");
        assert_found_in_base("#[cfg_attr(all(), macro_use)] mod inner;");
        assert_found_in_base("n! { macro_rules! m { () => {} } }");
    }

    #[test]
    fn names_put_together_by_macros_are_refused() {
        assert_found_in_base("fn g() { kernel::macros::paste!(crate::[<ver bs>]::qp::f()) }");
        assert_found_in_base("use kernel::macros::paste as p;");
        assert_found_in_base("fn g() { m!(concat_idents!(a, b)) }");
    }

    #[test]
    fn files_from_elsewhere_are_refused() {
        assert_found_in_base("#[path = \"../../verbs/qp.rs\"] mod qp;");
        assert_found_in_base("#[cfg_attr(all(), path = \"../../verbs/qp.rs\")] mod qp;");
        assert_found_in_base("m! { #[path = \"../../verbs/qp.rs\"] mod qp; }");
        assert_found_in_base("include!(\"../../verbs/qp.rs\");");
        assert_found_in_base("fn g() { m!(core::include!(\"../../verbs/qp.rs\")) }");
        assert_found_in_base("use core::include as embed; embed!(\"../../verbs/qp.rs\");");
    }

    #[test]
    fn globs_are_refused() {
        assert_found_in_base("use super::*;");
        assert_found_in_base("fn g() { use super::*; }");
        assert_found_in_base("pub use client::*;");
        assert_found_in_base("m! { use super::*; }");
        assert_found_in_base("use kernel::{sync::*, prelude::*};");
        assert!(complaints(&[("src/base/clock.rs", "use kernel::prelude::*;")]).is_empty());
    }

    #[test]
    fn calls_by_way_of_the_linker_are_refused() {
        assert_found_in_base("extern \"C\" { fn f(); }");
        assert_found_in_base("unsafe extern \"C\" { fn f(); }");
        assert_found_in_base("m! { extern \"C\" { fn f(); } }");
        assert_found_in_base("#[no_mangle] pub fn f() {}");
        assert_found_in_base("#[unsafe(no_mangle)] pub fn f() {}");
        assert_found_in_base("#[unsafe(export_name = \"f\")] pub fn g() {}");
        let callback = "unsafe extern \"C\" fn called() {}";
        assert!(complaints(&[("src/base/clock.rs", callback)]).is_empty());
    }

    #[test]
    fn a_transport_that_knows_the_kernel_is_found() {
        for text in [
            "use kernel::prelude::*;",
            "extern crate kernel as k;",
            "use kernel as k;",
            "use ::kernel::sync::Arc;",
            "fn f() { pin_init::pin_init!(A {}) }",
            "fn f() { m!(::kernel::sync::Arc) }",
        ] {
            assert!(
                !complaints(&[("src/transport/ids.rs", text)]).is_empty(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_transport_that_knows_the_core_is_not() {
        let text = "use core::fmt; fn f() -> fmt::Result { u32::from(Self::A); Ok(()) }";
        assert_none(complaints(&[("src/transport/ids.rs", text)]));
    }
}
