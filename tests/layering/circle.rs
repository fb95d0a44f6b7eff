// SPDX-License-Identifier: GPL-2.0

//! Files that refer to each other, one after the other, back to the first.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use crate::arrow::Arrow;

/// Files each of which is reached from each other one.
pub type Circle = BTreeSet<String>;

/// All circles that `arrows` form.
pub fn all(arrows: &BTreeSet<Arrow>) -> Vec<Circle> {
    let mut graph = DiGraph::<&str, ()>::new();
    let mut nodes = BTreeMap::new();
    for arrow in arrows {
        let [from, to] = [&arrow.from_file, &arrow.to_file].map(|file| {
            *nodes
                .entry(file.as_str())
                .or_insert_with(|| graph.add_node(file))
        });
        graph.add_edge(from, to, ());
    }
    tarjan_scc(&graph)
        .into_iter()
        .filter(|circle| circle.len() > 1)
        .map(|circle| {
            circle
                .into_iter()
                .map(|node| graph[node].to_owned())
                .collect()
        })
        .collect()
}
