// SPDX-License-Identifier: GPL-2.0

//! What is allowed.

use std::collections::BTreeSet;

use crate::arrow::Arrow;
use crate::circle::Circle;
use crate::source::ModulePath;
use crate::source::Sources;
use crate::target;
use crate::target::Target;

/// The floors, from below. Parts on one floor do not know each other.
const FLOORS: [&[&str]; 5] = [
    &["transport"],
    &["base"],
    &["stream_adapter", "verbs"],
    &["fabric"],
    &["lifecycle"],
];

/// An arrow that does not follow the floors.
struct Exception {
    from: &'static str,
    to: &'static str,
    reason: &'static str,
}

/// All of these.
const EXCEPTIONS: [Exception; 2] = [
    Exception {
        from: "verbs",
        to: "stream_adapter::client",
        reason: "what a rail is to its users: whoever posts a request may do the rail's work",
    },
    Exception {
        from: "lifecycle::configfs",
        to: "",
        reason: "`configfs_attrs!` of Linux 7.2 refers to the root's `THIS_MODULE`",
    },
];

/// A part that could be taken out: it imports only these besides itself. What a neighbour may import stands alone as
/// well, so that nothing else of its part comes along.
const ALONE: [(&str, &[&str]); 4] = [
    ("verbs::rdma", &["verbs::bindings", "base"]),
    ("verbs::bindings", &[]),
    ("verbs::abi", &["transport"]),
    ("stream_adapter::client", &["base", "transport"]),
];

/// What the transport refers to outside of this crate: the language's core, and tools that are told something.
const KNOWN_TO_TRANSPORT: [&str; 4] = ["core", "clippy", "rustdoc", "rustfmt"];

/// Types whose names look like those of crates.
const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16",
    "u32", "u64", "u128", "usize",
];

/// What may stand in a file although it may refer to something without naming it.
struct AllowedOpaque {
    file: &'static str,
    text: &'static str,
    reason: &'static str,
}

/// All of these.
const OPAQUE: [AllowedOpaque; 6] = [
    AllowedOpaque {
        file: "src/usb4_roce_main.rs",
        text: "#[path = \"../stream-adapter/mod.rs\"]",
        reason: "a layer with a folder of its own, which is read as that",
    },
    AllowedOpaque {
        file: "src/usb4_roce_main.rs",
        text: "#[path = \"../verbs/mod.rs\"]",
        reason: "a layer with a folder of its own, which is read as that",
    },
    AllowedOpaque {
        file: "src/base/bindings.rs",
        text: BINDINGS,
        reason: "made by bindgen from C headers",
    },
    AllowedOpaque {
        file: "stream-adapter/bindings.rs",
        text: BINDINGS,
        reason: "made by bindgen from C headers",
    },
    AllowedOpaque {
        file: "verbs/bindings.rs",
        text: BINDINGS,
        reason: "made by bindgen from C headers",
    },
    AllowedOpaque {
        file: "src/lifecycle/configfs.rs",
        text: "use crate::*",
        reason: "`configfs_attrs!` of Linux 7.2 refers to the root's `THIS_MODULE`",
    },
];

/// What brings in a layer's bindings.
const BINDINGS: &str = "include!(\"bindings_generated.rs\")";

/// Files that may form a circle.
struct AllowedCircle {
    /// What the path of each of them begins with.
    within: &'static str,
    reason: &'static str,
}

/// All of these.
const CIRCLES: [AllowedCircle; 3] = [
    AllowedCircle {
        within: "src/transport/requester/",
        reason: "one type, by what it does",
    },
    AllowedCircle {
        within: "src/transport/responder/",
        reason: "one type, by what it does",
    },
    AllowedCircle {
        within: "verbs/rdma/",
        reason: "a driver names the types of its objects, whose traits name the driver",
    },
];

fn is_in(module: &ModulePath, part: &str) -> bool {
    let part: Vec<&str> = part.split("::").filter(|name| !name.is_empty()).collect();
    if part.is_empty() {
        return module.is_empty();
    }
    module.len() >= part.len() && module.iter().zip(part).all(|(own, other)| own == other)
}

/// The floor that a module is on; the crate's root is above all of them.
fn floor(module: &ModulePath) -> usize {
    let Some(part) = module.first() else {
        return FLOORS.len();
    };
    let found = FLOORS
        .iter()
        .position(|parts| parts.contains(&part.as_str()));
    found.unwrap_or_else(|| panic!("{part} is on no floor"))
}

fn excuses(exception: &Exception, arrow: &Arrow) -> bool {
    is_in(&arrow.from, exception.from) && is_in(&arrow.to, exception.to)
}

fn points_down(arrow: &Arrow) -> bool {
    arrow.from.first() == arrow.to.first() || floor(&arrow.to) < floor(&arrow.from)
}

fn complain(arrow: &Arrow, why: &str) -> String {
    format!("{} imports {}: {why}", arrow.from_file, arrow.to_file)
}

/// The arrows that no exception excuses.
pub fn unexcused(arrows: &BTreeSet<Arrow>) -> BTreeSet<Arrow> {
    let is_excused = |arrow: &&Arrow| EXCEPTIONS.iter().any(|one| excuses(one, arrow));
    arrows
        .iter()
        .filter(|arrow| !is_excused(arrow))
        .cloned()
        .collect()
}

/// Complains of arrows that do not point down.
pub fn upward(arrows: &BTreeSet<Arrow>) -> Vec<String> {
    unexcused(arrows)
        .iter()
        .filter(|arrow| !points_down(arrow))
        .map(|arrow| complain(arrow, "that is not below"))
        .collect()
}

/// Complains of arrows out of parts that are to stand alone.
pub fn outward(arrows: &BTreeSet<Arrow>) -> Vec<String> {
    let mut found = Vec::new();
    for (part, others) in ALONE {
        let leaves = |arrow: &&Arrow| {
            is_in(&arrow.from, part)
                && !is_in(&arrow.to, part)
                && !others.iter().any(|other| is_in(&arrow.to, other))
        };
        let arrows = arrows.iter().filter(leaves);
        found.extend(arrows.map(|arrow| complain(arrow, &format!("{part} is to stand alone"))));
    }
    found
}

/// Whether a path that begins with `name`, which nothing in this crate has, leads to a crate that the transport does
/// not know.
fn is_foreign_to_transport(name: &str) -> bool {
    let is_crate = name.starts_with(|first: char| first.is_ascii_lowercase());
    is_crate && !KNOWN_TO_TRANSPORT.contains(&name) && !PRIMITIVES.contains(&name)
}

/// Complains of a transport that refers to the kernel, or to any other crate.
pub fn impure(sources: &Sources) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (module, source) in &sources.0 {
        if !is_in(module, "transport") {
            continue;
        }
        let references = source.references.iter();
        let targets = references.flat_map(|path| target::all(sources, module, path));
        found.extend(targets.filter_map(|target| match target {
            Target::Outside(name) if is_foreign_to_transport(&name) => {
                Some(format!("{} refers to {name}", source.file))
            }
            _ => None,
        }));
    }
    found.into_iter().collect()
}

/// Complains of what may refer to something without naming it.
pub fn opaque(sources: &Sources) -> Vec<String> {
    let is_allowed = |file: &str, text: &str| {
        OPAQUE
            .iter()
            .any(|one| one.file == file && one.text == text)
    };
    let mut found = Vec::new();
    for source in sources.0.values() {
        let texts = source.opaque.iter();
        let refused = texts.filter(|text| !is_allowed(&source.file, text));
        found.extend(refused.map(|text| {
            let file = &source.file;
            format!("{file}: what `{text}` refers to cannot be read from it")
        }));
    }
    found
}

fn is_allowed(circle: &Circle, allowed: &AllowedCircle) -> bool {
    circle.iter().all(|file| file.starts_with(allowed.within))
}

/// Complains of circles.
pub fn circular(circles: &[Circle]) -> Vec<String> {
    let is_allowed = |circle: &Circle| CIRCLES.iter().any(|one| is_allowed(circle, one));
    circles
        .iter()
        .filter(|circle| !is_allowed(circle))
        .map(|circle| format!("a circle: {circle:?}"))
        .collect()
}

/// Complains of exceptions that nothing needs any more.
pub fn stale(sources: &Sources, arrows: &BTreeSet<Arrow>, circles: &[Circle]) -> Vec<String> {
    let arrows = EXCEPTIONS
        .iter()
        .filter(|one| !arrows.iter().any(|arrow| excuses(one, arrow)))
        .map(|one| {
            let Exception { from, to, reason } = one;
            format!(
                "nothing in {from} imports {to:?} any more, for which there was a reason: {reason}"
            )
        });
    let circles = CIRCLES
        .iter()
        .filter(|one| !circles.iter().any(|circle| is_allowed(circle, one)))
        .map(|AllowedCircle { within, reason }| {
            format!("no circle is left in {within}, for which there was a reason: {reason}")
        });
    let stands = |one: &AllowedOpaque| {
        let mut sources = sources.0.values().filter(|source| source.file == one.file);
        sources.any(|source| source.opaque.iter().any(|text| text == one.text))
    };
    let opaque =
        OPAQUE
            .iter()
            .filter(|one| !stands(one))
            .map(|AllowedOpaque { file, text, reason }| {
                format!("no `{text}` is left in {file}, for which there was a reason: {reason}")
            });
    arrows.chain(circles).chain(opaque).collect()
}
