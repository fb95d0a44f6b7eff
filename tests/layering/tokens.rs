// SPDX-License-Identifier: GPL-2.0

//! What macros and attributes are given, which is not parsed: what looks like Rust in it counts as such.

use proc_macro2::Delimiter;
use proc_macro2::Spacing;
use proc_macro2::TokenStream;
use proc_macro2::TokenTree;
use syn::ext::IdentExt;
use syn::visit::Visit;

use crate::reader::Reader;
use crate::reader::OPAQUE_MACROS;
use crate::source::CRATES;

/// Tokens between the names of a path.
const COLONS: usize = 2;

impl Reader {
    /// Reads tokens.
    pub fn read_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at += self.read_some(&tokens[..at], &tokens[at..]);
        }
    }

    /// Reads what `tokens` begin with, behind others; says how many that were.
    fn read_some(&mut self, before: &[TokenTree], tokens: &[TokenTree]) -> usize {
        use TokenTree::Group;
        use TokenTree::Ident;
        use TokenTree::Literal;
        match tokens {
            [Ident(word), ..] if word == "use" => self.read_use(tokens),
            [Ident(word), Ident(name), Group(inside), ..]
                if word == "mod" && inside.delimiter() == Delimiter::Brace =>
            {
                self.read_inside(name, |reader| reader.read_tokens(inside.stream()));
                tokens[..3].len()
            }
            [Ident(word), Ident(other), ..] if word == "extern" && other == "crate" => {
                self.add_opaque("extern crate".to_owned());
                1
            }
            [Ident(word), Literal(_), Group(_), ..] | [Ident(word), Group(_), ..]
                if word == "extern" =>
            {
                self.add_opaque("a block of extern functions".to_owned());
                1
            }
            [hash, Group(inside), ..]
                if is_punct(hash, '#') && inside.delimiter() == Delimiter::Bracket =>
            {
                match syn::parse2::<syn::Meta>(inside.stream()) {
                    Ok(meta) => self.visit_meta(&meta),
                    Err(_) => self.read_tokens(inside.stream()),
                }
                tokens[..2].len()
            }
            [Group(inside), ..] => {
                self.read_tokens(inside.stream());
                1
            }
            _ if is_colons(tokens) && ends_generics(before) => COLONS,
            [Ident(_), ..] => self.read_path(&[], tokens),
            _ if is_colons(tokens) => self.read_path(&[], tokens),
            _ => 1,
        }
    }

    /// Reads a `use` with its semicolon, or the word alone if that is not what it is.
    fn read_use(&mut self, tokens: &[TokenTree]) -> usize {
        let len = tokens.iter().take_while(|one| !is_punct(one, ';')).count();
        let mut item: TokenStream = tokens[..len].iter().cloned().collect();
        item.extend([TokenTree::Punct(proc_macro2::Punct::new(
            ';',
            Spacing::Alone,
        ))]);
        match syn::parse2::<syn::ItemUse>(item) {
            Ok(item) => {
                self.visit_item_use(&item);
                len
            }
            Err(_) => 1,
        }
    }

    /// Reads a path that goes on behind `before`; says how many tokens that were.
    fn read_path(&mut self, before: &[String], tokens: &[TokenTree]) -> usize {
        let mut path = before.to_vec();
        let mut rest = tokens;
        if is_colons(rest) {
            path.push(CRATES.to_owned());
            rest = &rest[COLONS..];
        }
        loop {
            match rest {
                [TokenTree::Ident(name), after @ ..] => {
                    path.push(name.unraw().to_string());
                    rest = after;
                }
                [TokenTree::Group(group), after @ ..]
                    if !path.is_empty() && group.delimiter() == Delimiter::Brace =>
                {
                    let ways: Vec<TokenTree> = group.stream().into_iter().collect();
                    for way in ways.split(|one| is_punct(one, ',')) {
                        self.read_path(&path, way);
                    }
                    return tokens.len() - after.len();
                }
                _ => break,
            }
            if !is_colons(rest) {
                break;
            }
            rest = &rest[COLONS..];
        }
        let read = tokens.len() - rest.len();
        let name = path.last().filter(|_| is_call_of_macro(rest));
        if let Some(name) = name.filter(|name| OPAQUE_MACROS.contains(&name.as_str())) {
            self.add_opaque(format!("{name}!"));
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if path.len() > 1 {
            self.add_reference(path);
        }
        read
    }
}

/// Whether `tokens` are what makes the name in front of them that of a macro: `m!(...)`, `macro_rules! m {...}`.
fn is_call_of_macro(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [mark, TokenTree::Ident(_) | TokenTree::Group(_), ..] if is_punct(mark, '!'))
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// Whether `tokens` begin with `::`.
fn is_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(first), second, ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && is_punct(second, ':'))
}

/// Whether `tokens` end with the `>` of a type's arguments, behind which a path goes on.
fn ends_generics(tokens: &[TokenTree]) -> bool {
    match tokens {
        [.., before, _] if is_punct(before, '-') || is_punct(before, '=') => false,
        [.., last] => is_punct(last, '>'),
        [] => false,
    }
}
