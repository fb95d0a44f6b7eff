// SPDX-License-Identifier: GPL-2.0

//! What a frame has with it besides its payload.

/// Protocol defined field: the four bits that mark the start or the end of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PdfField(pub u8);

/// Marks at both ends of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameMarks {
    /// Start of frame.
    pub sof: PdfField,
    /// End of frame.
    pub eof: PdfField,
}

/// How a frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// As it was sent.
    Intact,
    /// With a wrong CRC.
    CrcError,
}

/// Whether a completed receive descriptor is signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// As the descriptor asks.
    AsAsked,
    /// Not before the next frame on the ring is.
    Late,
}
