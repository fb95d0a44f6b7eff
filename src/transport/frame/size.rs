// SPDX-License-Identifier: GPL-2.0

//! How long frames and their parts are, in bytes.

/// Length of a header. Frames begin at multiples of it in the stream; payloads are padded to it.
pub const HEADER_LEN: usize = 64;

/// What one frame of the stream carries: the size of the largest small frame.
pub const STREAM_FRAME: usize = 4096;

/// Largest payload of a frame that fits one frame of the stream.
pub const SMALL_PAYLOAD: u32 = (STREAM_FRAME - HEADER_LEN) as u32;

/// The longest message that takes longer to be sent by itself than to be carried.
pub const SHORT_MESSAGE: u32 = 2 * STREAM_FRAME as u32;

/// Largest payload of any frame: header and payload are 17 full frames of the stream. Messages of 64 KiB, which programs like,
/// take one frame.
pub const MAX_PAYLOAD: u32 = (17 * STREAM_FRAME - HEADER_LEN) as u32;

const _: () = assert!(MAX_PAYLOAD >= 1 << 16);

/// Length of the network header that the payload of an unreliable datagram begins with.
pub const NETWORK_HEADER_LEN: usize = 40;

/// Longest message of an unreliable datagram: the port's MTU.
pub const MAX_DATAGRAM: u32 = 4096;

/// Length of a payload with its padding.
pub const fn padded(payload_len: u32) -> u32 {
    let unit = HEADER_LEN as u32;
    payload_len.saturating_add(unit - 1) & !(unit - 1)
}
