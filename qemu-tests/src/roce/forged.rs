// SPDX-License-Identifier: GPL-2.0

//! Frames as a process can make them up: with the seed of a handshake, which everyone knows.

#[path = "../../../tests/support/checksum.rs"]
mod checksum;

use checksum::HostHash;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::NopReply;
use usb4_roce::transport::ids::RailSeq;

/// A forged header.
pub struct Forgery {
    /// What it claims to be.
    pub name: &'static str,
    /// Its bytes.
    pub header: Vec<u8>,
}

/// Headers of all kinds that could do harm.
pub fn forgeries() -> Vec<Forgery> {
    let nowhere = RailSeq(0);
    let kinds = [
        ("hello", Body::Hello),
        (
            "nop",
            Body::Nop {
                reply: NopReply::Wanted,
                confirmed: (nowhere, nowhere),
            },
        ),
        (
            "lost",
            Body::Lost {
                from: nowhere,
                to: RailSeq(1_000),
            },
        ),
        ("goodbye", Body::Goodbye),
    ];
    kinds
        .into_iter()
        .map(|(name, body)| {
            let header = Header {
                seq: nowhere,
                ack: nowhere,
                payload_len: 0,
                payload_checksum: Seed::HANDSHAKE.checksum::<HostHash>(&[]),
                body,
            };
            Forgery {
                name,
                header: header.encode::<HostHash>(Seed::HANDSHAKE).to_vec(),
            }
        })
        .collect()
}
