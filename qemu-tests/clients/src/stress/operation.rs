// SPDX-License-Identifier: GPL-2.0

//! What threads do, and how often.

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Operation {
    PostSend,
    PostReceive,
    PostSharedReceive,
    Ring,
    Poll,
    RequestNotify,
    QueryQp,
    QuerySrq,
    Connect,
    Transition,
    ReplaceQp,
    ReplaceCq,
    ReplaceSrq,
    ReplaceMr,
    ReplacePd,
    Reregister,
    ResizeCq,
    ResizeSrq,
    ArmSrq,
    AddressHandle,
    Stranger,
    Exit,
    Scribble,
}

impl Operation {
    /// Each with its share.
    pub const SHARES: [(u32, Self); 23] = [
        (400, Self::PostSend),
        (120, Self::PostReceive),
        (60, Self::PostSharedReceive),
        (60, Self::Ring),
        (160, Self::Poll),
        (20, Self::RequestNotify),
        (20, Self::QueryQp),
        (6, Self::QuerySrq),
        (16, Self::Connect),
        (4, Self::Transition),
        (4, Self::ReplaceQp),
        (3, Self::ReplaceCq),
        (3, Self::ReplaceSrq),
        (8, Self::ReplaceMr),
        (1, Self::ReplacePd),
        (8, Self::Reregister),
        (12, Self::ResizeCq),
        (8, Self::ResizeSrq),
        (8, Self::ArmSrq),
        (6, Self::AddressHandle),
        (2, Self::Stranger),
        (1, Self::Exit),
        (60, Self::Scribble),
    ];

    /// Number of kinds.
    pub const COUNT: usize = Self::SHARES.len();

    /// What reports call it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Its place in tables.
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_share() {
        for (index, (_, operation)) in Operation::SHARES.iter().enumerate() {
            assert_eq!(operation.index(), index);
        }
    }
}
