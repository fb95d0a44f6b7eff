// SPDX-License-Identifier: GPL-2.0

//! Properties of the wire header and the hello: what is encoded is decoded, what is damaged is refused,
//! and nothing that is decoded is out of range.

#[path = "support/checksum.rs"]
mod checksum;

use std::ops::RangeInclusive;

use checksum::HostHash;
use proptest::prelude::*;
use usb4_roce::transport::checksum::Algorithm;
use usb4_roce::transport::checksum::Checksum;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::padded;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::Action;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::DataSegment;
use usb4_roce::transport::frame::DatagramHeader;
use usb4_roce::transport::frame::ExecuteRequest;
use usb4_roce::transport::frame::Extent;
use usb4_roce::transport::frame::Flush;
use usb4_roce::transport::frame::FlushPlacement;
use usb4_roce::transport::frame::FlushSelectivity;
use usb4_roce::transport::frame::FrameError;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::Network;
use usb4_roce::transport::frame::NopReply;
use usb4_roce::transport::frame::Operands;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::ReadRequest;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::ResponseHeader;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SegmentPayload;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::UnreliableHeader;
use usb4_roce::transport::frame::UnreliableOperation;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::NakSerial;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qkey;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::ids::Rsn;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Hello;
use usb4_roce::transport::rail::hello::PROTOCOL_VERSION;
use usb4_roce::transport::requester::Solicitation;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::timing::RnrTimer;
use usb4_roce::transport::unreliable_datagram::MAX_DATAGRAM;
use usb4_roce::transport::unreliable_datagram::NETWORK_HEADER_LEN;

fn seed(number: u64, algorithm: Algorithm) -> Seed {
    Seed::of_session::<HostHash>(number, 1, algorithm)
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Xxh64), Just(Algorithm::Crc32c)]
}

fn flags() -> impl Strategy<Value = SegmentFlags> {
    let all = [
        SegmentFlags::FIRST,
        SegmentFlags::LAST,
        SegmentFlags::SOLICITED,
        SegmentFlags::ORDERED,
        SegmentFlags::ACK_REQUEST,
        SegmentFlags::REPEAT,
    ];
    proptest::sample::subsequence(all.to_vec(), 0..=all.len()).prop_map(|some| {
        some.into_iter()
            .fold(SegmentFlags::none(), SegmentFlags::with)
    })
}

fn extent() -> impl Strategy<Value = Extent> + Clone {
    (0..=MAX_MESSAGE - MAX_PAYLOAD, 0..=MAX_PAYLOAD)
        .prop_map(|(offset, len)| Extent::new(offset, len).unwrap())
}

fn action() -> impl Strategy<Value = Action> {
    let placement = (1..=3u8).prop_map(|bits| FlushPlacement::new(bits).unwrap());
    let selectivity = prop_oneof![
        Just(FlushSelectivity::Range),
        Just(FlushSelectivity::Region)
    ];
    prop_oneof![
        Just(Action::CompareSwap),
        Just(Action::FetchAdd),
        Just(Action::AtomicWrite),
        (placement, selectivity, 0..=MAX_MESSAGE).prop_map(|(placement, selectivity, length)| {
            let flush = Flush {
                placement,
                selectivity,
            };
            Action::Flush { flush, length }
        }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let data = (any::<u32>(), extent()).prop_map(|(rsn, extent)| DataSegment {
        rsn: Rsn(rsn),
        extent,
    });
    let imm = proptest::option::of(any::<u32>());
    let response_psn = proptest::option::of(any::<u32>().prop_map(Psn::new));
    let memory = (any::<u64>(), any::<u32>().prop_map(Rkey));
    let size = (SMALL_PAYLOAD / 64..=MAX_PAYLOAD / 64)
        .prop_map(|units| SegmentSize::new(units * 64).unwrap());
    prop_oneof![
        (data.clone(), imm.clone(), response_psn).prop_map(|(data, imm, response_psn)| {
            Operation::Send {
                data,
                imm,
                response_psn,
            }
        }),
        (data.clone(), any::<[u32; 2]>()).prop_map(|(data, [rkey, response])| {
            Operation::SendWithInvalidate {
                data,
                rkey: Rkey(rkey),
                response_psn: Psn::new(response),
            }
        }),
        (data, imm, memory.clone()).prop_map(|(data, imm, (va, rkey))| Operation::Write {
            data,
            imm,
            va,
            rkey,
        }),
        (memory.clone(), action(), any::<u32>()).prop_map(|((va, rkey), action, response)| {
            Operation::Execute(ExecuteRequest {
                action,
                va,
                rkey,
                response_psn: Psn::new(response),
            })
        }),
        (memory, 0..=MAX_MESSAGE, size, any::<u32>()).prop_map(
            |((va, rkey), length, segment, response)| {
                Operation::Read(ReadRequest {
                    va,
                    rkey,
                    length,
                    segment,
                    response_psn: Psn::new(response),
                })
            }
        ),
    ]
}

fn request() -> impl Strategy<Value = RequestHeader> {
    (any::<[u32; 3]>(), flags(), operation()).prop_map(|(ids, flags, operation)| RequestHeader {
        dest_qpn: Qpn::new(ids[0]),
        src_qpn: Qpn::new(ids[1]),
        psn: Psn::new(ids[2]),
        flags,
        operation,
    })
}

fn nak_code() -> impl Strategy<Value = NakCode> {
    prop_oneof![
        Just(NakCode::InvalidRequest),
        Just(NakCode::RemoteAccess),
        Just(NakCode::RemoteOperation),
    ]
}

fn syndrome() -> impl Strategy<Value = Syndrome> {
    prop_oneof![
        Just(Syndrome::Ack),
        (0..32u8).prop_map(|timer| Syndrome::RnrNak(RnrTimer::new(timer))),
        Just(Syndrome::SequenceNak),
        nak_code().prop_map(Syndrome::Nak),
        (any::<u32>(), nak_code()).prop_map(|(psn, code)| Syndrome::ReadNak {
            psn: Psn::new(psn),
            code,
        }),
    ]
}

fn packet_state() -> impl Strategy<Value = PacketState> {
    prop_oneof![
        Just(PacketState::Finished),
        Just(PacketState::ChecksumDue),
        (SegmentPayload::LEAST.get()..u16::MAX)
            .prop_map(|bytes| { PacketState::SegmentsDue(SegmentPayload::new(bytes).unwrap()) }),
    ]
}

fn body() -> impl Strategy<Value = (Body, u32)> {
    prop_oneof![
        (0..=MAX_PAYLOAD).prop_map(|len| (Body::Hello, len)),
        (any::<bool>(), any::<[u32; 2]>()).prop_map(|(wanted, confirmed)| {
            let reply = if wanted {
                NopReply::Wanted
            } else {
                NopReply::Unneeded
            };
            let confirmed = (RailSeq(confirmed[0]), RailSeq(confirmed[1]));
            (Body::Nop { reply, confirmed }, 0)
        }),
        (any::<u32>(), any::<u32>()).prop_map(|(from, to)| {
            let (from, to) = (RailSeq(from), RailSeq(to));
            (Body::Lost { from, to }, 0)
        }),
        Just((Body::Goodbye, 0)),
        request().prop_map(|request| (Body::Request(request), request.payload_len())),
        (any::<[u32; 4]>(), extent()).prop_map(|(ids, extent)| {
            let response = ResponseHeader {
                dest_qpn: Qpn::new(ids[0]),
                src_qpn: Qpn::new(ids[1]),
                response_psn: Psn::new(ids[2]),
                request_psn: Psn::new(ids[3]),
                extent,
            };
            (Body::Response(response), extent.len())
        }),
        (any::<[u32; 5]>(), syndrome()).prop_map(|(ids, syndrome)| {
            let ack = AckHeader {
                dest_qpn: Qpn::new(ids[0]),
                src_qpn: Qpn::new(ids[1]),
                psn: Psn::new(ids[2]),
                response_psn: Psn::new(ids[3]),
                syndrome,
                nak_serial: NakSerial(ids[4]),
            };
            (Body::Ack(ack), 0)
        }),
        (packet_state(), 0..=MAX_PAYLOAD).prop_map(|(state, len)| (Body::Datagram(state), len)),
        unreliable().prop_map(|segment| (Body::Unreliable(segment), segment.extent.len())),
        unreliable_datagram()
            .prop_map(|header| (Body::UnreliableDatagram(header), header.payload_len)),
    ]
}

/// Bytes that the payload of an unreliable datagram may have.
const DATAGRAM_LENGTHS: RangeInclusive<u32> =
    NETWORK_HEADER_LEN as u32..=NETWORK_HEADER_LEN as u32 + MAX_DATAGRAM;

fn unreliable_datagram() -> impl Strategy<Value = DatagramHeader> {
    (
        any::<[u32; 3]>(),
        any::<Option<u32>>(),
        any::<bool>(),
        prop_oneof![Just(Network::Ipv4), Just(Network::Ipv6)],
        DATAGRAM_LENGTHS,
    )
        .prop_map(
            |(ids, imm, solicited, network, payload_len)| DatagramHeader {
                dest_qpn: Qpn::new(ids[0]),
                src_qpn: Qpn::new(ids[1]),
                qkey: Qkey(ids[2]),
                imm,
                solicited: if solicited {
                    Solicitation::Solicited
                } else {
                    Solicitation::Unsolicited
                },
                network,
                payload_len,
            },
        )
}

fn unreliable() -> impl Strategy<Value = UnreliableHeader> {
    let operation = prop_oneof![
        any::<Option<u32>>().prop_map(|imm| UnreliableOperation::Send { imm }),
        (any::<Option<u32>>(), any::<u64>(), any::<u32>()).prop_map(|(imm, va, rkey)| {
            UnreliableOperation::Write {
                imm,
                va,
                rkey: Rkey(rkey),
            }
        }),
    ];
    (any::<[u32; 3]>(), 0..8u8, operation, extent()).prop_map(|(ids, bits, operation, extent)| {
        let flags = [
            SegmentFlags::FIRST,
            SegmentFlags::LAST,
            SegmentFlags::SOLICITED,
        ];
        let flags = flags
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| bits >> bit & 1 == 1)
            .fold(SegmentFlags::none(), |all, (_, flag)| all.with(flag));
        UnreliableHeader {
            dest_qpn: Qpn::new(ids[0]),
            src_qpn: Qpn::new(ids[1]),
            psn: Psn::new(ids[2]),
            flags,
            operation,
            extent,
        }
    })
}

fn header() -> impl Strategy<Value = Header> {
    (any::<u32>(), any::<u32>(), any::<u32>(), body()).prop_map(
        |(seq, ack, payload_checksum, (body, payload_len))| Header {
            seq: RailSeq(seq),
            ack: RailSeq(ack),
            payload_len,
            payload_checksum,
            body,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_encoded_is_decoded(
        header in header(), session in any::<u64>(), algorithm in algorithm(),
    ) {
        let bytes = header.encode::<HostHash>(seed(session, algorithm));
        prop_assert_eq!(Header::decode::<HostHash>(&bytes, seed(session, algorithm)), Ok(header));
    }

    #[test]
    fn a_flipped_bit_is_noticed(
        header in header(), bit in 0..HEADER_LEN * 8, algorithm in algorithm(),
    ) {
        let mut bytes = header.encode::<HostHash>(seed(7, algorithm));
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::decode::<HostHash>(&bytes, seed(7, algorithm)).is_err());
    }

    #[test]
    fn another_session_s_header_is_refused(header in header(), algorithm in algorithm()) {
        let mut bytes = header.encode::<HostHash>(seed(7, algorithm));
        let other = seed(8, algorithm);
        prop_assert_eq!(Header::decode::<HostHash>(&bytes, other), Err(FrameError::SyncWord));
        bytes[0..4].copy_from_slice(&other.sync_word().to_le_bytes());
        prop_assert_eq!(Header::decode::<HostHash>(&bytes, other), Err(FrameError::Checksum));
    }

    /// A peer that knows the session's seed can sign anything: what comes out is in range all the same.
    #[test]
    fn signed_nonsense_decodes_to_what_is_in_range_or_not_at_all(
        mut bytes in any::<[u8; HEADER_LEN]>(),
        kind in 0..12u8,
        opcode in 0..12u8,
        flags in 0..0x80u16,
        small in any::<bool>(),
        exact in any::<bool>(),
        algorithm in algorithm(),
    ) {
        bytes[0..4].copy_from_slice(&seed(7, algorithm).sync_word().to_le_bytes());
        bytes[16] = kind;
        bytes[17] = opcode;
        bytes[18..20].copy_from_slice(&flags.to_le_bytes());
        if small {
            // Values that pass more checks.
            for at in [22, 23, 31, 35, 39, 43, 58, 59, 62, 63] {
                bytes[at] = 0;
            }
        }
        if exact {
            let opcode = Opcode::from_wire(opcode).unwrap_or_default();
            bytes[20..24].copy_from_slice(&opcode.operands_len().to_le_bytes());
            bytes[60] &= 3;
            bytes[61] &= 1;
        }
        let checksum = seed(7, algorithm).checksum::<HostHash>(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        match Header::decode::<HostHash>(&bytes, seed(7, algorithm)) {
            Err(error) => prop_assert_eq!(error, FrameError::Field),
            Ok(header) => {
                prop_assert!(header.payload_len <= MAX_PAYLOAD);
                prop_assert!(header.frame_len() >= HEADER_LEN as u32 + header.payload_len);
                match header.body {
                    Body::Request(request) => {
                        prop_assert_eq!(request.payload_len(), header.payload_len);
                        match request.operation {
                            Operation::Read(read) => prop_assert!(read.length <= MAX_MESSAGE),
                            Operation::Execute(execute) => {
                                prop_assert!(execute.action.length() <= MAX_MESSAGE);
                                prop_assert!(header.payload_len <= Operands::MAX_LEN as u32);
                            }
                            Operation::Send { data, .. }
                            | Operation::SendWithInvalidate { data, .. }
                            | Operation::Write { data, .. } => {
                                let extent = data.extent;
                                let end = u64::from(extent.offset()) + u64::from(extent.len());
                                prop_assert!(end <= u64::from(MAX_MESSAGE));
                            }
                        }
                    }
                    Body::Response(response) => {
                        let extent = response.extent;
                        let end = u64::from(extent.offset()) + u64::from(extent.len());
                        prop_assert!(end <= u64::from(MAX_MESSAGE));
                        prop_assert_eq!(extent.len(), header.payload_len);
                    }
                    Body::Unreliable(segment) => {
                        let extent = segment.extent;
                        let end = u64::from(extent.offset()) + u64::from(extent.len());
                        prop_assert!(end <= u64::from(MAX_MESSAGE));
                        prop_assert_eq!(extent.len(), header.payload_len);
                        prop_assert_ne!(segment.operation.opcode(), Opcode::Read);
                        for flag in [
                            SegmentFlags::ORDERED,
                            SegmentFlags::ACK_REQUEST,
                            SegmentFlags::REPEAT,
                        ] {
                            prop_assert!(!segment.flags.contains(flag));
                        }
                    }
                    Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye | Body::Ack(_) => {
                        prop_assert_eq!(header.payload_len, 0);
                    }
                    Body::Datagram(PacketState::SegmentsDue(payload)) => {
                        prop_assert!(payload.get() >= SegmentPayload::LEAST.get());
                    }
                    Body::UnreliableDatagram(datagram) => {
                        prop_assert_eq!(datagram.payload_len, header.payload_len);
                        prop_assert!(DATAGRAM_LENGTHS.contains(&header.payload_len));
                    }
                    Body::Hello | Body::Datagram(_) => {}
                }
                let seed = seed(7, algorithm);
                let again = header.encode::<HostHash>(seed);
                prop_assert_eq!(Header::decode::<HostHash>(&again, seed), Ok(header));
            }
        }
    }

    #[test]
    fn anything_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), algorithm in algorithm(),
    ) {
        let _ = Header::decode::<HostHash>(&bytes, seed(7, algorithm));
        let _ = Hello::decode(&bytes);
    }

    #[test]
    fn operands_are_what_was_sent(first in any::<u64>(), second in any::<u64>(), opcode in 6..=8u8) {
        let opcode = Opcode::from_wire(opcode).unwrap();
        let second = if opcode == Opcode::CompareSwap { second } else { 0 };
        let operands = Operands { first, second };
        let bytes = operands.to_bytes();
        let sent = &bytes[..opcode.operands_len() as usize];
        prop_assert_eq!(Operands::from_bytes(sent), Some(operands));
        prop_assert_eq!(Operands::from_bytes(&sent[1..]), None);
    }

    #[test]
    fn padding_is_to_the_next_multiple(len in 0..=MAX_PAYLOAD) {
        let padded = padded(len);
        prop_assert!(padded >= len && padded < len + 64 && padded % 64 == 0);
    }

    #[test]
    fn a_decoded_hello_encodes_to_itself(mut bytes in any::<[u8; 128]>()) {
        bytes[0..2].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        bytes[2..4].copy_from_slice(&256u16.to_le_bytes());
        bytes[4..8].copy_from_slice(&MAX_PAYLOAD.to_le_bytes());
        bytes[54] &= 1;
        // Session, nonce, GUID and READs must not be zero.
        for at in [16, 24, 40, 55] {
            bytes[at] |= 1;
        }
        let hello = Hello::decode(&bytes).unwrap();
        prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        prop_assert!(!hello.identity.name().contains(char::is_control));
    }
}

#[test]
fn the_checksum_alone_makes_no_header_of_a_session() {
    for algorithm in [Algorithm::Xxh64, Algorithm::Crc32c] {
        let seed = seed(7, algorithm);
        let header = Header {
            seq: RailSeq(1),
            ack: RailSeq(1),
            payload_len: 0,
            payload_checksum: 0,
            body: Body::Goodbye,
        };
        let mut bytes = header.encode::<HostHash>(seed);
        assert_eq!(Header::decode::<HostHash>(&bytes, seed), Ok(header));
        // What everybody knows, who tries all checksums.
        bytes[0..4].copy_from_slice(&Seed::HANDSHAKE.sync_word().to_le_bytes());
        assert_eq!(
            Header::decode::<HostHash>(&bytes, seed),
            Err(FrameError::SyncWord)
        );
    }
}

/// The bytes of a header from the ninth on, with fields at their offsets in the description of the wire format.
fn layout(body: Body, payload_len: u32) -> Vec<u32> {
    let header = Header {
        seq: RailSeq(0x0101),
        ack: RailSeq(0x0202),
        payload_len,
        payload_checksum: 0x0303,
        body,
    };
    let bytes = header.encode::<HostHash>(seed(7, Algorithm::Xxh64));
    bytes[8..]
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect()
}

#[test]
fn fields_lie_where_the_description_says() {
    let (dest_qpn, src_qpn, psn) = (Qpn::new(0x11), Qpn::new(0x22), Psn::new(0x33));
    let flags = SegmentFlags::ONLY.with(SegmentFlags::REPEAT);
    let data = DataSegment {
        rsn: Rsn(0x44),
        extent: Extent::new(0x1000, 0x55).unwrap(),
    };
    let request = |operation| {
        Body::Request(RequestHeader {
            dest_qpn,
            src_qpn,
            psn,
            flags,
            operation,
        })
    };
    let common = [0x0101, 0x0202];
    let kind = |kind: u32, opcode: u32, flags: u32| kind | opcode << 8 | flags << 16;
    let ids = [0x11, 0x22, 0x33];
    for (response_psn, rkey) in [(None, 0), (Some(Psn::new(0xbb)), 1 << 31 | 0xbb)] {
        let send = request(Operation::Send {
            data,
            imm: None,
            response_psn,
        });
        let words = [kind(5, 1, 0x23), 0x55, 0x0303];
        let rest = [0x44, rkey, 0, 0, 0x1000, 0];
        assert_eq!(
            layout(send, 0x55),
            [&common[..], &words, &ids, &rest].concat()
        );
    }
    let send = request(Operation::SendWithInvalidate {
        data,
        rkey: Rkey(0x99),
        response_psn: Psn::new(0xbb),
    });
    let words = [kind(5, 10, 0x23), 0x55, 0x0303];
    let rest = [0x44, 0x99, 0, 0, 0x1000, 0xbb];
    assert_eq!(
        layout(send, 0x55),
        [&common[..], &words, &ids, &rest].concat()
    );
    let write = request(Operation::Write {
        data,
        imm: Some(0x66),
        va: 0x77_0000_0088,
        rkey: Rkey(0x99),
    });
    let words = [kind(5, 4, 0x23), 0x55, 0x0303];
    let rest = [0x44, 0x99, 0x88, 0x77, 0x1000, 0x66];
    assert_eq!(
        layout(write, 0x55),
        [&common[..], &words, &ids, &rest].concat()
    );
    let read = request(Operation::Read(ReadRequest {
        va: 0x77_0000_0088,
        rkey: Rkey(0x99),
        length: 0xaaaa,
        segment: SegmentSize::LARGEST,
        response_psn: Psn::new(0xbb),
    }));
    let words = [kind(5, 5, 0x23), 0, 0x0303];
    let rest = [0xbb, 0x99, 0x88, 0x77, 0xaaaa, MAX_PAYLOAD];
    assert_eq!(layout(read, 0), [&common[..], &words, &ids, &rest].concat());
    let response = Body::Response(ResponseHeader {
        dest_qpn,
        src_qpn,
        response_psn: psn,
        request_psn: Psn::new(0xcc),
        extent: data.extent,
    });
    let words = [kind(6, 0, 0), 0x55, 0x0303];
    let rest = [0xcc, 0, 0, 0, 0x1000, 0];
    assert_eq!(
        layout(response, 0x55),
        [&common[..], &words, &ids, &rest].concat()
    );
    let ack = Body::Ack(AckHeader {
        dest_qpn,
        src_qpn,
        psn,
        response_psn: Psn::new(0xdd),
        syndrome: Syndrome::ReadNak {
            psn: Psn::new(0xee),
            code: NakCode::RemoteAccess,
        },
        nak_serial: NakSerial(0xff),
    });
    let words = [kind(7, 4, 2), 0, 0x0303];
    let rest = [0xdd, 0, 0, 0, 0xee, 0xff];
    assert_eq!(layout(ack, 0), [&common[..], &words, &ids, &rest].concat());
}

#[test]
fn one_checksum_is_the_low_half_of_xxhash64() {
    // From the published test vectors of xxHash.
    assert_eq!(HostHash::xxh64(0, b"abc"), 0x44bc_2cf5_ad77_0999);
    assert_eq!(Seed::shorten(0x44bc_2cf5_ad77_0999), 0xad77_0999);
}

#[test]
fn the_other_checksum_is_crc32c_not_inverted() {
    // The check value of CRC-32C, which is inverted before and after.
    assert_eq!(!HostHash::crc32c(!0, b"123456789"), 0xe306_9283);
    let seed = seed(7, Algorithm::Crc32c);
    assert_eq!(seed.checksum::<HostHash>(&[]), seed.key() as u32);
}

#[test]
fn sessions_use_crc32c_if_both_ends_have_instructions_for_it() {
    let (fast, plain) = (Features::FAST_CRC32C, Features::NONE);
    let unknown = Features(!1);
    for (one, other, expected) in [
        (plain, plain, Algorithm::Xxh64),
        (plain, fast, Algorithm::Xxh64),
        (unknown, fast, Algorithm::Xxh64),
        (fast, fast, Algorithm::Crc32c),
        (fast, Features(!0), Algorithm::Crc32c),
    ] {
        assert_eq!(one.checksums_with(other), expected);
        assert_eq!(other.checksums_with(one), expected);
    }
}

#[test]
fn a_name_ends_where_it_would_break_out_of_a_log_line() {
    let mut bytes = [1; 128];
    bytes[0..2].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes[2..4].copy_from_slice(&256u16.to_le_bytes());
    bytes[4..8].copy_from_slice(&MAX_PAYLOAD.to_le_bytes());
    for (sent, shown) in [
        (&b"alpha\0beta"[..], "alpha"),
        (b"alpha\nusb4_roce: all is well", "alpha"),
        (b"alpha\x1b[2J", "alpha"),
        (b"alph\xffa", "alph"),
        (b"\n", ""),
    ] {
        bytes[64..].fill(0);
        bytes[64..64 + sent.len()].copy_from_slice(sent);
        assert_eq!(Hello::decode(&bytes).unwrap().identity.name(), shown);
    }
}
