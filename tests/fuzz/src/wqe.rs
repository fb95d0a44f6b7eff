// SPDX-License-Identifier: GPL-2.0

//! Work requests and ring indices, as a process may write them.

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::verbs::abi::datagram_wqe::AddressRef;
use usb4_roce::verbs::abi::datagram_wqe::DatagramTarget;
use usb4_roce::verbs::abi::limits::MAX_INLINE;
use usb4_roce::verbs::abi::limits::MAX_QUEUE_WR;
use usb4_roce::verbs::abi::limits::MAX_SGE;
use usb4_roce::verbs::abi::queue_layout::QueueLayout;
use usb4_roce::verbs::abi::receive_wqe;
use usb4_roce::verbs::abi::receive_wqe::ReceiveWqe;
use usb4_roce::verbs::abi::scatter;
use usb4_roce::verbs::abi::send_wqe;
use usb4_roce::verbs::abi::send_wqe::Payload;
use usb4_roce::verbs::abi::send_wqe::PostedBy;
use usb4_roce::verbs::abi::send_wqe::SendLimits;
use usb4_roce::verbs::abi::send_wqe::SendOperation;
use usb4_roce::verbs::abi::send_wqe::SendWqe;
use usb4_roce::verbs::abi::send_wqe::UNTOUCHED;

pub fn run(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(input: &mut Unstructured<'_>) -> Result<()> {
    let limits = SendLimits {
        max_sge: input.int_in_range(0..=MAX_SGE)?,
        max_inline: input.int_in_range(0..=MAX_INLINE)?,
        posted_by: if input.arbitrary()? {
            PostedBy::Kernel
        } else {
            PostedBy::Process
        },
    };
    let layout = QueueLayout::new(
        input.int_in_range(0..=MAX_QUEUE_WR)?,
        input.int_in_range(1..=4096)?,
    );
    if let Some(layout) = layout {
        for _ in 0..4 {
            let producer = layout.slot(input.arbitrary()?);
            let consumer = layout.slot(input.arbitrary()?);
            let end = layout.offset(producer) + layout.element_size();
            assert!(end <= layout.size());
            assert!(layout.used(producer, consumer) <= layout.capacity());
            let is_full = layout.used(producer, consumer) == layout.capacity();
            assert_eq!(layout.is_full(producer, consumer), is_full);
        }
    }
    let send: [u8; send_wqe::HEADER_SIZE] = input.arbitrary()?;
    if let Ok(wqe) = SendWqe::decode(&send, &limits) {
        match wqe.payload {
            Payload::Inline(bytes) => {
                assert!(bytes <= limits.max_inline);
                assert!(!matches!(wqe.operation, SendOperation::Read(_)));
            }
            Payload::Elements(count) => assert!(count <= limits.max_sge),
        }
        assert!(wqe.payload.size() <= MAX_INLINE as usize);
        let first = input.arbitrary()?;
        let never_has_any =
            wqe.operation.is_local() || matches!(wqe.operation, SendOperation::Flush(..));
        let is_empty = wqe.payload.size() == 0 && !never_has_any;
        let is_refused = wqe.check_empty(&first).is_err();
        assert_eq!(is_refused, is_empty && first != UNTOUCHED);
    }
    let target = DatagramTarget::decode(&send);
    if let AddressRef::Handle(number) = target.address {
        assert_eq!(send[36..40], number.get().to_ne_bytes());
    }
    let receive: [u8; receive_wqe::HEADER_SIZE] = input.arbitrary()?;
    if let Ok(wqe) = ReceiveWqe::decode(&receive, limits.max_sge) {
        assert!(wqe.payload_size() <= MAX_SGE as usize * scatter::SGE_SIZE);
    }
    let elements = input.peek_bytes(input.len()).unwrap_or(&[]);
    let exact: u64 = scatter::sges(elements)
        .map(|element| u64::from(element.length))
        .sum();
    let expected = u32::try_from(exact).ok().filter(|&sum| sum <= MAX_MESSAGE);
    assert_eq!(scatter::total_length(elements), expected);
    Ok(())
}
