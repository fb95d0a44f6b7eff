// SPDX-License-Identifier: GPL-2.0

//! What the core needs of its host, and values that are close enough to right ones to matter.

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::checksum::Checksum;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::storage::Storage;

pub struct Crc;

impl Checksum for Crc {
    fn crc32c(state: u32, data: &[u8]) -> u32 {
        !crc32c::crc32c_append(!state, data)
    }
}

pub struct Heap;

impl Storage for Heap {
    type Table<T> = Vec<T>;
}

pub fn table<T: Clone + Default>(length: usize) -> Vec<T> {
    vec![T::default(); length]
}

/// A PSN close to `base`, or any.
pub fn psn(input: &mut Unstructured<'_>, base: Psn) -> Result<Psn> {
    Ok(if input.ratio(1, 16)? {
        Psn::new(input.arbitrary()?)
    } else {
        base.add(u32::from(input.arbitrary::<u8>()? % 40))
            .add(Psn::MASK - 7)
    })
}

pub fn nak_code(input: &mut Unstructured<'_>) -> Result<NakCode> {
    let codes = [
        NakCode::InvalidRequest,
        NakCode::RemoteAccess,
        NakCode::RemoteOperation,
    ];
    input.choose(&codes).copied()
}

pub fn outcome(input: &mut Unstructured<'_>) -> Result<Outcome> {
    Ok(match input.int_in_range(0..=7)? {
        0 => Outcome::Aborted,
        1 => Outcome::Denied(nak_code(input)?),
        _ => Outcome::Placed,
    })
}
