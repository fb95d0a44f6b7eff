// SPDX-License-Identifier: GPL-2.0

//! Frames of the network stack (`struct sk_buff`), and what it has left undone on them.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use kernel::bindings as kernel_bindings;
use kernel::prelude::*;

use crate::base::page_vec::PageVec;
use crate::transport::frame::PacketState;
use crate::transport::frame::SegmentPayload;
use crate::transport::packet::Congestion;
use crate::transport::packet::IpVersion;
use crate::transport::packet::Packet;
use crate::transport::packet::Refused;
use crate::transport::packet::Segmentation;
use crate::verbs::bindings;

/// A frame to be sent, which is ours. Dropped, it has been sent, as far as the stack is told.
///
/// # Invariants
///
/// Nobody else uses the socket buffer. (Others may share its data, which nobody changes then.)
pub struct SocketBuffer(NonNull<bindings::sk_buff>);

// SAFETY: Socket buffers belong to no thread.
unsafe impl Send for SocketBuffer {}

impl SocketBuffer {
    /// Takes a socket buffer over.
    ///
    /// # Safety
    ///
    /// It must belong to the caller, who gives it up.
    pub unsafe fn new(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: The caller promises it.
        Self(skb)
    }

    /// Gives it up: it must be freed.
    pub(super) fn into_raw(self) -> NonNull<bindings::sk_buff> {
        let skb = self.0;
        core::mem::forget(self);
        skb
    }

    /// Length of the frame in bytes.
    pub(super) fn len(&self) -> usize {
        // SAFETY: By the type's invariants.
        unsafe { (*self.0.as_ptr()).len as usize }
    }

    /// What is left to do to it, as a peer is told.
    ///
    /// # Errors
    ///
    /// [`Refused`] if a peer could not be told that: the frame has to be finished first.
    pub(super) fn state(&self) -> Result<PacketState, Refused> {
        // SAFETY: By the type's invariants.
        unsafe { state_of(self.0.as_ptr()) }
    }

    /// Computes the checksum that is due, if one is. Fails with `EINVAL` if more than that is due, or with `ENOMEM`.
    pub(super) fn finish(&mut self) -> Result {
        // SAFETY: By the type's invariants.
        let undone = unsafe { undone(self.0.as_ptr()) };
        if undone.segment_payload != 0 {
            return Err(EINVAL);
        }
        if undone.checksum_due {
            // SAFETY: By the type's invariants.
            kernel::error::to_result(unsafe { bindings::skb_checksum_help(self.0.as_ptr()) })?;
        }
        Ok(())
    }

    /// Copies the frame to the beginning of `out`, and returns its length. Fails with `EMSGSIZE` if it is longer than that, or as
    /// copying does.
    pub fn copy_to(&self, out: &mut [u8]) -> Result<usize> {
        let out = out.get_mut(..self.len()).ok_or(EMSGSIZE)?;
        // SAFETY: By the type's invariants; `out` is writable for as many bytes as the frame has.
        kernel::error::to_result(unsafe {
            bindings::skb_copy_bits(
                self.0.as_ptr(),
                0,
                out.as_mut_ptr().cast(),
                out.len() as i32,
            )
        })?;
        Ok(out.len())
    }

    /// Appends the frame's memory to `pages`, and says that it did. It does not if somebody may change the memory meanwhile, or
    /// it is not in pages; then what has been appended is of no use.
    ///
    /// # Safety
    ///
    /// The socket buffer must outlive the use of `pages`.
    pub(super) unsafe fn list(&self, pages: &mut PageVec) -> bool {
        let skb = self.0.as_ptr();
        // SAFETY: By the type's invariants.
        if !unsafe { bindings::verbs_shim_skb_may_be_sent_in_place(skb) } {
            return false;
        }
        let mut offset = 0;
        // SAFETY: By the type's invariants; the linear part is in memory that has pages.
        let (page, linear, frags) = unsafe {
            (
                bindings::verbs_shim_virt_to_page((*skb).data.cast(), &raw mut offset),
                (*skb).len - (*skb).data_len,
                bindings::verbs_shim_skb_frag_count(skb),
            )
        };
        // SAFETY: The memory is contiguous and mapped; the caller promises that it stays.
        if !unsafe { push(pages, page, offset, linear) } {
            return false;
        }
        (0..frags).all(|index| {
            let mut len = 0;
            // SAFETY: By the type's invariants; there is such a fragment, in pages of the kernel's, as was asked above. Fragments
            // are contiguous.
            unsafe {
                let page = bindings::verbs_shim_skb_frag(skb, index, &raw mut offset, &raw mut len);
                push(pages, page, offset, len)
            }
        })
    }
}

impl Drop for SocketBuffer {
    fn drop(&mut self) {
        // SAFETY: It is ours, and not used any more.
        unsafe { bindings::verbs_shim_skb_consume(self.0.as_ptr()) };
    }
}

/// Appends memory to a list; says whether that went well.
///
/// # Safety
///
/// As of [`PageVec::push`], if the page is not NULL.
unsafe fn push(pages: &mut PageVec, page: *mut bindings::page, offset: u32, len: u32) -> bool {
    NonNull::new(page.cast::<kernel_bindings::page>()).is_some_and(|page| {
        // SAFETY: By the safety requirements.
        unsafe { pages.push(page, offset as usize, len as usize) }.is_ok()
    })
}

/// The part of a frame that is in one piece, at least the Ethernet header.
///
/// # Safety
///
/// Nobody may change the socket buffer as long as the result is used.
unsafe fn linear<'a>(skb: *const bindings::sk_buff) -> &'a [u8] {
    // SAFETY: The linear part of a socket buffer begins at `data` and has `len` bytes without those in fragments.
    unsafe {
        let len = (*skb).len.saturating_sub((*skb).data_len);
        core::slice::from_raw_parts((*skb).data, len as usize)
    }
}

/// # Safety
///
/// Nobody may change the socket buffer meanwhile.
unsafe fn undone(skb: *const bindings::sk_buff) -> bindings::verbs_shim_undone {
    let mut undone = MaybeUninit::uninit();
    // SAFETY: The caller promises it; the function writes all of the struct.
    unsafe {
        bindings::verbs_shim_skb_undone(skb, undone.as_mut_ptr());
        undone.assume_init()
    }
}

/// What is left to do to a frame, as a peer is told.
///
/// # Errors
///
/// [`Refused`] if a peer could not be told that.
///
/// # Safety
///
/// `skb` must be a frame of the stack whose data begins with the Ethernet header. Nobody may change it meanwhile.
pub(super) unsafe fn state_of(skb: *const bindings::sk_buff) -> Result<PacketState, Refused> {
    // SAFETY: The caller promises it.
    let (undone, head, len) = unsafe { (undone(skb), linear(skb), (*skb).len as usize) };
    if !undone.checksum_due {
        // Segments always have their checksums due.
        return match undone.segment_payload {
            0 => Ok(PacketState::Finished),
            _ => Err(Refused),
        };
    }
    let packet = Packet::new(head, len);
    // What fits one segment is one.
    let payload = len - packet.headers();
    let state = if usize::from(undone.segment_payload) >= payload || undone.segment_payload == 0 {
        PacketState::ChecksumDue
    } else {
        PacketState::SegmentsDue(SegmentPayload::new(undone.segment_payload).ok_or(Refused)?)
    };
    let found = packet.remainder(state)?.ok_or(Refused)?;
    let says_the_same = found.checksum_start == undone.checksum_start
        && found.checksum_offset == undone.checksum_offset
        && found
            .segmentation
            .is_none_or(|segmentation| segment_type(&segmentation) == undone.segment_type);
    if says_the_same {
        Ok(state)
    } else {
        Err(Refused)
    }
}

/// How the stack names that kind of segments.
pub(super) fn segment_type(segmentation: &Segmentation) -> u32 {
    let ip = match segmentation.ip {
        IpVersion::V4 => bindings::SKB_GSO_TCPV4,
        IpVersion::V6 => bindings::SKB_GSO_TCPV6,
    };
    let congestion = match segmentation.congestion {
        Congestion::Silent => 0,
        Congestion::WindowReduced => bindings::SKB_GSO_TCP_ECN,
    };
    (ip | congestion) as u32
}
