//! The vocabulary as a table for people.

use super::vocabulary::{Standing, Words};
use super::words;

/// A word of an element and what becomes of it.
pub(super) type Row = (&'static str, Standing);

impl<T> Words<T> {
    pub(super) fn rows(&self) -> (&'static str, Vec<Row>, Vec<Row>) {
        let attributes = self.attributes.iter().map(|row| (row.name, row.standing)).collect();
        let children = self.children.iter().map(|row| (row.name, row.standing)).collect();
        (self.element, attributes, children)
    }
}

/// The table of README's «Configuration», in Markdown: for each element the attributes and elements
/// that may stand in it, by what becomes of them.
pub fn vocabulary_table() -> String {
    let mut table = String::from(
        "| in | served | read, no effect here | not served yet | refused |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for (element, attributes, children) in words::all() {
        let tagged = children.into_iter().map(|(name, standing)| (format!("<{name}>"), standing));
        let plain = attributes.into_iter().map(|(name, standing)| (name.to_owned(), standing));
        let mut columns: [Vec<String>; 4] = Default::default();
        for (name, standing) in plain.chain(tagged) {
            let [served, no_effect, not_served, refused] = &mut columns;
            match standing {
                Standing::Served => served.push(name),
                Standing::NoEffect(_) => no_effect.push(name),
                Standing::NotServed(_) => not_served.push(name),
                Standing::Refused(_) => refused.push(name),
            }
        }
        let cells = columns.map(|names| {
            let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            quoted.join(" ")
        });
        table.push_str(&format!("| `{element}` | {} |\n", cells.join(" | ")));
    }
    table
}
