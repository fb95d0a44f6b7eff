// SPDX-License-Identifier: GPL-2.0

//! Stacks as a flame graph: a box for each function above the one that calls it, as wide as it was found often.
//!
//! The crate for this, inferno, is under the CDDL, which does not go with the GPL.

use std::fmt::Write;

use super::stacks::Stacks;

/// Width of the picture, height of a box, size of its letters, and width of one of them, in pixels.
const WIDTH: f64 = 1200.0;
const BOX: usize = 16;
const LETTERS: usize = 11;
const LETTER: f64 = 6.5;

/// Narrower boxes, in pixels, are left out.
const LEAST: f64 = 0.3;

/// What the colour of a function says: ours, and any other.
const OURS: &str = "#f28e2b";
const OTHERS: &str = "#f6d5a8";

/// What marks our functions.
const MARK: &str = "[usb4_roce]";

/// A box.
#[derive(Debug, PartialEq)]
struct Tile<'a> {
    name: &'a str,
    /// Functions below it.
    depth: usize,
    /// Samples to its left, and its own.
    left: u64,
    count: u64,
}

/// The boxes of all stacks. These come in the order of their names, so that equal beginnings are neighbours.
fn tiles(stacks: &Stacks) -> Vec<Tile<'_>> {
    let mut tiles: Vec<Tile<'_>> = Vec::new();
    // Of each depth, the box that the last stack went through.
    let mut open: Vec<usize> = Vec::new();
    let mut left = 0;
    for (stack, count) in stacks.all() {
        let same = open
            .iter()
            .zip(stack)
            .take_while(|(tile, name)| tiles[**tile].name == name.as_str())
            .count();
        open.truncate(same);
        for tile in &open {
            tiles[*tile].count += count;
        }
        for (depth, name) in stack.iter().enumerate().skip(same) {
            open.push(tiles.len());
            tiles.push(Tile {
                name,
                depth,
                left,
                count,
            });
        }
        left += count;
    }
    tiles
}

/// The picture, as SVG.
pub fn draw(title: &str, stacks: &Stacks) -> Result<String, std::fmt::Error> {
    let tiles = tiles(stacks);
    let all = stacks.count().max(1) as f64;
    let depth = tiles.iter().map(|tile| tile.depth + 1).max().unwrap_or(0);
    // The title has a row.
    let height = (depth + 2) * BOX;
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="{LETTERS}">"#
    )?;
    writeln!(
        svg,
        r#"<rect width="{WIDTH}" height="{height}" fill="white"/><text x="4" y="{LETTERS}">{}</text>"#,
        escaped(title)
    )?;
    for tile in tiles {
        let width = tile.count as f64 / all * WIDTH;
        if width < LEAST {
            continue;
        }
        let x = tile.left as f64 / all * WIDTH;
        let y = height - (tile.depth + 1) * BOX;
        let colour = match tile.name.contains(MARK) {
            true => OURS,
            false => OTHERS,
        };
        let room = (width / LETTER) as usize;
        let words: String = tile.name.chars().take(room).collect();
        writeln!(
            svg,
            r#"<g><title>{}: {} samples, {:.2} %</title><rect x="{x:.2}" y="{y}" width="{width:.2}" height="{}" fill="{colour}" stroke="white" stroke-width="0.5"/><text x="{:.2}" y="{}">{}</text></g>"#,
            escaped(tile.name),
            tile.count,
            tile.count as f64 / all * 100.0,
            BOX - 1,
            x + 2.0,
            y + LETTERS,
            escaped(&words)
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// As text in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::family::Family;
    use super::super::symbols::Symbols;
    use super::*;

    fn stacks() -> Stacks {
        let mut stacks = Stacks::default();
        let send = "7\n\t1 copy (x)\n\t2 send<T> (x)\n\n";
        let mut add = |name, script: &str| {
            stacks.add(name, script, Family::new([7]), &Symbols::default());
        };
        add("a", &format!("{send}{send}7\n\t3 idle (x)\n\n"));
        add("b", send);
        stacks
    }

    #[test]
    fn what_begins_alike_shares_a_box() {
        let stacks = stacks();
        let tiles = tiles(&stacks);
        let found: Vec<_> = tiles
            .iter()
            .map(|tile| (tile.name, tile.depth, tile.left, tile.count))
            .collect();
        assert_eq!(
            found,
            [
                ("a", 0, 0, 3),
                ("idle", 1, 0, 1),
                ("send<T>", 1, 1, 2),
                ("copy", 2, 1, 2),
                ("b", 0, 3, 1),
                ("send<T>", 1, 3, 1),
                ("copy", 2, 3, 1),
            ]
        );
    }

    #[test]
    fn the_picture_says_what_each_box_is() {
        let svg = draw("what & why", &stacks()).unwrap();
        assert!(svg.contains("what &amp; why"), "{svg}");
        assert!(
            svg.contains("<title>send&lt;T&gt;: 2 samples, 50.00 %</title>"),
            "{svg}"
        );
        assert!(svg.ends_with("</svg>\n"));
    }
}
