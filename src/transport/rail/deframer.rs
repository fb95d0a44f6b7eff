// SPDX-License-Identifier: GPL-2.0

//! Finds frames in the bytes of a stream, and checks them before anyone else sees them.
//!
//! The bytes are not to be trusted: frames of the stream get lost or damaged, and payloads are written by processes, which may
//! imitate what they like. What they cannot imitate is the headers of a session, whose seed they do not know. The handshake's seed
//! is known to everyone. So a hello counts only where a frame may begin; inside a payload nothing does but a header of the session.

use core::ops::Range;

use super::hello::LONGEST_HELLO;
use crate::transport::checksum::Checksum;
use crate::transport::checksum::RunningChecksum;
use crate::transport::checksum::Seed;
use crate::transport::frame::Body;
use crate::transport::frame::FrameError;
use crate::transport::frame::Header;
use crate::transport::frame::HEADER_LEN;

/// How often the same bytes are searched for headers again because they are the payload of a corrupt frame. A peer that
/// puts frames into frames gets no more work out of us than this, for each byte it sends.
const MAX_RESCANS: u8 = 3;

/// More bytes are needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Missing {
    /// So many in all, from the first one that was given.
    pub need: usize,
}

/// What the bytes begin with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// Nothing that is a header: what was here has been damaged.
    Damage,
    /// An intact hello, whose payload lies here.
    Hello(Range<usize>),
    /// An intact frame of the session, whose payload lies here.
    Frame(Header, Range<usize>),
    /// An intact header of the session whose payload was damaged, or lost in part.
    Corrupt(Header),
}

/// What was found, and how many bytes it takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// What the piece is.
    pub found: Found,
    /// The next piece begins so many bytes later.
    pub len: usize,
}

/// A frame whose payload is arriving.
struct Arriving<C: Checksum> {
    header: Header,
    checksum: C::Running,
    /// Bytes of the payload that are in the checksum.
    checked: usize,
}

/// Cuts a stream into frames.
///
/// # Invariants
///
/// `rescans` is 0 if `suspect` is, and at most [`MAX_RESCANS`].
pub struct Deframer<C: Checksum> {
    arriving: Option<Arriving<C>>,
    /// Bytes from here on that were the payload of a corrupt frame.
    suspect: usize,
    /// How many corrupt frames they may have been in.
    rescans: u8,
}

impl<C: Checksum> Deframer<C> {
    /// Begins at the start of a stream.
    pub const fn new() -> Self {
        Self {
            arriving: None,
            suspect: 0,
            rescans: 0,
        }
    }

    /// Says what `bytes`, all that has arrived and was not taken yet, begin with. `session` is the seed of the session, once
    /// it is up.
    ///
    /// # Errors
    ///
    /// [`Missing`] if that cannot be told yet. The next call is to be given the same bytes and more.
    pub fn next(&mut self, bytes: &[u8], session: Option<Seed>) -> Result<Piece, Missing> {
        let mut arriving = match self.arriving.take() {
            Some(arriving) => arriving,
            None if bytes.len() < HEADER_LEN => return Err(Missing { need: HEADER_LEN }),
            None => match decode_header::<C>(bytes, session) {
                Ok((header, seed)) => Arriving {
                    header,
                    checksum: C::Running::new(seed),
                    checked: 0,
                },
                Err(_) => return Ok(self.take(Found::Damage, damage_len::<C>(bytes, session))),
            },
        };
        let header = arriving.header;
        arriving.check(bytes);
        let need = header.frame_len() as usize;
        if bytes.len() < need {
            if ends_with_header::<C>(bytes, session) {
                return Ok(self.corrupt(&header, bytes.len() - HEADER_LEN));
            }
            self.arriving = Some(arriving);
            return Err(Missing { need });
        }
        if !arriving.is_intact() {
            return Ok(self.corrupt(&header, need));
        }
        let payload = HEADER_LEN..HEADER_LEN + header.payload_len as usize;
        let found = match header.body {
            Body::Hello => Found::Hello(payload),
            _ => Found::Frame(header, payload),
        };
        Ok(self.take(found, need))
    }

    /// A frame of which `at_hand` bytes are here has lost its payload. The frame that cut it off may be among them, so they are
    /// searched again, but not for ever.
    fn corrupt(&mut self, header: &Header, at_hand: usize) -> Piece {
        if header.body == Body::Hello {
            // Nobody has to know that it is lost, and payloads may be full of them. It is short: searching it again, each time
            // there is one, does not amount to much.
            return self.take(Found::Damage, HEADER_LEN);
        }
        let len = if self.rescans < MAX_RESCANS {
            self.rescans += 1;
            self.suspect = self.suspect.max(at_hand);
            HEADER_LEN
        } else {
            at_hand
        };
        self.take(Found::Corrupt(*header), len)
    }

    fn take(&mut self, found: Found, len: usize) -> Piece {
        self.suspect = self.suspect.saturating_sub(len);
        if self.suspect == 0 {
            self.rescans = 0;
        }
        Piece { found, len }
    }
}

impl<C: Checksum> Default for Deframer<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Checksum> Arriving<C> {
    /// Goes on with the checksum as far as the payload is there: just arrived, it is still in the processor's cache.
    fn check(&mut self, bytes: &[u8]) {
        let arrived = (bytes.len() - HEADER_LEN).min(self.header.payload_len as usize);
        let news = bytes.get(HEADER_LEN + self.checked..HEADER_LEN + arrived);
        if let Some(news) = news.filter(|news| !news.is_empty()) {
            self.checksum.update(news);
            self.checked = arrived;
        }
    }

    /// Whether the payload, which has been checked in full, is as it was sent.
    fn is_intact(&self) -> bool {
        match self.header.body {
            Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye => true,
            Body::Hello
            | Body::Request(_)
            | Body::Response(_)
            | Body::Ack(_)
            | Body::Datagram(_)
            | Body::Unreliable(_)
            | Body::UnreliableDatagram(_) => self.checksum.finish() == self.header.payload_checksum,
        }
    }
}

/// How many bytes from the start on, by whole units, are no header.
fn damage_len<C: Checksum>(bytes: &[u8], session: Option<Seed>) -> usize {
    let more = bytes
        .chunks_exact(HEADER_LEN)
        .skip(1)
        .take_while(|unit| decode_header::<C>(unit, session).is_err())
        .count();
    (1 + more) * HEADER_LEN
}

/// Whether the last thing that has arrived is a bare header of the session: then the rest of the frame before it will not come.
///
/// If a frame of the stream is lost, what follows is taken for the rest of a payload, and more is waited for. The peer then
/// asks for a sign of life by a bare header.
fn ends_with_header<C: Checksum>(bytes: &[u8], session: Option<Seed>) -> bool {
    let (Some(seed), Some(at)) = (session, bytes.len().checked_sub(HEADER_LEN)) else {
        return false;
    };
    at > 0
        && at & (HEADER_LEN - 1) == 0
        && Header::decode::<C>(&bytes[at..], seed).is_ok_and(|header| header.payload_len == 0)
}

/// Decodes the header at the start of `bytes`, of the session with seed `session`, if there is one, or of a handshake. Says
/// what the seed of its payload's checksum is.
///
/// # Errors
///
/// [`FrameError`] if there is none.
fn decode_header<C: Checksum>(
    bytes: &[u8],
    session: Option<Seed>,
) -> Result<(Header, Seed), FrameError> {
    if let Some(seed) = session {
        match Header::decode::<C>(bytes, seed) {
            Ok(Header {
                body: Body::Hello, ..
            }) => return Err(FrameError::Field),
            Ok(header) => return Ok((header, seed)),
            Err(FrameError::SyncWord | FrameError::Checksum) => {}
            Err(error) => return Err(error),
        }
    }
    let header = Header::decode::<C>(bytes, Seed::HANDSHAKE)?;
    // Only hellos travel outside a session.
    if header.body == Body::Hello && header.payload_len as usize <= LONGEST_HELLO {
        Ok((header, Seed::HANDSHAKE))
    } else {
        Err(FrameError::Field)
    }
}
