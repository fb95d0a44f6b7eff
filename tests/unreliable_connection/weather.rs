// SPDX-License-Identifier: GPL-2.0

//! Whatever rails do: messages arrive whole, in order, at most once, never mixed; what is lost is lost whole.

use crate::link::Link;
use crate::link::RAILS;
use crate::link::SEGMENT;
use proptest::prelude::*;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;

#[derive(Clone, Debug)]
enum Step {
    Post {
        opcode: Opcode,
        length: u32,
    },
    PostReceive {
        length: u32,
    },
    /// A rail asks for a frame.
    Pump(usize),
    /// The oldest segment, or the newest, has left.
    Depart {
        newest: bool,
    },
    /// The next frame of a rail arrives, and is being placed.
    Arrive(usize),
    /// It is in place, or not.
    Settle(usize, Outcome),
    Lose(usize),
    /// All that is on the rail is lost.
    Down(usize),
    Up(usize),
    Answers(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let opcode = prop_oneof![
        Just(Opcode::Send),
        Just(Opcode::SendWithImm),
        Just(Opcode::WriteWithImm),
    ];
    let length = prop_oneof![0..3u32, 0..4 * SEGMENT];
    let outcome = prop_oneof![
        20 => Just(Outcome::Placed),
        1 => Just(Outcome::Aborted),
    ];
    prop_oneof![
        8 => (opcode, length.clone()).prop_map(|(opcode, length)| Step::Post { opcode, length }),
        8 => (SEGMENT..4 * SEGMENT).prop_map(|length| Step::PostReceive { length }),
        24 => (0..RAILS).prop_map(Step::Pump),
        24 => any::<bool>().prop_map(|newest| Step::Depart { newest }),
        24 => (0..RAILS).prop_map(Step::Arrive),
        24 => (0..RAILS, outcome).prop_map(|(rail, outcome)| Step::Settle(rail, outcome)),
        3 => (0..RAILS).prop_map(Step::Lose),
        1 => (0..RAILS).prop_map(Step::Down),
        4 => (0..RAILS).prop_map(Step::Up),
        3 => (0..RAILS, any::<bool>()).prop_map(|(rail, answers)| Step::Answers(rail, answers)),
    ]
}

/// What is seen at the two ends.
#[derive(Default)]
struct Watch {
    completed: usize,
    /// The newest message that was received.
    newest: Option<usize>,
    received: usize,
}

impl Watch {
    fn look(&mut self, link: &mut Link) {
        for completion in link.sent() {
            assert_eq!(completion.wr_id, self.completed as u64, "out of order");
            assert_eq!(completion.status, CompletionStatus::Success);
            self.completed += 1;
        }
        while let Some(completion) = link.receiver.poll_receive_completion() {
            assert_eq!(completion.status, CompletionStatus::Success);
            let is_next = |number: &usize| {
                let request = &link.posted[*number];
                // Contents tell messages apart, but where there are hardly any.
                request.opcode == completion.opcode && request.length == completion.byte_len
            };
            let number = match completion.opcode.has_imm() {
                true => completion.imm as usize,
                false => {
                    let first = self.newest.map_or(0, |newest| newest + 1);
                    (first..link.posted.len())
                        .filter(is_next)
                        .find(|&number| {
                            let buffer = &link.receives.buffers[&completion.slot];
                            let length = completion.byte_len;
                            (0..length)
                                .all(|at| buffer[at as usize] == crate::link::byte(number, at))
                        })
                        .expect("whole, and sent after the one before")
                }
            };
            assert!(self.newest < Some(number), "twice, or out of order");
            link.assert_received(&completion, number);
            self.newest = Some(number);
            self.received += 1;
        }
        while link.receiver.poll_event().is_some() {}
    }
}

fn run(steps: &[Step]) -> Watch {
    let mut link = Link::new();
    link.departs = false;
    let mut watch = Watch::default();
    for step in steps {
        match *step {
            Step::Post { opcode, length } => {
                if link.sender.room() > 0 {
                    link.post(opcode, length);
                }
            }
            Step::PostReceive { length } => link.receives.post(length, Soundness::Sound),
            Step::Pump(rail) => {
                link.pump(rail);
            }
            Step::Depart { newest } => {
                let at = if newest {
                    link.leaving.len().saturating_sub(1)
                } else {
                    0
                };
                if at < link.leaving.len() {
                    let token = link.leaving.remove(at);
                    link.sender.handle_departure(token);
                }
            }
            Step::Arrive(rail) => {
                if link.rails[rail].placing.is_none() {
                    link.arrive(rail);
                }
            }
            Step::Settle(rail, outcome) => link.settle(rail, outcome),
            Step::Lose(rail) => {
                link.lose(rail);
            }
            Step::Down(rail) => {
                link.rails[rail].is_up = false;
                while link.lose(rail) {}
            }
            Step::Up(rail) => link.rails[rail].is_up = true,
            Step::Answers(rail, answers) => link.rails[rail].answers = answers,
        }
        watch.look(&mut link);
    }
    // Fair weather: what is sent now arrives.
    for rail in &mut link.rails {
        rail.is_up = true;
        rail.answers = true;
    }
    for _ in 0..3 {
        for token in core::mem::take(&mut link.leaving) {
            link.sender.handle_departure(token);
        }
        link.pump_all();
        for rail in 0..RAILS {
            link.settle(rail, Outcome::Placed);
            while link.deliver(rail).is_some() {
                watch.look(&mut link);
            }
        }
        watch.look(&mut link);
    }
    assert_eq!(watch.completed, link.posted.len(), "all have left");
    // The receive that a message which broke off has left may be a short one.
    let longest = 4 * SEGMENT;
    link.receives.post(longest, Soundness::Sound);
    let last = link.post(Opcode::SendWithImm, SEGMENT);
    link.pump_all();
    for token in core::mem::take(&mut link.leaving) {
        link.sender.handle_departure(token);
    }
    for rail in 0..RAILS {
        while link.deliver(rail).is_some() {
            watch.look(&mut link);
        }
    }
    assert_eq!(watch.newest, Some(last), "the last one arrives");
    watch
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn messages_arrive_whole_in_order_and_at_most_once(
        steps in proptest::collection::vec(step(), 0..300),
    ) {
        run(&steps);
    }

    /// What the receiver's own user does wrong fails it, and harms nobody else.
    #[test]
    fn nothing_follows_a_failed_receive(steps in proptest::collection::vec(step(), 0..100)) {
        let mut link = Link::new();
        for step in &steps {
            if let Step::Post { opcode, length } = *step {
                if link.sender.room() > 0 {
                    link.post(opcode, length);
                    link.sent();
                }
                link.receives.post(4 * SEGMENT, Soundness::Sound);
            }
        }
        link.pump_all();
        link.sent();
        let mut failed = false;
        for rail in 0..RAILS {
            while link.arrive(rail).is_some() {
                let had_payload = link.rails[rail].placing.is_some();
                link.settle(rail, Outcome::Denied(NakCode::RemoteOperation));
                if let Some(completion) = link.receiver.poll_receive_completion() {
                    prop_assert!(!failed, "a completion behind the failure");
                    failed = completion.status != CompletionStatus::Success;
                    prop_assert!(!failed || had_payload);
                }
            }
        }
    }
}

#[test]
fn without_losses_all_arrive() {
    let mut steps = Vec::new();
    for number in 0..20 {
        steps.push(Step::PostReceive {
            length: 4 * SEGMENT - 1,
        });
        steps.push(Step::Post {
            opcode: Opcode::Send,
            length: number * 500,
        });
        for rail in 0..RAILS {
            for _ in 0..4 {
                steps.push(Step::Pump(rail));
                steps.push(Step::Depart { newest: true });
                steps.push(Step::Arrive(rail));
                steps.push(Step::Settle(rail, Outcome::Placed));
            }
        }
    }
    assert_eq!(run(&steps).received, 21);
}
