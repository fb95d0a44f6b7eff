// SPDX-License-Identifier: GPL-2.0

//! Nothing: a package that depends on another has to have a target.
