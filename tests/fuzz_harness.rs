// SPDX-License-Identifier: GPL-2.0

//! What is fuzzed with a nightly compiler (`make fuzz`), with random input here: breadth for every run.

#[path = "fuzz/src/lib.rs"]
mod fuzz;

use proptest::collection::vec;
use proptest::prelude::*;

/// Inputs for each target, unless `FUZZ_CASES` says otherwise.
const CASES: u32 = 2_000;

fn cases() -> u32 {
    let asked = std::env::var("FUZZ_CASES").ok();
    asked.map_or(CASES, |count| {
        count.parse().expect("FUZZ_CASES is a number")
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    })]

    #[test]
    fn frames(data in vec(any::<u8>(), 0..200)) {
        fuzz::frame::run(&data);
    }

    #[test]
    fn streams(data in vec(any::<u8>(), 0..400)) {
        fuzz::deframer::run(&data);
    }

    #[test]
    fn packets(data in vec(any::<u8>(), 0..300)) {
        fuzz::packet::run(&data);
    }

    #[test]
    fn rails(data in vec(any::<u8>(), 0..3_000)) {
        fuzz::rail::run(&data);
    }

    #[test]
    fn requesters(data in vec(any::<u8>(), 0..3_000)) {
        fuzz::requester::run(&data);
    }

    #[test]
    fn responders(data in vec(any::<u8>(), 0..3_000)) {
        fuzz::responder::run(&data);
    }

    #[test]
    fn unreliable_receivers(data in vec(any::<u8>(), 0..3_000)) {
        fuzz::unreliable::run(&data);
    }

    #[test]
    fn datagrams(data in vec(any::<u8>(), 0..3_000)) {
        fuzz::datagram::run(&data);
    }

    #[test]
    fn work_requests(data in vec(any::<u8>(), 0..600)) {
        fuzz::wqe::run(&data);
    }
}
