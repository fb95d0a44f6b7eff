// SPDX-License-Identifier: GPL-2.0

//! Descriptor rings (`struct ring_desc` and `tb_ring_start()` in `drivers/thunderbolt/nhi.c`).

use crate::frame::FrameMarks;
use crate::frame::Integrity;
use crate::frame::PdfField;
use crate::guest_memory::DmaError;
use crate::guest_memory::GuestAddress;
use crate::guest_memory::GuestMemory;
use crate::guest_memory::GuestSlice;

/// Largest frame, and what a length or buffer size of zero stands for.
pub const MAX_FRAME: usize = 4096;

const OPTION_ENABLE: u32 = 1 << 31;
const OPTION_RAW: u32 = 1 << 30;
const OPTION_E2E: u32 = 1 << 28;

const DESCRIPTOR_SIZE: u64 = 16;
/// Offset of length, start and end of frame and flags within a descriptor.
const STATUS: usize = 8;
const LENGTH_MASK: u32 = 0xfff;
const EOF_SHIFT: u32 = 12;
const SOF_SHIFT: u32 = 16;
const PDF_MASK: u32 = 0xf;
/// Low bits of the status word: all but the flags.
const NOT_FLAGS: u32 = (1 << FLAGS_SHIFT) - 1;
const FLAGS_SHIFT: u32 = 20;
const FLAG_CRC_ERROR: u32 = 0x1 << FLAGS_SHIFT;
const FLAG_COMPLETED: u32 = 0x2 << FLAGS_SHIFT;
/// On receive; on transmit the same bit means "posted", which is why completion clears it.
const FLAG_OVERRUN: u32 = 0x4 << FLAGS_SHIFT;
const FLAG_INTERRUPT: u32 = 0x8 << FLAGS_SHIFT;

/// Whether a completed descriptor asks for an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It does.
    Interrupt,
    /// It does not: the driver polls.
    Silent,
}

/// What a ring does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Disabled by the driver.
    #[default]
    Stopped,
    /// Enabled.
    Running,
    /// Enabled, but its descriptors are not where the driver says: nothing moves until the driver
    /// starts it anew.
    Broken,
}

/// One transmit or receive ring, as latched from its registers when it was enabled.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    state: State,
    descriptors: u64,
    size: u16,
    buffer_size: usize,
    options: u32,
    /// Accepted starts of frame (high half) and ends of frame (low half), a bit per value.
    masks: u32,
    /// The next descriptor to complete; less than `size` unless that is zero.
    index: u16,
}

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFault {
    /// It is not in the guest's memory: the ring cannot go on.
    Descriptor(DmaError),
    /// What it points to is not: the ring can go on with the next one.
    Buffer(DmaError),
}

/// What a transmit ring holds next.
pub struct TxFrame<'a> {
    /// The payload.
    pub payload: GuestSlice<'a>,
    /// Its marks.
    pub marks: FrameMarks,
}

impl Ring {
    /// A write of the options register: starts, stops or reconfigures the ring.
    ///
    /// `address`, `size` and `masks` are the ring's registers at this moment.
    pub fn set_options(&mut self, options: u32, address: u64, size: u32, masks: u32) {
        let enabled = options & OPTION_ENABLE != 0;
        if !enabled {
            *self = Self::default();
        } else if self.state == State::Stopped {
            let [size, buffer_size] = [size as u16, (size >> u16::BITS) as u16];
            *self = Self {
                state: State::Running,
                descriptors: address,
                size,
                buffer_size: match usize::from(buffer_size) {
                    0 => MAX_FRAME,
                    some => some.min(MAX_FRAME),
                },
                options,
                masks,
                index: 0,
            };
        }
        self.options = options;
    }

    /// The number of its descriptors; 0 if it is stopped.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Whether the masks let a frame with `marks` pass; raw rings have none.
    pub fn accepts(&self, marks: FrameMarks) -> bool {
        let [eof_mask, sof_mask] = [self.masks, self.masks >> u16::BITS];
        self.is_raw() || (sof_mask >> marks.sof.0 & eof_mask >> marks.eof.0 & 1 != 0)
    }

    /// Whether the driver has enabled the ring.
    pub fn is_enabled(&self) -> bool {
        self.state != State::Stopped
    }

    /// Whether it is out of service after a bad address.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Whether the driver asks for end-to-end flow control.
    pub fn is_e2e(&self) -> bool {
        self.options & OPTION_E2E != 0
    }

    /// Whether frames carry their checksum and ignore the masks.
    fn is_raw(&self) -> bool {
        self.options & OPTION_RAW != 0
    }

    /// Takes the ring out of service after a bad address, until the driver starts it anew.
    pub fn break_down(&mut self) {
        self.state = State::Broken;
    }

    /// Number of descriptors between the next one to complete and `posted`, the driver's index.
    ///
    /// # Errors
    ///
    /// [`DmaError::Misplaced`] if the driver's index is not within the ring.
    pub fn available(&self, posted: u16) -> Result<u16, DmaError> {
        if self.state != State::Running || self.index == posted {
            return Ok(0);
        }
        if posted >= self.size {
            return Err(DmaError::Misplaced);
        }
        Ok(if posted > self.index {
            posted - self.index
        } else {
            self.size - self.index + posted
        })
    }

    /// The next frame to transmit; there must be one [`available`](Self::available).
    pub fn peek_tx<'a>(&self, memory: &'a GuestMemory) -> Result<TxFrame<'a>, RingFault> {
        let (address, status) = self.peek(memory).map_err(RingFault::Descriptor)?;
        let len = match (status & LENGTH_MASK) as usize {
            0 => MAX_FRAME,
            some => some,
        };
        let field = |shift| PdfField((status >> shift & PDF_MASK) as u8);
        let marks = FrameMarks {
            sof: field(SOF_SHIFT),
            eof: field(EOF_SHIFT),
        };
        let payload = memory.slice(address, len).map_err(RingFault::Buffer)?;
        Ok(TxFrame { payload, marks })
    }

    /// Completes the next transmit descriptor.
    pub fn complete_tx(&mut self, memory: &GuestMemory) -> Result<Completion, DmaError> {
        let descriptor = self.descriptor(memory)?;
        let status = descriptor.load_u32(STATUS)?;
        descriptor.store_u32(STATUS, status & NOT_FLAGS | FLAG_COMPLETED)?;
        self.advance();
        Ok(completion(status))
    }

    /// The buffer of the next receive descriptor, for a frame of `len` bytes: shorter than that
    /// if the buffer is. There must be a descriptor [`available`](Self::available).
    pub fn peek_rx<'a>(
        &self,
        memory: &'a GuestMemory,
        len: usize,
    ) -> Result<GuestSlice<'a>, RingFault> {
        let (address, _) = self.peek(memory).map_err(RingFault::Descriptor)?;
        memory
            .slice(address, len.min(self.buffer_size))
            .map_err(RingFault::Buffer)
    }

    /// Completes the next receive descriptor with a frame of `len` bytes.
    pub fn complete_rx(
        &mut self,
        memory: &GuestMemory,
        len: usize,
        marks: FrameMarks,
        integrity: Integrity,
    ) -> Result<Completion, DmaError> {
        let descriptor = self.descriptor(memory)?;
        let posted = descriptor.load_u32(STATUS)?;
        let mut status = len.min(self.buffer_size) as u32 & LENGTH_MASK
            | u32::from(marks.eof.0) << EOF_SHIFT
            | u32::from(marks.sof.0) << SOF_SHIFT
            | FLAG_COMPLETED;
        if len > self.buffer_size {
            status |= FLAG_OVERRUN;
        }
        if integrity == Integrity::CrcError {
            status |= FLAG_CRC_ERROR;
        }
        descriptor.store_u32(STATUS, status)?;
        self.advance();
        Ok(completion(posted))
    }

    /// Buffer address and status of the next descriptor.
    fn peek(&self, memory: &GuestMemory) -> Result<(GuestAddress, u32), DmaError> {
        let descriptor = self.descriptor(memory)?;
        let address = GuestAddress(descriptor.load_u64(0)?);
        Ok((address, descriptor.load_u32(STATUS)?))
    }

    fn descriptor<'a>(&self, memory: &'a GuestMemory) -> Result<GuestSlice<'a>, DmaError> {
        let address = self
            .descriptors
            .checked_add(u64::from(self.index) * DESCRIPTOR_SIZE)
            .ok_or(DmaError::Misplaced)?;
        memory.slice(GuestAddress(address), DESCRIPTOR_SIZE as usize)
    }

    fn advance(&mut self) {
        self.index = (self.index + 1) % self.size.max(1);
    }
}

fn completion(posted: u32) -> Completion {
    if posted & FLAG_INTERRUPT != 0 {
        Completion::Interrupt
    } else {
        Completion::Silent
    }
}
