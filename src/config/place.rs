//! Where in the configuration something stands.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A file, line and column, as editors and compilers write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    /// From 1; 0 when what is meant is the whole of `file`.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl Place {
    /// A file as a whole, or what stands for one, such as the command line.
    pub fn whole(file: &Path) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

/// Finds line and column of an offset; offsets are asked for in any order.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    file: Arc<Path>,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(after_breaks.map(|(at, _)| at + 1)).collect();
        Self { text, file: file.into(), starts }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            file: Arc::clone(&self.file),
            line: number(line),
            column: number(before.chars().count() + 1),
        }
    }
}
