// SPDX-License-Identifier: GPL-2.0

//! Lines that look like trouble and are none, whatever is tested.

/// Such a line.
struct Allowed {
    /// A part of it.
    part: &'static str,
    /// Why it is no trouble.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the list"))]
    why: &'static str,
}

/// All of them.
const ALLOWED: [Allowed; 3] = [
    Allowed {
        part: "Kernel compiled without mitigations",
        why: "the debug kernel has none that the command line could switch off",
    },
    Allowed {
        part: "failed to send properties changed notification",
        why: "tb_xdomain_properties_changed says so before each of its retries, as long as the cable is out or the other host \
            busy or gone",
    },
    Allowed {
        part: "failed read XDomain properties from",
        why: "tb_xdomain_get_properties, when a cable is pulled while a host reads the properties of the other one: it reads \
            them when the cable is back",
    },
];

/// Whether `line` is one of them.
pub fn is_allowed(line: &str) -> bool {
    ALLOWED.iter().any(|allowed| line.contains(allowed.part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_allowed_and_nothing_else() {
        for known in ALLOWED {
            assert!(is_allowed(&format!("<3>[    1.0] x: {}", known.part)));
            assert!(!known.why.is_empty());
        }
        assert!(!is_allowed("<3>[    1.0] x: failed"));
    }
}
