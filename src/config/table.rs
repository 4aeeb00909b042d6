//! The vocabulary as a table for people.

use std::collections::BTreeMap;

use super::vocabulary::{Standing, Words};
use super::{web, words};

/// The words of one table, without what they fill.
pub(super) struct Rows {
    element: &'static str,
    attributes: Vec<(&'static str, Standing)>,
    children: Vec<(&'static str, Standing)>,
}

impl<T> Words<T> {
    pub(super) fn rows(&self) -> Rows {
        let attributes = self.attributes.iter().map(|row| (row.name, row.standing)).collect();
        let children = self.children.iter().map(|row| (row.name, row.standing)).collect();
        Rows { element: self.element, attributes, children }
    }
}

/// The table of README's «Configuration», in Markdown: for each element the attributes and elements
/// that may stand in it, by what becomes of them. What stands in something that is not served is not
/// served either; elements that only hold others are left out.
pub fn vocabulary_table() -> String {
    let tables = words::all();
    let standings = standings(&tables);
    let mut table = String::from(
        "| in | served | no effect here | not served yet | refused |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for rows in &tables {
        let around = standings.get(rows.element).copied().unwrap_or(Standing::Served);
        let says_nothing = rows.children.iter().all(|(_, standing)| *standing == Standing::Served);
        if rows.attributes.is_empty() && (says_nothing || around != Standing::Served) {
            continue;
        }
        let plain = rows.attributes.iter().map(|(name, of)| (format!("`{name}`"), *of));
        let tagged = rows.children.iter().map(|(name, of)| (format!("`<{name}>`"), *of));
        let mut columns: [Vec<String>; 4] = Default::default();
        for (name, standing) in plain.chain(tagged) {
            let [served, no_effect, not_served, refused] = &mut columns;
            match within(around, standing) {
                Standing::Served => served.push(name),
                Standing::NoEffect(_) => no_effect.push(name),
                Standing::NotServed(_) => not_served.push(name),
                Standing::Refused(_) => refused.push(name),
            }
        }
        let cells = columns.map(|names| names.join(" "));
        table.push_str(&format!("| `{}` | {} |\n", rows.element, cells.join(" | ")));
    }
    table
}

/// What becomes of each element at best, seen from the outermost ones.
fn standings(tables: &[Rows]) -> BTreeMap<&'static str, Standing> {
    let holds = |outer: &Rows, inner: &str| {
        outer.element != inner && outer.children.iter().any(|(name, _)| *name == inner)
    };
    let mut known = BTreeMap::new();
    for rows in tables {
        if !tables.iter().any(|outer| holds(outer, rows.element)) {
            let is_console = rows.element.starts_with("bean");
            known.insert(rows.element, if is_console { web::CONSOLE } else { Standing::Served });
        }
    }
    loop {
        let before = known.clone();
        for rows in tables {
            let Some(around) = known.get(rows.element).copied() else { continue };
            for (name, standing) in rows.children.iter().filter(|(name, _)| *name != rows.element) {
                let standing = within(around, *standing);
                let best = known.entry(*name).or_insert(standing);
                if rank(standing) < rank(*best) {
                    *best = standing;
                }
            }
        }
        if known == before {
            return known;
        }
    }
}

fn within(around: Standing, standing: Standing) -> Standing {
    if rank(around) > rank(standing) { around } else { standing }
}

fn rank(standing: Standing) -> u8 {
    match standing {
        Standing::Served => 0,
        Standing::NoEffect(_) => 1,
        Standing::NotServed(_) => 2,
        Standing::Refused(_) => 3,
    }
}
