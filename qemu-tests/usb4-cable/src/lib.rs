// SPDX-License-Identifier: GPL-2.0

//! A software USB4 cable.
