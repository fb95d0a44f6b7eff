// SPDX-License-Identifier: GPL-2.0

use core::mem::offset_of;
use core::num::NonZeroU32;

use super::completion::Completion;
use super::completion::Contents;
use super::completion::Extra;
use super::completion::WcOpcode;
use super::completion::CQE_SIZE;
use super::datagram_wqe::AddressRef;
use super::datagram_wqe::DatagramTarget;
use super::encode;
use super::encode::Follows;
use super::encode::NotOfTheKernel;
use super::encode::Way;
use super::limits::MAX_INLINE;
use super::limits::MAX_SGE;
use super::queue_layout::QueueLayout;
use super::receive_wqe;
use super::receive_wqe::ReceiveWqe;
use super::receive_wqe::TooManyElements;
use super::response::CreateAhResponse;
use super::response::CreateQpResponse;
use super::response::CreateSrqResponse;
use super::response::MmapInfo;
use super::response::ModifySrqCommand;
use super::scatter;
use super::scatter::Sge;
use super::send_wqe;
use super::send_wqe::Immediate;
use super::send_wqe::MemoryRegistration;
use super::send_wqe::Payload;
use super::send_wqe::PostedBy;
use super::send_wqe::RemoteAddress;
use super::send_wqe::SendFlags;
use super::send_wqe::SendLimits;
use super::send_wqe::SendOperation;
use super::send_wqe::SendWqe;
use super::send_wqe::SendWqeError;
use super::send_wqe::WindowBinding;
use super::send_wqe::UNTOUCHED;
use crate::transport::frame::Flush;
use crate::transport::frame::FlushPlacement;
use crate::transport::frame::FlushSelectivity;
use crate::transport::frame::Network;
use crate::transport::frame::Operands;
use crate::transport::opcode::MAX_MESSAGE;
use crate::transport::status::CompletionStatus;
use crate::transport::unreliable_datagram::Gid;
use crate::transport::unreliable_datagram::Path;

const LIMITS: SendLimits = SendLimits {
    max_sge: 4,
    max_inline: 64,
    posted_by: PostedBy::Process,
};

/// Writes native-endian numbers at the offsets of `struct rxe_send_wqe`, spelled out here so that a
/// slip in the module's own constants shows.
fn send_header(opcode: u32, flags: u32, length: u32, num_sge: u32) -> [u8; send_wqe::HEADER_SIZE] {
    let mut header = [0xee; send_wqe::HEADER_SIZE];
    header[0..8].copy_from_slice(&0x1122_3344_5566_7788u64.to_ne_bytes());
    header[12..16].copy_from_slice(&opcode.to_ne_bytes());
    header[16..20].copy_from_slice(&flags.to_ne_bytes());
    header[20..24].copy_from_slice(&[0xca, 0xfe, 0xba, 0xbe]);
    header[24..32].copy_from_slice(&0xdead_0000_beef_0000u64.to_ne_bytes());
    header[32..36].copy_from_slice(&0x0bad_cafeu32.to_ne_bytes());
    header[184..188].copy_from_slice(&length.to_ne_bytes());
    header[196..200].copy_from_slice(&num_sge.to_ne_bytes());
    header
}

const REMOTE: RemoteAddress = RemoteAddress {
    address: 0xdead_0000_beef_0000,
    rkey: 0x0bad_cafe,
};

#[test]
fn send_wqe_operations_decode() {
    let immediate = Immediate(0xcafe_babe);
    let invalid_key = u32::from_ne_bytes([0xca, 0xfe, 0xba, 0xbe]);
    for (opcode, operation) in [
        (0, SendOperation::Write(REMOTE)),
        (1, SendOperation::WriteImmediate(REMOTE, immediate)),
        (2, SendOperation::Send),
        (3, SendOperation::SendImmediate(immediate)),
        (4, SendOperation::Read(REMOTE)),
        (9, SendOperation::SendInvalidate(invalid_key)),
    ] {
        let header = send_header(opcode, 2, 0, 3);
        let wqe = SendWqe::decode(&header, &LIMITS).unwrap();
        assert_eq!(wqe.operation, operation);
        assert!(wqe.flags.contains(SendFlags::SIGNALED));
        assert!(!wqe.flags.contains(SendFlags::FENCE));
        assert_eq!(wqe.payload, Payload::Elements(3));
        assert_eq!(wqe.payload.size(), 48);
        assert_eq!(send_wqe::wr_id(&header), 0x1122_3344_5566_7788);
    }
}

#[test]
fn send_wqe_atomics_decode() {
    let mut header = send_header(5, 2, 8, 1);
    header[32..40].copy_from_slice(&11u64.to_ne_bytes());
    header[40..48].copy_from_slice(&22u64.to_ne_bytes());
    header[48..52].copy_from_slice(&0x1337u32.to_ne_bytes());
    let remote = RemoteAddress {
        rkey: 0x1337,
        ..REMOTE
    };
    let wqe = SendWqe::decode(&header, &LIMITS).unwrap();
    let [first, second] = [11, 22];
    let operands = Operands { first, second };
    assert_eq!(wqe.operation, SendOperation::CompareSwap(remote, operands));
    assert_eq!(wqe.payload, Payload::Elements(1));
    header[12..16].copy_from_slice(&6u32.to_ne_bytes());
    let wqe = SendWqe::decode(&header, &LIMITS).unwrap();
    let second = 0;
    let operands = Operands { first, second };
    assert_eq!(wqe.operation, SendOperation::FetchAdd(remote, operands));
    // What is answered with goes to memory.
    header[16..20].copy_from_slice(&8u32.to_ne_bytes());
    assert_eq!(
        SendWqe::decode(&header, &LIMITS),
        Err(SendWqeError::InlineRead)
    );
}

#[test]
fn send_wqe_atomic_write_has_its_operand_in_the_ring() {
    // With the flag and without.
    for flags in [0, 8] {
        let wqe = SendWqe::decode(&send_header(15, flags, 8, 0), &LIMITS).unwrap();
        assert_eq!(wqe.operation, SendOperation::AtomicWrite(REMOTE));
        assert_eq!(wqe.payload, Payload::Inline(8));
    }
}

#[test]
fn send_wqe_flushes_decode() {
    let header = |placement, level| {
        let mut header = send_header(14, 2, 5000, 0);
        header[36..40].copy_from_slice(&0x1337u32.to_ne_bytes());
        header[40..42].copy_from_slice(&[placement, level]);
        header
    };
    let remote = RemoteAddress {
        rkey: 0x1337,
        ..REMOTE
    };
    let selectivities = [FlushSelectivity::Range, FlushSelectivity::Region];
    for placement in 1..=3 {
        for (level, selectivity) in (0..).zip(selectivities) {
            let wqe = SendWqe::decode(&header(placement, level), &LIMITS).unwrap();
            let flush = Flush {
                placement: FlushPlacement::new(placement).unwrap(),
                selectivity,
            };
            assert_eq!(wqe.operation, SendOperation::Flush(remote, flush, 5000));
            assert_eq!(wqe.payload.size(), 0);
        }
    }
    for (placement, level) in [(0, 0), (4, 0), (1, 2)] {
        assert_eq!(
            SendWqe::decode(&header(placement, level), &LIMITS),
            Err(SendWqeError::Flush(placement, level))
        );
    }
}

#[test]
fn send_wqe_limits_are_enforced() {
    let decode = |header| SendWqe::decode(&header, &LIMITS);
    assert!(decode(send_header(2, 0, 0, 4)).is_ok());
    assert_eq!(
        decode(send_header(2, 0, 0, 5)),
        Err(SendWqeError::TooManyElements(5))
    );
    assert_eq!(
        decode(send_header(2, 0, 0, u32::MAX)),
        Err(SendWqeError::TooManyElements(u32::MAX))
    );
    assert_eq!(
        decode(send_header(2, 8, 64, u32::MAX)).map(|wqe| wqe.payload),
        Ok(Payload::Inline(64))
    );
    assert_eq!(
        decode(send_header(2, 8, 65, 1)),
        Err(SendWqeError::InlineTooLong(65))
    );
    assert_eq!(
        decode(send_header(4, 8, 8, 1)),
        Err(SendWqeError::InlineRead)
    );
    // As `ibv_wr_set_inline_data` writes it.
    assert_eq!(
        decode(send_header(0, 2, 8, 0)).map(|wqe| wqe.payload),
        Ok(Payload::Inline(8))
    );
    assert_eq!(
        decode(send_header(0, 2, 65, 0)),
        Err(SendWqeError::InlineTooLong(65))
    );
    assert_eq!(
        decode(send_header(4, 2, 8, 0)),
        Err(SendWqeError::InlineRead)
    );
    // As `ibv_wr_set_sge_list` of an old provider may write it.
    assert_eq!(
        decode(send_header(4, 2, 8, 2)).map(|wqe| wqe.payload),
        Ok(Payload::Elements(2))
    );
    for opcode in [10, 13, 16, u32::MAX] {
        assert_eq!(
            decode(send_header(opcode, 0, 0, 0)),
            Err(SendWqeError::Opcode(opcode))
        );
    }
}

#[test]
fn sge_lists_of_old_providers_decode() {
    // Up to rdma-core 63 the length is that of the first element, as often as there are elements.
    for length in [0, 3, 3 * 100, u32::MAX] {
        for opcode in [0, 1, 2, 3, 4] {
            let wqe = SendWqe::decode(&send_header(opcode, 2, length, 3), &LIMITS).unwrap();
            assert_eq!(wqe.payload, Payload::Elements(3));
            assert_eq!(wqe.check_empty(&[0; 8]), Ok(()));
        }
    }
}

#[test]
fn inline_lists_of_old_providers_are_refused() {
    let empty = |flags| SendWqe::decode(&send_header(2, flags, 0, 0), &LIMITS).unwrap();
    // Up to rdma-core 63 the data is there, and neither length nor flag; a program may set the flag.
    for flags in [0, 2, 8, 10] {
        assert_eq!(empty(flags).check_empty(&UNTOUCHED), Ok(()));
        for at in 0..UNTOUCHED.len() {
            let mut first = UNTOUCHED;
            first[at] ^= 1;
            assert_eq!(
                empty(flags).check_empty(&first),
                Err(SendWqeError::LengthMissing)
            );
        }
    }
    // A FLUSH has no data.
    let mut flush = send_header(14, 2, 5000, 0);
    flush[40..42].copy_from_slice(&[1, 0]);
    let wqe = SendWqe::decode(&flush, &LIMITS).unwrap();
    assert_eq!(wqe.check_empty(&[0; 8]), Ok(()));
    // Those of later ones.
    let wqe = SendWqe::decode(&send_header(2, 2, 3, 0), &LIMITS).unwrap();
    assert_eq!(wqe.payload, Payload::Inline(3));
    assert_eq!(wqe.check_empty(&[0; 8]), Ok(()));
}

#[test]
fn receive_wqe_decodes_and_is_bounded() {
    let mut header = [0xee; receive_wqe::HEADER_SIZE];
    header[0..8].copy_from_slice(&7u64.to_ne_bytes());
    header[28..32].copy_from_slice(&2u32.to_ne_bytes());
    assert_eq!(receive_wqe::wr_id(&header), 7);
    let wqe = ReceiveWqe::decode(&header, 2).unwrap();
    assert_eq!(wqe.payload_size(), 32);
    assert_eq!(ReceiveWqe::decode(&header, 1), Err(TooManyElements(2)));
}

#[test]
fn elements_decode_and_add_up() {
    let mut bytes = [0; 32];
    bytes[0..8].copy_from_slice(&0x1000u64.to_ne_bytes());
    bytes[8..12].copy_from_slice(&5u32.to_ne_bytes());
    bytes[12..16].copy_from_slice(&6u32.to_ne_bytes());
    bytes[24..28].copy_from_slice(&(MAX_MESSAGE - 5).to_ne_bytes());
    let first = Sge {
        address: 0x1000,
        length: 5,
        lkey: 6,
    };
    assert_eq!(scatter::sges(&bytes).next(), Some(first));
    assert_eq!(scatter::total_length(&bytes), Some(MAX_MESSAGE));
    bytes[24..28].copy_from_slice(&(MAX_MESSAGE - 4).to_ne_bytes());
    assert_eq!(scatter::total_length(&bytes), None);
    bytes[24..28].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(scatter::total_length(&bytes), None);
    assert_eq!(scatter::total_length(&[]), Some(0));
    assert_eq!(MAX_INLINE, MAX_SGE * 16);
}

#[test]
fn completion_encodes_as_the_provider_reads_it() {
    let bytes = Completion {
        wr_id: 0x0102_0304_0506_0708,
        status: CompletionStatus::RnrRetryExceeded,
        opcode: WcOpcode::ReceiveWriteImmediate,
        byte_len: 0x1111,
        extra: Extra::Immediate(Immediate(0x0a0b_0c0d)),
        qp_num: 0x2222,
        src_qp: 0x3333,
        contents: Contents::Message,
    }
    .encode();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(bytes.len(), CQE_SIZE);
    assert_eq!(bytes[0..8], 0x0102_0304_0506_0708u64.to_ne_bytes());
    assert_eq!(word(8), 13);
    assert_eq!(word(12), 129);
    assert_eq!(word(16), 0);
    assert_eq!(word(20), 0x1111);
    assert_eq!(bytes[24..28], [0x0a, 0x0b, 0x0c, 0x0d]);
    assert_eq!(word(28), 0x2222);
    assert_eq!(word(32), 0x3333);
    assert_eq!(word(36), 2);
    assert_eq!(bytes[40..48], [0; 8]);
}

#[test]
fn completion_of_a_datagram_says_that_the_network_header_comes_first() {
    let bytes = Completion {
        wr_id: 1,
        status: CompletionStatus::Success,
        opcode: WcOpcode::Receive,
        byte_len: 40,
        extra: Extra::None,
        qp_num: 2,
        src_qp: 3,
        contents: Contents::NetworkHeader(Network::Ipv4),
    }
    .encode();
    assert_eq!(bytes[36..40], 1u32.to_ne_bytes());
    assert_eq!(bytes[44], 0b1010);
    assert_eq!(bytes[46], 1);
}

#[test]
fn datagram_targets_decode() {
    let mut header = send_header(2, 0, 0, 1);
    header[24..28].copy_from_slice(&0x0012_3456u32.to_ne_bytes());
    header[28..32].copy_from_slice(&0x1111_1111u32.to_ne_bytes());
    header[32..34].copy_from_slice(&7u16.to_ne_bytes());
    header[36..40].copy_from_slice(&9u32.to_ne_bytes());
    let target = DatagramTarget {
        qpn: 0x0012_3456,
        qkey: 0x1111_1111,
        pkey_index: 7,
        address: AddressRef::Handle(NonZeroU32::new(9).unwrap()),
    };
    assert_eq!(DatagramTarget::decode(&header), target);
    header[36..40].copy_from_slice(&[0; 4]);
    header[58..64].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    header[64..80].copy_from_slice(&[0xfe; 16]);
    let address = AddressRef::Inline {
        mac: [2, 0, 0, 0, 0, 1],
        gid: [0xfe; 16],
    };
    assert_eq!(
        DatagramTarget::decode(&header),
        DatagramTarget { address, ..target }
    );
}

#[test]
fn completion_tells_of_an_invalidated_key_in_the_user_s_terms() {
    let bytes = Completion {
        wr_id: 1,
        status: CompletionStatus::Success,
        opcode: WcOpcode::Receive,
        byte_len: 0,
        extra: Extra::InvalidatedKey(0x0a0b_0c0d),
        qp_num: 2,
        src_qp: 3,
        contents: Contents::Message,
    }
    .encode();
    assert_eq!(bytes[24..28], 0x0a0b_0c0du32.to_ne_bytes());
    // IBV_WC_WITH_INV; the kernel's own bit is another one.
    assert_eq!(bytes[36..40], (1u32 << 3).to_ne_bytes());
}

#[test]
fn send_wqe_local_operations_have_no_payload() {
    let key = u32::from_ne_bytes([0xca, 0xfe, 0xba, 0xbe]);
    // Whatever the length and the elements of an earlier request in that slot were.
    let decode = |header: &[u8; send_wqe::HEADER_SIZE]| {
        let wqe = SendWqe::decode(header, &LIMITS).unwrap();
        assert_eq!(wqe.payload.size(), 0);
        wqe.operation
    };
    let invalidate = send_header(7, 0, 5_000, 77);
    assert_eq!(decode(&invalidate), SendOperation::LocalInvalidate(key));
    let mut bind = send_header(8, 0, 5_000, 77);
    bind[32..40].copy_from_slice(&0x1234_5678_9abcu64.to_ne_bytes());
    for (at, word) in [(40, 0x11u32), (44, 0x22), (48, 0x33), (52, 0x44)] {
        bind[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    let binding = WindowBinding {
        address: 0xdead_0000_beef_0000,
        length: 0x1234_5678_9abc,
        region_key: 0x11,
        window_key: 0x22,
        new_key: 0x33,
        access: 0x44,
    };
    assert_eq!(decode(&bind), SendOperation::BindWindow(binding));
}

#[test]
fn queue_layout_rounds_up_and_masks() {
    let layout = QueueLayout::new(128, 208 + 16).unwrap();
    assert_eq!(layout.element_size(), 256);
    assert_eq!(layout.log2_element_size(), 8);
    assert_eq!(layout.index_mask(), 255);
    assert_eq!(layout.capacity(), 255);
    assert_eq!(layout.size(), 384 + 256 * 256);

    let hostile = layout.slot(u32::MAX);
    assert_eq!(hostile.get(), 255);
    assert!(layout.offset(hostile) + layout.element_size() <= layout.size());
    assert_eq!(layout.next(hostile).get(), 0);
    assert_eq!(layout.used(layout.slot(2), layout.slot(254)), 4);
    assert!(layout.is_full(layout.slot(3), layout.slot(4)));
    assert!(!layout.is_full(layout.slot(3), layout.slot(3)));

    let small = QueueLayout::new(0, 40).unwrap();
    assert_eq!(small.element_size(), 64);
    assert_eq!(small.capacity(), 0);
    assert!(small.is_full(small.slot(0), small.slot(0)));
    assert!(small.offset(hostile) + small.element_size() <= small.size());

    assert_eq!(QueueLayout::new(u32::MAX, 64), None);
    assert_eq!(QueueLayout::new(1 << 26, 64), None);
    assert_eq!(QueueLayout::new(1, usize::MAX), None);
}

#[test]
fn responses_match_the_abi() {
    assert_eq!(size_of::<MmapInfo>(), 16);
    assert_eq!(offset_of!(MmapInfo, offset), 0);
    assert_eq!(offset_of!(MmapInfo, size), 8);
    assert_eq!(size_of::<CreateQpResponse>(), 32);
    assert_eq!(offset_of!(CreateQpResponse, receive), 0);
    assert_eq!(offset_of!(CreateQpResponse, send), 16);
    assert_eq!(size_of::<CreateSrqResponse>(), 24);
    assert_eq!(offset_of!(CreateSrqResponse, number), 16);
    assert_eq!(size_of::<CreateAhResponse>(), 8);
    assert_eq!(size_of::<ModifySrqCommand>(), 8);
}

#[test]
fn requests_of_the_kernel_are_read_as_they_were_written() {
    let limits = SendLimits {
        posted_by: PostedBy::Kernel,
        ..LIMITS
    };
    let flags = SendFlags::from_bits(SendFlags::SIGNALED.bits() | SendFlags::SOLICITED.bits());
    let imm = Immediate(0x0a0b_0c0d);
    let remote = RemoteAddress {
        address: 0x1122_3344_5566_7788,
        rkey: 0x99aa_bbcc,
    };
    let operands = Operands {
        first: 0x0102_0304_0506_0708,
        second: 0x1112_1314_1516_1718,
    };
    let added = Operands {
        second: 0,
        ..operands
    };
    for operation in [
        SendOperation::Send,
        SendOperation::SendImmediate(imm),
        SendOperation::SendInvalidate(0x2233_4455),
        SendOperation::Write(remote),
        SendOperation::WriteImmediate(remote, imm),
        SendOperation::Read(remote),
        SendOperation::CompareSwap(remote, operands),
        SendOperation::FetchAdd(remote, added),
    ] {
        let header = encode::send_header(99, &operation, flags, Follows::Elements(3)).unwrap();
        let wqe = SendWqe::decode(&header, &limits).unwrap();
        assert_eq!((send_wqe::wr_id(&header), wqe.operation), (99, operation));
        assert_eq!(wqe.flags, flags);
        assert_eq!(wqe.payload, Payload::Elements(3));
    }
    let send = SendOperation::Send;
    let header = encode::send_header(1, &send, flags, Follows::Bytes(40)).unwrap();
    let wqe = SendWqe::decode(&header, &limits).unwrap();
    assert_eq!(wqe.payload, Payload::Inline(40));

    let sge = Sge {
        address: 0x0102_0304_0506_0708,
        length: 77,
        lkey: 0x99,
    };
    assert_eq!(Sge::decode(&encode::element(&sge)), sge);
    let receive = encode::receive_header(7, 2);
    assert_eq!(receive_wqe::wr_id(&receive), 7);
    assert_eq!(ReceiveWqe::decode(&receive, 2).unwrap().elements, 2);
}

#[test]
fn only_the_kernel_registers_memory_by_a_request() {
    let kernel = SendLimits {
        posted_by: PostedBy::Kernel,
        ..LIMITS
    };
    let register = SendOperation::Register(MemoryRegistration {
        address: 0x1122_3344_5566_7788,
        length: 0x0001_0000_0000_0001,
        key: 0x0200_0011,
        access: 7,
    });
    let flags = SendFlags::from_bits(0);
    let header = encode::send_header(5, &register, flags, Follows::Elements(0)).unwrap();
    let wqe = SendWqe::decode(&header, &kernel).unwrap();
    assert_eq!(
        (wqe.operation, wqe.payload),
        (register, Payload::Elements(0))
    );
    assert_eq!(
        SendWqe::decode(&header, &LIMITS),
        Err(SendWqeError::Opcode(0x20))
    );
    let invalidate = SendOperation::LocalInvalidate(0x0200_0011);
    let header = encode::send_header(6, &invalidate, flags, Follows::Elements(0)).unwrap();
    let wqe = SendWqe::decode(&header, &kernel).unwrap();
    assert_eq!(wqe.operation, invalidate);
    let write = SendOperation::AtomicWrite(RemoteAddress {
        address: 0,
        rkey: 0,
    });
    assert_eq!(
        encode::send_header(7, &write, flags, Follows::Elements(0)),
        Err(NotOfTheKernel)
    );
}

#[test]
fn ways_of_the_kernel_are_read_as_they_were_written() {
    let way = Way {
        mac: [1, 2, 3, 4, 5, 6],
        path: Path {
            source: Gid(core::array::from_fn(|at| at as u8)),
            destination: Gid(core::array::from_fn(|at| 0x80 | at as u8)),
            traffic_class: 9,
            flow_label: 0x000f_1234,
            hop_limit: 64,
        },
    };
    let flags = SendFlags::SIGNALED;
    let send = SendOperation::Send;
    let mut header = encode::send_header(3, &send, flags, Follows::Elements(1)).unwrap();
    encode::address(&mut header, 1, 0x8001_0000, &way);
    assert_eq!(encode::way(&header), way);
    let target = DatagramTarget::decode(&header);
    assert_eq!((target.qpn, target.qkey), (1, 0x8001_0000));
    assert_eq!(target.pkey_index, 0);
    let limits = SendLimits {
        max_sge: 1,
        max_inline: 0,
        posted_by: PostedBy::Kernel,
    };
    assert_eq!(
        SendWqe::decode(&header, &limits).unwrap().operation,
        SendOperation::Send
    );
}
