//! Hierarchies from columns, from parents and from lists of members.

use super::forest::Forest;
use super::{Hierarchy, Level};
use std::collections::{BTreeMap, HashMap};
use tradewind_core::{Error, Panel, Result};

/// The name of the node above all.
const TOTAL: &str = "total";
/// The name of the lowest level.
const BOTTOM: &str = "bottom";
/// What stands for an empty cell.
const NONE: &str = "(none)";

/// A level as [`Hierarchy::from_members`] takes it: its name, and for each node the name and the positions of its bottom
/// series.
pub type LevelMembers = (String, Vec<(String, Vec<u32>)>);

impl Hierarchy {
    /// A hierarchy from text columns of the panel, each level within the one before it: `["region", "shop"]` makes the
    /// levels `total`, `region`, `region/shop` and `bottom` (the panel's series). Nodes are named by their values, as
    /// `region=north/shop=12`; an empty cell counts as the value `(none)`.
    ///
    /// # Errors
    /// A column that the panel lacks or that holds numbers, an empty panel, or a series named as an aggregate.
    ///
    /// ```
    /// use tradewind_core::{Freq, Panel, StaticColumn, StaticValues};
    /// let series = ["a", "b"].map(|id| (id.to_owned(), 0, vec![1.0])).to_vec();
    /// let brands = ["acme", "zeta"].map(|b| Some(b.to_owned())).to_vec();
    /// let panel = Panel::from_series(Freq::DAILY, series).unwrap()
    ///     .with_static(StaticColumn { name: "brand".into(), values: StaticValues::Text(brands) }).unwrap();
    /// let h = tradewind_forecast::hierarchy::Hierarchy::nested(&panel, &["brand"]).unwrap();
    /// assert_eq!(h.ids(), ["total", "brand=acme", "brand=zeta", "a", "b"]);
    /// ```
    pub fn nested(panel: &Panel, columns: &[&str]) -> Result<Self> {
        let levels: Vec<&[&str]> = (1..=columns.len()).map(|n| &columns[..n]).collect();
        Self::grouped(panel, &levels)
    }

    /// A hierarchy from any sets of text columns of the panel: `[&["shop"], &["brand"], &["shop", "brand"]]` crosses
    /// shops and brands. Below `total`, each set is a level with one node for each combination of values that occurs.
    ///
    /// # Errors
    /// Those of [`Hierarchy::nested`]; a set without a column or given twice.
    pub fn grouped(panel: &Panel, levels: &[&[&str]]) -> Result<Self> {
        let all = (0..panel.len()).map(|b| b as u32).collect();
        let mut list = vec![(TOTAL.to_owned(), vec![(TOTAL.to_owned(), all)])];
        for columns in levels {
            if columns.is_empty() {
                return Err(Error::Invalid("a level of the hierarchy has no column".into()));
            }
            let texts: Vec<&[Option<String>]> =
                columns.iter().map(|c| text_column(panel, c)).collect::<Result<_>>()?;
            let mut groups: BTreeMap<Vec<&str>, Vec<u32>> = BTreeMap::new();
            for b in 0..panel.len() {
                let key = texts.iter().map(|t| t[b].as_deref().unwrap_or(NONE)).collect();
                groups.entry(key).or_default().push(b as u32);
            }
            let nodes = groups
                .into_iter()
                .map(|(key, members)| {
                    let parts: Vec<String> =
                        columns.iter().zip(key).map(|(c, v)| format!("{c}={v}")).collect();
                    (parts.join("/"), members)
                })
                .collect();
            list.push((columns.join("/"), nodes));
        }
        Self::from_members(panel.ids().to_vec(), list)
    }

    /// A hierarchy from pairs of node and parent. Nodes that are nobody's parent are the bottom series, sorted by name;
    /// aggregates are levelled by their distance from the top: `depth 0`, `depth 1` and so on.
    ///
    /// # Errors
    /// A node with two parents, a circle, or no pair at all.
    ///
    /// ```
    /// use tradewind_forecast::hierarchy::Hierarchy;
    /// let h = Hierarchy::from_parents(&[("north", "all"), ("south", "all"), ("a", "north"), ("b", "south")]).unwrap();
    /// assert_eq!(h.ids(), ["all", "north", "south", "a", "b"]);
    /// assert_eq!(h.sum(&[1.0, 2.0]).unwrap(), [3.0, 1.0, 2.0, 1.0, 2.0]);
    /// ```
    pub fn from_parents(pairs: &[(&str, &str)]) -> Result<Self> {
        let mut parent: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        for (_, above) in pairs {
            parent.entry(above).or_insert(None);
        }
        for (node, above) in pairs {
            if let Some(Some(other)) = parent.insert(node, Some(above))
                && other != *above
            {
                return Err(Error::Invalid(format!("node `{node}` has the parents `{other}` and `{above}`")));
            }
        }
        let above: std::collections::HashSet<&str> = pairs.iter().map(|(_, a)| *a).collect();
        let bottom: Vec<&str> = parent.keys().filter(|n| !above.contains(*n)).copied().collect();
        // Distances from the top, found upwards until a known one.
        let mut depth: HashMap<&str, usize> = HashMap::new();
        for node in parent.keys() {
            let mut path = vec![];
            let mut at = Some(*node);
            while let Some(n) = at.filter(|n| !depth.contains_key(n)) {
                if path.len() > parent.len() {
                    return Err(Error::Invalid(format!("node `{node}` is above itself")));
                }
                path.push(n);
                at = parent[n];
            }
            let first = at.map_or(0, |n| depth[n] + 1);
            depth.extend(path.into_iter().rev().zip(first..));
        }
        let mut members: BTreeMap<(usize, &str), Vec<u32>> = BTreeMap::new();
        for (b, id) in bottom.iter().enumerate() {
            let mut at = parent[id];
            while let Some(n) = at {
                members.entry((depth[n], n)).or_default().push(b as u32);
                at = parent[n];
            }
        }
        let mut levels: Vec<LevelMembers> = Vec::new();
        for ((d, id), list) in members {
            if levels.len() <= d {
                levels.push((format!("depth {d}"), vec![]));
            }
            levels[d].1.push((id.to_owned(), list));
        }
        Self::from_members(bottom.into_iter().map(str::to_owned).collect(), levels)
    }

    /// The general way: the bottom series, and for each level its name and nodes, each with the positions of its bottom
    /// series. Any sets will do; nested ones are found and used.
    ///
    /// # Errors
    /// No bottom series, a name given twice, an aggregate without members, with one twice or with one that is not there.
    pub fn from_members(bottom: Vec<String>, levels: Vec<LevelMembers>) -> Result<Self> {
        if bottom.is_empty() || bottom.len() >= u32::MAX as usize {
            return Err(Error::Invalid("a hierarchy needs at least one series and fewer than 2³²".into()));
        }
        let mut out_levels: Vec<Level> = Vec::with_capacity(levels.len() + 1);
        let (mut ids, mut offsets, mut members) = (Vec::new(), vec![0], Vec::new());
        for (name, nodes) in levels {
            if nodes.is_empty() || name == BOTTOM || out_levels.iter().any(|l| l.name == name) {
                return Err(Error::Invalid(format!(
                    "level `{name}` is empty, given twice or named `{BOTTOM}`"
                )));
            }
            let from = ids.len();
            for (id, mut list) in nodes {
                list.sort_unstable();
                let fits = list.last().is_some_and(|b| (*b as usize) < bottom.len());
                if !fits || list.windows(2).any(|w| w[0] == w[1]) {
                    return Err(Error::Invalid(format!(
                        "aggregate `{id}` has no member, one twice or one that is not among the {} bottom series",
                        bottom.len()
                    )));
                }
                ids.push(id);
                members.extend(list);
                offsets.push(members.len());
            }
            out_levels.push(Level { name, nodes: from..ids.len() });
        }
        let n_aggregates = ids.len();
        ids.extend(bottom);
        out_levels.push(Level { name: BOTTOM.into(), nodes: n_aggregates..ids.len() });
        let mut sorted: Vec<&str> = ids.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        if let Some(w) = sorted.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::Invalid(format!(
                "two nodes of the hierarchy are named `{}`; rename one",
                w[0]
            )));
        }
        let forest = Forest::new(&offsets, &members, ids.len() - n_aggregates);
        Ok(Self { ids, levels: out_levels, offsets, members, forest })
    }
}

fn text_column<'a>(panel: &'a Panel, name: &str) -> Result<&'a [Option<String>]> {
    use tradewind_core::StaticValues::{Number, Text};
    match panel.statics().iter().find(|c| c.name == name).map(|c| &c.values) {
        Some(Text(values)) => Ok(values),
        Some(Number(_)) => {
            Err(Error::Invalid(format!("column `{name}` holds numbers; a level of a hierarchy needs texts")))
        }
        None => Err(Error::NotFound {
            what: "column of one value a series",
            name: name.to_owned(),
            known: panel.statics().iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_hierarchies_are_named() {
        let fault = |pairs: &[(&str, &str)]| Hierarchy::from_parents(pairs).expect_err("wrong").to_string();
        assert!(fault(&[("a", "x"), ("a", "y")]).contains("parents"));
        assert!(fault(&[("a", "b"), ("b", "a")]).contains("above itself"));
        assert!(fault(&[("a", "a")]).contains("above itself"));
        assert!(fault(&[]).contains("at least one"));
        let node = |id: &str, m: &[u32]| vec![("l".to_owned(), vec![(id.to_owned(), m.to_vec())])];
        let bottom = || vec!["a".to_owned(), "b".to_owned()];
        assert!(Hierarchy::from_members(bottom(), node("a", &[0, 1])).is_err());
        assert!(Hierarchy::from_members(bottom(), node("x", &[0, 0])).is_err());
        assert!(Hierarchy::from_members(bottom(), node("x", &[2])).is_err());
        assert!(Hierarchy::from_members(bottom(), node("x", &[])).is_err());
        assert!(Hierarchy::from_members(bottom(), node("x", &[1, 0])).is_ok());
    }

    #[test]
    fn leaves_may_lie_at_different_depths() {
        let h =
            Hierarchy::from_parents(&[("n", "all"), ("z", "all"), ("a", "n"), ("b", "n")]).expect("a tree");
        assert_eq!(h.ids(), ["all", "n", "a", "b", "z"]);
        assert_eq!(h.members(1), [0, 1]);
        assert!(h.is_tree());
    }
}
