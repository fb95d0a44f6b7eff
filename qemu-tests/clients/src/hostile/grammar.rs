// SPDX-License-Identifier: GPL-2.0

//! What the kernel's verbs interface understands, as far as is needed to get past its first checks.

/// What a field of a command, or an attribute of a method, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 8 bytes: where the response goes.
    Response,
    /// 8 bytes: a memory address.
    Address,
    /// 8 bytes: a length.
    Length,
    /// 8 bytes: anything.
    Any,
    /// 4 bytes: a handle.
    Handle,
    /// 4 bytes: a number of things.
    Count,
    /// 4 bytes: rights.
    Access,
    /// 4 bytes: flags, or a mask.
    Flags,
    /// 4 bytes: a file descriptor.
    Descriptor,
    /// 4 bytes: a number of 24 bits.
    Number,
    /// 4 bytes: mostly 0.
    Reserved,
    /// 16 bytes: a GID.
    Gid,
    /// 1 byte: a small number.
    Byte,
    /// 1 byte: mostly 0.
    Zero,
    /// 1 byte: mostly 1.
    One,
    /// 1 byte: a type of queue pair, mostly RC.
    QpType,
    /// An attribute: a new handle.
    New,
    /// An attribute: a pointer to so many bytes to read.
    In(u16),
    /// An attribute: a pointer to so many bytes to write.
    Out(u16),
}

use Field::*;

/// A command of write(2).
pub struct Write {
    /// Its number.
    pub number: u32,
    /// Whether it has the extended header.
    pub extended: bool,
    /// Its fields.
    pub fields: &'static [Field],
}

const fn legacy(number: u32, fields: &'static [Field]) -> Write {
    Write {
        number,
        extended: false,
        fields,
    }
}

const fn extended(number: u32, fields: &'static [Field]) -> Write {
    Write {
        number,
        extended: true,
        fields,
    }
}

/// `struct ib_uverbs_qp_dest` twice, and the rest of `struct ib_uverbs_modify_qp`.
const MODIFY_QP: &[Field] = &[
    Gid, Reserved, Reserved, Byte, Byte, Zero, Zero, Zero, Zero, One, One, //
    Gid, Reserved, Reserved, Byte, Byte, Zero, Zero, Zero, Zero, Zero, One, //
    Handle, Flags, Reserved, Number, Number, Number, Access, Reserved, //
    Byte, Byte, Byte, Byte, Zero, Byte, Byte, Byte, One, Byte, Byte, Byte, Zero, Zero, Zero, Zero,
];

/// The commands that the device reaches, and some that it does not.
pub static WRITES: &[Write] = &[
    legacy(0, &[Response]),
    legacy(1, &[Response]),
    legacy(2, &[Response, One, Zero, Zero, Zero, Reserved]),
    legacy(3, &[Response]),
    legacy(4, &[Handle]),
    legacy(
        5,
        &[
            Response, Any, Handle, Reserved, Gid, Reserved, Byte, Byte, Zero, Zero, Reserved, Zero,
            One, One, Zero,
        ],
    ),
    legacy(8, &[Handle]),
    legacy(9, &[Response, Address, Length, Address, Handle, Access]),
    legacy(
        11,
        &[
            Response, Handle, Flags, Address, Length, Address, Handle, Access,
        ],
    ),
    legacy(13, &[Handle]),
    legacy(14, &[Response, Handle, One, Zero, Zero, Zero]),
    legacy(16, &[Handle]),
    legacy(17, &[Response]),
    legacy(18, &[Response, Any, Count, Reserved, Descriptor, Reserved]),
    legacy(19, &[Response, Handle, Count]),
    legacy(20, &[Response, Handle, Reserved]),
    legacy(21, &[Response, Handle, Count]),
    legacy(23, &[Handle, Flags]),
    legacy(
        24,
        &[
            Response, Any, Handle, Handle, Handle, Handle, Count, Count, Byte, Zero, Zero, Zero,
            Byte, Zero, Zero, Zero, Count, Zero, QpType, Zero, Zero,
        ],
    ),
    legacy(25, &[Response, Handle, Flags]),
    legacy(26, MODIFY_QP),
    legacy(27, &[Response, Handle, Reserved]),
    legacy(28, &[Response, Handle, Reserved, Reserved, Count]),
    legacy(29, &[Response, Handle, Reserved, Reserved, Count]),
    legacy(30, &[Gid, Handle, Reserved, Any]),
    legacy(31, &[Gid, Handle, Reserved, Any]),
    legacy(
        32,
        &[Response, Any, Handle, Count, Byte, Zero, Zero, Zero, Count],
    ),
    legacy(33, &[Handle, Flags, Count, Count, Address]),
    legacy(34, &[Response, Handle, Reserved]),
    legacy(35, &[Response, Handle, Reserved]),
    legacy(36, &[Response, Handle, Reserved, Reserved, Count]),
    legacy(37, &[Response, Descriptor, Flags]),
    legacy(38, &[Handle]),
    legacy(
        39,
        &[
            Response, Any, Count, Handle, Count, Byte, Zero, Zero, Zero, Count, Handle, Handle,
        ],
    ),
    legacy(
        40,
        &[
            Response, Any, Handle, Number, QpType, Zero, Zero, Zero, Reserved,
        ],
    ),
    extended(1, &[Reserved, Reserved]),
    extended(
        18,
        &[Any, Count, Reserved, Descriptor, Reserved, Flags, Reserved],
    ),
    extended(
        24,
        &[
            Any, Handle, Handle, Handle, Handle, Count, Count, Byte, Zero, Zero, Zero, Byte, Zero,
            Zero, Zero, Count, Zero, QpType, Zero, Zero, Flags, Flags, Handle, Number,
        ],
    ),
    extended(26, MODIFY_QP),
    extended(50, &[Flags, Handle, Count, Any, Any]),
    extended(
        52,
        &[Flags, Any, Handle, Handle, Count, Count, Flags, Reserved],
    ),
    extended(55, &[Flags, Count, Any]),
    extended(57, &[Handle, Flags, Number, Reserved]),
    extended(51, &[Flags, Handle]),
];

/// A method of ioctl(2).
pub struct Method {
    /// Its object and its number there.
    pub id: (u16, u16),
    /// Its attributes.
    pub attributes: &'static [(u16, Field)],
}

const fn method(object: u16, number: u16, attributes: &'static [(u16, Field)]) -> Method {
    Method {
        id: (object, number),
        attributes,
    }
}

/// Input and output of a driver.
pub const DRIVER_IN: u16 = 0x1000;
const DRIVER_OUT: u16 = 0x1001;

/// The methods that the device reaches, and some that it does not.
pub static METHODS: &[Method] = &[
    method(0, 1, &[(0, In(8)), (1, Out(4)), (2, Out(64))]),
    method(0, 2, &[(0, One), (1, Out(64))]),
    method(0, 3, &[(0, Out(4)), (1, Out(8)), (DRIVER_OUT, Out(16))]),
    method(0, 4, &[(0, Out(4)), (1, Out(8))]),
    method(
        0,
        5,
        &[(0, Length), (1, Flags), (2, Out(1024)), (3, Out(8))],
    ),
    method(0, 6, &[(0, One), (1, Byte), (2, Reserved), (3, Out(32))]),
    method(0, 7, &[(0, One), (1, Out(8))]),
    method(0, 8, &[(0, Out(4)), (1, Out(8)), (2, Out(4))]),
    method(1, 0, &[(0, Handle)]),
    method(2, 0, &[(0, New)]),
    method(
        3,
        0,
        &[
            (0, New),
            (1, Count),
            (2, Any),
            (3, Descriptor),
            (4, Reserved),
            (5, Flags),
            (6, Out(4)),
            (7, Descriptor),
            (DRIVER_OUT, Out(16)),
        ],
    ),
    method(
        3,
        0,
        &[
            (0, New),
            (1, Count),
            (2, Any),
            (4, Reserved),
            (6, Out(4)),
            (DRIVER_OUT, Out(16)),
        ],
    ),
    method(
        3,
        0,
        &[
            (0, New),
            (1, Count),
            (2, Any),
            (4, Reserved),
            (6, Out(4)),
            (8, Address),
            (9, Length),
            (DRIVER_OUT, Out(16)),
        ],
    ),
    method(3, 1, &[(0, Handle), (1, Out(8))]),
    method(
        4,
        0,
        &[
            (0, New),
            (2, Handle),
            (4, Handle),
            (5, Handle),
            (7, Any),
            (8, In(20)),
            (9, QpType),
            (10, Flags),
            (13, Out(20)),
            (14, Out(4)),
            (DRIVER_OUT, Out(32)),
        ],
    ),
    method(
        4,
        0,
        &[
            (0, New),
            (2, Handle),
            (3, Handle),
            (4, Handle),
            (5, Handle),
            (7, Any),
            (8, In(20)),
            (9, QpType),
            (12, Descriptor),
            (13, Out(20)),
            (14, Out(4)),
            (DRIVER_OUT, Out(32)),
        ],
    ),
    method(4, 1, &[(0, Handle), (1, Out(4))]),
    method(4, 2, &[(0, Handle), (1, Handle), (2, Flags)]),
    method(
        5,
        0,
        &[
            (0, New),
            (1, Handle),
            (4, Any),
            (5, Count),
            (6, Byte),
            (7, Count),
            (9, Zero),
            (11, Out(4)),
            (12, Out(4)),
            (13, Out(4)),
            (DRIVER_OUT, Out(24)),
        ],
    ),
    method(5, 1, &[(0, Handle), (1, Out(4))]),
    method(6, 0, &[(0, Handle)]),
    method(
        7,
        0,
        &[
            (0, New),
            (1, Length),
            (2, Length),
            (3, Handle),
            (4, Access),
            (5, Handle),
        ],
    ),
    method(7, 1, &[(0, Handle)]),
    method(7, 2, &[(0, Handle), (1, Byte), (2, Flags), (3, In(32))]),
    method(
        7,
        3,
        &[
            (0, Handle),
            (1, Out(4)),
            (2, Out(4)),
            (3, Out(8)),
            (4, Out(8)),
        ],
    ),
    method(
        7,
        4,
        &[
            (0, New),
            (1, Handle),
            (2, Length),
            (3, Length),
            (4, Address),
            (5, Descriptor),
            (6, Access),
            (7, Out(4)),
            (8, Out(4)),
        ],
    ),
    method(
        7,
        5,
        &[
            (0, New),
            (1, Handle),
            (3, Address),
            (4, Address),
            (5, Length),
            (6, Access),
            (9, Out(4)),
            (10, Out(4)),
        ],
    ),
    method(
        7,
        5,
        &[
            (0, New),
            (1, Handle),
            (2, Handle),
            (3, Address),
            (5, Length),
            (6, Access),
            (7, Descriptor),
            (8, Length),
            (9, Out(4)),
            (10, Out(4)),
        ],
    ),
    method(8, 0, &[(0, Handle)]),
    method(9, 0, &[(0, Handle)]),
    method(10, 0, &[(0, Handle)]),
    method(11, 0, &[(0, Handle)]),
    method(
        12,
        0,
        &[
            (0, New),
            (1, Handle),
            (2, Handle),
            (3, Any),
            (4, Byte),
            (6, Count),
        ],
    ),
    method(13, 0, &[(0, New), (1, In(24))]),
    method(14, 0, &[(0, New), (1, Length), (2, Count)]),
    method(15, 0, &[(0, New)]),
    method(15, 2, &[(0, Handle), (1, Out(64)), (2, Flags)]),
    method(16, 0, &[(0, New)]),
    method(17, 0, &[(0, New), (1, Count), (2, Byte), (3, Byte)]),
    method(19, 0, &[(0, New), (DRIVER_IN, In(8))]),
];
