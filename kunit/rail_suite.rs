// SPDX-License-Identifier: GPL-2.0

//! The rail protocol with the kernel's tables and checksum: two ends shake hands and talk.

use kernel::prelude::*;

use crate::base::checksum::KernelHash;
use crate::base::kernel_tables::KernelTables;
use crate::identity::identity;
use crate::transport::frame::Body;
use crate::transport::frame::Header;
use crate::transport::frame::PacketState;
use crate::transport::ids::Instant;
use crate::transport::rail::deframer::Deframer;
use crate::transport::rail::deframer::Found;
use crate::transport::rail::endpoint::HelloEffect;
use crate::transport::rail::endpoint::RailEndpoint;
use crate::transport::rail::hello::NodeGuid;
use crate::transport::rail::tx::TxEntry;

type End = RailEndpoint<KernelTables>;

const NOW: Instant = Instant(1_000_000);
const TABLE_LEN: usize = 16;
const BYTE_LIMIT: u32 = 1 << 20;

/// An open end.
fn end(number: u8) -> Result<End> {
    let table = KVVec::from_elem(TxEntry::default(), TABLE_LEN, GFP_KERNEL)?;
    let mut end = End::new(identity(number), table, BYTE_LIMIT).map_err(|_| EINVAL)?;
    end.open(0x1111 * u64::from(number), NOW);
    Ok(end)
}

/// What an end finds in these bytes.
fn find(end: &End, bytes: &[u8]) -> Result<Found> {
    let mut deframer = Deframer::<KernelHash>::new();
    let piece = deframer.next(bytes, end.seed()).map_err(|_| EINVAL)?;
    Ok(piece.found)
}

/// Carries the next control frame of one end to the other, if there is one.
fn carry(from: &mut End, to: &mut End) -> Result<Option<HelloEffect>> {
    let Some(frame) = from.next_control::<KernelHash>(NOW) else {
        return Ok(None);
    };
    let bytes = frame.bytes();
    let found = find(to, bytes)?;
    match found {
        Found::Hello(payload) => {
            let effect = to
                .on_hello::<KernelHash>(&bytes[payload], NOW)
                .map_err(|_| EINVAL)?;
            Ok(Some(effect))
        }
        Found::Frame(header, _) => {
            to.on_header(&header, NOW).map_err(|_| EINVAL)?;
            Ok(Some(HelloEffect::Nothing))
        }
        Found::Damage | Found::Corrupt(_) => Err(EINVAL),
    }
}

/// Two ends that have shaken hands.
fn pair() -> Result<(End, End)> {
    let mut a = end(1)?;
    let mut b = end(2)?;
    while carry(&mut a, &mut b)?.is_some() || carry(&mut b, &mut a)?.is_some() {}
    Ok((a, b))
}

#[kunit_tests(usb4_roce_rail)]
mod tests {
    use super::*;
    use crate::transport::rail::endpoint::Incoming;
    use crate::transport::rail::InFlight;

    fn datagram(from: &mut End) -> Result<Header> {
        let seed = from.seed().ok_or(EAGAIN)?;
        let checksum = seed.checksum::<KernelHash>(&[]);
        from.stamp(
            Body::Datagram(PacketState::Finished),
            0,
            checksum,
            InFlight::Datagram,
            NOW,
        )
        .ok_or(EAGAIN)
    }

    #[test]
    fn two_ends_shake_hands() -> Result {
        let (a, b) = pair()?;
        assert!(a.is_up());
        assert!(b.is_up());
        assert_eq!(a.peer().map(|peer| peer.node_guid), Some(NodeGuid(2)));
        assert!(a.seed() == b.seed());
        Ok(())
    }

    #[test]
    fn nothing_may_be_sent_before() -> Result {
        let mut a = end(1)?;
        assert!(!a.can_send(0));
        assert!(datagram(&mut a).is_err());
        Ok(())
    }

    #[test]
    fn a_header_arrives_as_it_was() -> Result {
        let (mut a, mut b) = pair()?;
        let header = datagram(&mut a)?;
        let bytes = header.encode::<KernelHash>(a.seed().ok_or(EINVAL)?);
        let found = find(&b, &bytes)?;
        assert!(found == Found::Frame(header, bytes.len()..bytes.len()));
        assert!(matches!(b.on_header(&header, NOW), Ok(Incoming::Deliver)));
        b.finish(NOW);
        Ok(())
    }

    #[test]
    fn a_damaged_header_is_refused() -> Result {
        let (mut a, b) = pair()?;
        let header = datagram(&mut a)?;
        let mut bytes = header.encode::<KernelHash>(a.seed().ok_or(EINVAL)?);
        let mut refused = true;
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            refused &= find(&b, &bytes)? == Found::Damage;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(refused);
        Ok(())
    }

    #[test]
    fn a_missing_frame_comes_back_as_lost() -> Result {
        let (mut a, mut b) = pair()?;
        let _missing = datagram(&mut a)?;
        let header = datagram(&mut a)?;
        let _ = b.on_header(&header, NOW);
        b.finish(NOW);
        while carry(&mut b, &mut a)?.is_some() {}
        let lost = a.next_lost();
        assert!(matches!(lost, Some((_, InFlight::Datagram))));
        assert!(a.next_lost().is_none());
        Ok(())
    }

    #[test]
    fn a_closed_rail_hands_everything_back() -> Result {
        let (mut a, _b) = pair()?;
        for _ in 0..3 {
            let _ = datagram(&mut a)?;
        }
        a.close();
        let mut lost = 0;
        while a.next_lost().is_some() {
            lost += 1;
        }
        assert_eq!(lost, 3);
        assert!(!a.is_up());
        Ok(())
    }

    #[test]
    fn frames_in_flight_are_bounded() -> Result {
        let (mut a, _b) = pair()?;
        let mut sent = 0;
        while a.can_send(0) {
            let _ = datagram(&mut a)?;
            sent += 1;
        }
        assert!(sent <= TABLE_LEN);
        Ok(())
    }
}
