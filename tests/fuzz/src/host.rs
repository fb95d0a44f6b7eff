// SPDX-License-Identifier: GPL-2.0

//! What the core needs of its host, and values that are close enough to right ones to matter.

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::status::NakCode;

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
        2 => Outcome::Postponed,
        _ => Outcome::Placed,
    })
}
